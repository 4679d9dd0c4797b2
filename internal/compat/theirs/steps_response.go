// SPDX-License-Identifier: Apache-2.0

// Code generated from package ours by copyside. DO NOT EDIT.

// This file holds steps about when and how responses leave, how they end, and errors of
// compressions.

package theirs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"connectrpc.com/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

func responseSteps() []Step {
	return []Step{
		{"length of short answers", shortAnswers},
		{"fields of HTTP/1.1", fieldsHTTP1},
		{"headers of middleware", middlewareHeaders},
		{"client stream answers before its end", earlyMessage},
		{"close of a response that has not begun", closeEarly},
		{"close after a failed exchange", closeAfterFailure},
		{"close of a response after the end of the context", closeAfterContext},
		{"interceptor refuses the end of a request", refusedEnd},
		{"handler after an error of its client", handlerAfterError},
		{"end that is too large", largeEnd},
		{"error that was returned before", sameError},
		{"compressed message without content", compressedEmpty},
		{"compression fails at its end", compressionAtEnds},
		{"end that cannot be compressed", uncompressedEnd},
		{"error writer and contexts", contextWriter},
		{"trailers in two spellings", trailersTwice},
		{"interceptor ends a stream at once", endedAtOnce},
	}
}

// clientStream returns the handler of a client stream.
func (s *steps) clientStream(f func(context.Context, *connect.ClientStream[Message]) (*connect.Response[Message], error), options ...connect.HandlerOption) http.Handler {
	return connect.NewClientStreamHandler(stepProcedure, f, s.handlerOptions(options...)...)
}

func doneStream(context.Context, *connect.ClientStream[Message]) (*connect.Response[Message], error) {
	return connect.NewResponse(text("done")), nil
}

func aborted(context.Context, *connect.Request[Message]) (*connect.Response[Message], error) {
	return nil, connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted"))
}

// shortAnswers records whether answers in frames have a length that net/http has added.
func shortAnswers(s *steps) {
	length := func(what string, header http.Header) {
		s.t.Add("%s length %v", what, header.Get("Content-Length") != "")
	}
	stream := s.client(s.clientStream(doneStream)).CallClientStream(context.Background())
	res, err := stream.CloseAndReceive()
	failure(s.t, "connect", err)
	length("connect", res.Header())
	res, err = s.client(s.unary(echo), connect.WithGRPCWeb()).CallUnary(context.Background(), connect.NewRequest(text("one")))
	failure(s.t, "web", err)
	length("web", res.Header())
	_, err = s.client(s.unary(aborted), connect.WithGRPCWeb()).CallUnary(context.Background(), connect.NewRequest(text("one")))
	var failed *connect.Error
	if errors.As(err, &failed) {
		length("web error", failed.Meta())
	}
}

// record returns what a handler has written for a gRPC or gRPC-Web request over HTTP/1.1.
func record(handler http.Handler, contentType string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, stepProcedure, strings.NewReader("\x00\x00\x00\x00\x00"))
	r.Header.Set("Content-Type", contentType)
	handler.ServeHTTP(w, r)
	return w
}

func fieldsHTTP1(s *steps) {
	w := record(s.unary(echo), "application/grpc")
	s.t.Add("announced %v", w.Header().Get("Trailer") != "")
	w = record(s.unary(func(context.Context, *connect.Request[Message]) (*connect.Response[Message], error) {
		res := connect.NewResponse(text("done"))
		res.Trailer().Set("After", " one ")
		return res, nil
	}, connect.WithCompression("gzip", nil, nil)), "application/grpc-web+proto")
	s.t.Add("web %q", w.Body.String())
}

func middlewareHeaders(s *steps) {
	handler := s.unary(aborted)
	w := record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Grpc-Message", script.User+"middleware")
		handler.ServeHTTP(w, r)
	}), "application/grpc-web+proto")
	s.t.Add("messages %d flushed %v", len(w.Header()["Grpc-Message"]), w.Flushed)
}

func earlyMessage(s *steps) {
	handler := s.clientStream(func(_ context.Context, stream *connect.ClientStream[Message]) (*connect.Response[Message], error) {
		stream.Conn().ResponseHeader().Set("Answer", "one")
		_ = stream.Conn().Send(text("one"))
		panic(http.ErrAbortHandler)
	})
	stream := s.client(handler).CallClientStream(context.Background())
	conn, _ := stream.Conn()
	failure(s.t, "close", conn.CloseRequest())
	s.t.Add("answer %q", conn.ResponseHeader().Get("Answer"))
	failure(s.t, "close response", conn.CloseResponse())
}

