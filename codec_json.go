// SPDX-License-Identifier: Apache-2.0

// The codec "json": Protobuf's JSON mapping, and its options.

package connect

import (
	"bytes"
	"encoding/json"
	"errors"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Defaults of the bounds on google.protobuf.Any in a JSON message. At each level
// protojson scans the content once more, to find its type. The bound on all bytes keeps
// the cost of decoding linear in the message's size. The C++ and Java implementations of
// Protobuf refuse more than 100 levels of any nesting. google.golang.org/protobuf allows
// 10,000 levels of other messages, which it decodes in linear time.
const (
	anyNesting = 100     // levels
	anyTimes   = 4       // bytes of all Any for each byte of the message
	anyFree    = 1 << 20 // bytes of all Any besides
)

// JSONOptions change the codec "json": see [WithJSONOptions]. The zero value is the
// built-in codec. The fields from UseProtoNames to Resolver have the names and the
// meaning of those in package google.golang.org/protobuf/encoding/protojson.
type JSONOptions struct {
	// UseProtoNames writes the names of fields as in the schema, such as user_name, and
	// not in lowerCamelCase. Both are accepted in received messages.
	UseProtoNames bool
	// UseEnumNumbers writes enum values as numbers, and not by their names. Both are
	// accepted in received messages.
	UseEnumNumbers bool
	// EmitDefaultValues writes also fields without presence that have their default
	// value: zero numbers, false, empty strings, lists and maps.
	EmitDefaultValues bool
	// EmitUnpopulated is EmitDefaultValues, and writes null for messages and other
	// singular fields with presence that are not set, except for members of a oneof.
	EmitUnpopulated bool
	// Resolver finds the types of google.protobuf.Any and of extensions, in both
	// directions. Nil stands for [protoregistry.GlobalTypes].
	Resolver interface {
		protoregistry.ExtensionTypeResolver
		protoregistry.MessageTypeResolver
	}

	// RefuseUnknown refuses a received message with a field that the schema does not
	// have: the call fails with CodeInvalidArgument, on both sides. By default such
	// fields are ignored, so that clients and servers can be updated one after the
	// other.
	RefuseUnknown bool
	// AnyNesting bounds the levels of google.protobuf.Any in each other in a received
	// message. The decoder scans the content of an Any once for each level, so a high
	// bound lets a client ask for much work. Zero and less stand for 100. Up to 100, the
	// bytes of all Any together, each with those inside of it, are bounded, too: by 1 MiB
	// and four times the message. A message beyond the bounds is refused before it is
	// decoded.
	AnyNesting int
}

// WithJSONOptions replaces the codec "json" of a handler by one with other options,
// and makes a client send and receive JSON with them, as [WithProtoJSON] does. Each
// WithJSONOptions sets all options: those of an earlier one have no effect.
func WithJSONOptions(options JSONOptions) Option {
	return WithCodec(NewJSONCodec(options))
}

// NewJSONCodec returns the codec of [WithJSONOptions], for programs that use a codec
// without a handler or client.
func NewJSONCodec(options JSONOptions) Codec { return jsonCodec{options} }

// NewProtoJSONCodec returns the codec "json" with another bound on nested
// google.protobuf.Any: nesting is [JSONOptions].AnyNesting. Use it with [WithCodec].
// [WithJSONOptions] has this bound and other options.
func NewProtoJSONCodec(nesting int) Codec {
	return jsonCodec{JSONOptions{AnyNesting: nesting}}
}

// jsonCodec is Protobuf's JSON mapping.
type jsonCodec struct {
	options JSONOptions
}

func (jsonCodec) Name() string   { return codecJSON }
func (jsonCodec) IsBinary() bool { return false }

func (c jsonCodec) Marshal(message any) ([]byte, error) {
	return c.MarshalAppend(nil, message)
}

func (c jsonCodec) MarshalAppend(dst []byte, message any) ([]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return nil, notProto(message)
	}
	if err := c.checkAny(m); err != nil {
		return nil, err
	}
	return protojson.MarshalOptions{
		UseProtoNames:     c.options.UseProtoNames,
		UseEnumNumbers:    c.options.UseEnumNumbers,
		EmitDefaultValues: c.options.EmitDefaultValues,
		EmitUnpopulated:   c.options.EmitUnpopulated,
		Resolver:          c.options.Resolver,
	}.MarshalAppend(dst, m)
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
	if bounds := c.anyBounds(len(data)); bounds.mayExceed(data) {
		if err := bounds.check(data); err != nil {
			return err
		}
	}
	return protojson.UnmarshalOptions{DiscardUnknown: !c.options.RefuseUnknown, Resolver: c.options.Resolver}.Unmarshal(data, m)
}
