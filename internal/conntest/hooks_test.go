// SPDX-License-Identifier: Apache-2.0

// This file compares the hooks of the engine with those of the library. A hook is a
// method that one looks for in the other's values, as neither imports the other.
// Package internal/direct has the interfaces of all hooks.

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

	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/h2"
	hooks "github.com/seed-b7c59c10/connect/internal/direct"
)

const (
	library     = "github.com/seed-b7c59c10/connect"
	direct      = library + "/internal/direct"
	engineH     = library + "/h2"
	process     = library + "/inprocess" // has the engine's hooks, on both sides
	balancer    = library + "/balance"
	connectTest = library + "/connecttest"
	draining    = library + "/drain"
	overNATS    = library + "/nats"
)

// Exported transports. The types of other modules, and those without export, are held by
// such lines beside them, if their packages import internal/direct.
var (
	_ hooks.Transport     = (*h2.Transport)(nil)
	_ hooks.ContextHeeder = (*h2.Transport)(nil)
	_ hooks.Transport     = (*balance.Balancer)(nil)
	_ hooks.ContextHeeder = (*balance.Balancer)(nil)
	_ hooks.Handler       = (*host)(nil) // the tests' own
)

// methods are the hooks, each with the packages whose values have it, and the packages by
// which it is looked for, through interfaces of their own.
var methods = []struct {
	name   string
	of, by []string
}{
	// By the server, of handlers.
	{"ServeDirect", []string{library, draining, connectTest}, []string{engineH}},
	// By handlers, of what ServeDirect is given.
	{"DirectRequest", []string{engineH, process, draining}, []string{library}},
	{"DirectClientTLS", []string{engineH, process}, []string{library}},
	{"DirectField", []string{engineH, process}, []string{library}},
	{"MaxHeaderListSize", []string{engineH}, []string{library}},
	// By clients, of transports, of what PrepareDirect returns, and of what RoundTripDirect returns.
	{"PrepareDirect", []string{engineH, process, balancer}, []string{library}},
	{"RoundTripDirect", []string{engineH, process, balancer}, []string{library}},
	{"DirectHead", []string{engineH, process, balancer}, []string{library}},
	{"DirectServerTLS", []string{engineH, process, balancer}, []string{library}},
	{"HeedsContext", []string{engineH, process, balancer, overNATS}, []string{library}},
	// By transports, of request bodies.
	{"InMemory", []string{library}, []string{engineH}},
}

// TestHooks checks that each interface with a hook's method is that of internal/direct,
// and that each type with the method has the whole interface. If a signature differed, all
// calls would go through net/http's types, and no other test would fail.
func TestHooks(t *testing.T) {
	packages := loadTyped(t, library, direct, engineH, process, balancer, connectTest, draining, overNATS)
	for _, hook := range methods {
		wants := packages[direct].interfacesWith(hook.name)
		if len(wants) != 1 {
			t.Fatalf("%s: got %d interfaces in %s that have it, want one", hook.name, len(wants), direct)
		}
		want := wants[0]
		for path, p := range packages {
			asked, concrete := p.interfacesWith(hook.name), p.typesWith(hook.name)
			if len(asked) == 0 && slices.Contains(hook.by, path) {
				t.Errorf("%s: got no interface in %s that has it, want one", hook.name, path)
			}
			if len(concrete) == 0 && slices.Contains(hook.of, path) {
				t.Errorf("%s: got no type in %s that has it, want one", hook.name, path)
			}
			for _, i := range asked {
				if !types.Identical(i, want) {
					t.Errorf("%s: got in %s\n%v, want\n%v", hook.name, path, i, want)
				}
			}
			for _, c := range concrete {
				if method, wrong := types.MissingMethod(c, want, true); method != nil {
					t.Errorf("%s: got %v without %s (another signature: %t), which is in\n%v", hook.name, c, method.Name(), wrong, want)
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
