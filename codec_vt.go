// SPDX-License-Identifier: Apache-2.0

// The codec that uses the methods of vtprotobuf's generated code.

package connect

import (
	"fmt"
	"reflect"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// WithVTProto makes handlers and clients encode and decode Protobuf with the methods
// that github.com/planetscale/vtprotobuf generates (its features marshal, unmarshal
// and size), for messages that have them; all others go the usual way. It replaces
// the codec "proto" of a handler, and makes a client use it. The bytes on the wire
// are the same format.
//
// These methods do not check that strings are UTF-8, in neither direction: a handler
// that must refuse other strings checks them itself. A message must not change while
// it is encoded. Received messages of more than 16 KiB whose type contains itself
// are decoded the usual way: that way bounds their nesting, and these methods do
// not. HTTP GET requests are encoded the usual way, too: their bytes are stable.
func WithVTProto() Option {
	return WithCodec(vtCodec{})
}

// vtNested is the size in bytes up to which no message has more levels than Protobuf
// allows, which is 10,000: a level takes two bytes or more.
const vtNested = 16 << 10

// vtMessage is a message with vtprotobuf's methods. UnmarshalVT merges, as
// proto.UnmarshalOptions with Merge does.
type vtMessage interface {
	SizeVT() int
	MarshalToSizedBufferVT([]byte) (int, error)
	UnmarshalVT([]byte) error
}

// vtCodec is protoCodec with vtprotobuf's methods.
type vtCodec struct {
	protoCodec
}

// A vtKind describes a Go type of messages to vtCodec.
type vtKind struct {
	able   bool // it has the methods
	nested bool // its messages can contain messages of the same type
}

var vtKinds sync.Map // reflect.Type → vtKind

// vtOf returns the message that msg is encoded from, if it has the methods. That is
// not always msg: a struct that embeds a message has its methods by promotion, and
// may have a ProtoReflect of its own, which the methods do not know.
func vtOf(msg any) (vtMessage, vtKind) {
	m, ok := msg.(proto.Message)
	if !ok {
		return nil, vtKind{}
	}
	r := m.ProtoReflect()
	vt, ok := r.Interface().(vtMessage)
	if !ok || !r.IsValid() {
		return nil, vtKind{}
	}
	t := reflect.TypeOf(vt)
	known, ok := vtKinds.Load(t)
	if !ok {
		nested := containsCycle(r.Descriptor(), make(map[protoreflect.FullName]bool), make(map[protoreflect.FullName]bool))
		known, _ = vtKinds.LoadOrStore(t, vtKind{ownsMethods(t), nested})
	}
	return vt, known.(vtKind)
}

// ownsMethods reports whether the methods of a type cannot be those of an embedded
// field: generated messages have no such fields.
func ownsMethods(t reflect.Type) bool {
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return false
	}
	for field := range t.Elem().Fields() {
		if field.Anonymous {
			return false
		}
	}
	return true
}

// containsCycle reports whether the types that d leads to contain each other in a
// circle. The types of path lead to d; those of done lead to no circle.
func containsCycle(d protoreflect.MessageDescriptor, path, done map[protoreflect.FullName]bool) bool {
	name := d.FullName()
	if path[name] {
		return true
	}
	if done[name] {
		return false
	}
	path[name] = true
	fields := d.Fields()
	for i := range fields.Len() {
		if inner := fields.Get(i).Message(); inner != nil && containsCycle(inner, path, done) {
			return true
		}
	}
	delete(path, name)
	done[name] = true
	return false
}

// encode appends the encoded message to dst, which has room for its size.
func (vtCodec) encode(dst []byte, vt vtMessage, size int) ([]byte, error) {
	n := len(dst)
	written, err := vt.MarshalToSizedBufferVT(dst[n : n+size])
	if err == nil && written != size {
		err = fmt.Errorf("%T: MarshalToSizedBufferVT wrote %d bytes, and SizeVT returned %d: the message changed in between", vt, written, size)
	}
	return dst[:n+size], err
}

func (c vtCodec) Marshal(message any) ([]byte, error) {
	return c.MarshalAppend(nil, message)
}

func (c vtCodec) MarshalAppend(dst []byte, message any) ([]byte, error) {
	vt, kind := vtOf(message)
	if !kind.able {
		return c.protoCodec.MarshalAppend(dst, message)
	}
	size := vt.SizeVT()
	return c.encode(slices.Grow(dst, size), vt, size)
}

func (c vtCodec) marshalTo(b *buffer, message any) error {
	vt, kind := vtOf(message)
	if !kind.able {
		return c.protoCodec.marshalTo(b, message)
	}
	size := vt.SizeVT()
	b.reserve(size)
	data, err := c.encode(b.data, vt, size)
	if err == nil {
		b.data = data
	}
	return err
}

func (c vtCodec) Unmarshal(data []byte, message any) error {
	return c.unmarshal(data, message, false)
}

func (c vtCodec) unmarshal(data []byte, message any, fresh bool) error {
	vt, kind := vtOf(message)
	switch {
	case !kind.able, kind.nested && len(data) > vtNested:
		return c.protoCodec.unmarshal(data, message, fresh)
	case !fresh:
		proto.Reset(message.(proto.Message))
	}
	return vt.UnmarshalVT(data)
}
