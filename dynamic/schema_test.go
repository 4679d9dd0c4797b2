// SPDX-License-Identifier: Apache-2.0

// This file tests schemas: good and hostile sets, names, types and options.

package dynamic_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// fileOf makes a file from the JSON of its descriptor.
func fileOf(t testing.TB, text string) *descriptorpb.FileDescriptorProto {
	t.Helper()
	file := new(descriptorpb.FileDescriptorProto)
	if err := protojson.Unmarshal([]byte(text), file); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoadSetErrors(t *testing.T) {
	const service = `"service":[{"name":"S","method":[{"name":"M","inputType":".a.T","outputType":".a.T"}]}]`
	for name, c := range map[string]struct {
		files []string
		want  string
	}{
		"missing import": {[]string{`{"name":"a.proto","dependency":["b.proto"]}`}, `file "a.proto" imports "b.proto", which is not in the set`},
		"cycle":          {[]string{`{"name":"a.proto","dependency":["b.proto"]}`, `{"name":"b.proto","dependency":["a.proto"]}`}, "cycle"},
		"imports itself": {[]string{`{"name":"a.proto","dependency":["a.proto"]}`}, "cycle"},
		"missing type":   {[]string{`{"name":"a.proto","package":"a",` + service + `}`}, "a.T"},
		"twice":          {[]string{`{"name":"a.proto"}`, `{"name":"a.proto"}`}, "a.proto"},
		"name twice":     {[]string{`{"name":"a.proto","messageType":[{"name":"T"}]}`, `{"name":"b.proto","messageType":[{"name":"T"}]}`}, "conflict over T"},
		"no name":        {[]string{`{}`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			set := new(descriptorpb.FileDescriptorSet)
			for _, file := range c.files {
				set.File = append(set.File, fileOf(t, file))
			}
			encoded, err := proto.Marshal(set)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = dynamic.LoadSet(encoded); err == nil || !strings.HasPrefix(err.Error(), "load descriptor set: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := dynamic.LoadSet([]byte("\xff")); err == nil || !strings.Contains(err.Error(), "expected a google.protobuf.FileDescriptorSet") {
		t.Errorf("got error %v for bytes that are no set", err)
	}
}

// FuzzLoadSet looks for sets that make the loader, or a user of what it has loaded,
// panic.
func FuzzLoadSet(f *testing.F) {
	good, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		protodesc.ToFileDescriptorProto(conntestv1.File_conntest_v1_conntest_proto), optionFile(f)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, set []byte) {
		schema, err := dynamic.LoadSet(set)
		if err != nil {
			return
		}
		for method := range schema.Methods() {
			found, err := schema.Method(dynamic.Procedure(method))
			if err != nil || found != method {
				t.Errorf("%s: got %v and error %v", method.FullName(), found, err)
			}
			_, _ = dynamic.MethodOptions(method, schema.Types())
			dynamic.WithMethod(method)
			dynamicpb.NewMessage(method.Input())
		}
	})
}

func TestMethod(t *testing.T) {
	schema := testSchema(t)
	for _, name := range []string{"/conntest.v1.TestService/Unary", "conntest.v1.TestService/Unary", "conntest.v1.TestService.Unary"} {
		if method, err := schema.Method(name); err != nil || dynamic.Procedure(method) != "/conntest.v1.TestService/Unary" {
			t.Errorf("%s: got %v and error %v, want the method", name, method, err)
		}
	}
	for name, want := range map[string]string{
		"/conntest.v1.TestService/Missing": "has the methods [Unary Get ServerStream ClientStream Bidi]",
		"/conntest.v1.Missing/Unary":       `no service "conntest.v1.Missing"`,
		"/conntest.v1/Request":             "is no method",
		"":                                 "no service",
		"//":                               "no service",
	} {
		if _, err := schema.Method(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %q", name, err, want)
		}
	}
	var got []string
	for method := range schema.Methods() {
		got = append(got, fmt.Sprintf("%s %v", method.Name(), dynamic.KindOf(method)))
	}
	if want := []string{"Bidi bidi", "ClientStream client", "Get unary", "ServerStream server", "Unary unary"}; !slices.Equal(got, want) {
		t.Errorf("got methods %q, want %q", got, want)
	}
}

// The registry of the program is a schema, too.
func TestFromFiles(t *testing.T) {
	method, err := dynamic.FromFiles(protoregistry.GlobalFiles).Method("/conntest.v1.TestService/Unary")
	if err != nil || method.Input() != (&conntestv1.Request{}).ProtoReflect().Descriptor() {
		t.Errorf("got %v and error %v, want the linked method", method, err)
	}
}

// optionFile is a service whose method has an option that no program links, and a
// message for extensions and Any.
func optionFile(t testing.TB) *descriptorpb.FileDescriptorProto {
	t.Helper()
	file := fileOf(t, `{
		"name": "acl.proto", "package": "acl", "syntax": "proto2",
		"dependency": ["google/protobuf/descriptor.proto", "google/protobuf/any.proto"],
		"messageType": [
			{"name": "Open", "field": [{"name": "any", "number": 1, "label": "LABEL_OPTIONAL", "type": "TYPE_MESSAGE", "typeName": ".google.protobuf.Any"}],
				"extensionRange": [{"start": 100, "end": 200}]},
			{"name": "Hidden", "field": [{"name": "value", "number": 1, "label": "LABEL_OPTIONAL", "type": "TYPE_STRING"}]}
		],
		"extension": [
			{"name": "scope", "number": 50001, "label": "LABEL_OPTIONAL", "type": "TYPE_STRING", "extendee": ".google.protobuf.MethodOptions"},
			{"name": "extra", "number": 100, "label": "LABEL_OPTIONAL", "type": "TYPE_STRING", "extendee": ".acl.Open"}
		],
		"service": [{"name": "S", "method": [{"name": "M", "inputType": ".acl.Open", "outputType": ".acl.Open", "options": {"idempotencyLevel": "IDEMPOTENT"}}]}]
	}`)
	options := file.Service[0].Method[0].Options
	options.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 50001, protowire.BytesType), "admin"))
	return file
}