func closeEarly(s *steps) {
	handler := s.bidi(func(_ context.Context, stream *connect.BidiStream[Message, Message]) error {
		stream.ResponseHeader().Set("Answer", "one")
		return stream.Send(text("one"))
	})
	stream := s.client(handler).CallBidiStream(context.Background())
	failure(s.t, "send", stream.Send(nil))
	failure(s.t, "close", stream.CloseResponse())
	s.t.Add("answer %q", stream.ResponseHeader().Get("Answer"))
}

func closeAfterContext(s *steps) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	stream := s.client(http.NotFoundHandler()).CallBidiStream(ctx)
	failure(s.t, "close", stream.CloseResponse())
	_, err := stream.Receive()
	failure(s.t, "receive", err)
}

func closeAfterFailure(s *steps) {
	stream, err := s.client(http.NotFoundHandler()).CallServerStream(context.Background(), connect.NewRequest(text("go")))
	failure(s.t, "open", err)
	failure(s.t, "close", stream.Close())
	s.t.Add("received %v", stream.Receive())
	failure(s.t, "receive", stream.Err())
}

// refusesEnd is an interceptor that refuses the end of requests, and counts calls.
type refusesEnd struct {
	passing
	s *steps
}

type refusesEndConn struct {
	connect.StreamingClientConn
	s *steps
}

func (i refusesEnd) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		return refusesEndConn{next(ctx, spec), i.s}
	}
}

func (c refusesEndConn) CloseRequest() error {
	c.s.t.Add("conn close request")
	return errors.Join(c.StreamingClientConn.CloseRequest(), errors.New(script.User+"refused"))
}

func (c refusesEndConn) CloseResponse() error {
	c.s.t.Add("conn close response")
	return c.StreamingClientConn.CloseResponse()
}

func refusedEnd(s *steps) {
	handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error { return stream.Send(text("one")) })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // the call ends with it
	_, err := s.client(handler, connect.WithInterceptors(refusesEnd{s: s})).CallServerStream(ctx, connect.NewRequest(text("go")))
	failure(s.t, "open", err)
}

func handlerAfterError(s *steps) {
	ended := make(chan error, 1)
	handler := s.bidi(func(_ context.Context, stream *connect.BidiStream[Message, Message]) error {
		_ = stream.Send(text("larger than the limit"))
		_, err := stream.Receive()
		ended <- err
		return nil
	})
	stream := s.client(handler, connect.WithReadMaxBytes(10)).CallBidiStream(context.Background())
	failure(s.t, "send", stream.Send(nil))
	_, err := stream.Receive()
	failure(s.t, "receive", err)
	failure(s.t, "handler receive", <-ended)
	failure(s.t, "close", stream.CloseResponse())
}

func largeEnd(s *steps) {
	handler := s.server(func(context.Context, *connect.ServerStream[Message]) error {
		return connect.NewError(connect.CodeAborted, errors.New(script.User+strings.Repeat("long ", 100)))
	}, connect.WithCompression("gzip", nil, nil))
	stream, err := s.client(handler, connect.WithReadMaxBytes(10)).CallServerStream(context.Background(), connect.NewRequest(text("go")))
	failure(s.t, "open", err)
	conn, _ := stream.Conn()
	s.all(conn, 3)
	failure(s.t, "close", stream.Close())
}

func sameError(s *steps) {
	handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error {
		stream.ResponseTrailer().Set("After", "one")
		return connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted"))
	})
	for _, options := range [][]connect.ClientOption{nil, {connect.WithGRPC()}} {
		stream, err := s.client(handler, options...).CallServerStream(context.Background(), connect.NewRequest(text("go")))
		failure(s.t, "open", err)
		conn, _ := stream.Conn()
		first := conn.Receive(new(Message))
		_ = conn.Receive(new(Message))
		var failed *connect.Error
		if errors.As(first, &failed) {
			s.t.Header("first", userOnly(failed.Meta()))
		}
		failure(s.t, "close", stream.Close())
	}
}

func compressedEmpty(s *steps) {
	handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error {
		return stream.Send(new(Message))
	}, connect.WithCompressMinBytes(0))
	stream, err := s.client(handler).CallServerStream(context.Background(), connect.NewRequest(text("go")))
	failure(s.t, "open", err)
	conn, _ := stream.Conn()
	msg := text("before")
	s.received("receive", msg, conn.Receive(msg))
	failure(s.t, "close", stream.Close())
}

