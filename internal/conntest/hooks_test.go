// SPDX-License-Identifier: Apache-2.0

// This file compares the hooks of the engine with those of the library. A hook is a
// method that one looks for in the other's values, as neither imports the other.

package conntest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	library = "github.com/seed-b7c59c10/connect"
	engineH = library + "/h2"
	process = library + "/inprocess" // has the engine's hooks, on both sides
)

// hooks are the methods, each with the package whose values have it; the package by looks
// for it.
var hooks = []struct{ method, of, by string }{
	{"ServeDirect", library, engineH},       // by the server, of handlers
	{"ServeDirect", library, process},       //
	{"DirectRequest", engineH, library},     // by handlers, of what ServeDirect is given
	{"DirectRequest", process, library},     //
	{"DirectClientTLS", engineH, library},   //
	{"DirectClientTLS", process, library},   //
	{"DirectField", engineH, library},       //
	{"DirectField", process, library},       //
	{"MaxHeaderListSize", engineH, library}, // by handlers, of the ResponseWriter
	{"PrepareDirect", engineH, library},     // by clients, of transports
	{"PrepareDirect", process, library},     //
	{"RoundTripDirect", engineH, library},   // by clients, of what PrepareDirect returns
	{"RoundTripDirect", process, library},   //
	{"DirectHead", engineH, library},        // by clients, of what RoundTripDirect returns
	{"DirectHead", process, library},        //
	{"DirectServerTLS", engineH, library},   //
	{"DirectServerTLS", process, library},   //
	{"HeedsContext", engineH, library},      // by clients, of transports
	{"HeedsContext", process, library},      //
	{"InMemory", library, engineH},          // by the transport, of request bodies
	{"InMemory", library, process},          //
}

// TestHooks checks that a type with a hook's method has the whole interface that the
// other package looks for. If a signature differed, all calls would go through
// net/http's types, and no other test would fail.
func TestHooks(t *testing.T) {
	packages := loadTyped(t, library, engineH, process)
	for _, hook := range hooks {
		asker := hook.by
		asked := packages[asker].interfacesWith(hook.method)
		if len(asked) == 0 {
			t.Errorf("%s: got no interface in %s that has it, want one", hook.method, asker)
		}
		concrete := packages[hook.of].typesWith(hook.method)
		if len(concrete) == 0 {
			t.Errorf("%s: got no type in %s that has it, want one", hook.method, hook.of)
		}
		for _, c := range concrete {
			for _, i := range asked {
				if method, wrong := types.MissingMethod(c, i, true); method != nil {
					t.Errorf("%s: got %v without %s (another signature: %t), which is in\n%v of %s", hook.method, c, method.Name(), wrong, i, asker)
				}
			}
		}
	}
}

// TestHooksFound checks that the test above finds interfaces and types, and reports a
// signature that does not fit.
func TestHooksFound(t *testing.T) {
	fset := token.NewFileSet()
	const source = `package p
type asks interface { A(int); B() }
type fits struct{}
func (*fits) A(int) {}
func (*fits) B() {}
type other struct{}
func (other) A(string) {}
func f(v any) { _, _ = v.(interface{ C() bool }) }`
	file, err := parser.ParseFile(fset, "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	p, err := check(fset, "p", []*ast.File{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "interfaces with C", len(p.interfacesWith("C")), 1)
	asked, concrete := p.interfacesWith("A"), p.typesWith("A")
	if len(asked) != 1 || len(concrete) != 2 {
		t.Fatalf("got %v and %v, want one interface and two types", asked, concrete)
	}
	var fitting []string
	for _, c := range concrete {
		if types.Implements(c, asked[0]) {
			fitting = append(fitting, c.String())
		}
	}
	wantEqual(t, "types that fit", fmt.Sprint(fitting), "[*p.fits]")
}

// typed is a package with its types.
type typed struct {
	scope *types.Scope
	info  types.Info
}

// loadTyped returns packages with all that is in them, unexported names too. They
// share the types of what they import.
func loadTyped(t *testing.T, paths ...string) map[string]typed {
	t.Helper()
	list := func(arguments ...string) string {
		command := exec.Command("go", append([]string{"list"}, arguments...)...)
		command.Stderr = os.Stderr
		out, err := command.Output()
		if err != nil {
			t.Fatalf("%v: %v", command.Args, err)
		}
		return string(out)
	}
	exports := make(map[string]string)
	for line := range strings.Lines(list(append([]string{"-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}"}, paths...)...)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		exports[path] = file
	}
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if file := exports[path]; file != "" {
			return os.Open(file)
		}
		return nil, errors.New("no export data of " + path)
	})
	packages := make(map[string]typed)
	for _, path := range paths {
		files := strings.Fields(list("-f", "{{.Dir}} {{join .GoFiles \" \"}}", path))
		var parsed []*ast.File
		for _, name := range files[1:] {
			file, err := parser.ParseFile(fset, filepath.Join(files[0], name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			parsed = append(parsed, file)
		}
		p, err := check(fset, path, parsed, imports)
		if err != nil {
			t.Fatal(err)
		}
		packages[path] = p
	}
	return packages
}

func check(fset *token.FileSet, path string, files []*ast.File, imports types.Importer) (typed, error) {
	p := typed{info: types.Info{Types: make(map[ast.Expr]types.TypeAndValue)}}
	checked, err := (&types.Config{Importer: imports}).Check(path, fset, files, &p.info)
	if err == nil {
		p.scope = checked.Scope()
	}
	return p, err
}

// interfacesWith returns the interfaces in a package's code, named or not, that have
// a method.
func (p typed) interfacesWith(method string) []*types.Interface {
	var found []*types.Interface
	for expr, tv := range p.info.Types {
		if _, literal := expr.(*ast.InterfaceType); !literal {
			continue
		}
		i := tv.Type.Underlying().(*types.Interface)
		if object, _, _ := types.LookupFieldOrMethod(i, false, nil, method); object != nil && !slices.ContainsFunc(found, func(other *types.Interface) bool {
			return types.Identical(i, other)
		}) {
			found = append(found, i)
		}
	}
	return found
}

// typesWith returns the pointers to the named types of a package that have a method
// themselves.
func (p typed) typesWith(method string) []types.Type {
	var found []types.Type
	for _, name := range p.scope.Names() {
		object, ok := p.scope.Lookup(name).(*types.TypeName)
		if !ok || object.IsAlias() {
			continue
		}
		named, ok := object.Type().(*types.Named)
		if !ok || types.IsInterface(named) {
			continue
		}
		for m := range named.Methods() {
			if m.Name() == method {
				found = append(found, types.NewPointer(named))
			}
		}
	}
	return found
}
