// SPDX-License-Identifier: Apache-2.0

// One message: its rules, and the error for what breaks them.

package validate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seed-b7c59c10/connect"
)

// The two directions of messages.
const (
	request  = "request"
	response = "response"
)

// Only a message of at most maxChecked bytes, nested in at most maxNested levels, is checked
// for all violations. Each violation has a path with an element for each level: a chain of
// messages that all break a rule costs the square of its length.
const (
	maxChecked = 64 << 10
	maxNested  = 32
)

// check returns the error for a message that breaks rules, nil if it breaks none.
func (i *Interceptor) check(ctx context.Context, spec connect.Spec, msg any, direction string) error {
	m, ok := msg.(proto.Message)
	if !ok {
		return i.mistake(ctx, spec, direction, fmt.Sprintf("%T", msg), "it is not a Protobuf message: leave its procedure out with validate.WithFilter", nil)
	}
	err := i.validate(spec, m)
	if err == nil {
		return nil
	}
	name := string(m.ProtoReflect().Descriptor().FullName())
	var found *protovalidate.ValidationError
	if !errors.As(err, &found) {
		return i.mistake(ctx, spec, direction, name, "its rules cannot be evaluated", err)
	}
	if direction == response && !spec.IsClient {
		return i.mistake(ctx, spec, direction, name, "it breaks the rules of its schema", err)
	}
	return i.violated(spec, direction, name, found)
}

// validate returns the violations of a message: the first one, and if the message is neither
// large nor deep, all of them.
func (i *Interceptor) validate(spec connect.Spec, m proto.Message) error {
	var options []protovalidate.ValidationOption
	if i.options != nil {
		options = i.options(spec)
	}
	first := i.validator.Validate(m, append(options[:len(options):len(options)], failFast)...)
	var found *protovalidate.ValidationError
	if first == nil || !errors.As(first, &found) || proto.Size(m) > maxChecked || deeper(m.ProtoReflect(), maxNested) {
		return first
	}
	if err := i.validator.Validate(m, options...); err != nil {
		return err
	}
	return first // a rule that depends on the time has changed its mind
}

// deeper reports whether a message has more levels of messages than levels, itself included.
func deeper(m protoreflect.Message, levels int) (found bool) {
	if levels == 0 {
		return true
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
			if field.MapValue().Message() != nil {
				value.Map().Range(func(_ protoreflect.MapKey, one protoreflect.Value) bool {
					found = deeper(one.Message(), levels-1)
					return !found
				})
			}
		case field.Message() == nil:
		case field.IsList():
			for i := 0; i < value.List().Len() && !found; i++ {
				found = deeper(value.List().Get(i).Message(), levels-1)
			}
		default:
			found = deeper(value.Message(), levels-1)
		}
		return !found
	})
	return found
}

// failFast ends a check with its first violation.
var failFast = protovalidate.WithFailFast()

// violated returns the error for a message that breaks rules.
func (i *Interceptor) violated(spec connect.Spec, direction, name string, found *protovalidate.ValidationError) error {
	code := connect.CodeInvalidArgument
	if direction == response {
		code = connect.CodeInternal
	}
	e := connect.NewError(code, &invalid{text: describe(direction, name, found), cause: found})
	if i.noDetails {
		return e
	}
	if detail, err := connect.NewErrorDetail(bounded(found)); err == nil {
		e.AddDetail(detail)
	}
	return e
}

// mistake logs a mistake of the program, and returns the error for it. The cause is not
// in the error's text, because the text goes to the peer.
func (i *Interceptor) mistake(ctx context.Context, spec connect.Spec, direction, name, what string, cause error) error {
	if _, before := i.logged.LoadOrStore(direction+" "+name+": "+what, true); !before {
		logger := i.logger
		if logger == nil {
			logger = slog.Default()
		}
		logger.ErrorContext(ctx, "validating a "+direction+": "+what, "procedure", spec.Procedure, "message", name, "error", cause)
	}
	return connect.NewError(connect.CodeInternal, &invalid{
		text:  fmt.Sprintf("validating %s %s: %s", direction, name, what),
		cause: cause,
	})
}

// invalid is the error for a message. Its text goes to the peer, its cause does not.
type invalid struct {
	text  string
	cause error // of package protovalidate, or nil
}

func (e *invalid) Error() string { return e.text }
func (e *invalid) Unwrap() error { return e.cause }
