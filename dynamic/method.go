// SPDX-License-Identifier: Apache-2.0

// The option that gives a client or handler its method, and the check of messages.

package dynamic

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect"
)

// WithMethod makes a client or handler with messages of the type [Message] one of a
// method: it prepares received messages, sets [connect.Spec].Schema and the
// idempotency, applies [WithTypes], and checks what the program sends. A message of
// another type fails the call with CodeInternal on the handler's side, and with
// CodeInvalidArgument on the client's; so does a client's method that does not fit
// the kind, such as CallUnary for a stream. A nil message is sent as an empty one.
//
// A constructor of a handler of another kind, or of another procedure, panics.
func WithMethod(method protoreflect.MethodDescriptor) connect.Option {
	shared := connect.WithOptions(
		connect.WithSchema(method),
		connect.WithIdempotency(idempotencyOf(method)),
		connect.WithInterceptors(&checker{method}),
		WithTypes(typesOf(method.ParentFile())),
	)
	fits := func(spec connect.Spec) []connect.HandlerOption {
		if spec.Procedure != Procedure(method) || spec.StreamType != KindOf(method) {
			panic(fmt.Sprintf("dynamic: WithMethod of the %v method %s was given to a %v handler of %s",
				KindOf(method), method.FullName(), spec.StreamType, spec.Procedure))
		}
		return nil
	}
	return option{
		connect.WithHandlerOptions(shared, connect.WithConditionalHandlerOptions(fits), connect.WithRequestInitializer(initializer(method.Input()))),
		connect.WithClientOptions(shared, connect.WithResponseInitializer(initializer(method.Output()))),
	}
}

// initializer returns a function that gives an empty message its type.
func initializer(of protoreflect.MessageDescriptor) func(connect.Spec, any) error {
	return func(spec connect.Spec, message any) error {
		m, ok := message.(*Message)
		if !ok {
			return fmt.Errorf("receive: %s has messages of the type %T: expected *dynamicpb.Message", spec.Procedure, message)
		}
		*m = *dynamicpb.NewMessage(of)
		return nil
	}
}

// checker is an interceptor that checks the type of each message that is sent, and
// the kind of each call.
type checker struct {
	method protoreflect.MethodDescriptor
}

// checkType returns an error unless the message has the type that is expected.
func checkType(code connect.Code, message *Message, want protoreflect.MessageDescriptor) error {
	got := message.Descriptor()
	if got == nil {
		return connect.NewError(code, fmt.Errorf("send: message has no type: expected a %s: make it with dynamicpb.NewMessage of the method's descriptor", want.FullName()))
	}
	if got.FullName() != want.FullName() {
		return connect.NewError(code, fmt.Errorf("send: message is a %s: expected a %s: make it with dynamicpb.NewMessage of the method's descriptor", got.FullName(), want.FullName()))
	}
	return nil
}

// checkKind returns an error unless a client's call is of the method's kind.
func (c *checker) checkKind(spec connect.Spec) error {
	if kind := KindOf(c.method); spec.StreamType != kind {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("call %s: it is a %v method, and was called as a %v one: use the client's method for its kind", spec.Procedure, kind, spec.StreamType))
	}
	return nil
}

func (c *checker) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		if !request.Spec().IsClient {
			response, err := next(ctx, request)
			if typed, ok := response.(*connect.Response[Message]); ok && typed != nil && err == nil {
				if typed.Msg == nil {
					typed.Msg = dynamicpb.NewMessage(c.method.Output())
				}
				err = checkType(connect.CodeInternal, typed.Msg, c.method.Output())
			}
			return response, err
		}
		err := c.checkKind(request.Spec())
		if typed, ok := request.(*connect.Request[Message]); ok && err == nil {
			if typed.Msg == nil {
				typed.Msg = dynamicpb.NewMessage(c.method.Input())
			}
			err = checkType(connect.CodeInvalidArgument, typed.Msg, c.method.Input())
		}
		if err != nil {
			return nil, err
		}
		return next(ctx, request)
	}
}

func (c *checker) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := &checkedClientConn{next(ctx, spec), c.method, c.checkKind(spec)}
		if conn.failed != nil {
			_ = conn.CloseResponse()
		}
		return conn
	}
}

func (c *checker) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return next(ctx, &checkedHandlerConn{conn, c.method})
	}
}

type checkedHandlerConn struct {
	connect.StreamingHandlerConn
	method protoreflect.MethodDescriptor
}

func (c *checkedHandlerConn) Send(message any) error {
	if m, ok := message.(*Message); ok {
		if m == nil {
			message = dynamicpb.NewMessage(c.method.Output())
		} else if err := checkType(connect.CodeInternal, m, c.method.Output()); err != nil {
			return err
		}
	}
	return c.StreamingHandlerConn.Send(message)
}

type checkedClientConn struct {
	connect.StreamingClientConn
	method protoreflect.MethodDescriptor
	failed error // the call is of another kind than the method
}

func (c *checkedClientConn) Send(message any) error {
	if c.failed != nil {
		return c.failed
	}
	if m, ok := message.(*Message); ok {
		if m == nil {
			message = dynamicpb.NewMessage(c.method.Input())
		} else if err := checkType(connect.CodeInvalidArgument, m, c.method.Input()); err != nil {
			return err
		}
	}
	return c.StreamingClientConn.Send(message)
}

func (c *checkedClientConn) CloseRequest() error {
	if c.failed != nil {
		return c.failed
	}
	return c.StreamingClientConn.CloseRequest()
}

func (c *checkedClientConn) Receive(message any) error {
	if c.failed != nil {
		return c.failed
	}
	return c.StreamingClientConn.Receive(message)
}
