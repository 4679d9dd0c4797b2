// SPDX-License-Identifier: Apache-2.0

// This file checks that package theirs is up to date: otherwise the two libraries are not driven alike.

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUpToDate(t *testing.T) {
	ours, err := filepath.Glob("../ours/*.go")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := filepath.Glob("../theirs/*.go")
	if err != nil {
		t.Fatal(err)
	}
	if len(ours) == 0 || len(ours) != len(theirs) {
		t.Errorf("got %d files in theirs, want %d (run make generate)", len(theirs), len(ours))
	}
	for _, path := range ours {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("../theirs", filepath.Base(path)))
		if err != nil {
			t.Error(err)
			continue
		}
		if want := translate(string(source)); string(got) != want {
			t.Errorf("theirs/%s is not what copyside writes (run make generate)", filepath.Base(path))
		}
		if strings.Contains(string(got), `"github.com/seed-b7c59c10/connect"`) {
			t.Errorf("theirs/%s imports this library", filepath.Base(path))
		}
	}
}
