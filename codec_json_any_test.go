// SPDX-License-Identifier: Apache-2.0

// Tests of the bound on the bytes of nested Any, in both directions.

package connect

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/typepb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// wrapped returns a message inside of that many Any in each other.
func wrapped(m proto.Message, levels int) *anypb.Any {
	value, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	name := string(m.ProtoReflect().Descriptor().FullName())
	for range levels - 1 {
		outer := protowire.AppendTag(nil, 1, protowire.BytesType)
		outer = protowire.AppendString(outer, "/"+name)
		outer = protowire.AppendTag(outer, 2, protowire.BytesType)
		value, name = protowire.AppendBytes(outer, value), anyName
	}
	return &anypb.Any{TypeUrl: "/" + name, Value: value}
}

// TestBytesOfAny: what a message of a few levels may cost does not depend on how many
// levels are allowed. JSON is refused before it is decoded, and a message with Any in
// binary before it is encoded.
func TestBytesOfAny(t *testing.T) {
	large := wrapperspb.String(strings.Repeat("x", 1<<20))
	for name, c := range map[string]struct {
		message proto.Message
		options JSONOptions
		refused bool
	}{
		"large, 4 levels":        {wrapped(large, 4), JSONOptions{}, false},
		"large, 7 levels":        {wrapped(large, 7), JSONOptions{}, true},
		"large, 7 levels, lower": {wrapped(large, 7), JSONOptions{AnyNesting: 50}, true},
		"large, 7 levels, chosen": {
			wrapped(large, 7), JSONOptions{AnyNesting: anyNesting + 1}, false,
		},
		"small, 100 levels": {wrapped(wrapperspb.String("x"), 100), JSONOptions{}, false},
		"in an option": {
			&typepb.Type{Fields: []*typepb.Field{{Options: []*typepb.Option{{Value: wrapped(large, 7)}}}}}, JSONOptions{}, true,
		},
		"in an option in an Any": {
			wrapped(&typepb.Type{Fields: []*typepb.Field{{Options: []*typepb.Option{{Value: wrapped(large, 6)}}}}}, 1), JSONOptions{}, true,
		},
		"beside each other": {
			&typepb.Type{Options: func() (all []*typepb.Option) {
				for range 1000 {
					all = append(all, &typepb.Option{Value: wrapped(wrapperspb.String(strings.Repeat("x", 5000)), 2)})
				}
				return all
			}()}, JSONOptions{}, false,
		},
		"none": {structpb.NewStringValue(large.Value), JSONOptions{}, false},
	} {
		codec := jsonCodec{c.options}
		unbounded := jsonCodec{JSONOptions{AnyNesting: 1 << 20}}
		made := dynamicpb.NewMessage(c.message.ProtoReflect().Descriptor())
		proto.Merge(made, c.message)
		for kind, message := range map[string]proto.Message{"linked": c.message, "dynamic": made} {
			if _, err := codec.Marshal(message); (err != nil) != c.refused {
				t.Errorf("%s, %s: encode: got %v, want an error: %v", name, kind, err, c.refused)
			}
			data, err := unbounded.Marshal(message)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, kind, err)
			}
			into := message.ProtoReflect().New().Interface()
			if err := codec.Unmarshal(data, into); (err != nil) != c.refused {
				t.Errorf("%s, %s: decode: got %v, want an error: %v", name, kind, err, c.refused)
			} else if err == nil && !proto.Equal(into, message) {
				t.Errorf("%s, %s: got another message", name, kind)
			}
		}
	}
}

// TestDeepAnyInBinary: many levels that a peer sent in binary are refused, whatever their
// bytes are.
func TestDeepAnyInBinary(t *testing.T) {
	if _, err := (jsonCodec{}).Marshal(wrapped(wrapperspb.String("x"), 20_000)); err == nil {
		t.Error("got no error, want one")
	}
	for name, value := range map[string]string{
		"cut off": "\x0a\x05", "group": "\x0b\x0c", "other fields": "\x18\x01\x22\x00", "open group": "\x0b",
		"groups": strings.Repeat("\x0b", 50_000) + strings.Repeat("\x0c", 50_000),
	} {
		for _, of := range []string{anyName, "google.protobuf.Type", "no.such.Type", ""} {
			m := &typepb.Option{Name: strings.Repeat("x", anyHarmless), Value: &anypb.Any{TypeUrl: "/" + of, Value: []byte(value)}}
			if err := (jsonCodec{}).checkAny(m); err != nil {
				t.Errorf("%s of %q: got %v, want what the encoder says", name, of, err)
			}
		}
	}
}

// TestMayHoldAny: types that may hold an Any at any depth are known, and those made at
// run time are not remembered.
func TestMayHoldAny(t *testing.T) {
	for message, want := range map[proto.Message]bool{
		new(anypb.Any): true, new(typepb.Type): true, new(typepb.Option): true, new(typepb.Enum): true,
		new(structpb.Struct): false, new(wrapperspb.StringValue): false,
	} {
		md := message.ProtoReflect().Descriptor()
		if got := mayHoldAny(md); got != want {
			t.Errorf("%s: got %v, want %v", md.FullName(), got, want)
		}
		if known, ok := holders.Load(md); !ok || known != want {
			t.Errorf("%s: remembered %v, %v, want %v", md.FullName(), known, ok, want)
		}
	}
	type foreign struct{ protoreflect.MessageDescriptor }
	md := &foreign{new(structpb.Struct).ProtoReflect().Descriptor()}
	if _, ok := holders.Load(md); !mayHoldAny(md) || ok {
		t.Error("a type made at run time is remembered, or may not hold an Any")
	}
}
