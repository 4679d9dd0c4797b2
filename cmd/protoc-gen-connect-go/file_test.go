// SPDX-License-Identifier: Apache-2.0

// Files of one Go package: their services share names.

package main

import (
	"path"
	"strings"
	"testing"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// TestNamesOfOtherServices: services of a Go package's files have names of their own. They do not depend on the order of
// the files in a request, and not on files that import one.
func TestNamesOfOtherServices(t *testing.T) {
	for _, parameter := range []string{"", "package_suffix"} {
		want := generateFiles(t, parameter, "a.proto", "b.proto", "c.proto", "0.proto")
		for _, test := range []struct{ file, declaration string }{
			{"a.proto", "type UnimplementedHttpHandler struct"},
			{"a.proto", "\tHttpBarBazProcedure "},
			{"b.proto", "type UnimplementedHttpHandler_ interface"}, // a later path
			{"b.proto", "\tHttpBarBazProcedure_ "},
			{"0.proto", "type NewHttpClient_ interface"}, // an importer
			{"c.proto", "type GetterClient interface"},
		} {
			if !strings.Contains(want[test.file], test.declaration) {
				t.Errorf("%q: %s: got no %q:\n%s", parameter, test.file, test.declaration, want[test.file])
			}
		}
		for _, names := range [][]string{
			{"0.proto", "c.proto", "b.proto", "a.proto"},
			{"b.proto", "0.proto"},
			{"b.proto", "a.proto"},
			{"0.proto"},
			{"a.proto"},
			{"c.proto"},
		} {
			for name, got := range generateFiles(t, parameter, names...) {
				if got != want[name] {
					t.Errorf("%q: %s of %q: got\n%s\nwant\n%s", parameter, name, names, got, want[name])
				}
			}
		}
	}
}

// generateFiles returns the code for some files of one Go package, by their schemas' names. Both a.proto and b.proto
// import c.proto, and 0.proto imports a.proto.
func generateFiles(t *testing.T, parameter string, names ...string) map[string]string {
	t.Helper()
	service := func(name string, methods ...string) *descriptorpb.ServiceDescriptorProto {
		s := &descriptorpb.ServiceDescriptorProto{Name: proto.String(name)}
		for _, method := range methods {
			s.Method = append(s.Method, &descriptorpb.MethodDescriptorProto{
				Name: proto.String(method), InputType: proto.String(".files.Empty"), OutputType: proto.String(".files.Empty"),
			})
		}
		return s
	}
	schemas := map[string]*descriptorpb.FileDescriptorProto{
		"0.proto": {
			Dependency: []string{"a.proto", "c.proto"},
			Service:    []*descriptorpb.ServiceDescriptorProto{service("NewHttp", "Get")},
		},
		"a.proto": {
			Dependency: []string{"c.proto"},
			Service:    []*descriptorpb.ServiceDescriptorProto{service("Http", "Get", "BarBaz")},
		},
		"b.proto": {
			Dependency: []string{"c.proto"},
			Service:    []*descriptorpb.ServiceDescriptorProto{service("UnimplementedHttp", "Get"), service("HttpBar", "Baz")},
		},
		"c.proto": {
			MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Empty")}},
			Service:     []*descriptorpb.ServiceDescriptorProto{service("Getter", "Get")},
		},
	}
	generating := &pluginpb.CodeGeneratorRequest{FileToGenerate: names, Parameter: proto.String(parameter)}
	for _, name := range []string{"c.proto", "b.proto", "a.proto", "0.proto"} {
		schema := schemas[name]
		schema.Name = proto.String(name)
		schema.Package = proto.String("files")
		schema.Syntax = proto.String("proto3")
		schema.Options = &descriptorpb.FileOptions{GoPackage: proto.String("example.com/files")}
		generating.ProtoFile = append(generating.ProtoFile, schema)
	}
	options := defaultOptions()
	plugin, err := protogen.Options{ParamFunc: options.set}.New(generating)
	if err != nil {
		t.Fatal(err)
	}
	generate(plugin, options)
	response := plugin.Response()
	if response.Error != nil || len(response.File) != len(names) {
		t.Fatalf("got %d files and error %q, want %d files", len(response.File), response.GetError(), len(names))
	}
	code := map[string]string{}
	for _, file := range response.File {
		code[strings.TrimSuffix(path.Base(file.GetName()), ".connect.go")+".proto"] = file.GetContent()
	}
	return code
}
