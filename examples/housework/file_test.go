// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	houseworkv1 "github.com/seed-b7c59c10/connect/examples/housework/gen/housework/v1"
)

// add adds a chore to a file.
func add(ctx context.Context, f *file, title string) error {
	return f.change(ctx, func(all *houseworkv1.Chores) error {
		all.LastId++
		all.Chores = append(all.Chores, &houseworkv1.Chore{Id: all.LastId, Title: title})
		return nil
	})
}

// TestFileContent opens what may be on a disk.
func TestFileContent(t *testing.T) {
	const one = `{"lastId":7, "chores":[{"id":7, "title":"mop"}]}`
	for _, test := range []struct {
		name, content, beside string
		chores                int
		err                   string
	}{
		{name: "one chore", content: one, chores: 1},
		{name: "a crash left half a new file", content: one, beside: one[:20], chores: 1},
		{name: "a crash before the first file", beside: one[:20]},
		{name: "half", content: one[:20], err: "restore a copy, or move the file away to begin with none"},
		{name: "not JSON", content: "\x00\x00\x00\x00", err: "restore a copy"},
		{name: "another schema", content: `{"dishes":[]}`, err: `unknown field "dishes"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "chores.json")
			for path, content := range map[string]string{path: test.content, path + ".new": test.beside} {
				if content != "" {
					if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			f, err := openFile(path)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), path) {
					t.Fatalf("got %v, want an error with %q and the path", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := add(t.Context(), f, "sweep"); err != nil {
				t.Fatal(err)
			}
			again, err := openFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := len(again.read().Chores), test.chores+1; got != want {
				t.Errorf("got %d chores, want %d", got, want)
			}
		})
	}
}

// TestFileConcurrent has many goroutines change and read one file.
func TestFileConcurrent(t *testing.T) {
	const goroutines, each = 8, 10
	path := filepath.Join(t.TempDir(), "chores.json")
	f, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for g := range goroutines {
		running.Go(func() {
			for i := range each {
				if err := add(t.Context(), f, fmt.Sprintf("%d.%d", g, i)); err != nil {
					t.Error(err)
				}
				if n := len(f.read().Chores); n < i+1 {
					t.Errorf("got %d chores, want the %d of this goroutine or more", n, i+1)
				}
			}
		})
	}
	running.Wait()
	again, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for i, c := range again.read().Chores {
		if c.Id != int32(i+1) || seen[c.Title] {
			t.Errorf("got the number %d and the title %q at %d, want numbers in order and each title once", c.Id, c.Title, i)
		}
		seen[c.Title] = true
	}
	if len(seen) != goroutines*each {
		t.Errorf("got %d chores, want %d", len(seen), goroutines*each)
	}
}

// TestFileFails has the errors of a change. Each leaves the chores as they were.
func TestFileFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := openFile(filepath.Join(dir, "chores.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := add(t.Context(), f, "mop"); err != nil {
		t.Fatal(err)
	}
	check := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		if got := f.read(); len(got.Chores) != 1 || got.LastId != 1 {
			t.Errorf("got %v, want the one chore that was there before", got)
		}
	}

	refused := errors.New("refused")
	check(f.change(t.Context(), func(all *houseworkv1.Chores) error {
		all.LastId, all.Chores = 99, nil
		return refused
	}), refused)

	// A change waits for another one no longer than its context.
	ctx, cancel := context.WithCancel(t.Context())
	check(f.change(t.Context(), func(*houseworkv1.Chores) error {
		cancel()
		if err := add(ctx, f, "sweep"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		return refused
	}), refused)

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	check(add(t.Context(), f, "sweep"), os.ErrNotExist)
}
