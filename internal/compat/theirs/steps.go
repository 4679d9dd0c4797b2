// SPDX-License-Identifier: Apache-2.0

// Code generated from package ours by copyside. DO NOT EDIT.

// This file holds calls step by step, whose client and handler are of one library: what
// programs see of streams, and of their interceptors, at each moment.

package theirs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// A Step is one such call, or several.
type Step struct {
	Name string
	run  func(*steps)
}

// steps runs one step.
type steps struct {
	t        *script.Transcript
	handlers []connect.HandlerOption
	clients  []connect.ClientOption
	serve    func(http.Handler) (client *http.Client, url string)
}

// Steps returns all steps.
func Steps() []Step {
	return slices.Concat(responseSteps(), []Step{
		{"receive on, handler", receiveOnHandler},
		{"receive on, connect", func(s *steps) { receiveOnClient(s) }},
		{"receive on, grpc", func(s *steps) { receiveOnClient(s, connect.WithGRPC()) }},
		{"receive on, web", func(s *steps) { receiveOnClient(s, connect.WithGRPCWeb()) }},
		{"receive again after an error, connect", func(s *steps) { receiveAgain(s) }},
		{"receive again after an error, grpc", func(s *steps) { receiveAgain(s, connect.WithGRPC()) }},
		{"receive again after an error, web", func(s *steps) { receiveAgain(s, connect.WithGRPCWeb()) }},
		{"receive after close", receiveAfterClose},
		{"send after close", sendAfterClose},
		{"close and receive twice", closeTwice},
		{"send one message twice", sendTwice},
		{"no stream", noStream},
		{"codec ends a stream", codecEnds},
		{"codec ends a message", codecEndsUnary},
		{"compression fails", compressionFails},
		{"message cannot be sent", unsendable},
		{"charset of another codec", charset},
		{"message after an error", messageAfterError},
		{"trailers without a body", trailersOnly},
		{"panic after messages", panicAfterMessages},
		{"recover", recovers},
		{"info of gates and streams", streamInfos},
		{"info of unary calls", unaryInfos},
		{"context of another call, one interceptor", func(s *steps) { otherContext(s, "unary", otherCall{}) }},
		{"context of another call, two interceptors", func(s *steps) { otherContext(s, "unary", otherCall{}, nil) }},
		{"context of another call, stream", func(s *steps) { otherContext(s, "server", otherCall{}, nil) }},
		{"context of another call, handler", otherContextHandler},
		{"method of a stream that interceptors make", methodOfMadeStreams},
		{"ended context of an interceptor", endedContext},
		{"initializers", initializers},
		{"request of an interceptor", otherRequest},
		{"conn of an interceptor", wrappedConns},
		{"procedures", procedures},
		{"error writer", errorWriter},
		{"request that cannot be read", unreadable},
		{"query of a peer", queries},
		{"trailers of a response that is refused", refusedTrailers},
		{"GETs that are refused", getsRefused},
	}, rareSteps(), middlewareSteps(), foundSteps())
}

// Run runs a step. Serve starts a server for it. The options in first come before all
// others.
func (s Step) Run(serve func(http.Handler) (*http.Client, string), first ...connect.Option) (t script.Transcript) {
	do := &steps{t: &t, serve: serve}
	for _, option := range first {
		do.handlers, do.clients = append(do.handlers, option), append(do.clients, option)
	}
	s.run(do)
	return plain(t)
}

// plain returns a transcript without what other tests compare, and differs for reasons of
// their own: sizes, names of compressions, and the libraries' texts.
func plain(t script.Transcript) (kept script.Transcript) {
	for _, line := range t.Lines {
		before, message, ok := strings.Cut(line, "Grpc-Message: ")
		switch {
		case ok:
			kept.Add("%sGrpc-Message: %s", before, script.Text(message))
		case !strings.Contains(line, "Content-Length: ") && !strings.Contains(line, "Encoding: "):
			kept.Add("%s", line)
		}
	}
	return kept
}

func (s *steps) handlerOptions(more ...connect.HandlerOption) []connect.HandlerOption {
	return append(append([]connect.HandlerOption{}, s.handlers...), more...)
}

// client serves a handler and returns a client for it.
func (s *steps) client(handler http.Handler, options ...connect.ClientOption) *connect.Client[Message, Message] {
	httpClient, url := s.serve(handler)
	return connect.NewClient[Message, Message](httpClient, url+script.Service+"Call", append(append([]connect.ClientOption{}, s.clients...), options...)...)
}

const stepProcedure = script.Service + "Call"

