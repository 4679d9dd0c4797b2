// SPDX-License-Identifier: Apache-2.0

// Codecs: they encode messages to bytes and decode them.

package connect

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

const (
	codecProto   = "proto"
	codecJSON    = "json"
	charsetUTF8  = "; charset=utf-8"
	codecJSONUTF = codecJSON + charsetUTF8
)

// A Codec encodes and decodes messages. It must be safe for concurrent use.
//
// A codec can have more methods, which the library looks for:
//
//   - MarshalAppend(dst []byte, message any) ([]byte, error) appends the encoded
//     message to dst and returns the extended slice, which saves a copy.
//   - MarshalStable(message any) ([]byte, error) returns the same bytes for
//     equal messages. Without this method, a client sends no HTTP GET requests.
//   - IsBinary() bool reports whether the bytes that MarshalStable returns need
//     base64 in a URL, because they may not be UTF-8. Without this method, they
//     are sent in base64.
type Codec interface {
	// Name returns the codec's part of the content type: the codec "proto" has
	// the content types "application/proto", "application/grpc+proto" and so on.
	// It must not be empty.
	Name() string
	// Marshal encodes a message. An error ends the call with CodeInternal.
	Marshal(any) ([]byte, error)
	// Unmarshal decodes bytes into a message, which is a pointer. It must not
	// keep the bytes: the library overwrites them later. An error ends the call with
	// CodeInvalidArgument, on both sides.
	Unmarshal([]byte, any) error
}

type appendCodec interface {
	MarshalAppend([]byte, any) ([]byte, error)
}

type stableCodec interface {
	MarshalStable(any) ([]byte, error)
}

type binaryCodec interface {
	IsBinary() bool
}

// measuringCodec is a codec of this package that returns the size of a message before
// it encodes it, and can decode without clearing the message first.
type measuringCodec interface {
	Codec
	// marshalTo appends the encoded message to a buffer.
	marshalTo(*buffer, any) error
	// unmarshal is Unmarshal for a message that is empty if fresh is true.
	unmarshal(data []byte, message any, fresh bool) error
}

// protoCodec is Protobuf's binary format.
type protoCodec struct{}

func (protoCodec) Name() string   { return codecProto }
func (protoCodec) IsBinary() bool { return true }

func (c protoCodec) Marshal(message any) ([]byte, error) {
	return c.MarshalAppend(nil, message)
}

func (protoCodec) MarshalAppend(dst []byte, message any) ([]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return nil, notProto(message)
	}
	return proto.MarshalOptions{}.MarshalAppend(dst, m)
}

func (protoCodec) MarshalStable(message any) ([]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return nil, notProto(message)
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

func (c protoCodec) Unmarshal(data []byte, message any) error {
	return c.unmarshal(data, message, false)
}

func (protoCodec) marshalTo(b *buffer, message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return notProto(message)
	}
	b.reserve(proto.Size(m))
	data, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b.data, m)
	if err == nil {
		b.data = data
	}
	return err
}

func (protoCodec) unmarshal(data []byte, message any, fresh bool) error {
	m, ok := message.(proto.Message)
	if !ok {
		return notProto(message)
	}
	return proto.UnmarshalOptions{Merge: fresh}.Unmarshal(data, m)
}

func notProto(message any) error {
	if _, ok := message.(interface{ ProtoMessage() }); ok {
		return fmt.Errorf("%T is of the Protobuf API v1: generate it anew with google.golang.org/protobuf's protoc-gen-go", message)
	}
	return fmt.Errorf("%T is not a proto.Message", message)
}
