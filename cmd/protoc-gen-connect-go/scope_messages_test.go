// SPDX-License-Identifier: Apache-2.0

// What protoc-gen-go declares, compared with what a scope takes for it.

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/gofeaturespb"
	"google.golang.org/protobuf/types/pluginpb"
)

// TestClaimFile runs protoc-gen-go with each of its APIs for schemas that have everything for which it declares names,
// and compares these with the names that a scope takes for the schemas.
func TestClaimFile(t *testing.T) {
	for _, level := range []string{"API_OPEN", "API_HYBRID", "API_OPAQUE"} {
		t.Run(level, func(t *testing.T) {
			plugin, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{
				FileToGenerate: []string{"rich.proto", "optional.proto"},
				Parameter:      proto.String("default_api_level=" + level),
				ProtoFile: []*descriptorpb.FileDescriptorProto{
					protodesc.ToFileDescriptorProto(descriptorpb.File_google_protobuf_descriptor_proto),
					protodesc.ToFileDescriptorProto(gofeaturespb.File_google_protobuf_go_features_proto),
					richSchema(),
					optionalSchema(),
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			taken := scope{}
			for _, schema := range plugin.Files {
				if schema.Generate {
					taken.claimFile(schema)
					internal_gengo.GenerateFile(plugin, schema) // sets the hybrid API to the opaque one
				}
			}
			declared := map[string]bool{}
			for _, file := range plugin.Response().File {
				declareAll(t, declared, file.GetContent())
			}
			for _, name := range slices.Sorted(maps.Keys(declared)) {
				if !taken[name] && !strings.HasPrefix(name, "file_") {
					t.Errorf("protoc-gen-go declares %s: want it taken", name)
				}
			}
			for _, name := range slices.Sorted(maps.Keys(taken)) {
				if !declared[name] {
					t.Errorf("%s is taken: want a declaration of protoc-gen-go", name)
				}
			}
		})
	}
}

// declareAll adds the names that a file declares at package level.
func declareAll(t *testing.T, declared map[string]bool, source string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "rich.pb.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, declaration := range file.Decls {
		switch declaration := declaration.(type) {
		case *ast.FuncDecl:
			if declaration.Recv == nil && declaration.Name.Name != "init" {
				declared[declaration.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, spec := range declaration.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					declared[spec.Name.Name] = true
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						if name.Name != "_" {
							declared[name.Name] = true
						}
					}
				}
			}
		}
	}
}

// richSchema returns a schema with a field of each kind of declaration: nested and at the top, where both are possible.
func richSchema() *descriptorpb.FileDescriptorProto {
	field := func(name string, number int32) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name:   proto.String(name),
			Number: proto.Int32(number),
			Label:  descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
			Type:   descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
		}
	}
	member := func(name string, number int32) *descriptorpb.FieldDescriptorProto {
		f := field(name, number)
		f.OneofIndex = proto.Int32(0)
		return f
	}
	withDefault := func(name string, number int32) *descriptorpb.FieldDescriptorProto {
		f := field(name, number)
		f.DefaultValue = proto.String("text")
		return f
	}
	extension := func(name string, number int32) *descriptorpb.FieldDescriptorProto {
		f := field(name, number)
		f.Extendee = proto.String(".rich.Rich")
		return f
	}
	enum := func(name string) *descriptorpb.EnumDescriptorProto {
		return &descriptorpb.EnumDescriptorProto{
			Name:  proto.String(name),
			Value: []*descriptorpb.EnumValueDescriptorProto{{Name: proto.String(strings.ToUpper(name) + "_NONE"), Number: proto.Int32(0)}},
		}
	}
	bothNames := enum("Both")
	bothNames.Options = &descriptorpb.EnumOptions{Features: &descriptorpb.FeatureSet{}}
	proto.SetExtension(bothNames.Options.Features, gofeaturespb.E_Go, &gofeaturespb.GoFeatures{
		StripEnumPrefix: gofeaturespb.GoFeatures_STRIP_ENUM_PREFIX_GENERATE_BOTH.Enum(),
	})
	entries := field("entries", 6)
	entries.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	entries.Type = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum()
	entries.TypeName = proto.String(".rich.Rich.EntriesEntry")
	return &descriptorpb.FileDescriptorProto{
		Name:       proto.String("rich.proto"),
		Package:    proto.String("rich"),
		Syntax:     proto.String("editions"),
		Edition:    descriptorpb.Edition_EDITION_2023.Enum(),
		Dependency: []string{"google/protobuf/go_features.proto"},
		Options:    &descriptorpb.FileOptions{GoPackage: proto.String("example.com/rich")},
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("Rich"),
			Field: []*descriptorpb.FieldDescriptorProto{
				field("plain", 1), withDefault("preset", 2), member("one", 3), member("inner", 4), member("string", 5), entries,
			},
			OneofDecl: []*descriptorpb.OneofDescriptorProto{{Name: proto.String("choice")}},
			NestedType: []*descriptorpb.DescriptorProto{
				{Name: proto.String("Inner"), Field: []*descriptorpb.FieldDescriptorProto{withDefault("preset", 1)}},
				{
					Name:    proto.String("EntriesEntry"),
					Field:   []*descriptorpb.FieldDescriptorProto{field("key", 1), field("value", 2)},
					Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
				},
			},
			EnumType:       []*descriptorpb.EnumDescriptorProto{enum("Within")},
			Extension:      []*descriptorpb.FieldDescriptorProto{extension("nested", 101)},
			ExtensionRange: []*descriptorpb.DescriptorProto_ExtensionRange{{Start: proto.Int32(100), End: proto.Int32(200)}},
		}},
		EnumType:  []*descriptorpb.EnumDescriptorProto{enum("Outer"), bothNames},
		Extension: []*descriptorpb.FieldDescriptorProto{extension("top", 102)},
	}
}

// optionalSchema returns a schema with an optional field of proto3, whose oneof exists in the descriptor alone.
func optionalSchema() *descriptorpb.FileDescriptorProto {
	return &descriptorpb.FileDescriptorProto{
		Name:    proto.String("optional.proto"),
		Package: proto.String("rich"),
		Syntax:  proto.String("proto3"),
		Options: &descriptorpb.FileOptions{GoPackage: proto.String("example.com/rich")},
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("Sparse"),
			Field: []*descriptorpb.FieldDescriptorProto{{
				Name:           proto.String("client"),
				Number:         proto.Int32(1),
				Label:          descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
				Type:           descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
				OneofIndex:     proto.Int32(0),
				Proto3Optional: proto.Bool(true),
			}},
			OneofDecl: []*descriptorpb.OneofDescriptorProto{{Name: proto.String("_client")}},
		}},
	}
}
