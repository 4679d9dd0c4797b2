// SPDX-License-Identifier: Apache-2.0

// This file counts the lines of the README's first example.

package guidetest

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// firstExample has the files of the README's first example that a reader writes, in
// their order, and firstExampleMax is how many lines they may have together.
var firstExample = []string{"proto/greet/v1/greet.proto", "server/main.go", "client/main.go"}

const firstExampleMax = 40

// TestFirstExample checks that the schema, the server and the client of the README's
// first example fit 40 lines; TestPages runs them as printed.
func TestFirstExample(t *testing.T) {
	blocks, err := parsePage(readmePage, readFile(t, filepath.Join("..", "..", readmePage)))
	if err != nil {
		t.Fatal(err)
	}
	count, found := countLines(blocks, firstExample)
	if !slices.Equal(found, firstExample) {
		t.Fatalf("the page has the files %q, want %q", found, firstExample)
	}
	if count > firstExampleMax {
		t.Errorf("got %d lines in %q, want at most %d", count, found, firstExampleMax)
	}
}

// countLines returns how many lines the blocks of some files have that are not blank,
// and the files that it has found.
func countLines(blocks []block, files []string) (count int, found []string) {
	for _, b := range blocks {
		name, ok := strings.CutPrefix(b.mark, "file ")
		if !ok || !slices.Contains(files, name) {
			continue
		}
		found = append(found, name)
		for line := range strings.Lines(b.text) {
			if strings.TrimSpace(line) != "" {
				count++
			}
		}
	}
	return count, found
}

func TestCountLines(t *testing.T) {
	blocks := []block{
		{mark: "file a", text: "one\n\n\t\n\ttwo // with a comment\n"},
		{mark: "file b", text: "// three\n"},
		{mark: "file c", text: "not counted\n"},
		{mark: "output", text: "not counted\n"},
	}
	if count, found := countLines(blocks, []string{"a", "b"}); count != 3 || !slices.Equal(found, []string{"a", "b"}) {
		t.Errorf("got %d lines in %q, want 3 in a and b", count, found)
	}
}
