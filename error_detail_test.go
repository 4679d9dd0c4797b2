// SPDX-License-Identifier: Apache-2.0

// Details of errors: written and read with their types, from good and from bad bytes.

package connect

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestDetails reads details from the program's own errors, from wrapped ones, and from
// ones that have been over the wire in each form.
func TestDetails(t *testing.T) {
	base := NewError(CodeUnavailable, errors.New("full"))
	base.Meta().Set("Queue", "7")
	own := base.WithDetails(wrapperspb.String("a"), durationpb.New(time.Second), wrapperspb.String("b"))
	if len(base.Details()) != 0 || base.Meta().Get("Queue") != "7" {
		t.Errorf("WithDetails has changed its error: %v, %v", base.Details(), base.Meta())
	}
	own.Meta().Set("Queue", "8")
	if got := base.Meta().Get("Queue"); got != "7" {
		t.Errorf("a change of the copy's metadata: got %q in the original, want \"7\"", got)
	}
	if own.Code() != CodeUnavailable || own.Message() != "full" || !errors.Is(own, base.Unwrap()) {
		t.Errorf("got %v, want the code and the cause of %v", own, base)
	}
	overJSON, err := unmarshalError(marshalError(own), CodeUnknown)
	if err != nil {
		t.Fatal(err)
	}
	overStatus, err := parseStatus(appendStatus(nil, own))
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"own":     own,
		"wrapped": fmt.Errorf("take: %w", own),
		"joined":  errors.Join(errors.New("other"), own),
		"JSON":    overJSON,
		"status":  fmt.Errorf("call: %w", overStatus),
	} {
		texts := DetailsOf[*wrapperspb.StringValue](err)
		want := []*wrapperspb.StringValue{wrapperspb.String("a"), wrapperspb.String("b")}
		if diff := cmp.Diff(texts, want, protocmp.Transform()); diff != "" {
			t.Errorf("%s: got minus, want plus:\n%s", name, diff)
		}
		if wait, ok := DetailOf[*durationpb.Duration](err); !ok || wait.AsDuration() != time.Second {
			t.Errorf("%s: got %v, %t, want 1s", name, wait, ok)
		}
		if first, ok := DetailOf[proto.Message](err); !ok || !proto.Equal(first, want[0]) {
			t.Errorf("%s: got %v, %t, want the first detail of any type", name, first, ok)
		}
		if all := DetailsOf[interface {
			proto.Message
			AsDuration() time.Duration
		}](err); len(all) != 1 || all[0].AsDuration() != time.Second {
			t.Errorf("%s: got %v, want the one detail that implements the interface", name, all)
		}
		if none, ok := DetailOf[*wrapperspb.BoolValue](err); ok || none != nil {
			t.Errorf("%s: got %v, want no detail of a type that the error has not", name, none)
		}
	}
}

// TestDetailsBad: bytes that are not the message's, types that are not registered and
// values that are nil give no detail, and no panic. Details after them are read.
func TestDetailsBad(t *testing.T) {
	e := NewError(CodeInternal, nil)
	for _, d := range []*ErrorDetail{
		{typeURL: typeURLPrefix + "google.protobuf.StringValue", value: "\xff"},
		{typeURL: typeURLPrefix + "google.protobuf.StringValue", value: "\x0a\x02\xff\xff"}, // not UTF-8
		{typeURL: typeURLPrefix + "google.protobuf.StringValue", value: "\x0a\xff\xff\xff\xff\x0f"},
		{typeURL: typeURLPrefix + "acme.unknown.v1.Reason", value: "\x0a\x01a"},
		{typeURL: "", value: "\x0a\x01a"},
		{typeURL: "/", value: ""},
		nil,
		{typeURL: "google.protobuf.StringValue", value: "\x0a\x01c"}, // without a prefix
	} {
		e.AddDetail(d)
	}
	if got, ok := DetailOf[*wrapperspb.StringValue](e); !ok || got.GetValue() != "c" {
		t.Errorf("got %v, %t, want the one that can be read", got, ok)
	}
	if got := DetailsOf[*wrapperspb.StringValue](e); len(got) != 1 {
		t.Errorf("got %v, want one", got)
	}
	if got := DetailsOf[*dynamicpb.Message](e); got != nil {
		t.Errorf("got %v, want none of a type without a descriptor", got)
	}
	if got := DetailsOf[*anypb.Any](e); got != nil {
		t.Errorf("got %v, want none", got)
	}
	var none *Error
	for _, err := range []error{nil, errors.New("plain"), none, fmt.Errorf("wrapped: %w", none)} {
		if got, ok := DetailOf[*wrapperspb.StringValue](err); ok || got != nil || DetailsOf[proto.Message](err) != nil {
			t.Errorf("%v: got %v, want no detail", err, got)
		}
	}
	var unset *wrapperspb.StringValue
	made := e.WithDetails(nil, wrapperspb.String("\xff"), unset, wrapperspb.String("d"))
	if got, want := len(made.Details()), len(e.Details())+2; got != want { // unset counts as an empty message
		t.Errorf("got %d details, want %d: without those that cannot be marshalled", got, want)
	}
}

