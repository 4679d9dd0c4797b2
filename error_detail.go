// SPDX-License-Identifier: Apache-2.0

// Details of errors: Protobuf messages for programs, beside the text for people.

package connect

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

// typeURLPrefix precedes the message's name in the type URL of an Any.
const typeURLPrefix = "type.googleapis.com/"

// An ErrorDetail is a Protobuf message that is sent with an [Error], so that
// programs need not parse its text. Package
// google.golang.org/genproto/googleapis/rpc/errdetails has messages for common
// cases. An ErrorDetail is safe for concurrent use.
type ErrorDetail struct {
	typeURL string
	value   string                   // a string, so that no caller changes its bytes
	of      protoreflect.MessageType // of the program's message; nil: the registered one
	debug   string                   // of a detail that came as JSON, which a proxy passes on; may be ""
}

// NewErrorDetail encodes msg as a detail. If msg is an [*anypb.Any], the detail
// is the message in it. It returns an error if msg is nil or cannot be
// marshalled.
func NewErrorDetail(msg proto.Message) (*ErrorDetail, error) {
	if a, ok := msg.(*anypb.Any); ok {
		return &ErrorDetail{typeURL: a.GetTypeUrl(), value: string(a.GetValue())}, nil
	}
	if msg == nil {
		return nil, errors.New("new error detail: message is nil")
	}
	value, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(msg)
	if err != nil {
		return nil, fmt.Errorf("new error detail: marshal %s: %w", msg.ProtoReflect().Descriptor().FullName(), err)
	}
	m := msg.ProtoReflect()
	return &ErrorDetail{typeURL: typeURLPrefix + string(m.Descriptor().FullName()), value: string(value), of: m.Type()}, nil
}

// Type returns the full name of the detail's message, such as
// "acme.foo.v1.Reason".
func (d *ErrorDetail) Type() string {
	return d.typeURL[strings.LastIndexByte(d.typeURL, '/')+1:]
}

// Bytes returns a copy of the message in Protobuf's binary format.
func (d *ErrorDetail) Bytes() []byte {
	return []byte(d.value)
}

// Value decodes the detail into the Go type of the message that [NewErrorDetail] was
// called with, and a detail that was received into the type that the program has
// registered. It returns an error if there is no such type, or if the bytes are not a
// message of that type.
func (d *ErrorDetail) Value() (proto.Message, error) {
	if d.of != nil {
		msg := d.of.New().Interface()
		return msg, d.UnmarshalTo(msg)
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByURL(d.typeURL)
	if err != nil {
		return nil, fmt.Errorf("error detail %q: %w", d.typeURL, err)
	}
	msg := mt.New().Interface()
	if err := proto.Unmarshal([]byte(d.value), msg); err != nil {
		return nil, fmt.Errorf("error detail %q: %w", d.typeURL, err)
	}
	return msg, nil
}

// UnmarshalTo decodes the detail into msg, and drops what msg held before. It needs
// no registered type: msg may be a dynamic message. It returns an error if the
// detail has another type, or if the bytes are not a message of that type; what msg
// holds then is not defined.
func (d *ErrorDetail) UnmarshalTo(msg proto.Message) error {
	if msg == nil || !msg.ProtoReflect().IsValid() {
		return fmt.Errorf("error detail %q: message is nil", d.typeURL)
	}
	if got := string(msg.ProtoReflect().Descriptor().FullName()); got != d.Type() {
		return fmt.Errorf("error detail %q: message is a %q: expected a %q", d.typeURL, got, d.Type())
	}
	if err := readDetail.Unmarshal([]byte(d.value), msg); err != nil {
		return fmt.Errorf("error detail %q: %w", d.typeURL, err)
	}
	return nil
}

// readDetail reads what NewErrorDetail writes.
var readDetail = proto.UnmarshalOptions{AllowPartial: true}

// WithDetails returns a copy of e with more details, so that a handler can return
// it in one expression. It leaves out a message that is nil or cannot be
// marshalled: [NewErrorDetail] returns the reason. The code, the underlying error
// and the metadata are those of e, and a change of the copy does not change e. So
// goroutines can share e, as long as none changes it.
func (e *Error) WithDetails(msgs ...proto.Message) *Error {
	c := e.copy()
	c.meta = e.meta.Clone()
	for _, msg := range msgs {
		if d, err := NewErrorDetail(msg); err == nil {
			c.details = append(c.details, d)
		}
	}
	return c
}

// DetailOf returns the first detail of type T, such as *errdetails.RetryInfo, of
// the first [*Error] in err's tree. The error may come from a server, or be the
// program's own. The result is false if there is none, if its bytes are not a
// message of the type, or if err is nil.
//
// If T is an interface, such as proto.Message, DetailOf returns the first detail
// whose registered Go type implements it.
func DetailOf[T proto.Message](err error) (T, bool) {
	var first T
	found := false
	details(err, func(msg T) bool {
		first, found = msg, true
		return false
	})
	return first, found
}

// DetailsOf returns all details that [DetailOf] would, in their order: nil if there
// are none.
func DetailsOf[T proto.Message](err error) []T {
	var all []T
	details(err, func(msg T) bool {
		all = append(all, msg)
		return true
	})
	return all
}

// details calls visit for each detail of type T that can be decoded, until visit
// returns false.
func details[T proto.Message](err error, visit func(T) bool) {
	e, ok := asError(err)
	if !ok {
		return
	}
	for _, d := range e.details {
		if msg, ok := detailAs[T](d); ok && !visit(msg) {
			return
		}
	}
}

// detailAs decodes a detail as a T.
func detailAs[T proto.Message](d *ErrorDetail) (msg T, ok bool) {
	if d == nil {
		return msg, false
	}
	if made, concrete := newMessage[T](); concrete {
		return made, d.UnmarshalTo(made) == nil
	}
	value, err := d.Value()
	if err != nil {
		return msg, false
	}
	msg, ok = value.(T)
	return msg, ok
}

// newMessage returns an empty message of a generated type. It returns false for
// interfaces, and for types that need a descriptor, such as a dynamic message:
// their nil values panic.
func newMessage[T proto.Message]() (msg T, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	msg, ok = msg.ProtoReflect().New().Interface().(T)
	return msg, ok
}
