// SPDX-License-Identifier: Apache-2.0

// Handlers of methods that are known at run time.

package dynamic

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect"
)

// NewHandler returns a handler of a method of any kind. It calls serve for each call,
// from many goroutines at once; the call ends when serve returns. It applies
// [WithMethod]. Several handlers together make a service: see
// [connect.NewServiceHandler].
//
// For a function that fits the method's kind, use a constructor of package connect:
//
//	connect.NewUnaryHandlerSimple(dynamic.Procedure(method),
//		func(ctx context.Context, request *dynamic.Message) (*dynamic.Message, error) { … },
//		dynamic.WithMethod(method))
func NewHandler(
	method protoreflect.MethodDescriptor,
	serve func(context.Context, *Stream) error,
	options ...connect.HandlerOption,
) *connect.Handler {
	procedure := Procedure(method)
	all := append([]connect.HandlerOption{WithMethod(method)}, options...)
	begin := func(ctx context.Context) *Stream {
		info, _ := connect.CallInfoForHandlerContext(ctx)
		return &Stream{CallInfo: info, method: method}
	}
	switch KindOf(method) {
	case connect.StreamTypeUnary:
		return connect.NewUnaryHandler(procedure, func(ctx context.Context, request *connect.Request[Message]) (*connect.Response[Message], error) {
			s := begin(ctx)
			s.receive, s.send = once(request.Msg), s.keep
			return s.response(serve(ctx, s))
		}, all...)
	case connect.StreamTypeClient:
		return connect.NewClientStreamHandler(procedure, func(ctx context.Context, stream *connect.ClientStream[Message]) (*connect.Response[Message], error) {
			s := begin(ctx)
			s.send = s.keep
			s.receive = func() (*Message, error) {
				if stream.Receive() {
					return stream.Msg(), nil
				}
				if err := stream.Err(); err != nil {
					return nil, err
				}
				return nil, io.EOF
			}
			return s.response(serve(ctx, s))
		}, all...)
	case connect.StreamTypeServer:
		return connect.NewServerStreamHandler(procedure, func(ctx context.Context, request *connect.Request[Message], stream *connect.ServerStream[Message]) error {
			s := begin(ctx)
			s.receive, s.send = once(request.Msg), stream.Send
			return serve(ctx, s)
		}, all...)
	default:
		return connect.NewBidiStreamHandler(procedure, func(ctx context.Context, stream *connect.BidiStream[Message, Message]) error {
			s := begin(ctx)
			s.receive, s.send = stream.Receive, stream.Send
			return serve(ctx, s)
		}, all...)
	}
}

// Stream is the handler's side of a call of any kind. The [connect.CallInfo] has the
// call's headers, trailers, procedure and peer.
//
// One goroutine at a time may call Receive, and one goroutine at a time Send.
type Stream struct {
	connect.CallInfo
	method  protoreflect.MethodDescriptor
	receive func() (*Message, error)
	send    func(*Message) error
	only    *Message // the response of a method with one
}

// Method returns the method that is called.
func (s *Stream) Method() protoreflect.MethodDescriptor { return s.method }

// Receive returns the next request. After the last it returns an error that wraps
// [io.EOF]: a method that takes one message has one.
func (s *Stream) Receive() (*Message, error) { return s.receive() }

// Send sends a response, whose type must be the method's output. For a method that
// returns one message it keeps the response until the handler returns, and a second
// Send returns an error with CodeInternal; if there is none, the call fails with
// CodeInternal. For the others, Send(nil) sends the response headers.
func (s *Stream) Send(response *Message) error { return s.send(response) }

// NewResponse returns an empty message of the method's output.
func (s *Stream) NewResponse() *Message { return dynamicpb.NewMessage(s.method.Output()) }

func (s *Stream) keep(response *Message) error {
	if s.only != nil {
		return connect.NewError(connect.CodeInternal, fmt.Errorf("send: %s returns one message: the handler has sent it", s.method.FullName()))
	}
	if response == nil {
		response = s.NewResponse()
	}
	s.only = response
	return nil
}

// response returns what the handler has sent, or its error.
func (s *Stream) response(err error) (*connect.Response[Message], error) {
	if err != nil || s.only == nil {
		return nil, err
	}
	return connect.NewResponse(s.only), nil
}

// once returns a function that returns the message, and then io.EOF.
func once(message *Message) func() (*Message, error) {
	return func() (*Message, error) {
		if message == nil {
			return nil, io.EOF
		}
		m := message
		message = nil
		return m, nil
	}
}
