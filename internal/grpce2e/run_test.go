// SPDX-License-Identifier: Apache-2.0

// This file builds and runs test programs, and reads their reports. A test that
// hangs costs a bounded time and not the results of the others.

package grpce2e

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// silence bounds the time in which a test program reports nothing. Then the test
	// that it runs hangs. The longest test takes 7 s on an idle machine.
	silence = 60 * time.Second
	// endsMax is how often a test program may end before its time, by a hang or a
	// panic, and be started again for the tests that remain.
	endsMax = 10
)

// A program is the test binary of one package.
type program struct {
	name string // of the package; the names of its tests begin with it
	dir  string
	path string
	args []string
}

// A result is the outcome of a test (pass, fail, skip, or hang), and its output.
type result struct{ action, output string }

// build makes the programs that have tests of the handler's environment.
func build(t *testing.T, dir string) []program {
	t.Helper()
	binaries := t.TempDir()
	programs := []program{
		{name: "test", args: []string{"-only_env=handler-tls"}},
		{name: "status"},
	}
	for i := range programs {
		p := &programs[i]
		p.dir, p.path = filepath.Join(dir, p.name), filepath.Join(binaries, p.name+".test")
		goCommand(t, dir, "test", "-mod=mod", "-c", "-o", p.path, "./"+p.name)
	}
	return programs
}

// run runs the program's tests: only those, or all but those to skip. After a hang
// or a panic it runs those that remain. The results are by full name.
func (p program) run(t *testing.T, only, skip []string) map[string]result {
	t.Helper()
	results := make(map[string]result)
	skip = slices.Clone(skip)
	for range endsMax {
		if p.start(t, results, only, skip) {
			return results
		}
		for name := range results {
			if strings.Count(name, "/") == 1 {
				skip = append(skip, name)
			}
		}
	}
	t.Errorf("%s: the test program ended before its time %d times", p.name, endsMax)
	return results
}

// start runs the program once and adds to the results. It reports whether the
// program came to its end.
func (p program) start(t *testing.T, results map[string]result, only, skip []string) bool {
	t.Helper()
	args := append([]string{"-test.v=test2json", "-test.timeout=0"}, p.args...)
	if len(only) > 0 {
		args = append(args, "-test.run="+p.pattern(only))
	}
	if len(skip) > 0 {
		args = append(args, "-test.skip="+p.pattern(skip))
	}
	tests := exec.CommandContext(t.Context(), p.path, args...)
	tests.Dir = p.dir
	reader := exec.CommandContext(t.Context(), "go", "tool", "test2json", "-t")
	reader.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	between, err := tests.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	tests.Stderr = tests.Stdout
	reader.Stdin = between
	events, err := reader.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(reader.Start(), tests.Start()); err != nil {
		t.Fatal(err)
	}
	// A program that hangs gets SIGQUIT, upon which it prints its stacks. If it does
	// not end then, it is killed.
	hangs := time.AfterFunc(silence, func() { _ = tests.Process.Signal(syscall.SIGQUIT) })
	kills := time.AfterFunc(silence+10*time.Second, func() { _ = tests.Process.Kill() })
	defer hangs.Stop()
	defer kills.Stop()
	apart := "" // output that belongs to no test
	for decoder := json.NewDecoder(events); ; {
		var event struct{ Action, Test, Output string }
		if err := decoder.Decode(&event); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%s: reading what the test program prints: %v", p.name, err)
		}
		if event.Action != "output" && hangs.Stop() { // not after SIGQUIT
			hangs.Reset(silence)
			kills.Reset(silence + 10*time.Second)
		}
		if event.Test == "" {
			apart += event.Output
			continue
		}
		name := p.name + "." + event.Test
		r := results[name]
		r.output += event.Output
		switch event.Action {
		case "pass", "fail", "skip":
			r.action = event.Action
		}
		results[name] = r
	}
	err = errors.Join(reader.Wait(), ignoreFailure(tests.Wait()))
	if len(results) == 0 {
		t.Fatalf("%s: no test was run: %v\n%s", p.name, err, apart)
	}
	for name, r := range results {
		if r.action == "" {
			results[name] = result{"hang", r.output + apart}
		}
	}
	return err == nil
}

// ignoreFailure returns nil for the exit status of a test program that ran all its
// tests and had failures.
func ignoreFailure(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		return nil
	}
	return err
}

// pattern returns the argument that selects the named tests of the program, each
// as a whole.
func (p program) pattern(names []string) string {
	var tests []string
	for _, name := range names {
		if test, ok := strings.CutPrefix(name, p.name+".Test/"); ok {
			tests = append(tests, regexp.QuoteMeta(test))
		}
	}
	return "^Test$/^(" + strings.Join(tests, "|") + ")$"
}
