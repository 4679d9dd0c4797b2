// SPDX-License-Identifier: Apache-2.0

// Scopes: the names that are taken in a generated file, and the choice of another name after a clash.

package main

import (
	"go/token"
	"go/types"
	"slices"
)

// locals are the parameters and variables of the generated functions. No import and no declaration of a file takes one
// of these names, so that nothing is shadowed.
var locals = []string{
	"baseURL", "c", "ctx", "err", "handler", "handlers", "httpClient", "methods", "ok", "opts", "r", "req", "res",
	"stream", "svc", "unknown", "w",
}

// locals returns the names that the functions of options declare besides those.
func (o options) locals() []string {
	var names []string
	if o.register {
		names = append(names, "pattern", "router")
	}
	if o.fakes {
		names = append(names, "f")
	}
	if o.iterators {
		names = append(names, "cancel", "reqs", "yield")
	}
	return names
}

// A scope is a set of names that are taken.
type scope map[string]bool

// newFileScope returns the scope of a file in which nothing is declared yet.
func newFileScope(o options) scope {
	s := scope{"init": true} // of functions alone: no import has this name
	for _, name := range types.Universe.Names() {
		s[name] = true
	}
	for _, name := range slices.Concat(locals, o.locals()) {
		s[name] = true
	}
	if o.iterators {
		s["io"], s["iter"] = true, true // imports
	}
	return s
}

// claim takes a name, with underscores appended until it is free, as protoc-gen-go does. Keywords are never free.
func (s scope) claim(name string) string {
	for s[name] || token.IsKeyword(name) {
		name += "_"
	}
	s[name] = true
	return name
}