func (s *steps) bidi(f func(context.Context, *connect.BidiStream[Message, Message]) error, options ...connect.HandlerOption) http.Handler {
	return connect.NewBidiStreamHandler(stepProcedure, f, s.handlerOptions(options...)...)
}

func (s *steps) server(f func(context.Context, *connect.ServerStream[Message]) error, options ...connect.HandlerOption) http.Handler {
	return connect.NewServerStreamHandler(stepProcedure, func(ctx context.Context, _ *connect.Request[Message], stream *connect.ServerStream[Message]) error {
		return f(ctx, stream)
	}, s.handlerOptions(options...)...)
}

func (s *steps) unary(f func(context.Context, *connect.Request[Message]) (*connect.Response[Message], error), options ...connect.HandlerOption) http.Handler {
	return connect.NewUnaryHandler(stepProcedure, f, s.handlerOptions(options...)...)
}

// echo answers with the request's message.
func echo(_ context.Context, req *connect.Request[Message]) (*connect.Response[Message], error) {
	return connect.NewResponse(&Message{FileName: req.Msg.GetFileName()}), nil
}

func text(s string) *Message { return &Message{FileName: s} }

// received records one receive.
func (s *steps) received(what string, msg *Message, err error) {
	if err == nil {
		s.t.Add("%s %q", what, msg.GetFileName())
	}
	failure(s.t, what, err)
}

// all receives n times, whatever the errors.
func (s *steps) all(conn connect.StreamingClientConn, n int) {
	for i := range n {
		msg := new(Message)
		s.received(fmt.Sprintf("receive %d", i), msg, conn.Receive(msg))
	}
	s.t.Header("trailer", userOnly(conn.ResponseTrailer()))
}

func receiveOnHandler(s *steps) {
	handler := s.bidi(func(_ context.Context, stream *connect.BidiStream[Message, Message]) error {
		for i := range 6 {
			msg, err := stream.Receive()
			s.received(fmt.Sprintf("handler %d", i), msg, err)
		}
		return nil
	}, connect.WithCodec(script.RawCodec{}), connect.WithReadMaxBytes(10))
	stream := s.client(handler, connect.WithCodec(script.RawCodec{})).CallBidiStream(context.Background())
	for _, word := range []string{"bad", "one", strings.Repeat("large ", 1000), "two"} {
		_ = stream.Send(text(word)) // the handler may have returned
	}
	_ = stream.CloseRequest()
	_, err := stream.Receive()
	failure(s.t, "client", err)
}

func receiveOnClient(s *steps, options ...connect.ClientOption) {
	handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error {
		stream.ResponseTrailer().Set("After", "one")
		for _, word := range []string{"one", "bad", "two"} {
			_ = stream.Send(text(word)) // the client may have closed
		}
		return nil
	}, connect.WithCodec(script.RawCodec{}))
	stream, err := s.client(handler, append(options, connect.WithCodec(script.RawCodec{}))...).CallServerStream(context.Background(), connect.NewRequest(text("go")))
	failure(s.t, "open", err)
	conn, _ := stream.Conn()
	s.all(conn, 5)
	failure(s.t, "close", stream.Close())
}

func receiveAgain(s *steps, options ...connect.ClientOption) {
	for _, err := range []error{nil, connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted"))} {
		handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error {
			stream.ResponseTrailer().Set("After", "one")
			failure(s.t, "send", stream.Send(text("one")))
			return err
		})
		stream, failed := s.client(handler, options...).CallServerStream(context.Background(), connect.NewRequest(text("go")))
		failure(s.t, "open", failed)
		conn, _ := stream.Conn()
		s.all(conn, 4)
		failure(s.t, "close", stream.Close())
		s.all(conn, 1)
	}
}

func receiveAfterClose(s *steps) {
	handler := s.bidi(func(ctx context.Context, stream *connect.BidiStream[Message, Message]) error {
		failure(s.t, "send", stream.Send(text("one")))
		<-ctx.Done()
		return ctx.Err()
	})
	stream := s.client(handler).CallBidiStream(context.Background())
	failure(s.t, "send", stream.Send(text("go")))
	msg, err := stream.Receive()
	s.received("before", msg, err)
	failure(s.t, "close", stream.CloseResponse())
	msg, err = stream.Receive()
	s.received("after", msg, err)
}

func sendAfterClose(s *steps) {
	handler := s.bidi(func(_ context.Context, stream *connect.BidiStream[Message, Message]) error {
		_, err := stream.Receive()
		return err
	})
	stream := s.client(handler).CallBidiStream(context.Background())
	failure(s.t, "send", stream.Send(text("go")))
	failure(s.t, "close", stream.CloseRequest())
	failure(s.t, "send after", stream.Send(text("late")))
	failure(s.t, "send nil after", stream.Send(nil))
	failure(s.t, "close again", stream.CloseRequest())
	failure(s.t, "close response", stream.CloseResponse())
}

