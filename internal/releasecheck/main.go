// SPDX-License-Identifier: Apache-2.0

// Releasecheck shows that a program can use the public modules of this repository
// with only released versions of them: no checkout, no replace, an empty module
// cache. It packs the modules into a module proxy in a folder and then runs the
// commands of their users.
//
//	go run .                       check the tree as it is
//	go run . -ref v0.2.0           check the tree of a tag or commit
//	go run . -set 0.2.0            write the version of the next release into the tree
//	go run . -only README,compress run some of the steps
//
// It exits with 1 when a step fails. Modules of others come from the module
// cache of the machine, or else from the proxy that the go command is set to.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "releasecheck:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("releasecheck", flag.ContinueOnError)
	root := flags.String("root", "../..", "the checkout")
	ref := flags.String("ref", "", "check the tree of this tag or commit instead of the files as they are")
	set := flags.String("set", "", "write this version into all go.mod files and version.go, and check nothing")
	only := flags.String("only", "", "the steps to run, separated by commas; empty: all")
	if err := flags.Parse(args); err != nil {
		return err
	}
	tree, err := filepath.Abs(*root)
	if err != nil {
		return err
	}
	if *set != "" {
		return setVersion(tree, *set)
	}
	work, err := os.MkdirTemp("", "releasecheck-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if *ref != "" {
		if tree, err = export(ctx, tree, *ref, filepath.Join(work, "tree")); err != nil {
			return err
		}
	}
	return check(ctx, tree, work, *ref, *only)
}

// check runs the steps on a tree, below the directory work. A ref that is a
// tag must be that of the version in the tree.
func check(ctx context.Context, tree, work, ref, only string) error {
	version, err := readVersion(tree)
	if err != nil {
		return err
	}
	if strings.HasPrefix(ref, "v") && ref != version {
		return fmt.Errorf("the tree of %s says that it is %s: run releasecheck -set before tagging", ref, version)
	}
	if err := checkModules(tree, version); err != nil {
		return err
	}
	proxy := filepath.Join(work, "proxy")
	for _, m := range public {
		if err := publish(proxy, tree, m, version); err != nil {
			return err
		}
	}
	user := &user{version: version, tree: tree, home: filepath.Join(work, "home")}
	if err := user.setUp(ctx, proxy); err != nil {
		return err
	}
	wanted := strings.Split(only, ",")
	ran := 0
	for _, s := range steps {
		if only != "" && !slices.Contains(wanted, s.name) {
			continue
		}
		start := time.Now()
		if err := s.run(ctx, user, filepath.Join(work, "steps", s.name)); err != nil {
			return fmt.Errorf("%s with %s: %w", s.name, version, err)
		}
		fmt.Printf("ok  %-9s %s  %.1f s\n", s.name, version, time.Since(start).Seconds())
		ran++
	}
	if ran == 0 {
		return fmt.Errorf("no step is named %q", only)
	}
	return nil
}

// export writes the tree of a tag or commit into a new directory.
func export(ctx context.Context, checkout, ref, dir string) (string, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	archive := filepath.Join(filepath.Dir(dir), "tree.tar")
	for _, args := range [][]string{
		{"git", "-C", checkout, "archive", "--format=tar", "--output=" + archive, ref},
		{"tar", "-xf", archive, "-C", dir},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("export the tree of %s: %w\n%s", ref, err, out)
		}
	}
	return dir, nil
}
