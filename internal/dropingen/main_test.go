// SPDX-License-Identifier: Apache-2.0

// This file runs the generator on a small package, and compares the committed files with its output.

package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files instead of comparing with them")

func TestSample(t *testing.T) {
	compare(t, filepath.Join("testdata", "sample"), "example.com/sample", filepath.Join("testdata", "golden"), ".txt")
}

// TestUpToDate fails if the root package's exported names have changed after the
// last run of the generator.
func TestUpToDate(t *testing.T) {
	compare(t, filepath.Join("..", ".."), "github.com/seed-b7c59c10/connect", filepath.Join("..", "..", "dropin"), "")
}

func compare(t *testing.T, in, importPath, golden, suffix string) {
	t.Helper()
	api, err := readAPI(in)
	if err != nil {
		t.Fatal(err)
	}
	files, err := api.files(importPath)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range files {
		path := filepath.Join(golden, name+suffix)
		if *rewrite && suffix != "" {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s\n(run make generate)", path, got, want)
		}
	}
}
