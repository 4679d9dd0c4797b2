// SPDX-License-Identifier: Apache-2.0

// This tree against the last release of the library: the same program, built
// with each of them, in turn.

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// The comparison covers the common kinds of calls, with enough callers to keep both
// sides busy.
var (
	releaseWorks = []string{"unary-64", "unary-1m", "gzip-4k", "server-stream", "client-stream", "bidi"}
	releaseArgs  = []string{"-work", "^(" + strings.Join(releaseWorks, "|") + ")$", "-contenders", "^ours/(connect/http1|grpc/h2c)$", "-callers", "16", "-rounds", "3"}
)

// releaseModules are the library's modules that this program uses, below the root.
var releaseModules = []string{"", "/compress", "/nats", "/overload", "/telemetry", "/validate"}

const (
	releaseTurns = 6               // half of them without a release
	releaseSlice = 5 * time.Second // of each program in each turn
)

// errNoRelease reports that the checkout has no release, or none that builds.
var errNoRelease = errors.New("there is no release to compare with")

// A runner runs a program in a directory and returns its output.
type runner func(ctx context.Context, dir, program string, args ...string) ([]byte, error)

// runProgram is the runner that starts a process.
func runProgram(ctx context.Context, dir, program string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, program, args...)
	command.Dir = dir
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(program), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// compareRelease prints this tree's figures beside those of the last release. If the
// release cannot be built, it prints the reason and this tree's figures alone. It
// fails if a program fails.
func compareRelease(ctx context.Context, run runner, stdout io.Writer) error {
	temporary, err := os.MkdirTemp("", "bench-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	present, err := os.Executable()
	if err != nil {
		return err
	}
	programs := []string{present}
	release, before, err := buildRelease(ctx, run, temporary)
	if err != nil {
		fmt.Fprintf(stdout, "%v: the figures of this tree alone\n", err)
	} else {
		fmt.Fprintf(stdout, "this tree against %s, by turns\n", release)
		programs = []string{before, present}
	}
	turns, err := takeTurns(ctx, run, temporary, programs)
	if err != nil {
		return err
	}
	if len(programs) == 1 {
		printAlone(stdout, turns[0])
		return nil
	}
	printAgainst(stdout, release, turns[0], turns[1])
	return nil
}

// buildRelease builds this program with the last release of the library.
func buildRelease(ctx context.Context, run runner, dir string) (release, program string, err error) {
	out, err := run(ctx, ".", "git", "describe", "--tags", "--abbrev=0", "--match", "v*")
	if err != nil {
		return "", "", errNoRelease // no tag, or no git
	}
	release = strings.TrimSpace(string(out))
	fail := func(err error) (string, string, error) {
		return "", "", fmt.Errorf("%w: build with %s: %w", errNoRelease, release, err)
	}
	root, err := run(ctx, ".", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return fail(err)
	}
	archive, err := run(ctx, strings.TrimSpace(string(root)), "git", "archive", "--format=tar", release)
	if err != nil {
		return fail(err)
	}
	tree := filepath.Join(dir, "tree")
	if err := unpackTree(tree, archive); err != nil {
		return fail(err)
	}
	modfile := filepath.Join(dir, "release.mod")
	for from, to := range map[string]string{"go.mod": modfile, "go.sum": filepath.Join(dir, "release.sum")} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, data, 0o644)
		}
		if err != nil {
			return fail(err)
		}
	}
	const library = "github.com/seed-b7c59c10/connect"
	edit := []string{"mod", "edit"}
	for _, module := range releaseModules {
		edit = append(edit, "-replace", library+module+"="+filepath.Join(tree, module))
	}
	if _, err := run(ctx, ".", "go", append(edit, modfile)...); err != nil {
		return fail(err)
	}
	program = filepath.Join(dir, "before")
	if _, err := run(ctx, ".", "go", "build", "-buildvcs=false", "-mod=mod", "-modfile", modfile, "-o", program, "."); err != nil {
		return fail(err)
	}
	return release, program, nil
}

// unpackTree writes the files of an archive below dir.
func unpackTree(dir string, archive []byte) error {
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpack the release: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if !filepath.IsLocal(header.Name) {
			return fmt.Errorf("unpack the release: %q leads out of it", header.Name)
		}
		name := filepath.Join(dir, header.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("unpack the release: %w", err)
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return err
		}
	}
}

// takeTurns runs the programs one after the other, several times, and returns the
// reports of each.
func takeTurns(ctx context.Context, run runner, dir string, programs []string) ([][]file, error) {
	reports := make([][]file, len(programs))
	turns := releaseTurns
	if len(programs) == 1 {
		turns /= 2
	}
	for turn := range turns {
		for i := range programs {
			if turn%2 == 1 {
				i = len(programs) - 1 - i
			}
			name := filepath.Join(dir, "figures.json")
			if _, err := run(ctx, ".", programs[i], append(slices.Clone(releaseArgs), "-for", releaseSlice.String(), "-json", name)...); err != nil {
				return nil, err
			}
			data, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			var f file
			if err := json.Unmarshal(data, &f); err != nil {
				return nil, fmt.Errorf("read figures: %w", err)
			}
			reports[i] = append(reports[i], f)
		}
	}
	return reports, nil
}

// place is the position of a result in the reports of a program.
type place struct{ work, contender string }

// collect returns the medians of all turns by place, and the places in order.
func collect(turns []file) (map[place][]measurement, []place) {
	all := make(map[place][]measurement)
	var order []place
	for _, f := range turns {
		for _, c := range f.Cases {
			for _, r := range c.Results {
				p := place{c.Work, r.String()}
				if all[p] == nil {
					order = append(order, p)
				}
				all[p] = append(all[p], r.Median)
			}
		}
	}
	return all, order
}

func printAlone(out io.Writer, turns []file) {
	all, order := collect(turns)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "work\tcontender\tCPU µs\tallocs\tbytes\twrites\t")
	for _, p := range order {
		m := medians(all[p])
		fmt.Fprintf(t, "%s\t%s\t%.2f\t%.1f\t%.0f\t%.2f\t\n", p.work, p.contender, m.CPU/1e3, m.Allocs, m.Bytes, m.Writes)
	}
	t.Flush()
}

// printAgainst prints the release's figures, this tree's, and their ratio: above
// one, this tree needs less CPU time.
func printAgainst(out io.Writer, release string, before, present []file) {
	old, _ := collect(before)
	all, order := collect(present)
	cpu := func(m measurement) float64 { return m.CPU }
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "work\tcontender\tCPU µs, %s\tnow\tbefore ÷ now\tallocs, %s\tnow\twrites, %s\tnow\t\n", release, release, release)
	for _, p := range order {
		if len(old[p]) == 0 {
			continue
		}
		was, is := medians(old[p]), medians(all[p])
		r := ratioOf(column(old[p], cpu), column(all[p], cpu))
		fmt.Fprintf(t, "%s\t%s\t%.2f\t%.2f\t%.2f (%.2f–%.2f)\t%.1f\t%.1f\t%.2f\t%.2f\t\n",
			p.work, p.contender, was.CPU/1e3, is.CPU/1e3, r.Median, r.Low, r.High, was.Allocs, is.Allocs, was.Writes, is.Writes)
	}
	t.Flush()
}
