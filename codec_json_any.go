// SPDX-License-Identifier: Apache-2.0

// Bounds on nested google.protobuf.Any in messages that become JSON.

package connect

import (
	"math"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

const (
	anyName = "google.protobuf.Any"
	// anyHarmless is the size up to which no message exceeds anyFree: an Any takes 24
	// bytes at least, and the largest sum is that of Any in each other.
	anyHarmless = 4 << 10
	// depthMax is the depth of messages in each other that the decoder of
	// google.golang.org/protobuf allows.
	depthMax = protowire.DefaultRecursionLimit
)

// checkAny returns an error for a message whose Any in each other would take too much
// work to write as JSON. A peer may have sent them in binary, where an Any is not
// decoded. It goes through the bytes of each Any once.
func (c jsonCodec) checkAny(m proto.Message) error {
	r := m.ProtoReflect()
	if !mayHoldAny(r.Descriptor()) {
		return nil
	}
	size := proto.Size(m)
	if size <= anyHarmless {
		return nil
	}
	s := anySum{bounds: c.anyBounds(size), types: c.options.Resolver}
	if s.bounds.bytes == math.MaxInt {
		return nil
	}
	if s.types == nil {
		s.types = protoregistry.GlobalTypes
	}
	if !s.message(r) {
		return s.bounds.errBytes()
	}
	return nil
}

// anySum adds up the sizes of the Any in a message, each with those inside of it. Its
// methods report false when the sum exceeds the bound.
type anySum struct {
	bounds anyBounds
	types  interface {
		protoregistry.ExtensionTypeResolver
		protoregistry.MessageTypeResolver
	}
	bytes int
}

// message adds those of a message.
func (s *anySum) message(m protoreflect.Message) (ok bool) {
	md := m.Descriptor()
	if md.FullName() == anyName {
		data, err := proto.Marshal(m.Interface())
		return err != nil || s.encoded(md, data, 1)
	}
	ok = true
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil || !mayHoldAny(fd.Message()) || fd.IsMap() && fd.MapValue().Message() == nil:
		case fd.IsMap():
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				ok = s.message(v.Message())
				return ok
			})
		case fd.IsList():
			for i := 0; ok && i < v.List().Len(); i++ {
				ok = s.message(v.List().Get(i).Message())
			}
		default:
			ok = s.message(v.Message())
		}
		return ok
	})
	return ok
}

// content adds an Any with this content.
func (s *anySum) content(url string, value []byte) bool {
	if s.bytes += len(value); s.bytes > s.bounds.bytes {
		return false
	}
	t, err := s.types.FindMessageByURL(url)
	return err != nil || s.encoded(t.Descriptor(), value, depthMax) // protojson returns the error
}

// encoded adds those of an encoded message, which has at most depth messages in each
// other.
func (s *anySum) encoded(md protoreflect.MessageDescriptor, data []byte, depth int) bool {
	if depth == 0 || !mayHoldAny(md) {
		return true
	}
	var url string
	var value []byte
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return true // the decoder returns the error
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(number, kind, data); n < 0 {
			return true
		}
		field := data[:n]
		data = data[n:]
		switch kind {
		case protowire.BytesType:
			field, _ = protowire.ConsumeBytes(field)
		case protowire.StartGroupType:
			field, _ = protowire.ConsumeGroup(number, field)
		default:
			continue
		}
		fd := md.Fields().ByNumber(number)
		if fd == nil {
			if extension, err := s.types.FindExtensionByNumber(md.FullName(), number); err == nil {
				fd = extension.TypeDescriptor()
			}
		}
		switch {
		case md.FullName() == anyName && number == 1:
			url = string(field)
		case md.FullName() == anyName && number == 2:
			value = field
		case fd == nil || fd.Message() == nil:
		case !s.encoded(fd.Message(), field, depth-1):
			return false
		}
	}
	return md.FullName() != anyName || s.content(url, value)
}

// holders remembers which types of this program may hold an Any: a map of
// protoreflect.MessageDescriptor to bool. Types made at run time are not in it, because
// they would stay in memory.
var holders sync.Map

// mayHoldAny reports whether messages of a type may have an Any at any depth. For a type
// that was made at run time it is true.
func mayHoldAny(md protoreflect.MessageDescriptor) bool {
	if known, ok := holders.Load(md); ok {
		return known.(bool)
	}
	if linked, err := protoregistry.GlobalFiles.FindDescriptorByName(md.FullName()); err != nil || linked != protoreflect.Descriptor(md) {
		return true
	}
	holds := reaches(md, make(map[protoreflect.FullName]bool))
	holders.Store(md, holds)
	return holds
}

// reaches reports whether a way leads from a type to Any that passes no type twice.
func reaches(md protoreflect.MessageDescriptor, passed map[protoreflect.FullName]bool) bool {
	if md.FullName() == anyName || md.ExtensionRanges().Len() > 0 { // an extension may be of any type
		return true
	}
	if passed[md.FullName()] {
		return false
	}
	passed[md.FullName()] = true
	for i := range md.Fields().Len() {
		if next := md.Fields().Get(i).Message(); next != nil && reaches(next, passed) {
			return true
		}
	}
	return false
}
