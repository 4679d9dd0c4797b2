// SPDX-License-Identifier: Apache-2.0

// This file compares the exported names and types of this library and of the drop-in with the reference's.

package compat

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/exp/apidiff"
	"golang.org/x/tools/go/packages"
)

const (
	referencePath = "connectrpc.com/connect"
	ourPath       = "github.com/seed-b7c59c10/connect"
	dropinDir     = "../../dropin"
)

// load type-checks one package as it is seen from dir.
func load(t *testing.T, dir, path string) *packages.Package {
	t.Helper()
	pkgs, err := packages.Load(&packages.Config{
		Mode:    packages.NeedName | packages.NeedFiles | packages.NeedTypes | packages.NeedSyntax | packages.NeedModule,
		Dir:     dir,
		Context: t.Context(),
	}, path)
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) != 1 {
		t.Fatalf("got %d packages for %s, want 1", len(pkgs), path)
	}
	for _, problem := range pkgs[0].Errors {
		t.Errorf("%s: %v", path, problem)
	}
	if t.Failed() {
		t.FailNow()
	}
	return pkgs[0]
}

// compareAPI returns the changes from old to new: those that break programs
// and those that only add.
func compareAPI(from, to *types.Package) (breaking, added []string) {
	for _, change := range apidiff.Changes(from, to).Changes {
		if change.Compatible {
			added = append(added, change.Message)
		} else {
			breaking = append(breaking, change.Message)
		}
	}
	return breaking, added
}

// TestAPI is the proof of source compatibility: a program that uses the
// reference's exported names also compiles with ours.
func TestAPI(t *testing.T) {
	reference := load(t, ".", referencePath)
	if got, want := reference.Module.Version, "v1.21.1"; got != want || reference.Module.Replace != nil {
		t.Fatalf("reference: got version %s (replaced: %v), want %s", got, reference.Module.Replace != nil, want)
	}
	ours := load(t, ".", ourPath)
	breaking, added := compareAPI(reference.Types, ours.Types)
	for _, change := range breaking {
		if reason, ok := wantedAPI[change]; ok {
			t.Logf("wanted: %s: %s", change, reason)
		} else {
			t.Errorf("incompatible: %s", change)
		}
	}
	for change := range wantedAPI {
		if !slices.Contains(breaking, change) {
			t.Errorf("listed as wanted, but does not occur: %s", change)
		}
	}
	slices.Sort(added)
	for _, change := range slices.Compact(added) {
		t.Logf("ours: %s", change)
	}
	checkMethods(t, reference.Types, ours.Types)
	if names := exported(reference.Types); len(names) < 100 {
		t.Errorf("got %d exported names in the reference, want at least 100: was it loaded?", len(names))
	}
}

// checkMethods compares the method sets of pointers to all exported types
// once more, without apidiff, which does not look into every generic type.
func checkMethods(t *testing.T, reference, ours *types.Package) {
	t.Helper()
	// Qualified alike, so that the two libraries' types have the same text.
	qualifier := func(pkg *types.Package) string {
		if pkg == reference || pkg == ours {
			return "connect"
		}
		return pkg.Path()
	}
	for _, name := range exported(reference) {
		theirType, ok := reference.Scope().Lookup(name).(*types.TypeName)
		if !ok {
			continue
		}
		ourType, ok := ours.Scope().Lookup(name).(*types.TypeName)
		if !ok {
			continue // reported by apidiff
		}
		ourMethods := methods(ourType, qualifier)
		for method, want := range methods(theirType, qualifier) {
			if got := ourMethods[method]; got != want {
				t.Errorf("%s.%s: got %q, want %q", name, method, got, want)
			}
		}
		got, want := typeParams(ourType, qualifier), typeParams(theirType, qualifier)
		if got != want {
			t.Errorf("%s: type parameters: got %q, want %q", name, got, want)
		}
	}
}

