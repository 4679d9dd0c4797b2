// SPDX-License-Identifier: Apache-2.0

// This file holds the errors that the page on common errors quotes to the texts in
// the code.

package guidetest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var codeSpan = regexp.MustCompile("`[^`]+`")

// TestErrorTable compares each text that the tables of common-errors.md quote with
// the texts in the library and its HTTP/2 engine: one of them must have all parts of
// it, in order.
func TestErrorTable(t *testing.T) {
	texts := append(textsIn(t, "../.."), textsIn(t, "../../h2")...)
	quoted := quotedErrors(readFile(t, "../../docs/guide/common-errors.md"))
	if len(quoted) < 30 {
		t.Errorf("found only %d texts on the page", len(quoted))
	}
	for _, quote := range quoted {
		if !hasText(texts, quote) {
			t.Errorf("common-errors.md quotes %q, which no text in the code matches", quote)
		}
	}
}

func TestErrorTableFails(t *testing.T) {
	texts := []string{"stream %d: use a URL with https: %w"}
	for quote, want := range map[string]bool{
		"… use a URL with https: …":   true,
		"stream …: use a URL":         true,
		"use a URL with http:":        false,
		"use a URL … stream …: https": false,
		"…: use …":                    false, // too short to mean anything
	} {
		if got := hasText(texts, quote); got != want {
			t.Errorf("%q: got %t, want %t", quote, got, want)
		}
	}
}

// quotedErrors returns the quotes in the first cells of the tables below the heading
// "Texts". Codes and names, which have no space, are no quotes.
func quotedErrors(page string) []string {
	_, page, _ = strings.Cut(page, "\n## Texts\n")
	page, _, _ = strings.Cut(page, "\n## ")
	var quotes []string
	for line := range strings.Lines(page) {
		cell, ok := strings.CutPrefix(line, "| ")
		if !ok {
			continue
		}
		cell, _, _ = strings.Cut(cell, " | ")
		for _, span := range codeSpan.FindAllString(cell, -1) {
			if strings.Contains(span, " ") {
				quotes = append(quotes, strings.Trim(span, "`"))
			}
		}
	}
	return quotes
}

// hasText reports whether a text has the parts of quote between its ellipses, in
// order. A quote of a few letters is nowhere.
func hasText(texts []string, quote string) bool {
	parts := strings.Split(quote, "…")
	if len(strings.Join(parts, "")) < 16 {
		return false
	}
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	pattern := regexp.MustCompile("(?s)" + strings.Join(parts, ".*"))
	for _, text := range texts {
		if pattern.MatchString(text) {
			return true
		}
	}
	return false
}

// textsIn returns the strings in a folder's Go files, but for tests. Strings and
// constants that are added up are one.
func textsIn(t *testing.T, dir string) []string {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	constants := make(map[string]string)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
		for _, declaration := range file.Decls {
			if general, ok := declaration.(*ast.GenDecl); ok && general.Tok == token.CONST {
				for _, spec := range general.Specs {
					addConstants(constants, spec.(*ast.ValueSpec))
				}
			}
		}
	}
	var texts []string
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if expression, ok := n.(ast.Expr); ok {
				if text, ok := textOf(expression, constants); ok {
					texts = append(texts, text)
					return false
				}
			}
			return true
		})
	}
	return texts
}

func addConstants(constants map[string]string, spec *ast.ValueSpec) {
	for i, value := range spec.Values {
		if text, ok := textOf(value, constants); ok {
			constants[spec.Names[i].Name] = text
		}
	}
}

// textOf returns the value of an expression of strings and constants.
func textOf(expression ast.Expr, constants map[string]string) (text string, ok bool) {
	switch e := expression.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.Ident:
		text, ok = constants[e.Name]
		return text, ok
	case *ast.BinaryExpr:
		x, xIsText := textOf(e.X, constants)
		y, yIsText := textOf(e.Y, constants)
		return x + y, e.Op == token.ADD && xIsText && yIsText
	}
	return "", false
}
