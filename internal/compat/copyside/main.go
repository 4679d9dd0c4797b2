// SPDX-License-Identifier: Apache-2.0

// Copyside writes package theirs: the source of package ours with the import
// path of the reference. It runs in the directory of the compat module.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "copyside:", err)
		os.Exit(1)
	}
}

func run() error {
	paths, err := filepath.Glob("ours/*.go")
	if err != nil {
		return err
	}
	stale, err := filepath.Glob("theirs/*.go")
	if err != nil {
		return err
	}
	for _, path := range stale {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	for _, path := range paths {
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		target := filepath.Join("theirs", filepath.Base(path))
		if err := os.WriteFile(target, []byte(translate(string(source))), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// translate returns a file of package ours as a file of package theirs.
func translate(source string) string {
	const license = "// SPDX-License-Identifier: Apache-2.0\n\n"
	const mark = license + "// Code generated from package ours by copyside. DO NOT EDIT.\n\n"
	source = strings.Replace(source, license, mark, 1)
	// The package comment belongs to ours; theirs has a sentence of its own.
	if before, after, found := strings.Cut(source, "// Package ours"); found {
		_, after, _ = strings.Cut(after, "\npackage ours\n")
		source = before + "// Package theirs drives the reference as package ours drives this library.\npackage theirs\n" + after
	}
	return strings.NewReplacer(
		"\npackage ours\n", "\npackage theirs\n",
		`"github.com/seed-b7c59c10/connect"`, `"connectrpc.com/connect"`,
	).Replace(source)
}