// methods returns the exported methods of a pointer to a type (of an
// interface itself) with their signatures. A generic type is instantiated
// first, so that the names of type parameters do not matter.
func methods(name *types.TypeName, qualifier types.Qualifier) map[string]string {
	t := name.Type()
	if named, ok := t.(*types.Named); ok && named.TypeParams().Len() > 0 {
		arguments := []types.Type{types.Typ[types.Int8], types.Typ[types.Int16]}[:named.TypeParams().Len()]
		t = instantiate(named, arguments)
	}
	if !types.IsInterface(t) {
		t = types.NewPointer(t)
	}
	set := types.NewMethodSet(t)
	signatures := make(map[string]string)
	for i := range set.Len() {
		method := set.At(i)
		if method.Obj().Exported() {
			signatures[method.Obj().Name()] = unnamed(method.Type().(*types.Signature), qualifier)
		}
	}
	return signatures
}

func instantiate(generic *types.Named, arguments []types.Type) types.Type {
	t, err := types.Instantiate(nil, generic, arguments, true)
	if err != nil {
		panic(err) // a constraint other than any: extend methods
	}
	return t
}

// unnamed prints a signature without the names of parameters and results.
func unnamed(signature *types.Signature, qualifier types.Qualifier) string {
	list := func(tuple *types.Tuple) string {
		var parts []string
		for v := range tuple.Variables() {
			parts = append(parts, types.TypeString(v.Type(), qualifier))
		}
		return "(" + strings.Join(parts, ", ") + ")"
	}
	return fmt.Sprintf("func%s %s variadic=%v", list(signature.Params()), list(signature.Results()), signature.Variadic())
}

func typeParams(name *types.TypeName, qualifier types.Qualifier) string {
	named, ok := name.Type().(*types.Named)
	if !ok {
		return ""
	}
	var parts []string
	for param := range named.TypeParams().TypeParams() {
		parts = append(parts, types.TypeString(param.Constraint(), qualifier))
	}
	return strings.Join(parts, ", ")
}

func exported(pkg *types.Package) []string {
	var names []string
	for _, name := range pkg.Scope().Names() {
		if pkg.Scope().Lookup(name).Exported() {
			names = append(names, name)
		}
	}
	return names
}

// TestAPIComparisonFails gives the comparison doctored copies of the reference
// and fails unless it finds each damage: a comparison that finds nothing proves nothing.
func TestAPIComparisonFails(t *testing.T) {
	reference := load(t, ".", referencePath)
	for _, test := range []struct{ name, file, old, new, want string }{
		{"function renamed", "error.go", "func IsWireError(", "func IsAWireError(", "IsWireError: removed"},
		{"parameter changed", "option.go", "func WithReadMaxBytes(maxBytes int) Option", "func WithReadMaxBytes(maxBytes int64) Option", "WithReadMaxBytes: changed"},
		{"method renamed", "error.go", "func (e *Error) Details() []*ErrorDetail", "func (e *Error) TheDetails() []*ErrorDetail", "(*Error).Details: removed"},
		{"method of a generic type removed", "client.go", "func (c *Client[Req, Res]) CallBidiStream(", "func (c *Client[Req, Res]) callBidiStream(", "(*Client[Req, Res]).CallBidiStream: removed"},
		{"constant changed", "code.go", "CodeAborted Code = 10", "CodeAborted Code = 99", "CodeAborted: value changed"},
		{"method added to an open interface", "codec.go", "type Codec interface {", "type Codec interface {\n\tExtra()", "Codec.Extra: added"},
	} {
		t.Run(test.name, func(t *testing.T) {
			doctored := doctor(t, reference, test.file, test.old, test.new)
			breaking, _ := compareAPI(reference.Types, doctored)
			found := slices.ContainsFunc(breaking, func(change string) bool { return strings.HasPrefix(change, test.want) })
			if !found {
				t.Errorf("got %q, want a change that begins with %q", breaking, test.want)
			}
		})
	}
}

