// SPDX-License-Identifier: Apache-2.0

// Procedures: each method of a service as a handler of the library.

package grpcadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// newUnary returns the handler of a unary method. The library decodes the request
// before grpc-go's code makes its own message: the fields move into that one.
func (s *Server) newUnary(desc *grpc.ServiceDesc, m grpc.MethodDesc, impl any) *connect.Handler {
	procedure := "/" + desc.ServiceName + "/" + m.MethodName
	schema := schemaOf(desc.ServiceName, m.MethodName)
	mt := inputOf(procedure, schema, func(see func(any) error) {
		_, _ = m.Handler(impl, context.Background(), see, nil)
	})
	interceptor := s.chainUnary()
	return connect.NewUnaryHandler(procedure, func(ctx context.Context, req *connect.Request[message]) (*connect.Response[message], error) {
		c, err := newCall(ctx, procedure, req.Peer(), req.Header())
		if err != nil {
			return nil, err
		}
		reply, err := m.Handler(impl, c.ctx, func(in any) error { return internal(move(in, req.Msg)) }, interceptor)
		if err != nil {
			c.writeToCall()
			return nil, fromStatus(err)
		}
		msg, err := protoOf(reply)
		if err != nil {
			return nil, internal(fmt.Errorf("reply of %s: %w", procedure, err))
		}
		res := connect.NewResponse(&message{msg})
		c.write(res.Header(), res.Trailer())
		return res, nil
	}, s.optionsOf(schema, mt)...)
}

// newStream returns the handler of a stream of any kind.
func (s *Server) newStream(desc *grpc.ServiceDesc, m grpc.StreamDesc, impl any) *connect.Handler {
	procedure := "/" + desc.ServiceName + "/" + m.StreamName
	schema := schemaOf(desc.ServiceName, m.StreamName)
	handler := s.chainStream(&grpc.StreamServerInfo{FullMethod: procedure, IsClientStream: m.ClientStreams, IsServerStream: m.ServerStreams}, m.Handler)
	serve := func(ctx context.Context, stream *serverStream, h connect.Peer) error {
		c, err := newCall(ctx, procedure, h, stream.header)
		if err != nil {
			return err
		}
		c.send = stream.sendHeader
		stream.call = c
		err = handler(impl, stream)
		c.writeToCall()
		return fromStatus(err)
	}
	switch {
	case m.ClientStreams && m.ServerStreams:
		return connect.NewBidiStreamHandler(procedure, func(ctx context.Context, stream *connect.BidiStream[message, message]) error {
			conn := stream.Conn()
			return serve(ctx, &serverStream{conn: conn, receive: conn.Receive, transmit: conn.Send, header: conn.RequestHeader()}, conn.Peer())
		}, s.optionsOf(schema, nil)...)
	case m.ClientStreams:
		return connect.NewClientStreamHandler(procedure, func(ctx context.Context, stream *connect.ClientStream[message]) (*connect.Response[message], error) {
			conn, only := stream.Conn(), &single{procedure: procedure}
			err := serve(ctx, &serverStream{conn: conn, receive: conn.Receive, transmit: only.keep, header: conn.RequestHeader()}, conn.Peer())
			if err != nil || only.msg == nil {
				return nil, err // without a response, the library's error names the procedure
			}
			return connect.NewResponse(&message{only.msg}), nil
		}, s.optionsOf(schema, nil)...)
	case m.ServerStreams:
		mt := inputOf(procedure, schema, func(see func(any) error) { _ = m.Handler(impl, probe{see: see}) })
		return connect.NewServerStreamHandler(procedure, func(ctx context.Context, req *connect.Request[message], stream *connect.ServerStream[message]) error {
			conn, only := stream.Conn(), &single{procedure: procedure, msg: req.Msg.Message}
			return serve(ctx, &serverStream{conn: conn, receive: only.take, transmit: conn.Send, header: req.Header()}, req.Peer())
		}, s.optionsOf(schema, mt)...)
	}
	panic(fmt.Sprintf("grpcadapter: register %s: a stream of the service's description streams in no direction", procedure))
}

// optionsOf returns the options of a procedure: the server's, and those that follow
// from the schema. A procedure without an input type receives into the messages of
// grpc-go's code.
func (s *Server) optionsOf(schema protoreflect.MethodDescriptor, mt protoreflect.MessageType) []connect.HandlerOption {
	options := slices.Clone(s.options)
	if schema != nil {
		options = append(options, schemaOptions(schema))
	}
	if mt == nil {
		return append(options, connect.WithRequestInitializer(nil))
	}
	return append(options, connect.WithRequestInitializer(initializer(mt)))
}

// schemaOptions returns the options that follow from a method's schema.
func schemaOptions(schema protoreflect.MethodDescriptor) connect.Option {
	o, _ := schema.Options().(*descriptorpb.MethodOptions)
	return connect.WithOptions(connect.WithSchema(schema), connect.WithIdempotency(connect.IdempotencyLevel(o.GetIdempotencyLevel())))
}

// schemaOf returns the method's schema, nil if the program does not have it.
func schemaOf(service, name string) protoreflect.MethodDescriptor {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil
	}
	if sd, ok := d.(protoreflect.ServiceDescriptor); ok {
		return sd.Methods().ByName(protoreflect.Name(name))
	}
	return nil
}

// errProbed ends the call of a method that inputOf makes.
var errProbed = errors.New("grpcadapter: looking for the type of the request")

// inputOf returns the type of a method's requests. If the program does not have the
// schema, inputOf asks the method's own code: generated code makes a message and
// decodes into it before it calls the service, and returns the error of that. It
// panics if the code does neither.
func inputOf(procedure string, schema protoreflect.MethodDescriptor, ask func(see func(any) error)) protoreflect.MessageType {
	if schema != nil {
		if mt, err := protoregistry.GlobalTypes.FindMessageByName(schema.Input().FullName()); err == nil {
			return mt
		}
	}
	var found protoreflect.MessageType
	ask(func(in any) error {
		if m, ok := in.(proto.Message); ok {
			found = m.ProtoReflect().Type()
		}
		return errProbed
	})
	if found == nil {
		panic(fmt.Sprintf("grpcadapter: register %s: the program has no schema for it, and its code decodes into no proto.Message", procedure))
	}
	return found
}

// probe is a stream that shows the message into which a method receives.
type probe struct {
	grpc.ServerStream
	see func(any) error
}

func (p probe) Context() context.Context { return context.Background() }
func (p probe) RecvMsg(m any) error      { return p.see(m) }

// internal returns an error as one of the library with CodeInternal.
func internal(err error) error {
	if err == nil {
		return nil
	}
	return connect.NewError(connect.CodeInternal, err)
}
