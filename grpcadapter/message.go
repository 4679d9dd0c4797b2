// SPDX-License-Identifier: Apache-2.0

// Messages whose type is not known when this package is compiled.

package grpcadapter

import (
	"fmt"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// message is the type of all requests and responses for the library: it holds a
// message of any type, and behaves as that one. Codecs and interceptors see a
// proto.Message, whose ProtoReflect is that of the message inside.
type message struct {
	proto.Message
}

// initializer returns the function that puts an empty message into a message before
// the library decodes into it.
func initializer(mt protoreflect.MessageType) func(connect.Spec, any) error {
	return func(_ connect.Spec, msg any) error {
		m, ok := msg.(*message)
		if !ok {
			return fmt.Errorf("initialize message: got %T, want %T", msg, m)
		}
		m.Message = mt.New().Interface()
		return nil
	}
}

// protoOf returns a value of grpc-go's API as a Protobuf message.
func protoOf(value any) (proto.Message, error) {
	m, ok := value.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is not a proto.Message: grpc-go's codecs for other messages have no counterpart here", value)
	}
	return m, nil
}

// move makes into the message that from is. It moves the fields and does not copy
// what they refer to, so nothing may change from afterwards.
func move(into any, from proto.Message) error {
	m, err := protoOf(into)
	if err != nil {
		return err
	}
	target, source := m.ProtoReflect(), from.ProtoReflect()
	if target.Descriptor() != source.Descriptor() {
		return fmt.Errorf("%T is a %s: the schema of the procedure has a %s there",
			into, target.Descriptor().FullName(), source.Descriptor().FullName())
	}
	proto.Reset(m)
	source.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		target.Set(field, value)
		return true
	})
	target.SetUnknown(source.GetUnknown())
	return nil
}