// The schema's own options of a method can be read though no generated code has them.
func TestMethodOptions(t *testing.T) {
	schema := schemaOf(t, optionFile(t))
	method, err := schema.Method("/acl.S/M")
	if err != nil {
		t.Fatal(err)
	}
	options, err := dynamic.MethodOptions(method, schema.Types())
	if err != nil {
		t.Fatal(err)
	}
	scope, err := schema.Types().FindExtensionByName("acl.scope")
	if err != nil {
		t.Fatal(err)
	}
	if got := proto.GetExtension(options, scope); got != "admin" {
		t.Errorf("got scope %q, want %q", got, "admin")
	}
	none, err := dynamic.MethodOptions(methodOf(t, testSchema(t), "Unary"), schema.Types())
	if err != nil || none == nil || none.ProtoReflect().IsValid() == false {
		t.Errorf("got %v and error %v for a method without options, want empty options", none, err)
	}
}

// JSON with an Any of a type that only the schema has, and with an extension.
func TestTypesInJSON(t *testing.T) {
	schema := schemaOf(t, optionFile(t))
	method, err := schema.Method("/acl.S/M")
	if err != nil {
		t.Fatal(err)
	}
	const text = `{"any":{"@type":"type.googleapis.com/acl.Hidden","value":"v"},"[acl.extra]":"e"}`
	codec := dynamic.NewJSONCodec(schema.Types())
	message := dynamicpb.NewMessage(method.Input())
	if err := codec.Unmarshal([]byte(text), message); err != nil {
		t.Fatal(err)
	}
	encoded, err := dynamic.NewProtoCodec(schema.Types()).Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	again := dynamicpb.NewMessage(method.Input())
	if err := dynamic.NewProtoCodec(schema.Types()).Unmarshal(encoded, again); err != nil {
		t.Fatal(err)
	}
	if len(again.GetUnknown()) > 0 {
		t.Errorf("got unknown fields %q, want the extension to be known", again.GetUnknown())
	}
	stable := codec.(interface{ MarshalStable(any) ([]byte, error) })
	if got, err := stable.MarshalStable(again); err != nil || string(got) != text {
		t.Errorf("got %s and error %v, want %s", got, err, text)
	}
	if err := codec.Unmarshal(nil, message); err == nil {
		t.Error("got no error for an empty message")
	}
	if _, err := codec.Marshal(connect.Spec{}); err == nil {
		t.Error("got no error for a value that is no message")
	}
}

// nested returns JSON with that many levels of Any.
func nested(levels int) string {
	const wrap = `{"@type":"type.googleapis.com/google.protobuf.Any","value":`
	return strings.Repeat(wrap, levels-1) + `{"@type":"type.googleapis.com/acl.Hidden"}` + strings.Repeat("}", levels-1)
}

func TestAnyNesting(t *testing.T) {
	schema := schemaOf(t, optionFile(t))
	method, err := schema.Method("/acl.S/M")
	if err != nil {
		t.Fatal(err)
	}
	codec := dynamic.NewJSONCodec(schema.Types())
	decode := func(text string) error {
		return codec.Unmarshal([]byte(text), dynamicpb.NewMessage(method.Input()))
	}
	if err := decode(`{"any":` + nested(100) + `}`); err != nil {
		t.Errorf("got error %v for 100 levels, want none", err)
	}
	for _, text := range []string{nested(101), nested(5000), strings.ReplaceAll(nested(101), "@type", `\u0040type`)} {
		if err := decode(`{"any":` + text + `}`); err == nil || !strings.Contains(err.Error(), "nested more than 100 levels") {
			t.Errorf("got error %v for %d bytes, want one about the levels", err, len(text))
		}
	}
	// Many beside each other are no nesting.
	if err := decode(`{"ignored":[` + strings.Repeat(nested(1)+",", 500) + `{}]}`); err != nil {
		t.Errorf("got error %v for 500 values beside each other, want none", err)
	}
}
