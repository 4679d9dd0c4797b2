// SPDX-License-Identifier: Apache-2.0

// Codecs: messages to bytes and back.

package connect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	codecProto   = "proto"
	codecJSON    = "json"
	charsetUTF8  = "; charset=utf-8"
	codecJSONUTF = codecJSON + charsetUTF8
)

// A Codec turns messages into bytes and back. It must be safe for concurrent
// use.
//
// A codec may have more methods, which are found by name:
//
//   - MarshalAppend(dst []byte, message any) ([]byte, error) appends to dst what
//     Marshal returns, and saves a copy;
//   - MarshalStable(message any) ([]byte, error) returns the same bytes for
//     equal messages: without it, a client does not send HTTP GET requests;
//   - IsBinary() bool reports whether MarshalStable's result may hold anything
//     but printable UTF-8, and so needs base64 in a URL: without it, it does.
type Codec interface {
	// Name is the codec's part of the content type: messages of the codec "proto"
	// travel as "application/proto", "application/grpc+proto" and so on. It must
	// not be empty.
	Name() string
	// Marshal encodes a message.
	Marshal(any) ([]byte, error)
	// Unmarshal decodes a message. It must not keep the bytes, which are used
	// again afterwards.
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

func (protoCodec) Unmarshal(data []byte, message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return notProto(message)
	}
	return proto.Unmarshal(data, m)
}

// anyNesting is how many levels of google.protobuf.Any a JSON message may have. Each
// level has what is inside scanned once more for its type, so that the bound makes
// the cost of decoding linear in the message's size. Protobuf's C++ and Java refuse
// any nesting beyond 100 levels; other messages may be nested 10,000 levels deep here,
// as in google.golang.org/protobuf, at no more than linear cost.
const anyNesting = 100

// NewProtoJSONCodec returns the codec "json" with another bound: messages may have at
// most nesting levels of google.protobuf.Any in each other, which cost the scanning
// of what is inside once for each level. The built-in codec has 100; zero and less is
// that, too. Use it with [WithCodec]. A message beyond the bound is refused before it is
// decoded: CodeInvalidArgument for a request, CodeInternal for a response.
func NewProtoJSONCodec(nesting int) Codec {
	return jsonCodec{nesting}
}

// jsonCodec is Protobuf's JSON mapping. Unknown fields are ignored, so that
// clients and servers need not be updated together.
type jsonCodec struct {
	nesting int // levels of Any, 0 and less is anyNesting
}

func (jsonCodec) Name() string   { return codecJSON }
func (jsonCodec) IsBinary() bool { return false }

func (c jsonCodec) Marshal(message any) ([]byte, error) {
	return c.MarshalAppend(nil, message)
}

func (jsonCodec) MarshalAppend(dst []byte, message any) ([]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return nil, notProto(message)
	}
	return protojson.MarshalOptions{}.MarshalAppend(dst, m)
}

// MarshalStable removes the white space that protojson varies on purpose. The
// order of fields and of map keys is stable already.
func (c jsonCodec) MarshalStable(message any) ([]byte, error) {
	data, err := c.Marshal(message)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}

func (c jsonCodec) Unmarshal(data []byte, message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return notProto(message)
	}
	if len(data) == 0 {
		return errors.New("zero-length payload is not a valid JSON object")
	}
	limit := c.nesting
	if limit <= 0 {
		limit = anyNesting
	}
	if mayNestAny(data, limit) && nestsAny(data, limit) {
		return fmt.Errorf("google.protobuf.Any is nested more than %d levels deep", limit)
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, m)
}

func notProto(message any) error {
	if _, ok := message.(interface{ ProtoMessage() }); ok {
		return fmt.Errorf("%T is of the Protobuf API v1: generate it anew with google.golang.org/protobuf's protoc-gen-go", message)
	}
	return fmt.Errorf("%T is not a proto.Message", message)
}