// TestDetailOfUnregistered reads a program's own detail whose type is not registered, as
// a message of that type.
func TestDetailOfUnregistered(t *testing.T) {
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("reason.proto"), Package: proto.String("acme.unregistered.v1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("Reason"),
			Field: []*descriptorpb.FieldDescriptorProto{{
				Name: proto.String("text"), Number: proto.Int32(1),
				Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
			}},
		}},
	}
	descriptor, err := protodesc.NewFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	reason := dynamicpb.NewMessage(descriptor.Messages().Get(0))
	reason.Set(reason.Descriptor().Fields().ByNumber(1), protoreflect.ValueOfString("full"))
	d, err := NewErrorDetail(reason)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a caller may change what it got
		got, err := d.Value()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, proto.Message(reason), protocmp.Transform()); diff != "" {
			t.Errorf("got minus, want plus:\n%s", diff)
		}
		proto.Reset(got)
	}
	e := NewError(CodeInternal, nil)
	e.AddDetail(d)
	if body := string(marshalError(e)); !strings.Contains(body, `"debug":{"text":"full"}`) {
		t.Errorf("got %s, want the detail as JSON, too", body)
	}
}

// TestDetailUnmarshalTo reads details without the registry.
func TestDetailUnmarshalTo(t *testing.T) {
	e := NewError(CodeInternal, nil).WithDetails(wrapperspb.String("a"))
	d := e.Details()[0]
	dynamic := dynamicpb.NewMessage((*wrapperspb.StringValue)(nil).ProtoReflect().Descriptor())
	dynamic.Set(dynamic.Descriptor().Fields().ByNumber(1), protoreflect.ValueOfString("before"))
	if err := d.UnmarshalTo(dynamic); err != nil || dynamic.Get(dynamic.Descriptor().Fields().ByNumber(1)).String() != "a" {
		t.Errorf("got %v, %v, want \"a\"", dynamic, err)
	}
	var unset *wrapperspb.StringValue
	for name, c := range map[string]struct {
		detail *ErrorDetail
		msg    proto.Message
		want   string
	}{
		"nil":        {d, nil, "message is nil"},
		"typed nil":  {d, unset, "message is nil"},
		"other type": {d, new(durationpb.Duration), `message is a "google.protobuf.Duration": expected a "google.protobuf.StringValue"`},
		"bytes":      {&ErrorDetail{typeURL: typeURLPrefix + "google.protobuf.Duration", value: "\xff"}, new(durationpb.Duration), `error detail "type.googleapis.com/google.protobuf.Duration": `},
	} {
		if err := c.detail.UnmarshalTo(c.msg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// TestDetailsShared: goroutines may add details to one error at the same time, as each
// gets a copy. So may those that get the error of one transport from their calls.
func TestDetailsShared(t *testing.T) {
	shared := NewError(CodeResourceExhausted, errors.New("quota"))
	shared.details = append(make([]*ErrorDetail, 0, 8), &ErrorDetail{typeURL: typeURLPrefix + "acme.foo.v1.Reason", value: ""})
	const goroutines = 8
	got := make(chan string, goroutines)
	for i := range goroutines {
		go func() {
			e := shared.WithDetails(wrapperspb.Int64(int64(i)))
			n, _ := DetailOf[*wrapperspb.Int64Value](e)
			got <- fmt.Sprint(len(e.Details()), n.GetValue() == int64(i))
			e, _ = asError(ofClient(shared))
			e.AddDetail(&ErrorDetail{value: fmt.Sprint(i)})
			got <- fmt.Sprint(len(e.Details()), e.Details()[1].value == fmt.Sprint(i))
		}()
	}
	for range 2 * goroutines {
		if got := <-got; got != "2 true" {
			t.Errorf("got %s, want two details and the goroutine's own", got)
		}
	}
}

// FuzzDetails: no bytes of a status or of JSON make a reader of details panic.
func FuzzDetails(f *testing.F) {
	e := NewError(CodeAborted, errors.New("text")).WithDetails(wrapperspb.String("a"), durationpb.New(time.Hour))
	f.Add(appendStatus(nil, e))
	f.Add(marshalError(e))
	f.Add([]byte("\x1a\x02\x0a\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fromStatus, _ := parseStatus(data)
		fromJSON, _ := unmarshalError(data, CodeUnknown)
		for _, e := range []*Error{fromStatus, fromJSON} {
			n := len(DetailsOf[*wrapperspb.StringValue](e)) + len(DetailsOf[*durationpb.Duration](e))
			if e != nil && n > len(e.details) {
				t.Errorf("got %d details of two types, want at most %d", n, len(e.details))
			}
		}
	})
}