// doctor type-checks the package again with the text old of one file replaced.
// Function bodies are left out: they may no longer compile.
func doctor(t *testing.T, pkg *packages.Package, name, old, new string) *types.Package {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	found := false
	for _, path := range pkg.GoFiles {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(path) == name {
			found = bytes.Contains(source, []byte(old))
			source = bytes.Replace(source, []byte(old), []byte(new), 1)
		}
		file, err := parser.ParseFile(fset, path, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	if !found {
		t.Fatalf("%s does not contain %q", name, old)
	}
	config := types.Config{
		Importer:         loadedImporter{pkg.Types},
		IgnoreFuncBodies: true,
		Error:            func(error) {},
	}
	// Errors are expected: code that used the replaced text is still there.
	doctored, _ := config.Check(pkg.PkgPath, fset, files, nil)
	return doctored
}

// loadedImporter imports what a loaded package imports.
type loadedImporter struct{ pkg *types.Package }

func (i loadedImporter) Import(path string) (*types.Package, error) {
	for _, imported := range i.pkg.Imports() {
		if imported.Path() == path {
			return imported, nil
		}
	}
	return nil, fmt.Errorf("%s does not import %q", i.pkg.Path(), path)
}

// TestDropinAPI checks that the drop-in offers exactly our names and that each
// stands for ours: identical types, signatures and values. With TestAPI it
// follows that the drop-in offers everything that the reference does.
func TestDropinAPI(t *testing.T) {
	dropin := load(t, dropinDir, ".")
	if got := dropin.PkgPath; got != referencePath {
		t.Fatalf("import path: got %q, want %q", got, referencePath)
	}
	ours, err := loadedImporter{dropin.Types}.Import(ourPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range compareForwards(dropin.Types, ours) {
		t.Error(problem)
	}
	if names := exported(ours); len(names) < 100 {
		t.Errorf("got %d exported names, want at least 100: was the package loaded?", len(names))
	}
	// The comparison itself must see a difference.
	if problems := compareForwards(ours, load(t, ".", referencePath).Types); len(problems) < 100 {
		t.Errorf("comparing unrelated packages: got %d problems, want at least 100", len(problems))
	}
}

// compareForwards compares two packages name by name, and returns the reasons for
// which got cannot stand for want.
func compareForwards(got, want *types.Package) (problems []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	gotNames, wantNames := exported(got), exported(want)
	for _, name := range gotNames {
		if !slices.Contains(wantNames, name) {
			problem("%s: only in %s", name, got.Path())
		}
	}
	for _, name := range wantNames {
		gotObject, wantObject := got.Scope().Lookup(name), want.Scope().Lookup(name)
		if gotObject == nil {
			problem("%s: missing in %s", name, got.Path())
			continue
		}
		if g, w := fmt.Sprintf("%T", gotObject), fmt.Sprintf("%T", wantObject); g != w {
			problem("%s: got a %s, want a %s", name, g, w)
			continue
		}
		if !identical(gotObject.Type(), wantObject.Type()) {
			problem("%s: got type %v, want %v", name, gotObject.Type(), wantObject.Type())
		}
		if gotConst, ok := gotObject.(*types.Const); ok {
			if g, w := gotConst.Val(), wantObject.(*types.Const).Val(); !constant.Compare(g, token.EQL, w) {
				problem("%s: got value %v, want %v", name, g, w)
			}
		}
	}
	return problems
}

// identical compares two types; a generic alias is compared with the generic
// type that it must stand for, parameter by parameter.
func identical(got, want types.Type) bool {
	alias, ok := got.(*types.Alias)
	if !ok || alias.TypeParams().Len() == 0 {
		return types.Identical(got, want)
	}
	generic, ok := want.(*types.Named)
	if !ok || generic.TypeParams().Len() != alias.TypeParams().Len() {
		return false
	}
	target, ok := types.Unalias(alias.Rhs()).(*types.Named)
	if !ok || target.Origin() != generic {
		return false
	}
	for i := range alias.TypeParams().Len() {
		param := alias.TypeParams().At(i)
		if target.TypeArgs().At(i) != types.Type(param) ||
			!types.Identical(param.Constraint(), generic.TypeParams().At(i).Constraint()) {
			return false
		}
	}
	return true
}
