// SPDX-License-Identifier: Apache-2.0

// Events: Protobuf messages on subjects, as Protobuf or JSON.

package natsrpc

import (
	"fmt"
	"log"
	"mime"
	"runtime/debug"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/seed-b7c59c10/connect"
)

// The fields of events. A message without them is Protobuf of the type that the subscriber
// has asked for.
const (
	fieldType    = "Content-Type"
	fieldMessage = "Rpc-Message" // the full name of the message's type

	typeProto = "application/proto"
	typeJSON  = "application/json"
)

// An Event is a message that came on a subject.
type Event[T any] struct {
	Msg     *T
	Subject string
	Header  nats.Header // of the NATS message; nil if it has none
}

// message is a pointer to a Protobuf message of type T.
type message[T any] interface {
	*T
	proto.Message
}

// A PublishOption is a setting of [Publish] and [NewEvent].
type PublishOption func(*publishConfig)

type publishConfig struct{ json bool }

// AsJSON has an event encoded as JSON. The default is Protobuf. Subscribers of this package
// read both.
func AsJSON() PublishOption { return func(c *publishConfig) { c.json = true } }

// Publish sends an event to all subscribers of a subject, and of each queue group to one.
// As always in NATS, those that are not connected do not get it, and Publish does not wait
// for the others: for events that must not be lost, publish the message of [NewEvent] to
// JetStream. Its errors have the code invalid_argument for a message that cannot be encoded
// or a bad subject, resource_exhausted if it exceeds the payload limit of the NATS server,
// and unavailable if the connection does not take it.
func Publish(nc *nats.Conn, subject string, m proto.Message, options ...PublishOption) error {
	event, err := NewEvent(subject, m, options...)
	if err != nil {
		return err
	}
	if err := nc.PublishMsg(event); err != nil {
		return publishError(err)
	}
	return nil
}

// NewEvent returns the NATS message of an event, for a program that adds fields or publishes
// it to JetStream. Subjects have words of letters, digits, _ and - between single dots. Its
// errors have the code invalid_argument.
func NewEvent(subject string, m proto.Message, options ...PublishOption) (*nats.Msg, error) {
	var c publishConfig
	for _, option := range options {
		if option == nil {
			panic("natsrpc: NewEvent: an option is nil")
		}
		option(&c)
	}
	if err := checkName("subject", subject, "-"); err != nil {
		return nil, errorf(connect.CodeInvalidArgument, "publishing an event: %w", err)
	}
	if m == nil || !m.ProtoReflect().IsValid() {
		return nil, errorf(connect.CodeInvalidArgument, "publishing an event on %q: the message is nil", subject)
	}
	kind, marshal := typeProto, proto.Marshal
	if c.json {
		kind, marshal = typeJSON, protojson.Marshal
	}
	data, err := marshal(m)
	if err != nil {
		return nil, errorf(connect.CodeInvalidArgument, "publishing an event on %q: %w", subject, err)
	}
	header := nats.Header{fieldType: {kind}, fieldMessage: {string(m.ProtoReflect().Descriptor().FullName())}}
	return &nats.Msg{Subject: subject, Header: header, Data: data}, nil
}

// parseEvent reads an event.
func parseEvent[T any, P message[T]](subject string, h nats.Header, data []byte) (*Event[T], error) {
	m := P(new(T))
	if got, want := field(h, fieldMessage), string(m.ProtoReflect().Descriptor().FullName()); got != "" && got != want {
		return nil, errorf(connect.CodeInvalidArgument, "reading an event on %q: got a message of type %q, want %q", subject, cleanText(got), want)
	}
	kind := field(h, fieldType)
	base, _, _ := mime.ParseMediaType(kind) // "" if it is none
	var err error
	switch {
	case kind == "" || base == typeProto:
		err = proto.Unmarshal(data, m)
	case base == typeJSON:
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, m)
	default:
		err = fmt.Errorf("got content type %q, want %q or %q", cleanText(kind), typeProto, typeJSON)
	}
	if err != nil {
		return nil, errorf(connect.CodeInvalidArgument, "reading an event on %q: %w", subject, err)
	}
	return &Event[T]{Msg: (*T)(m), Subject: subject, Header: h}, nil
}

// guard calls a function of the program for an event, and returns its error. A panic is
// logged and becomes an error: it would end the program, and again each time that JetStream
// delivers the event.
func guard(subject string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			log.Printf("natsrpc: panic handling an event on %q: %v\n%s", subject, v, debug.Stack())
			err = errorf(connect.CodeInternal, "handling an event on %q: panic: %v", subject, v)
		}
	}()
	return f()
}
