// SPDX-License-Identifier: Apache-2.0

// The import table of a generated file.

package main

import (
	"maps"
	"path"
	"slices"
	"strconv"

	"google.golang.org/protobuf/compiler/protogen"
)

// imports holds the names of the packages that a file uses. The names of the standard packages and of the runtime are
// fixed, because the source texts of this program contain them. If the name of a messages' package clashes, it changes.
type imports struct {
	self     protogen.GoImportPath            // the file's own package: its names need no qualifier
	packages map[protogen.GoImportPath]string // the names of the packages in the plugin's request
	taken    scope
	standard []string
	named    map[protogen.GoImportPath]string
}

// newImports returns a table in which runtime has the name connect. No package gets a name in taken, or one that is
// added to it before the first call of qualify.
func newImports(self protogen.GoImportPath, runtime string, packages map[protogen.GoImportPath]string, taken scope) *imports {
	for _, name := range []string{"connect", "context", "errors", "http", "strings"} {
		taken[name] = true
	}
	return &imports{
		self:     self,
		packages: packages,
		taken:    taken,
		named:    map[protogen.GoImportPath]string{protogen.GoImportPath(runtime): "connect"},
	}
}

// use imports packages of the standard library.
func (i *imports) use(paths ...string) {
	i.standard = append(i.standard, paths...)
}

// link imports a package for its init function, without a name. A later call of qualify for the package sets a name.
func (i *imports) link(importPath protogen.GoImportPath) {
	if _, ok := i.named[importPath]; !ok && importPath != i.self {
		i.named[importPath] = "_"
	}
}

// qualify imports the package of an identifier, and returns the identifier with the package's name before it.
func (i *imports) qualify(ident protogen.GoIdent) string {
	if ident.GoImportPath == i.self {
		return ident.GoName
	}
	name, ok := i.named[ident.GoImportPath]
	if !ok || name == "_" {
		name, ok = i.packages[ident.GoImportPath]
		if !ok {
			name = path.Base(string(ident.GoImportPath))
		}
		name = i.taken.claim(name)
		i.named[ident.GoImportPath] = name
	}
	return name + "." + ident.GoName
}

// write writes the import declaration: the standard library, then the others.
func (i *imports) write(w *writer) {
	w.code("import (")
	for _, importPath := range slices.Sorted(slices.Values(i.standard)) {
		w.code(strconv.Quote(importPath))
	}
	w.code("")
	for _, importPath := range slices.Sorted(maps.Keys(i.named)) {
		w.with(vars{"name": i.named[importPath], "path": strconv.Quote(string(importPath))}).code("$name $path")
	}
	w.code(")")
}

// packageNames returns the package name of each import path in the plugin's request.
func packageNames(plugin *protogen.Plugin) map[protogen.GoImportPath]string {
	names := map[protogen.GoImportPath]string{}
	for _, schema := range plugin.Files {
		names[schema.GoImportPath] = string(schema.GoPackageName)
	}
	return names
}
