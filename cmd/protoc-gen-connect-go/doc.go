// SPDX-License-Identifier: Apache-2.0

// Comments of the generated code: the plugin's sentences, the schema's comments, and deprecation.

package main

import (
	"go/build/constraint"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// docWidth is the length of the longest line of a wrapped paragraph, without the leading slashes.
const docWidth = 98

// A doc collects the paragraphs of one comment. Its lines lack the leading slashes, and have a space in their place
// unless they are empty.
type doc struct {
	lines      []string
	deprecated bool // a comment of the schema has the paragraph already
}

// say adds a paragraph of the plugin, and wraps it.
func (d *doc) say(text string) *doc {
	d.separate()
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > docWidth {
			d.lines = append(d.lines, line)
			line = ""
		}
		line += " " + word
	}
	d.lines = append(d.lines, line)
	return d
}

// quote adds a comment of the schema, line by line. Lines start with a space, so that none becomes a directive such as
// //go:build. A line that is a build constraint all the same, such as // +build, is left out: it could exclude the file.
func (d *doc) quote(comment protogen.Comments) *doc {
	var lines []string
	for line := range strings.SplitSeq(strings.Map(printable, string(comment)), "\n") {
		line = strings.TrimRight(line, " \t")
		if line != "" && line[0] != ' ' && line[0] != '\t' {
			line = " " + line
		}
		if !constraint.IsPlusBuild("//"+line) && (line != "" || len(lines) > 0) {
			lines = append(lines, line)
		}
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 {
		return d
	}
	d.separate()
	for _, line := range lines {
		// Tools read the word only at the beginning of a paragraph.
		if begins := len(d.lines) == 0 || d.lines[len(d.lines)-1] == ""; begins && strings.HasPrefix(line, " Deprecated: ") {
			d.deprecated = true
		}
		d.lines = append(d.lines, line)
	}
	return d
}

// deprecate adds the paragraph that marks deprecated code for tools, unless it is empty or a comment of the schema has one.
func (d *doc) deprecate(paragraph string) *doc {
	if paragraph == "" || d.deprecated {
		return d
	}
	return d.say(paragraph)
}

// separate ends the paragraph before the next one.
func (d *doc) separate() {
	if len(d.lines) > 0 {
		d.lines = append(d.lines, "")
	}
}

// printable drops control characters and the byte order mark, which a comment in Go must not have, or does not need.
func printable(char rune) rune {
	const byteOrderMark = '\uFEFF'
	if unicode.IsControl(char) && char != '\n' && char != '\t' || char == byteOrderMark {
		return -1
	}
	return char
}

// float writes comments of the schema that belong to no declaration.
func (w *writer) float(comments ...protogen.Comments) {
	for _, comment := range comments {
		if d := new(doc).quote(comment); len(d.lines) > 0 {
			w.doc(d)
			w.code("")
		}
	}
}

// floatAll writes the comments around a declaration of the schema that has no counterpart in Go: the detached ones and,
// if attached is true, those attached to it.
func (w *writer) floatAll(location protoreflect.SourceLocation, attached bool) {
	for _, comment := range location.LeadingDetachedComments {
		w.float(protogen.Comments(comment))
	}
	if attached {
		w.float(protogen.Comments(location.LeadingComments), protogen.Comments(location.TrailingComments))
	}
}
