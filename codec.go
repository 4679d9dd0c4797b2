// SPDX-License-Identifier: Apache-2.0

// Codecs: they encode messages to bytes and decode them.

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
	// keep the bytes: the library overwrites them later. An error ends the call,
	// with CodeInvalidArgument on the handler's side and CodeInternal on the
	// client's.
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

// anyNesting is the default bound on the levels of google.protobuf.Any in a JSON
// message. At each level protojson scans the content once more, to find its type.
// The bound keeps the cost of decoding linear in the message's size. The C++ and
// Java implementations of Protobuf refuse more than 100 levels of any nesting.
// google.golang.org/protobuf allows 10,000 levels of other messages, which it
// decodes in linear time.
const anyNesting = 100

// NewProtoJSONCodec returns the codec "json" with another bound on nested
// google.protobuf.Any: nesting is the number of levels that a message may have. The
// decoder scans the content of an Any once for each level, so a high bound lets a
// client ask for much work. The built-in codec has a bound of 100; zero and less
// stand for that, too. Use the codec with [WithCodec]. A message beyond the bound
// is refused before it is decoded, with CodeInvalidArgument.
func NewProtoJSONCodec(nesting int) Codec {
	return jsonCodec{nesting}
}

// jsonCodec is Protobuf's JSON mapping. It ignores unknown fields, so that
// clients and servers can be updated one after the other.
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

// MarshalStable removes white space, which protojson varies on purpose. The order
// of fields and of map keys is stable in protojson.
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
