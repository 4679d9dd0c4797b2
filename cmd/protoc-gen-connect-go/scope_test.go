// SPDX-License-Identifier: Apache-2.0

// Names: clashes, and the variables of the generated functions.

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func TestClaim(t *testing.T) {
	s := newFileScope(options{})
	for _, test := range []struct{ name, want string }{
		{"Ping", "Ping"},
		{"Ping", "Ping_"},
		{"Ping", "Ping__"},
		{"Ping_", "Ping___"},
		{"func", "func_"},
		{"error", "error_"},
		{"httpClient", "httpClient_"},
		{"svc", "svc_"},
		{"init", "init_"},
	} {
		if got := s.claim(test.name); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

// TestLocals generates code for every kind of method, and checks that locals lists what its functions declare: a name
// that is missing there could be shadowed by an import.
func TestLocals(t *testing.T) {
	declared := map[string]bool{}
	known := slices.Concat(locals, options{register: true, fakes: true, iterators: true}.locals())
	for _, parameter := range []string{"", "simple", "runtime_package=example.com/other", "register", "fakes", "simple,iterators"} {
		source := generateAll(t, parameter)
		file, err := parser.ParseFile(token.NewFileSet(), "all.connect.go", source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		declare := func(expressions ...ast.Expr) {
			for _, expression := range expressions {
				if name, ok := expression.(*ast.Ident); ok {
					declared[name.Name] = true
				}
			}
		}
		fields := func(list *ast.FieldList) {
			for _, field := range list.List {
				for _, name := range field.Names {
					declare(name)
				}
			}
		}
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if function.Recv != nil {
				fields(function.Recv)
			}
			ast.Inspect(function, func(node ast.Node) bool {
				switch node := node.(type) {
				case *ast.FuncType:
					fields(node.Params)
				case *ast.AssignStmt:
					if node.Tok == token.DEFINE {
						declare(node.Lhs...)
					}
				case *ast.RangeStmt:
					declare(node.Key, node.Value)
				case *ast.ValueSpec:
					t.Errorf("generated code: got a %T, want this test to know it", node)
				}
				return true
			})
		}
	}
	for name := range declared {
		if !slices.Contains(known, name) {
			t.Errorf("the generated functions declare %s: want it in locals", name)
		}
	}
	for _, name := range known {
		if !declared[name] {
			t.Errorf("locals lists %s: want a generated function that declares it", name)
		}
	}
}

// generateAll returns the code for a service with a method of each kind.
func generateAll(t *testing.T, parameter string) string {
	t.Helper()
	return generateBeside(t, parameter)
}

// TestNamesOfOtherFiles: in the package of the messages, the names of other files' messages and enums are taken, too.
func TestNamesOfOtherFiles(t *testing.T) {
	other := func(name, goPackage string) *descriptorpb.FileDescriptorProto {
		return &descriptorpb.FileDescriptorProto{
			Name:    proto.String(name),
			Package: proto.String(strings.TrimSuffix(name, ".proto")),
			Syntax:  proto.String("proto3"),
			Options: &descriptorpb.FileOptions{GoPackage: proto.String(goPackage)},
			MessageType: []*descriptorpb.DescriptorProto{{
				Name:       proto.String("AllClient"),
				NestedType: []*descriptorpb.DescriptorProto{{Name: proto.String("Inner")}},
			}},
			EnumType: []*descriptorpb.EnumDescriptorProto{{
				Name:  proto.String("NewAllHandler"),
				Value: []*descriptorpb.EnumValueDescriptorProto{{Name: proto.String("NONE"), Number: proto.Int32(0)}},
			}},
		}
	}
	for _, test := range []struct {
		parameter, goPackage string
		renamed              bool
	}{
		{"package_suffix", "example.com/all", true},
		{"package_suffix", "example.com/other", false},
		{"", "example.com/all", false},
		{"", "example.com/all/allconnect", true}, // messages in the package of the code
	} {
		source := generateBeside(t, test.parameter, other("other.proto", test.goPackage))
		for _, name := range []string{"type AllClient", "func NewAllHandler"} {
			if got := strings.Contains(source, name+"_"); got != test.renamed {
				t.Errorf("%q beside %s: %s renamed: got %t, want %t", test.parameter, test.goPackage, name, got, test.renamed)
			}
		}
	}
}

// TestNamesOfOptions: an option that adds names changes none of the names that the file has without it.
func TestNamesOfOptions(t *testing.T) {
	schema := &descriptorpb.FileDescriptorProto{
		Name:        proto.String("names.proto"),
		Options:     &descriptorpb.FileOptions{GoPackage: proto.String("example.com/names")},
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Empty")}},
	}
	for _, name := range []string{"Ping", "FakePing", "Name", "Client", "Register"} {
		schema.Service = append(schema.Service, &descriptorpb.ServiceDescriptorProto{Name: proto.String(name)})
	}
	plugin, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{"names.proto"}, ProtoFile: []*descriptorpb.FileDescriptorProto{schema},
	})
	if err != nil {
		t.Fatal(err)
	}
	names := func(o options) []service { return newServices(newFileScope(o), o, plugin.Files[0].Services) }
	more := names(options{register: true, fakes: true})
	for n, s := range names(options{}) {
		for key, want := range s.names {
			if got := more[n].names[key]; got != want {
				t.Errorf("%s of service %s: got %s with the options, %s without", key, s.GoName, got, want)
			}
		}
	}
	for key, want := range map[string]string{"FakeClient": "FakePingClient_", "FakeHandler": "FakePingHandler_", "Register": "RegisterPing"} {
		if got := more[0].names[key]; got != want {
			t.Errorf("%s of Ping: got %s, want %s", key, got, want)
		}
	}
}

// generateBeside is generateAll with other files.
func generateBeside(t *testing.T, parameter string, others ...*descriptorpb.FileDescriptorProto) string {
	t.Helper()
	service := &descriptorpb.ServiceDescriptorProto{Name: proto.String("All")}
	for n := range 4 {
		service.Method = append(service.Method, &descriptorpb.MethodDescriptorProto{
			Name:            proto.String("Method" + strconv.Itoa(n)),
			InputType:       proto.String(".all.Empty"),
			OutputType:      proto.String(".all.Empty"),
			ClientStreaming: proto.Bool(n&1 != 0),
			ServerStreaming: proto.Bool(n&2 != 0),
		})
	}
	files := []string{"all.proto"}
	for _, other := range others {
		files = append(files, other.GetName())
	}
	options := defaultOptions()
	plugin, err := protogen.Options{ParamFunc: options.set}.New(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: files,
		Parameter:      proto.String(parameter),
		ProtoFile: append(others, &descriptorpb.FileDescriptorProto{
			Name:        proto.String("all.proto"),
			Package:     proto.String("all"),
			Syntax:      proto.String("proto3"),
			Options:     &descriptorpb.FileOptions{GoPackage: proto.String("example.com/all")},
			MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Empty")}},
			Service:     []*descriptorpb.ServiceDescriptorProto{service},
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	generate(plugin, options)
	response := plugin.Response()
	if response.Error != nil || len(response.File) != 1 {
		t.Fatalf("got %d files and error %q, want one file", len(response.File), response.GetError())
	}
	content := response.File[0].GetContent()
	if strings.Contains(content, "$") {
		t.Errorf("code: got a '$' in it:\n%s", content)
	}
	return content
}