// failsAtEnd is a compressor whose Close fails, and closesBadly and resetsBadly are
// decompressors whose Close or Reset does.
type (
	failsAtEnd struct {
		script.ReverseWriter
		err error
	}
	closesBadly struct {
		script.ReverseReader
		err error
	}
	resetsBadly struct {
		script.ReverseReader
		err error
	}
)

func (f *failsAtEnd) Close() error           { return f.err }
func (f *closesBadly) Close() error          { return f.err }
func (f *resetsBadly) Reset(io.Reader) error { return f.err }

func compressionAtEnds(s *steps) {
	for _, err := range []error{
		errors.New(script.User + "plain"), connect.NewError(connect.CodeAborted, errors.New(script.User+"coded")), io.EOF,
	} {
		writer := func() connect.Compressor { return &failsAtEnd{err: err} }
		closing := func() connect.Decompressor { return &closesBadly{err: err} }
		resetting := func() connect.Decompressor { return &resetsBadly{err: err} }
		for _, client := range []*connect.Client[Message, Message]{
			s.client(s.unary(echo, connect.WithCompression("x", newReverseReader, writer), connect.WithCompressMinBytes(0)), connect.WithAcceptCompression("x", newReverseReader, newReverseWriter)),
			s.client(s.unary(echo, connect.WithCompression("x", newReverseReader, newReverseWriter), connect.WithCompressMinBytes(0)), connect.WithAcceptCompression("x", closing, newReverseWriter)),
			s.client(s.unary(echo, connect.WithCompression("x", newReverseReader, newReverseWriter), connect.WithCompressMinBytes(0)), connect.WithAcceptCompression("x", resetting, newReverseWriter)),
		} {
			res, err := client.CallUnary(context.Background(), connect.NewRequest(text("hello")))
			response(s.t, res, err)
		}
	}
}

func uncompressedEnd(s *steps) {
	writer := func() connect.Compressor { return &failsAtEnd{err: errors.New(script.User + "plain")} }
	handler := s.server(func(context.Context, *connect.ServerStream[Message]) error { return nil },
		connect.WithCompression("x", newReverseReader, writer), connect.WithCompressMinBytes(0))
	for _, options := range [][]connect.ClientOption{nil, {connect.WithGRPCWeb()}} {
		stream, err := s.client(handler, append(options, connect.WithAcceptCompression("x", newReverseReader, newReverseWriter))...).CallServerStream(context.Background(), connect.NewRequest(text("go")))
		failure(s.t, "open", err)
		s.t.Add("received %v", stream.Receive())
		failure(s.t, "receive", stream.Err())
		failure(s.t, "close", stream.Close())
	}
}

func contextWriter(s *steps) {
	writer := connect.NewErrorWriter(s.handlerOptions()...)
	for _, err := range []error{context.Canceled, context.DeadlineExceeded, connect.NewError(connect.CodeCanceled, context.Canceled)} {
		w := record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			failure(s.t, "write", writer.Write(w, r, err))
		}), "application/json")
		s.t.Add("status %d", w.Code)
	}
}

// endsSend is an interceptor whose Send returns an error that wraps io.EOF.
type (
	endsSend     struct{ passing }
	endsSendConn struct{ connect.StreamingClientConn }
)

func (endsSend) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		return endsSendConn{next(ctx, spec)}
	}
}

func (endsSendConn) Send(any) error { return fmt.Errorf("%sended: %w", script.User, io.EOF) }

func endedAtOnce(s *steps) {
	client := s.client(http.NotFoundHandler(), connect.WithInterceptors(endsSend{}))
	bidi, err := client.CallBidiStreamSimple(context.Background())
	s.t.Add("bidi %v", bidi != nil)
	failure(s.t, "bidi", err)
	up, err := client.CallClientStreamSimple(context.Background())
	s.t.Add("client %v", up != nil)
	failure(s.t, "client", err)
}

// trailersTwice sets trailers in two spellings of their names.
func trailersTwice(s *steps) {
	handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error {
		trailer := stream.ResponseTrailer()
		trailer["After"], trailer["after"], trailer["alone"] = []string{"one"}, []string{"other"}, []string{"yes"}
		trailer["grpc-status"] = []string{"7"}
		return stream.Send(text("one"))
	})
	s.post(handler, "application/grpc-web", "\x00\x00\x00\x00\x00")
}
