// SPDX-License-Identifier: Apache-2.0

// This file compares the text of the pages outside of blocks with the repository: the
// commands that prove claims, links, and the table of options.

package guidetest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	inlineCommand = regexp.MustCompile("`(?:cd ([a-z0-9/]+) && )?go test(?: -run ([A-Za-z0-9_]+))? \\.`")
	inlineMake    = regexp.MustCompile("`make ([a-z-]+)`")
	link          = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code          = regexp.MustCompile("(?s)```.*?```|`[^`]*`")
	heading       = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnchors  = regexp.MustCompile("[^a-z0-9 _-]")
)

// pagesOf returns the README and the guide: path -> text.
func pagesOf(t *testing.T) map[string]string {
	pages := map[string]string{"../../README.md": ""}
	guide, err := filepath.Glob("../../docs/guide/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range guide {
		pages[path] = ""
	}
	for path := range pages {
		pages[path] = readFile(t, path)
	}
	return pages
}

func TestCommands(t *testing.T) {
	makefile := readFile(t, "../../Makefile")
	found := 0
	for page, text := range pagesOf(t) {
		for _, match := range inlineCommand.FindAllStringSubmatch(text, -1) {
			found++
			if tests := testsIn(t, filepath.Join("../..", match[1])); tests == "" || !strings.Contains(tests, match[2]) {
				t.Errorf("%s: %s runs no test", page, match[0])
			}
		}
		for _, match := range inlineMake.FindAllStringSubmatch(text, -1) {
			found++
			if !strings.Contains(makefile, "\n"+match[1]+":") {
				t.Errorf("%s: the Makefile has no target %s", page, match[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("found only %d commands: the patterns are out of date", found)
	}
}

// testsIn returns the names of a package's tests, a line each, or "" if the
// folder has none.
func testsIn(t *testing.T, dir string) string {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names strings.Builder
	for _, file := range files {
		for _, match := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(readFile(t, file), -1) {
			names.WriteString(match[1] + "\n")
		}
	}
	return names.String()
}

func TestLinks(t *testing.T) {
	for page, text := range pagesOf(t) {
		for _, match := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			path, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, match[1])
				continue
			}
			if anchor != "" && !hasAnchor(readFile(t, target), anchor) {
				t.Errorf("%s: the link %s leads to no heading", page, match[1])
			}
		}
	}
}

func hasAnchor(text, anchor string) bool {
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		name := notInAnchors.ReplaceAllString(strings.ToLower(match[1]), "")
		if strings.ReplaceAll(name, " ", "-") == anchor {
			return true
		}
	}
	return false
}

// TestOptions checks that the table of all options has each option of the library,
// and no other.
func TestOptions(t *testing.T) {
	page := readFile(t, "../../docs/guide/choosing.md")
	options := make(map[string]bool)
	files, err := filepath.Glob("../../*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Recv == nil && strings.HasPrefix(function.Name.Name, "With") {
				options[function.Name.Name] = true
			}
		}
	}
	rows := make(map[string]bool)
	for _, match := range regexp.MustCompile("(?m)^\\| `(With\\w+)` \\|").FindAllStringSubmatch(page, -1) {
		rows[match[1]] = true
	}
	for option := range options {
		if !rows[option] {
			t.Errorf("choosing.md has no row for %s", option)
		}
	}
	for row := range rows {
		if !options[row] {
			t.Errorf("choosing.md has a row for %s, which the library has not", row)
		}
	}
	if len(options) < 20 {
		t.Errorf("found only %d options", len(options))
	}
}
