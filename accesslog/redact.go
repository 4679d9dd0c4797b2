// SPDX-License-Identifier: Apache-2.0

// Headers and messages without secrets.

package accesslog

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/seed-b7c59c10/connect"
)

// redacted stands for a secret.
const redacted = "[redacted]"

// secrets are the headers whose values are never logged.
var secrets = map[string]bool{"Authorization": true, "Proxy-Authorization": true, "Cookie": true, "Set-Cookie": true}

// maxHeader is how much of a header's values the line has.
const maxHeader = 256

// headers returns a group of those headers that there are, or nothing.
func headers(group string, names []string, h http.Header) []slog.Attr {
	var found []any
	for _, name := range names {
		values := h.Values(name)
		switch {
		case len(values) == 0:
		case secrets[name]:
			found = append(found, slog.String(name, redacted))
		default:
			found = append(found, slog.String(name, cut(strings.Join(values, ", "), maxHeader)))
		}
	}
	if found == nil {
		return nil
	}
	return []slog.Attr{slog.Group(group, found...)}
}

// maxMessage is the size of the largest message that is logged.
const maxMessage = 64 << 10

// render returns at most size bytes of a message as JSON.
func render(m connect.CallMessage, size int) string {
	msg, ok := m.Message.(proto.Message)
	switch {
	case !ok:
		return fmt.Sprintf("a message of the type %T", m.Message)
	case m.Size > maxMessage:
		return fmt.Sprintf("a message of %d bytes", m.Size)
	}
	if !msg.ProtoReflect().IsValid() {
		return "{}" // nil
	}
	made := proto.Clone(msg)
	scrub(made.ProtoReflect(), maxAnys)
	text, err := protojson.Marshal(made)
	if err != nil {
		return "a message that cannot be shown: " + cut(err.Error(), size)
	}
	return cut(string(text), size)
}

// maxAnys is how many messages of google.protobuf.Any are shown one in the other. Each level
// decodes and encodes all that are in it, which together grows with the square of the levels,
// and a peer chooses them.
const maxAnys = 10

// scrub takes out of a message what its schema marks with debug_redact, and what its schema
// does not know. Texts become "[redacted]", other values are cleared. It shows at most anys
// levels of google.protobuf.Any.
func scrub(m protoreflect.Message, anys int) {
	m.SetUnknown(nil)
	a, isAny := m.Interface().(*anypb.Any)
	switch {
	case isAny:
		scrubAny(a, anys)
		return
	case m.Descriptor().FullName() == "google.protobuf.Any": // of a schema that was loaded at run time
		m.Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			m.Clear(field)
			return true
		})
		return
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		o, _ := field.Options().(*descriptorpb.FieldOptions)
		switch {
		case o.GetDebugRedact() && field.Kind() == protoreflect.StringKind && field.Cardinality() != protoreflect.Repeated:
			m.Set(field, protoreflect.ValueOfString(redacted))
		case o.GetDebugRedact():
			m.Clear(field)
		case field.IsMap():
			if field.MapValue().Message() != nil {
				value.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					scrub(v.Message(), anys)
					return true
				})
			}
		case field.Message() == nil:
		case field.IsList():
			for n := range value.List().Len() {
				scrub(value.List().Get(n).Message(), anys)
			}
		default:
			scrub(value.Message(), anys)
		}
		return true
	})
}

// scrubAny takes secrets out of the message inside, or all of it if its type is not linked or
// no level is left.
func scrubAny(a *anypb.Any, anys int) {
	if anys == 0 {
		a.Reset()
		return
	}
	inside, err := a.UnmarshalNew()
	if err == nil {
		scrub(inside.ProtoReflect(), anys-1)
		err = a.MarshalFrom(inside)
	}
	if err != nil {
		a.Reset()
	}
}
