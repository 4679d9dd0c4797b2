// SPDX-License-Identifier: Apache-2.0

// Tests of the codec that uses vtprotobuf's methods: when it uses them, and when it
// must not. internal/bench tests it with generated messages.

package connect

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/runtime/protoiface"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// vtValue is a message of a Go type for each T, with vtprotobuf's methods, which count
// their calls.
type vtValue[T any] struct {
	inner             proto.Message
	written, read     int
	lie               int // what SizeVT adds
	writeErr, readErr error
}

// vtReflect is the reflection of a message that is another's self.
type vtReflect struct {
	protoreflect.Message
	self proto.Message
}

func (r vtReflect) Interface() protoreflect.ProtoMessage { return r.self }
func (r vtReflect) ProtoMethods() *protoiface.Methods    { return nil }
func (v *vtValue[T]) ProtoReflect() protoreflect.Message { return vtReflect{v.inner.ProtoReflect(), v} }
func (v *vtValue[T]) SizeVT() int                        { return proto.Size(v.inner) + v.lie }
func (v *vtValue[T]) MarshalToSizedBufferVT(b []byte) (int, error) {
	v.written++
	data, err := proto.Marshal(v.inner)
	copy(b, data)
	return len(data), errors.Join(err, v.writeErr)
}
func (v *vtValue[T]) UnmarshalVT(data []byte) error {
	v.read++
	return errors.Join(proto.UnmarshalOptions{Merge: true}.Unmarshal(data, v.inner), v.readErr)
}

func TestVTCodec(t *testing.T) {
	m := &vtValue[wrapperspb.StringValue]{inner: wrapperspb.String("abc")}
	want, err := proto.Marshal(m.inner)
	if err != nil {
		t.Fatal(err)
	}
	appended, err := vtCodec{}.MarshalAppend([]byte("x"), m)
	if err != nil || string(appended) != "x"+string(want) {
		t.Errorf("MarshalAppend: got %q, %v, want %q", appended, err, want)
	}
	b := newBuffer(0)
	defer b.free()
	b.data = append(b.data, "y"...)
	if err := marshal(b, vtCodec{}, m); err != nil || string(b.data) != "y"+string(want) {
		t.Errorf("marshal: got %q, %v, want %q", b.data, err, want)
	}
	if m.written != 2 {
		t.Errorf("MarshalToSizedBufferVT ran %d times, want 2", m.written)
	}
	into := &vtValue[structpb.Value]{inner: structpb.NewStringValue("old")}
	more, err := proto.Marshal(structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewBoolValue(true)}}))
	if err != nil {
		t.Fatal(err)
	}
	for n, fresh := range []bool{false, false, true} {
		if err := (vtCodec{}).unmarshal(more, into, fresh); err != nil || into.read != n+1 {
			t.Errorf("unmarshal: got %v, and UnmarshalVT ran %d times, want %d", err, into.read, n+1)
		}
		want := 1
		if fresh {
			want = 2 // merged, because the codec took it for empty
		}
		if got := len(into.inner.(*structpb.Value).GetListValue().GetValues()); got != want {
			t.Errorf("fresh %t: got %d values, want %d", fresh, got, want)
		}
	}
}

// TestVTNested: a large message whose type contains itself is decoded with
// Protobuf's bound on its nesting.
func TestVTNested(t *testing.T) {
	deep := structpb.NewBoolValue(true)
	for range 12_000 {
		deep = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{deep}})
	}
	data, err := proto.Marshal(deep)
	if err != nil {
		t.Fatal(err)
	}
	m := &vtValue[structpb.Value]{inner: new(structpb.Value)}
	if err := (vtCodec{}).Unmarshal(data, m); err == nil || m.read != 0 {
		t.Errorf("got %v, and UnmarshalVT ran %d times, want an error of Protobuf's own decoder", err, m.read)
	}
	large := structpb.NewStringValue(strings.Repeat("x", vtNested))
	if data, err = proto.Marshal(large); err != nil {
		t.Fatal(err)
	}
	if err := (vtCodec{}).Unmarshal(data, m); err != nil || m.read != 0 || m.inner.(*structpb.Value).GetStringValue() != large.GetStringValue() {
		t.Errorf("got %v, and UnmarshalVT ran %d times, want 0", err, m.read)
	}
}

// vtOuter has vtValue's methods by promotion, and is another message.
type vtOuter struct {
	*vtValue[wrapperspb.StringValue]
	own proto.Message
}

func (o *vtOuter) ProtoReflect() protoreflect.Message {
	return vtReflect{o.own.ProtoReflect(), o}
}

// vtPromoted has all methods by promotion: it is the message that it embeds.
type vtPromoted struct {
	*vtValue[wrapperspb.StringValue]
}

func TestVTEmbedded(t *testing.T) {
	inner := &vtValue[wrapperspb.StringValue]{inner: wrapperspb.String("inner")}
	outer := &vtOuter{inner, wrapperspb.String("outer")}
	want, err := proto.Marshal(outer.own)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := (vtCodec{}).Marshal(outer); err != nil || string(got) != string(want) || inner.written != 0 {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if err := (vtCodec{}).Unmarshal(want, outer); err != nil || inner.read != 0 {
		t.Errorf("got %v, and the embedded UnmarshalVT ran %d times, want 0", err, inner.read)
	}
	if _, err := (vtCodec{}).Marshal(vtPromoted{inner}); err != nil || inner.written != 1 {
		t.Errorf("got %v, and the embedded method ran %d times, want 1", err, inner.written)
	}
}

func TestVTMisuse(t *testing.T) {
	broken := errors.New("broken")
	for name, m := range map[string]*vtValue[wrapperspb.StringValue]{
		"broken":  {inner: wrapperspb.String("a"), writeErr: broken},
		"changed": {inner: wrapperspb.String("a"), lie: 1},
	} {
		b := newBuffer(0)
		if err := marshal(b, vtCodec{}, m); err == nil || len(b.data) != 0 {
			t.Errorf("%s: got %q, %v, want an error", name, b.data, err)
		}
		b.free()
	}
	if err := (vtCodec{}).Unmarshal(nil, &vtValue[wrapperspb.StringValue]{inner: wrapperspb.String("a"), readErr: broken}); !errors.Is(err, broken) {
		t.Errorf("got %v, want the method's error", err)
	}
	for _, m := range []any{"text", nil} {
		if _, err := (vtCodec{}).Marshal(m); err == nil {
			t.Errorf("%T: got no error", m)
		}
		if err := (vtCodec{}).Unmarshal(nil, m); err == nil {
			t.Errorf("%T: got no error", m)
		}
	}
	// A message without the methods, and a nil one.
	if got, err := (vtCodec{}).Marshal(wrapperspb.String("a")); err != nil || len(got) != 3 {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := (vtCodec{}).Marshal((*wrapperspb.StringValue)(nil)); err != nil || len(got) != 0 {
		t.Errorf("got %q, %v", got, err)
	}
}
