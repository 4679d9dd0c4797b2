// SPDX-License-Identifier: Apache-2.0

// Protogen generates the project's Go code from its schemas with nothing
// installed but Go: it compiles .proto files in process, builds protoc-gen-go
// (pinned by this module's go.mod) and the checkout's own
// protoc-gen-connect-go, runs both and writes the files that they return.
//
// Run it inside a checkout, from this directory:
//
//	go run . -all
//	go run . -I ../proto -out ../.. -opt module=github.com/seed-b7c59c10/connect conntest/v1/conntest.proto
//
// The first form regenerates everything that is checked in; the second one
// schema. Either leaves files alone whose content would not change.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// modulePath is the module whose checkout protogen works in.
const modulePath = "github.com/seed-b7c59c10/connect"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run is main with its surroundings as arguments.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	var (
		all         bool
		one         target
		both        list
		executable  string
		checkoutDir string
	)
	flags := flag.NewFlagSet("protogen", flag.ContinueOnError)
	flags.BoolVar(&all, "all", false, "regenerate everything that is checked in; takes no files and no other target")
	flags.Var((*list)(&one.includes), "I", "`directory` that file names and imports are relative to (repeatable)")
	flags.StringVar(&one.out, "out", ".", "`directory` that receives the generated files")
	flags.Var(&both, "opt", "`option` for both plugins, such as module=example.com/m (repeatable)")
	flags.Var((*list)(&one.messageOptions), "go-opt", "`option` for protoc-gen-go only (repeatable)")
	flags.Var((*list)(&one.serviceOptions), "connect-opt", "`option` for protoc-gen-connect-go only (repeatable)")
	flags.StringVar(&executable, "connect-plugin", "", "run this `executable` in place of the checkout's protoc-gen-connect-go")
	flags.StringVar(&checkoutDir, "checkout", "", "`directory` of the checkout that holds the plugin; default: the one around the working directory")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // the flag set has printed the reason
	}
	one.files = flags.Args()
	one.messageOptions = append(both[:len(both):len(both)], one.messageOptions...)
	one.serviceOptions = append(both[:len(both):len(both)], one.serviceOptions...)

	checkout, err := findCheckout(checkoutDir)
	if err != nil {
		return err
	}
	var targets []target
	switch {
	case all && flags.NFlag() > 1 || all && len(one.files) > 0:
		return errors.New("reading the command line: -all takes no files and no other flag")
	case all:
		if targets, err = checkedIn(checkout); err != nil {
			return err
		}
	case len(one.files) == 0:
		return errors.New("reading the command line: name at least one .proto file, or use -all")
	default:
		if len(one.includes) == 0 {
			one.includes = []string{"."}
		}
		targets = append(targets, one)
	}
	return generate(ctx, checkout, executable, targets, stdout)
}

// generate builds the plugins once and runs every target. The schemas are
// compiled first: a mistake in them shows before anything is built.
func generate(ctx context.Context, checkout, executable string, targets []target, stdout io.Writer) error {
	for i := range targets {
		var err error
		if targets[i].request, err = compile(ctx, targets[i].includes, targets[i].files); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "protogen-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	messages, services, err := buildPlugins(ctx, checkout, dir, executable)
	if err != nil {
		return err
	}
	for _, target := range targets {
		changes, err := target.generate(ctx, messages, services)
		for _, change := range changes {
			fmt.Fprintf(stdout, "%-9s %s\n", change.verb, change.path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// findCheckout returns the absolute directory of the checkout: dir if it is
// not empty, else the closest one at or above the working directory.
func findCheckout(dir string) (string, error) {
	start, climb := dir, dir == ""
	start, err := filepath.Abs(start)
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && isModule(content, modulePath) {
			return dir, nil
		}
		if !climb || dir == filepath.Dir(dir) {
			return "", fmt.Errorf("looking for a checkout of %s from %s: no go.mod of it; run inside one or pass -checkout", modulePath, start)
		}
	}
}

// isModule reports whether a go.mod file declares the module path.
func isModule(content []byte, path string) bool {
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "module" {
			return strings.Trim(fields[1], `"`) == path
		}
	}
	return false
}

// A list is a flag that may be repeated.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(value string) error {
	if value == "" {
		return errors.New("want a value")
	}
	*l = append(*l, value)
	return nil
}
