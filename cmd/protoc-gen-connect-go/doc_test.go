// SPDX-License-Identifier: Apache-2.0

// Comments: wrapping, quoting, and texts that a schema's author may write.

package main

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/compiler/protogen"
)

func TestDoc(t *testing.T) {
	long := strings.Repeat("wide ", 20) // 99 characters and the space before them
	for _, test := range []struct {
		name string
		doc  *doc
		want []string
	}{
		{"nothing", new(doc), nil},
		{"a sentence", new(doc).say("One\n\t\ttwo."), []string{" One two."}},
		{"a long sentence", new(doc).say(long), []string{" wide" + strings.Repeat(" wide", 18), " wide"}},
		{"a long word", new(doc).say("a " + strings.Repeat("x", 120) + " b"), []string{" a", " " + strings.Repeat("x", 120), " b"}},
		{"a quotation", new(doc).quote(" One\n   two\nthree\n"), []string{" One", "   two", " three"}},
		{"no quotation", new(doc).quote(" \n\t\n"), nil},
		{"both", new(doc).say("Ours.").quote(" Theirs.\n"), []string{" Ours.", "", " Theirs."}},
		{"a directive", new(doc).quote("go:build ignore\n"), []string{" go:build ignore"}},
		{"an empty line", new(doc).quote(" a\n\n b\n"), []string{" a", "", " b"}},
		{"line ends of Windows", new(doc).quote(" a\r\n b\r\n"), []string{" a", " b"}},
		{"deprecation", new(doc).quote(" a\n").deprecate("Deprecated: b."), []string{" a", "", " Deprecated: b."}},
		{"deprecation by the author", new(doc).quote(" a\n\n Deprecated: c.\n").deprecate("Deprecated: b."), []string{" a", "", " Deprecated: c."}},
		{"the author's word in a paragraph", new(doc).quote(" a\n Deprecated: c.\n").deprecate("Deprecated: b."), []string{" a", " Deprecated: c.", "", " Deprecated: b."}},
		{"the author's word alone", new(doc).quote(" Deprecated:\n c\n").deprecate("Deprecated: b."), []string{" Deprecated:", " c", "", " Deprecated: b."}},
		{"the author's word at first", new(doc).say("a").quote(" Deprecated: c.\n").deprecate("Deprecated: b."), []string{" a", "", " Deprecated: c."}},
		{"a build constraint", new(doc).quote(" a\n +build ignore\n\t+build b\n+build\n"), []string{" a"}},
		{"a build constraint alone", new(doc).say("a").quote(" +build ignore\n"), []string{" a"}},
		{"empty lines around", new(doc).say("a").quote("\n \n b\n \t\n"), []string{" a", "", " b"}},
		{"no build constraint", new(doc).quote(" +builds\n"), []string{" +builds"}},
		{"no deprecation", new(doc).quote(" a\n").deprecate(""), []string{" a"}},
	} {
		if got := test.doc.lines; !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// FuzzQuote checks that no comment of a schema becomes anything but a comment without directives.
func FuzzQuote(f *testing.F) {
	for _, comment := range []string{
		" One.\n Two.\n", "go:build ignore\n", "line x.go:1\n", "export f\n", "\n\n", "a\rb", "a\x00b", "\uFEFFa", "*/ x := 1 /*",
		"\tcode\n", "a\u2028b", "a\u0085b", " +build x\n",
	} {
		f.Add(comment)
	}
	f.Fuzz(func(t *testing.T, comment string) {
		w := newWriter()
		w.doc(new(doc).quote(protogen.Comments(strings.ToValidUTF8(comment, ""))))
		source := w.out.String() + "package p\n"
		file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, parser.ParseComments)
		if err != nil {
			t.Fatalf("comment %q became %q: %v", comment, source, err)
		}
		if len(file.Decls) > 0 {
			t.Errorf("comment %q became %q: got declarations", comment, source)
		}
		for line := range strings.Lines(strings.TrimSuffix(source, "package p\n")) {
			if line != "//\n" && !strings.HasPrefix(line, "// ") && !strings.HasPrefix(line, "//\t") {
				t.Errorf("comment %q became line %q, want a space or a tab after the slashes", comment, line)
			}
		}
		for _, group := range file.Comments {
			if slices.ContainsFunc(group.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:") || constraint.IsPlusBuild(c.Text) }) {
				t.Errorf("comment %q became %q: got a directive", comment, source)
			}
		}
	})
}
