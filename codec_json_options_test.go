// SPDX-License-Identifier: Apache-2.0

// Tests of the options of JSON, in both directions and through a call.

package connect

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/sourcecontextpb"
	"google.golang.org/protobuf/types/known/typepb"
)

// written returns a message as the codec writes it, without optional white space.
func written(t *testing.T, options JSONOptions, m proto.Message) string {
	t.Helper()
	data, err := jsonCodec{options}.MarshalStable(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestJSONOptionsWrite(t *testing.T) {
	field := &typepb.Field{TypeUrl: "a", Kind: typepb.Field_TYPE_BOOL}
	source := &typepb.Type{SourceContext: &sourcecontextpb.SourceContext{}}
	for _, test := range []struct {
		name    string
		options JSONOptions
		message proto.Message
		want    string
	}{
		{"default", JSONOptions{}, field, `{"kind":"TYPE_BOOL","typeUrl":"a"}`},
		{"UseProtoNames", JSONOptions{UseProtoNames: true}, field, `{"kind":"TYPE_BOOL","type_url":"a"}`},
		{"UseEnumNumbers", JSONOptions{UseEnumNumbers: true}, field, `{"kind":8,"typeUrl":"a"}`},
		{"default of empty fields", JSONOptions{}, source, `{"sourceContext":{}}`},
		{"EmitDefaultValues", JSONOptions{EmitDefaultValues: true}, source,
			`{"name":"","fields":[],"oneofs":[],"options":[],"sourceContext":{"fileName":""},"syntax":"SYNTAX_PROTO2","edition":""}`},
		{"EmitUnpopulated", JSONOptions{EmitUnpopulated: true}, new(typepb.Type),
			`{"name":"","fields":[],"oneofs":[],"options":[],"sourceContext":null,"syntax":"SYNTAX_PROTO2","edition":""}`},
	} {
		if got := written(t, test.options, test.message); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
		back := test.message.ProtoReflect().New().Interface()
		if err := (jsonCodec{JSONOptions{RefuseUnknown: true}}).Unmarshal([]byte(test.want), back); err != nil || !proto.Equal(back, test.message) {
			t.Errorf("%s: read back: got %v, %v", test.name, back, err)
		}
	}
}

func TestJSONOptionsRead(t *testing.T) {
	const unknown = `{"typeUrl":"a","other":1}`
	m := new(typepb.Field)
	if err := (jsonCodec{}).Unmarshal([]byte(unknown), m); err != nil || m.TypeUrl != "a" {
		t.Errorf("got %v, %v, want no error", m, err)
	}
	strict := jsonCodec{JSONOptions{RefuseUnknown: true}}
	if err := strict.Unmarshal([]byte(unknown), m); err == nil || !strings.Contains(err.Error(), `unknown field "other"`) {
		t.Errorf("got %v, want an error", err)
	}
	if err := strict.Unmarshal([]byte(`{"@type":"a"}`), m); err == nil {
		t.Error("got no error of a field that only an Any has")
	}
	nested := []byte(nestedAny(3, `"@type"`, true))
	for limit, want := range map[int]bool{2: false, 3: true} {
		if err := (jsonCodec{JSONOptions{AnyNesting: limit}}).Unmarshal(nested, new(anypb.Any)); (err == nil) != want {
			t.Errorf("3 levels with a bound of %d: got %v", limit, err)
		}
	}
}

// noTypes is a resolver that knows no type.
type noTypes struct{}

var errNoTypes = errors.New("no types here")

func (noTypes) FindMessageByName(protoreflect.FullName) (protoreflect.MessageType, error) {
	return nil, errNoTypes
}
func (noTypes) FindMessageByURL(string) (protoreflect.MessageType, error) { return nil, errNoTypes }
func (noTypes) FindExtensionByName(protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return nil, protoregistry.NotFound
}
func (noTypes) FindExtensionByNumber(protoreflect.FullName, protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return nil, protoregistry.NotFound
}

func TestJSONResolver(t *testing.T) {
	a, err := anypb.New(new(emptypb.Empty))
	if err != nil {
		t.Fatal(err)
	}
	data := []byte(written(t, JSONOptions{}, a))
	other := jsonCodec{JSONOptions{Resolver: noTypes{}}}
	if _, err := other.Marshal(a); err == nil || !strings.Contains(err.Error(), errNoTypes.Error()) {
		t.Errorf("marshal: got %v, want the resolver's error", err)
	}
	if err := other.Unmarshal(data, new(anypb.Any)); err == nil || !strings.Contains(err.Error(), errNoTypes.Error()) {
		t.Errorf("unmarshal: got %v, want the resolver's error", err)
	}
	if err := (jsonCodec{}).Unmarshal(data, new(anypb.Any)); err != nil {
		t.Error(err)
	}
}

// TestWithJSONOptions: the options of each side of a call. The last option counts.
func TestWithJSONOptions(t *testing.T) {
	type fields = descriptorpb.FieldDescriptorProto
	const procedure = "/test.v1.TestService/Echo"
	serve := func(options ...HandlerOption) string {
		server := httptest.NewServer(NewUnaryHandler(procedure, func(_ context.Context, req *Request[fields]) (*Response[fields], error) {
			return NewResponse(req.Msg), nil
		}, options...))
		t.Cleanup(server.Close)
		return server.URL + procedure
	}
	post := func(url, body string) (int, string) {
		res, err := http.Post(url, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b := newBuffer(0)
		defer b.free()
		if err := b.readAll(res.Body, 0, 0); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b.data)
	}
	strict := serve(WithJSONOptions(JSONOptions{UseEnumNumbers: true}), WithJSONOptions(JSONOptions{RefuseUnknown: true, UseProtoNames: true}))
	if status, body := post(strict, `{"jsonName":"a"}`); status != http.StatusOK || !strings.Contains(body, `"json_name"`) {
		t.Errorf("got %d, %s, want the schema's name", status, body)
	}
	if status, body := post(strict, `{"nothing":"a"}`); status != http.StatusBadRequest || !strings.Contains(body, "invalid_argument") {
		t.Errorf("got %d, %s, want invalid_argument", status, body)
	}
	http.DefaultClient.CloseIdleConnections()

	// A client's options: it sends JSON, and refuses what it does not know.
	client := NewClient[fields, fields](http.DefaultClient, strict, WithJSONOptions(JSONOptions{}))
	res, err := client.CallUnary(t.Context(), NewRequest(&fields{JsonName: proto.String("a")}))
	if err != nil || res.Msg.GetJsonName() != "a" || res.Header().Get("Content-Type") != "application/json" {
		t.Errorf("got %v, %v", res, err)
	}
	other := NewClient[fields, emptypb.Empty](http.DefaultClient, strict, WithJSONOptions(JSONOptions{RefuseUnknown: true}))
	if _, err := other.CallUnary(t.Context(), NewRequest(&fields{JsonName: proto.String("a")})); CodeOf(err) != CodeInvalidArgument {
		t.Errorf("got %v, want invalid_argument", err)
	}
}