func closeTwice(s *steps) {
	handler := connect.NewClientStreamHandler(stepProcedure, func(_ context.Context, stream *connect.ClientStream[Message]) (*connect.Response[Message], error) {
		for stream.Receive() {
		}
		return connect.NewResponse(text("done")), stream.Err()
	}, s.handlerOptions()...)
	stream := s.client(handler).CallClientStream(context.Background())
	failure(s.t, "send", stream.Send(text("go")))
	for range 2 {
		res, err := stream.CloseAndReceive()
		response(s.t, res, err)
	}
}

// sendBefore is an interceptor that sends before its caller does.
type sendBefore struct {
	passing
	msg any
}

func (i sendBefore) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		_ = conn.Send(i.msg)
		return conn
	}
}

func sendTwice(s *steps) {
	handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error { return stream.Send(text("one")) })
	for _, before := range []any{nil, text("before")} {
		stream, err := s.client(handler, connect.WithInterceptors(sendBefore{msg: before})).CallServerStream(context.Background(), connect.NewRequest(text("go")))
		failure(s.t, "open", err)
		if err == nil {
			s.t.Add("received %v", stream.Receive())
			failure(s.t, "close", stream.Close())
		}
	}
}

func noStream(s *steps) {
	var client connect.ClientStreamForClientSimple[Message, Message]
	_, err := client.CloseAndReceive()
	failure(s.t, "client", errors.Join(client.Send(nil), err))
	s.t.Add("client %s", describe(client.Spec(), client.Peer()))
	var bidi connect.BidiStreamForClientSimple[Message, Message]
	_, err = bidi.Receive()
	failure(s.t, "bidi", errors.Join(bidi.Send(nil), err, bidi.CloseRequest(), bidi.CloseResponse()))
	s.t.Add("bidi %s %d %d", describe(bidi.Spec(), bidi.Peer()), len(bidi.ResponseHeader()), len(bidi.ResponseTrailer()))
}

// endingCodec is a codec whose errors wrap io.EOF.
type endingCodec struct{ script.RawCodec }

func (c endingCodec) Marshal(message any) ([]byte, error) {
	if message.(*Message).GetFileName() == "end" {
		return nil, io.EOF
	}
	return c.RawCodec.Marshal(message)
}

func (c endingCodec) Unmarshal(data []byte, message any) error {
	if string(data) == "stop" {
		return io.EOF
	}
	return c.RawCodec.Unmarshal(data, message)
}

func codecEnds(s *steps) {
	handler := s.bidi(func(_ context.Context, stream *connect.BidiStream[Message, Message]) error {
		_, err := stream.Receive()
		failure(s.t, "handler receive", err)
		failure(s.t, "handler send", stream.Send(text("end")))
		return stream.Send(text("stop"))
	}, connect.WithCodec(endingCodec{}))
	stream := s.client(handler, connect.WithCodec(endingCodec{})).CallBidiStream(context.Background())
	failure(s.t, "send", stream.Send(text("end")))
	failure(s.t, "send", stream.Send(text("stop")))
	_, err := stream.Receive()
	failure(s.t, "receive", err)
	failure(s.t, "close", stream.CloseResponse())
}

func codecEndsUnary(s *steps) {
	for _, options := range [][]connect.ClientOption{nil, {connect.WithGRPC()}} {
		for _, word := range []string{"stop", "end"} {
			client := s.client(s.unary(echo, connect.WithCodec(endingCodec{})), append(options, connect.WithCodec(endingCodec{}))...)
			res, err := client.CallUnary(context.Background(), connect.NewRequest(text(word)))
			response(s.t, res, err)
		}
	}
}

// failing is a compression that fails.
type failing struct {
	script.ReverseWriter
	err error
}

func (f *failing) Write([]byte) (int, error) { return 0, f.err }

func compressionFails(s *steps) {
	for _, err := range []error{
		errors.New(script.User + "plain"), context.Canceled, connect.NewError(connect.CodeAborted, errors.New(script.User+"coded")),
	} {
		compressor := func() connect.Compressor { return &failing{err: err} }
		client := s.client(s.unary(echo, connect.WithCompression("failing", newReverseReader, compressor), connect.WithCompressMinBytes(0)),
			connect.WithAcceptCompression("failing", newReverseReader, newReverseWriter))
		res, err := client.CallUnary(context.Background(), connect.NewRequest(text("hello")))
		response(s.t, res, err)
	}
}
