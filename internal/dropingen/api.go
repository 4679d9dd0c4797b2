// SPDX-License-Identifier: Apache-2.0

// This file finds the exported package-level declarations of a package in its syntax trees.

package main

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
)

// api holds the exported declarations of one package: constants and variables
// in the order of the source, types and functions sorted by name.
type api struct {
	name   string
	consts []value
	vars   []value
	types  []*ast.TypeSpec
	funcs  []function
	// deprecated holds the names whose documentation has a deprecation paragraph.
	deprecated map[string]bool
}

// value is one constant or variable. Group is the position of the
// parenthesised declaration that it stands in, so that constants which belong
// together stay together.
type value struct {
	name  string
	group token.Pos
}

// function is one function and the import paths of its file by local name.
type function struct {
	decl    *ast.FuncDecl
	imports map[string]string
}

// readAPI parses the package in dir as the current platform builds it, without tests.
func readAPI(dir string) (*api, error) {
	pkg, err := build.ImportDir(dir, 0)
	if err != nil {
		return nil, err
	}
	a := &api{name: pkg.Name, deprecated: make(map[string]bool)}
	fset := token.NewFileSet()
	for _, name := range pkg.GoFiles {
		file, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		a.add(file)
	}
	slices.SortFunc(a.types, func(x, y *ast.TypeSpec) int { return strings.Compare(x.Name.Name, y.Name.Name) })
	slices.SortFunc(a.funcs, func(x, y function) int { return strings.Compare(x.decl.Name.Name, y.decl.Name.Name) })
	return a, nil
}

func (a *api) add(file *ast.File) {
	imports := fileImports(file)
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil && decl.Name.IsExported() {
				a.funcs = append(a.funcs, function{decl: decl, imports: imports})
				a.note(decl.Name.Name, decl.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				a.addSpec(decl, spec)
			}
		}
	}
}

func (a *api) addSpec(decl *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Name.IsExported() {
			a.types = append(a.types, spec)
			a.note(spec.Name.Name, spec.Doc, decl.Doc)
		}
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			if !name.IsExported() {
				continue
			}
			v := value{name: name.Name, group: decl.Pos()}
			if decl.Tok == token.CONST {
				a.consts = append(a.consts, v)
			} else {
				a.vars = append(a.vars, v)
			}
			a.note(name.Name, spec.Doc, decl.Doc)
		}
	}
}

// note records whether one of the comments deprecates name.
func (a *api) note(name string, docs ...*ast.CommentGroup) {
	for _, doc := range docs {
		for line := range strings.Lines(doc.Text()) {
			if strings.HasPrefix(line, "Deprecated: ") {
				a.deprecated[name] = true
			}
		}
	}
}

func fileImports(file *ast.File) map[string]string {
	imports := make(map[string]string)
	for _, spec := range file.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		name := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imports[name] = path
	}
	return imports
}
