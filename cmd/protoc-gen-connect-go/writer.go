// SPDX-License-Identifier: Apache-2.0

// The writer: it replaces the $names in texts, and collects them as Go source.

package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
)

// vars maps each $name to its replacement in a text. A '$' in a replacement stays.
type vars map[string]string

// A writer appends source to a buffer that it shares with the writers derived from it.
type writer struct {
	out  *bytes.Buffer
	vars vars
}

func newWriter() *writer {
	return &writer{out: new(bytes.Buffer)}
}

// with returns a writer for an inner scope, which adds names or replaces them.
func (w *writer) with(inner vars) *writer {
	merged := maps.Clone(w.vars)
	if merged == nil {
		merged = vars{}
	}
	maps.Copy(merged, inner)
	return &writer{out: w.out, vars: merged}
}

// code writes a text of one or more lines.
func (w *writer) code(text string) {
	w.out.WriteString(w.expand(text))
	w.out.WriteByte('\n')
}

// doc writes a comment, and nothing for an empty one.
func (w *writer) doc(d *doc) {
	for _, line := range d.lines {
		w.out.WriteString("//")
		w.out.WriteString(line)
		w.out.WriteByte('\n')
	}
}

// say writes a comment of one paragraph.
func (w *writer) say(text string) {
	w.doc(new(doc).say(w.expand(text)))
}

// expand replaces every $name. It panics at a name that is not defined, which is a mistake in this program.
func (w *writer) expand(text string) string {
	return os.Expand(text, func(name string) string {
		value, ok := w.vars[name]
		if !ok {
			panic(fmt.Sprintf("expanding %q: no value for $%s", text, name))
		}
		return value
	})
}
