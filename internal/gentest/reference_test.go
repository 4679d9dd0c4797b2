// SPDX-License-Identifier: Apache-2.0

// The names and types that programs rely on, against the plugin of connectrpc.com/connect.

package gentest

import (
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"maps"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

const referencePlugin = "reference-protoc-gen-connect-go"

// TestSameDeclarations generates the same schemas with the reference's plugin, and finds the same files, packages, and
// exported declarations with the same types and values: code that uses the one compiles with the other.
func TestSameDeclarations(t *testing.T) {
	build := exec.Command("go", "build", "-o", filepath.Join(programs, referencePlugin),
		"connectrpc.com/connect/cmd/protoc-gen-connect-go")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the reference's plugin: %v\n%s", err, output)
	}
	// The reference's code for these does not compile, so no program uses it.
	broken := []string{"clashes", "samepackage", "samepackage/declared", "twofiles"}
	names := slices.DeleteFunc(allSchemas(t), func(name string) bool { return slices.Contains(broken, path.Dir(name)) })
	for _, options := range []string{
		module,
		module + ",simple",
		module + ",package_suffix=rpc",
		module + ",package_suffix",
		"paths=source_relative",
	} {
		t.Run(options, func(t *testing.T) {
			request := compile(t, names...)
			request.Parameter = proto.String(options)
			want := declarations(t, runPlugin(t, referencePlugin, request))
			request.Parameter = proto.String(options + ",runtime_package=connectrpc.com/connect")
			got := declarations(t, runPlugin(t, connectPlugin, request))
			if len(want) < 100 {
				t.Fatalf("got only %d declarations of the reference", len(want))
			}
			for _, name := range slices.Sorted(maps.Keys(want)) {
				if got[name] != want[name] {
					t.Errorf("%s:\ngot  %q\nwant %q", name, got[name], want[name])
				}
			}
			for _, name := range slices.Sorted(maps.Keys(got)) {
				if _, ok := want[name]; !ok {
					t.Errorf("%s: got %q, want no such declaration", name, got[name])
				}
			}
		})
	}
}

// declarations returns the exported names of the files: "file: name" to a text of its type or value, in which packages
// have their import paths and parameters have no names.
func declarations(t *testing.T, response *pluginpb.CodeGeneratorResponse) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, generated := range response.File {
		file, err := parser.ParseFile(token.NewFileSet(), generated.GetName(), generated.GetContent(), parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		normalize(t, file)
		found[generated.GetName()+": package"] = file.Name.Name
		add := func(name string, node any) {
			if ast.IsExported(name) {
				found[generated.GetName()+": "+name] = render(t, node)
			}
		}
		for _, declaration := range file.Decls {
			switch declaration := declaration.(type) {
			case *ast.FuncDecl:
				name := declaration.Name.Name
				if declaration.Recv != nil {
					name = render(t, declaration.Recv.List[0].Type) + "." + name
				}
				add(name, declaration.Type)
			case *ast.GenDecl:
				for _, spec := range declaration.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						methods, ok := spec.Type.(*ast.InterfaceType)
						if !ok {
							add(spec.Name.Name, spec.Type)
							continue
						}
						add(spec.Name.Name, ast.NewIdent("interface"))
						for _, method := range methods.Methods.List {
							add(spec.Name.Name+"."+method.Names[0].Name, method.Type)
						}
					case *ast.ValueSpec:
						add(spec.Names[0].Name, spec.Values[0])
					}
				}
			}
		}
	}
	return found
}

// normalize removes from a file the names that its users cannot see: of imports and parameters.
func normalize(t *testing.T, file *ast.File) {
	t.Helper()
	paths := map[string]string{}
	for _, spec := range file.Imports {
		importPath, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		name := path.Base(importPath)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		paths[name] = importPath
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.SelectorExpr:
			if qualifier, ok := node.X.(*ast.Ident); ok && paths[qualifier.Name] != "" {
				// The name is replaced once: it is not a path afterwards.
				node.X = ast.NewIdent("<" + paths[qualifier.Name] + ">")
			}
		case *ast.FuncType:
			for _, field := range node.Params.List {
				field.Names = nil
			}
		}
		return true
	})
}

// render prints a node in one line.
func render(t *testing.T, node any) string {
	t.Helper()
	var text strings.Builder
	if err := printer.Fprint(&text, token.NewFileSet(), node); err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(text.String()), " ")
}
