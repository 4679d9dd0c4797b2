// SPDX-License-Identifier: Apache-2.0

// Events as messages: what is written is read, and what is not an event is refused.

package natsrpc

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
)

func TestEvents(t *testing.T) {
	for name, options := range map[string][]PublishOption{typeProto: nil, typeJSON: {AsJSON()}} {
		m, err := NewEvent("a.b-c", wrapperspb.String("text"), options...)
		if err != nil || m.Header.Get("Content-Type") != name {
			t.Errorf("%s: got %v and error %v, want its content type", name, m, err)
			continue
		}
		got, err := parseEvent[wrapperspb.StringValue](m.Subject, m.Header, m.Data)
		if err != nil || got.Msg.Value != "text" || got.Subject != "a.b-c" {
			t.Errorf("%s: got %v and error %v, want the text", name, got, err)
		}
	}
}

func TestPoison(t *testing.T) {
	const name = "google.protobuf.StringValue"
	for what, test := range map[string]struct {
		header nats.Header
		data   string
		want   string // in the error; "" for none
	}{
		"no header":     {nil, "\x0a\x01a", ""},
		"parameters":    {nats.Header{"content-type": {"application/json; charset=utf-8"}}, `"a"`, ""},
		"other type":    {nats.Header{"Rpc-Message": {"acme.v1.M"}}, "", `type "acme.v1.M", want "` + name + `"`},
		"other content": {nats.Header{"Content-Type": {"text/plain"}}, "", `content type "text/plain"`},
		"bad content":   {nats.Header{"Content-Type": {"\x00;;"}}, "", `content type`},
		"bad proto":     {nil, "\xff\xff", "proto"},
		"bad JSON":      {nats.Header{"Content-Type": {"application/json"}}, "{", "proto"},
	} {
		e, err := parseEvent[wrapperspb.StringValue]("a", test.header, []byte(test.data))
		switch {
		case test.want == "" && (err != nil || e.Msg.Value != "a"):
			t.Errorf("%s: got %v and error %v, want a", what, e, err)
		case test.want != "" && (connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: got %v, want invalid_argument with %q", what, err, test.want)
		}
	}
	for _, test := range []struct {
		subject string
		m       proto.Message
	}{{"a.*", wrapperspb.String("")}, {"", wrapperspb.String("")}, {"a b", wrapperspb.String("")}, {"a", nil}, {"a", (*wrapperspb.StringValue)(nil)}, {"a", wrapperspb.String("\xff")}} {
		if _, err := NewEvent(test.subject, test.m); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%q, %v: got %v, want invalid_argument", test.subject, test.m, err)
		}
	}
}

func TestPatterns(t *testing.T) {
	for pattern, good := range map[string]bool{
		"a": true, "a.*.b": true, "*": true, ">": true, "a.>": true, "*.>": true,
		"": false, "a..b": false, "a.>.b": false, "a b": false, ".": false, "a.": false, "a>\n": false,
	} {
		if err := checkPattern(pattern); (err == nil) != good {
			t.Errorf("%q: got %v, want good=%v", pattern, err, good)
		}
	}
}

// The loop over events ends with its context, also if the cause of that has a code with
// which it goes on otherwise.
func TestAllEnds(t *testing.T) {
	for _, code := range []connect.Code{connect.CodeInvalidArgument, connect.CodeResourceExhausted, connect.CodeAborted} {
		cause := connect.NewError(code, errors.New("enough"))
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		var l Listener[wrapperspb.StringValue]
		n := 0
		for _, err := range l.All(ctx) {
			if n++; err != error(cause) || n > 1 {
				t.Fatalf("%v: got error %v, the %dth, want the context's once", code, err, n)
			}
		}
	}
}

func FuzzEvent(f *testing.F) {
	f.Add("application/proto", "google.protobuf.StringValue", []byte("\x0a\x01a"))
	f.Add("application/json", "", []byte(`"a"`))
	f.Fuzz(func(t *testing.T, kind, name string, data []byte) {
		e, err := parseEvent[wrapperspb.StringValue]("a", nats.Header{"Content-Type": {kind}, "Rpc-Message": {name}}, data)
		if (e == nil) != (err != nil) || err != nil && connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Fatalf("got %v and error %v, want one of them", e, err)
		}
	})
}
