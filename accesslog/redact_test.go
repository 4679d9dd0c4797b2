// SPDX-License-Identifier: Apache-2.0

// Messages in lines, without their secrets.

package accesslog_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/accesslog"
	"github.com/seed-b7c59c10/connect/dynamic"
)

// schema has secrets as a text, bytes, a list, a map and a message, at each depth.
const schema = `
file {
  name: "secret.proto" package: "secret.v1" syntax: "proto3" dependency: "google/protobuf/any.proto"
  message_type {
    name: "Login"
    field { name: "user" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "user" }
    field { name: "password" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "password" options { debug_redact: true } }
    field { name: "key" number: 3 type: TYPE_BYTES label: LABEL_OPTIONAL json_name: "key" options { debug_redact: true } }
    field { name: "tokens" number: 4 type: TYPE_STRING label: LABEL_REPEATED json_name: "tokens" options { debug_redact: true } }
    field { name: "next" number: 5 type: TYPE_MESSAGE type_name: ".secret.v1.Login" label: LABEL_OPTIONAL json_name: "next" }
    field { name: "many" number: 6 type: TYPE_MESSAGE type_name: ".secret.v1.Login" label: LABEL_REPEATED json_name: "many" }
    field { name: "hidden" number: 7 type: TYPE_MESSAGE type_name: ".secret.v1.Login" label: LABEL_OPTIONAL json_name: "hidden" options { debug_redact: true } }
    field { name: "any" number: 8 type: TYPE_MESSAGE type_name: ".google.protobuf.Any" label: LABEL_OPTIONAL json_name: "any" }
    field { name: "names" number: 9 type: TYPE_MESSAGE type_name: ".secret.v1.Login.NamesEntry" label: LABEL_REPEATED json_name: "names" }
    field { name: "numbers" number: 10 type: TYPE_MESSAGE type_name: ".secret.v1.Login.NumbersEntry" label: LABEL_REPEATED json_name: "numbers" }
    nested_type {
      name: "NamesEntry" options { map_entry: true }
      field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "key" }
      field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".secret.v1.Login" label: LABEL_OPTIONAL json_name: "value" }
    }
    nested_type {
      name: "NumbersEntry" options { map_entry: true }
      field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "key" }
      field { name: "value" number: 2 type: TYPE_INT32 label: LABEL_OPTIONAL json_name: "value" }
    }
  }
  service { name: "S" method { name: "Login" input_type: ".secret.v1.Login" output_type: ".secret.v1.Login" } }
}`

func loginMethod(t *testing.T) protoreflect.MethodDescriptor {
	set := new(descriptorpb.FileDescriptorSet)
	if err := prototext.Unmarshal([]byte(schema), set); err != nil {
		t.Fatal(err)
	}
	loaded, err := dynamic.NewSchema(set)
	if err != nil {
		t.Fatal(err)
	}
	method, err := loaded.Method("/secret.v1.S/Login")
	if err != nil {
		t.Fatal(err)
	}
	return method
}

func TestRedaction(t *testing.T) {
	method := loginMethod(t)
	unknown, err := proto.Marshal(wrapperspb.Int64(1)) // field 1, of another type
	if err != nil {
		t.Fatal(err)
	}
	const secrets = `password: "SECRET" key: "SECRET" tokens: "SECRET" hidden { user: "SECRET" }`
	msg := dynamicpb.NewMessage(method.Input())
	text := `user: "ada" ` + secrets + ` next { ` + secrets + ` } many { ` + secrets + ` } many { user: "bob" }
		names { key: "a" value { ` + secrets + ` } } numbers { key: "n" value: 1 } any { type_url: "a/secret.v1.Login" value: "SECRET" }`
	if err := prototext.Unmarshal([]byte(text), msg); err != nil {
		t.Fatal(err)
	}
	msg.SetUnknown(append([]byte{0xfa, 0x07, byte(len(unknown))}, unknown...)) // field 127
	before := proto.Clone(msg)

	l, both := newLog(accesslog.WithMessages(10_000))
	handler := dynamic.NewHandler(method, func(_ context.Context, s *dynamic.Stream) error {
		request, err := s.Receive()
		if err != nil {
			return err
		}
		return s.Send(request)
	}, both)
	s := serve(t, handler)
	response, err := dynamic.NewClient(s.Client(), s.URL, method, both).CallUnary(testContext(t), connect.NewRequest(msg))
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(response.Msg, before) || !proto.Equal(msg, before) {
		t.Error("the messages have changed")
	}
	for _, line := range l.wait(t, 2) {
		for _, name := range []string{"request", "response"} {
			got, _ := line[name].(string)
			if strings.Contains(got, "SECRET") || strings.Contains(got, "U0VDUkVU") || strings.Count(got, "[redacted]") != 4 ||
				!strings.Contains(got, "ada") || !strings.Contains(got, "bob") || !strings.Contains(got, "numbers") {
				t.Errorf("got %s %s, want one without secrets", name, got)
			}
		}
	}
}

// within returns a message inside of so many levels of google.protobuf.Any.
func within(t *testing.T, levels int, m proto.Message) *anypb.Any {
	t.Helper()
	for range levels {
		a, err := anypb.New(m)
		if err != nil {
			t.Fatal(err)
		}
		m = a
	}
	return m.(*anypb.Any)
}

// TestAny has messages inside of google.protobuf.Any.
func TestAny(t *testing.T) {
	known, err := anypb.New(wrapperspb.String("hello"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		any  *anypb.Any
		want string
	}{
		"known":   {known, "hello"},
		"levels":  {within(t, 10, wrapperspb.String("hello")), "hello"},
		"deep":    {within(t, 11, wrapperspb.String("hello")), `"value":{}}`},
		"unknown": {&anypb.Any{TypeUrl: "a/secret.v1.Login", Value: []byte("SECRET")}, "{}"},
		"broken":  {&anypb.Any{TypeUrl: known.TypeUrl, Value: []byte{0xff}}, "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			l, option := newLog(accesslog.WithMessages(1000))
			s := serve(t, connect.NewUnaryHandler("/test.v1.S/Any", func(_ context.Context, r *connect.Request[anypb.Any]) (*connect.Response[anypb.Any], error) {
				return connect.NewResponse(r.Msg), nil
			}, option))
			if _, err := connect.NewClient[anypb.Any, anypb.Any](s.Client(), s.URL+"/test.v1.S/Any").CallUnary(testContext(t), connect.NewRequest(test.any)); err != nil {
				t.Fatal(err)
			}
			if got, _ := l.wait(t, 1)[0]["request"].(string); !strings.Contains(got, test.want) {
				t.Errorf("got request %q, want %q", got, test.want)
			}
		})
	}
}

func TestMessageBounds(t *testing.T) {
	l, option := newLog(accesslog.WithMessages(20))
	s := serve(t, service(option))
	for _, text := range []string{strings.Repeat("ä", 100), strings.Repeat("a", 70<<10)} {
		if err := unary(testContext(t), s, text); err != nil {
			t.Fatal(err)
		}
	}
	lines := l.wait(t, 2)
	for n, want := range []string{`"äääääääää…`, "a message of 71684 bytes"} {
		if got, _ := lines[n]["request"].(string); got != want {
			t.Errorf("got request %q, want %q", got, want)
		}
	}
	// A client without a message.
	l, option = newLog(accesslog.WithMessages(20))
	if _, err := connect.NewClient[message, message](s.Client(), s.URL+pathUnary, option).CallUnary(testContext(t), &connect.Request[message]{}); err != nil {
		t.Fatal(err)
	}
	wantLine(t, l.wait(t, 1)[0], map[string]any{"request": "{}"})
}
