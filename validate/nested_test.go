// SPDX-License-Identifier: Apache-2.0

// Messages within messages, each of which breaks a rule.

package validate_test

import (
	"context"
	"testing"

	bufvalidate "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/validate"
)

// nodes returns a message type with a name that must not be empty, and with three ways to
// nest itself: the fields child, list and map.
func nodes(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	name := new(descriptorpb.FieldOptions)
	proto.SetExtension(name, bufvalidate.E_Field, bufvalidate.FieldRules_builder{String: bufvalidate.StringRules_builder{MinLen: proto.Uint64(1)}.Build()}.Build())
	one, many := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	text, message := descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(), descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum()
	node := proto.String(".nested.v1.Node")
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("nested/v1/nested.proto"), Package: proto.String("nested.v1"), Syntax: proto.String("proto3"),
		Dependency: []string{"buf/validate/validate.proto"},
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("Node"),
			Field: []*descriptorpb.FieldDescriptorProto{
				{Name: proto.String("name"), Number: proto.Int32(1), Label: one, Type: text, Options: name},
				{Name: proto.String("child"), Number: proto.Int32(2), Label: one, Type: message, TypeName: node},
				{Name: proto.String("list"), Number: proto.Int32(3), Label: many, Type: message, TypeName: node},
				{Name: proto.String("map"), Number: proto.Int32(4), Label: many, Type: message, TypeName: proto.String(".nested.v1.Node.MapEntry")},
			},
			NestedType: []*descriptorpb.DescriptorProto{{
				Name: proto.String("MapEntry"), Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
				Field: []*descriptorpb.FieldDescriptorProto{
					{Name: proto.String("key"), Number: proto.Int32(1), Label: one, Type: text},
					{Name: proto.String("value"), Number: proto.Int32(2), Label: one, Type: message, TypeName: node},
				},
			}},
		}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().Get(0)
}

// TestNested has messages in levels, all of which break a rule: a few are all reported, and
// of many only the first.
func TestNested(t *testing.T) {
	node := nodes(t)
	around := map[string]func(outer, inner *dynamicpb.Message){
		"child": func(outer, inner *dynamicpb.Message) {
			outer.Set(node.Fields().ByName("child"), protoreflect.ValueOfMessage(inner))
		},
		"list": func(outer, inner *dynamicpb.Message) {
			outer.Mutable(node.Fields().ByName("list")).List().Append(protoreflect.ValueOfMessage(inner))
		},
		"map": func(outer, inner *dynamicpb.Message) {
			outer.Mutable(node.Fields().ByName("map")).Map().Set(protoreflect.ValueOfString("").MapKey(), protoreflect.ValueOfMessage(inner))
		},
	}
	check := validate.New().WrapUnary(func(context.Context, connect.AnyRequest) (connect.AnyResponse, error) { return nil, nil })
	for field, wrap := range around {
		for levels, want := range map[int]int{1: 1, 2: 2, 32: 32, 33: 1, 1000: 1} {
			message := dynamicpb.NewMessage(node)
			for range levels - 1 {
				outer := dynamicpb.NewMessage(node)
				wrap(outer, message)
				message = outer
			}
			_, err := check(t.Context(), connect.NewRequest(message))
			if connect.CodeOf(err) != connect.CodeInvalidArgument || len(validate.Violations(err)) != want {
				t.Errorf("%d levels of %s: got %v with %d violations, want invalid_argument with %d",
					levels, field, connect.CodeOf(err), len(validate.Violations(err)), want)
			}
		}
	}
}
