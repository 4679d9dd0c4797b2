// SPDX-License-Identifier: Apache-2.0

// Dropingen writes the drop-in module's Go files from the exported names of the root package.
//
// It reads the syntax of one package directory, nothing else, and needs only the standard library:
//
//	go run ./internal/dropingen -in . -out dropin
//
// Each exported constant, variable, type and function becomes one declaration
// that stands for the original. The output depends on the input alone, so a
// second run leaves no difference.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	in := flag.String("in", ".", "directory of the package that is forwarded to")
	out := flag.String("out", "dropin", "directory that receives the files")
	importPath := flag.String("import", "github.com/seed-b7c59c10/connect", "import path of the package in -in")
	flag.Parse()
	if err := run(*in, *out, *importPath); err != nil {
		fmt.Fprintln(os.Stderr, "dropingen:", err)
		os.Exit(1)
	}
}

func run(in, out, importPath string) error {
	if flag.NArg() != 0 {
		return fmt.Errorf("unexpected arguments %q: expected flags only", flag.Args())
	}
	api, err := readAPI(in)
	if err != nil {
		return fmt.Errorf("reading the package in %q: %w", in, err)
	}
	files, err := api.files(importPath)
	if err != nil {
		return err
	}
	var failed error
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(out, name), content, 0o644); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
