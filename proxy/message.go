// SPDX-License-Identifier: Apache-2.0

// Messages on their way through a translator, and their codecs.

package proxy

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect"
)

// message is a message in Protobuf's binary form. It is decoded only for JSON.
type message struct {
	of   protoreflect.MessageDescriptor
	data []byte
}

// initializer returns a function that gives a message its type.
func initializer(of protoreflect.MessageDescriptor) func(connect.Spec, any) error {
	return func(_ connect.Spec, m any) error {
		typed, err := messageOf(m)
		if err == nil {
			typed.of = of
		}
		return err
	}
}

func messageOf(m any) (*message, error) {
	if typed, ok := m.(*message); ok && typed != nil {
		return typed, nil
	}
	return nil, fmt.Errorf("forward a %T: expected a message of the proxy", m)
}

// protoCodec passes messages on as they are.
type protoCodec struct{}

func (protoCodec) Name() string   { return "proto" }
func (protoCodec) IsBinary() bool { return true }

func (protoCodec) Marshal(m any) ([]byte, error) {
	typed, err := messageOf(m)
	if err != nil {
		return nil, err
	}
	return typed.data, nil
}

// MarshalAppend saves a copy of the message: the library owns dst.
func (protoCodec) MarshalAppend(dst []byte, m any) ([]byte, error) {
	typed, err := messageOf(m)
	if err != nil {
		return nil, err
	}
	return append(dst, typed.data...), nil
}

func (c protoCodec) MarshalStable(m any) ([]byte, error) { return c.Marshal(m) }

func (protoCodec) Unmarshal(data []byte, m any) error {
	typed, err := messageOf(m)
	if err == nil {
		typed.data = bytes.Clone(data)
	}
	return err
}

// jsonCodec decodes JSON to a dynamic message, and back.
type jsonCodec struct{ json, proto connect.Codec }

func (jsonCodec) Name() string { return "json" }

func (c jsonCodec) Marshal(m any) ([]byte, error) {
	typed, err := messageOf(m)
	if err != nil {
		return nil, err
	}
	decoded := dynamicpb.NewMessage(typed.of)
	if err := c.proto.Unmarshal(typed.data, decoded); err != nil {
		return nil, err
	}
	return c.json.Marshal(decoded)
}

func (c jsonCodec) Unmarshal(data []byte, m any) error {
	typed, err := messageOf(m)
	if err != nil {
		return err
	}
	decoded := dynamicpb.NewMessage(typed.of)
	if err := c.json.Unmarshal(data, decoded); err != nil {
		return err
	}
	typed.data, err = c.proto.Marshal(decoded)
	return err
}
