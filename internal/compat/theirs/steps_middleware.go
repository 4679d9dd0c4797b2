// SPDX-License-Identifier: Apache-2.0

// Code generated from package ours by copyside. DO NOT EDIT.

// This file holds the steps of what middleware finds and does, and of interceptors that
// change the kind of a stream.

package theirs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"

	"connectrpc.com/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// middlewareSteps are the steps of this file.
func middlewareSteps() []Step {
	return []Step{
		{"error writer announces trailers", announcedTrailers},
		{"body that fails after its end", failureAfterEnd},
		{"headers after a panic", headersAfterPanic},
		{"receive after the answer has begun", receiveAfterAnswer},
		{"kind of a stream that an interceptor changes", otherKind},
		{"requests that no net/http server passes on", oddRequests},
		{"limits of net/http on responses", limitedResponses},
		{"limits of net/http on requests", limitedRequests},
	}
}

func announcedTrailers(s *steps) {
	coded := connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted"))
	coded.Meta().Set("After", "one")
	writer := connect.NewErrorWriter(s.handlerOptions()...)
	for _, err := range []error{nil, coded} {
		w := record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			failure(s.t, "write", writer.Write(w, r, err))
		}), "application/grpc")
		names := strings.Split(w.Header().Get("Trailer"), ",")
		slices.Sort(names)
		s.t.Add("announced %q", names)
	}
}

// failing returns a client that gets a body, and then an error of it.
func (s *steps) failing(contentType, body string, err error, options ...connect.ClientOption) *connect.Client[Message, Message] {
	return s.answered(func() *http.Response {
		return &http.Response{Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(brokenBody{strings.NewReader(body), err})}
	}, options...)
}

// errLargeBody is an error of http.MaxBytesReader, which a transport has wrapped.
var errLargeBody = fmt.Errorf("transport: %w", &http.MaxBytesError{Limit: 3})

func failureAfterEnd(s *steps) {
	for _, err := range []error{
		errors.New(script.User + "broken"), io.ErrUnexpectedEOF, context.Canceled, syscall.ECONNRESET, errLargeBody, errors.New("http2: stream closed"),
		connect.NewError(connect.CodeAborted, errors.New(script.User+"coded")),
	} {
		s.t.Add("%T", err)
		connects := s.failing("application/connect+proto", "\x02\x00\x00\x00\x02{}", err)
		web := s.failing("application/grpc-web+proto", "\x80\x00\x00\x00\x0egrpc-status:0\n", err, connect.WithGRPCWeb())
		for _, client := range []*connect.Client[Message, Message]{connects, web} {
			stream, failed := client.CallServerStream(context.Background(), connect.NewRequest(text("go")))
			failure(s.t, "open", failed)
			s.t.Add("received %v", stream.Receive())
			failure(s.t, "error", stream.Err())
			failure(s.t, "close", stream.Close())
		}
		more := s.failing("application/connect+proto", "\x02\x00\x00\x00\x02{}more", err)
		stream, failed := more.CallServerStream(context.Background(), connect.NewRequest(text("go")))
		failure(s.t, "open", failed)
		s.t.Add("received %v", stream.Receive())
		failure(s.t, "error with more bytes", stream.Err())
		s.requestFailsAfterEnd(err)
		both := s.failing("application/connect+proto", "\x02\x00\x00\x00\x02{}", err).CallBidiStream(context.Background())
		failure(s.t, "close", both.CloseRequest())
		for range 2 {
			_, failed := both.Receive()
			failure(s.t, "receive", failed)
			if !errors.As(err, new(*connect.Error)) { // which may be a copy
				s.t.Add("wraps the body's %v", errors.Is(failed, err))
			}
		}
	}
}

// requestFailsAfterEnd records what a handler receives after a frame that ends responses.
func (s *steps) requestFailsAfterEnd(err error) {
	handler := s.clientStream(func(_ context.Context, stream *connect.ClientStream[Message]) (*connect.Response[Message], error) {
		s.t.Add("handler received %v", stream.Receive())
		failure(s.t, "handler error", stream.Err())
		return connect.NewResponse(text("done")), nil
	})
	for _, body := range []string{"\x02\x00\x00\x00\x02{}", "\x02\x00\x00\x00\x02{}more"} {
		r := httptest.NewRequest(http.MethodPost, stepProcedure, brokenBody{strings.NewReader(body), err})
		r.Header.Set("Content-Type", "application/connect+proto")
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// refusingTransport is a transport that fails.
type refusingTransport struct{ err error }

func (t refusingTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, t.err }

func limitedResponses(s *steps) {
	for _, client := range []*connect.Client[Message, Message]{
		s.failing("application/proto", "", errLargeBody),
		s.failing("application/grpc+proto", "\x00", errLargeBody, connect.WithGRPC()),
		s.failing("application/grpc+proto", "\x00\x00\x00\x00\x09abc", errLargeBody, connect.WithGRPC()),
		connect.NewClient[Message, Message](&http.Client{Transport: refusingTransport{errLargeBody}}, "http://compat.test"+stepProcedure,
			append([]connect.ClientOption{}, s.clients...)...),
	} {
		_, err := client.CallUnary(context.Background(), connect.NewRequest(text("go")))
		failure(s.t, "error", err)
		s.t.Add("error of net/http %v", errors.As(err, new(*http.MaxBytesError)))
	}
}

func limitedRequests(s *steps) {
	handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error {
		failure(s.t, "send", stream.Send(text("one")))
		return nil
	})
	for _, ended := range []bool{false, true} {
		for _, body := range []string{"", "\x00\x00\x00\x00\x09abc", "\x00\x00\x00\x00\x00"} {
			ctx, cancel := context.WithCancel(context.Background())
			if ended {
				cancel()
			}
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, stepProcedure, brokenBody{strings.NewReader(body), errLargeBody})
			r.Header.Set("Content-Type", "application/grpc")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			cancel()
			s.t.Add("status %s", w.Result().Trailer.Get("Grpc-Status"))
		}
	}
	w := limitedWriter{httptest.NewRecorder()}
	r := httptest.NewRequest(http.MethodPost, stepProcedure, strings.NewReader("\x00\x00\x00\x00\x00"))
	r.Header.Set("Content-Type", "application/grpc")
	handler.ServeHTTP(w, r)
}

// limitedWriter is a middleware's ResponseWriter whose writes fail.
type limitedWriter struct{ *httptest.ResponseRecorder }

func (limitedWriter) Write([]byte) (int, error) { return 0, errLargeBody }

func headersAfterPanic(s *steps) {
	unary := s.unary(func(ctx context.Context, _ *connect.Request[Message]) (*connect.Response[Message], error) {
		info, _ := connect.CallInfoForHandlerContext(ctx)
		info.ResponseHeader().Set("Answer", "lost")
		panic("unary")
	}, connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	stream := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error {
		stream.ResponseHeader().Set("Answer", "one")
		panic("stream")
	})
	early := s.server(nil, connect.WithRequestGate(func(context.Context, connect.Spec, connect.Peer, http.Header) (context.Context, error) {
		panic("gate")
	}))
	post := func(contentType string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, stepProcedure, strings.NewReader("\x00\x00\x00\x00\x00"))
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Grpc-Accept-Encoding", "gzip")
		return r
	}
	for _, contentType := range []string{"application/grpc", "application/grpc-web", "application/connect+proto"} {
		s.afterPanic(stream, post(contentType))
		s.afterPanic(early, post(contentType))
	}
	s.afterPanic(unary, post("application/grpc"))
	unread := post("application/proto")
	unread.Body = http.NoBody
	s.afterPanic(unary, unread)
	s.afterPanic(unary, httptest.NewRequest(http.MethodGet, stepProcedure+"?encoding=proto&message=", nil))
}

// afterPanic records the headers that are there after a panic.
func (s *steps) afterPanic(handler http.Handler, r *http.Request) {
	w := httptest.NewRecorder()
	w.Header().Set("Before", "middleware")
	defer func() {
		s.t.Add("panicked %v", recover() != nil)
		for _, key := range slices.Sorted(maps.Keys(w.Header())) {
			s.t.Add("%s has %q", key, w.Header()[key])
		}
	}()
	handler.ServeHTTP(w, r)
}

func receiveAfterAnswer(s *steps) {
	receive := func(conn connect.StreamingHandlerConn, n int) {
		for range n {
			msg := new(Message)
			s.received("receive", msg, conn.Receive(msg))
		}
	}
	for _, before := range []int{0, 1, 3} {
		up := s.clientStream(func(_ context.Context, stream *connect.ClientStream[Message]) (*connect.Response[Message], error) {
			receive(stream.Conn(), before)
			failure(s.t, "send", stream.Conn().Send(text("one")))
			receive(stream.Conn(), 2)
			return nil, connect.NewError(connect.CodeAborted, nil)
		})
		s.postHTTP1(up, strings.Repeat("\x00\x00\x00\x00\x00", 2))
		if before == 1 {
			s.postHTTP1(up, strings.Repeat("\x00\x00\x00\x00\x00", 200_000)) // more than net/http reads: it stays open
		}
	}
	s.postHTTP1(s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error {
		failure(s.t, "send", stream.Send(text("one")))
		receive(stream.Conn(), 1)
		return nil
	}), "\x00\x00\x00\x00\x00")
}

// postHTTP1 sends a request in gRPC over HTTP/1.1.
func (s *steps) postHTTP1(handler http.Handler, body string) {
	server := httptest.NewServer(handler)
	defer server.Close()
	res, err := http.Post(server.URL+stepProcedure, "application/grpc", strings.NewReader(body))
	if err != nil {
		s.t.Add("no response")
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

// changing is an interceptor that changes the kind of a client's streams.
type changing struct {
	passing
	kind connect.StreamType
}

func (c changing) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		spec.StreamType = c.kind
		return next(ctx, spec)
	}
}

func otherKind(s *steps) {
	for _, kind := range []connect.StreamType{connect.StreamTypeClient, connect.StreamTypeServer, connect.StreamTypeBidi} {
		for n := range 3 {
			client := s.client(s.bidi(func(_ context.Context, stream *connect.BidiStream[Message, Message]) error {
				for _, err := stream.Receive(); err == nil; {
					_, err = stream.Receive()
				}
				for i := range n {
					_ = stream.Send(text(fmt.Sprint("answer ", i))) // the client may refuse it
				}
				return nil
			}), connect.WithInterceptors(changing{kind: kind}))
			up := client.CallClientStream(context.Background())
			failure(s.t, "send", up.Send(text("one")))
			failure(s.t, "send", up.Send(text("two")))
			s.t.Add("kind %d", up.Spec().StreamType)
			res, err := up.CloseAndReceive()
			response(s.t, res, err)
			down, err := client.CallServerStream(context.Background(), connect.NewRequest(text("one")))
			failure(s.t, "open", err)
			for down.Receive() {
				s.t.Add("received %q", down.Msg().GetFileName())
			}
			failure(s.t, "error", down.Err())
			failure(s.t, "close", down.Close())
			both := client.CallBidiStream(context.Background())
			failure(s.t, "send", both.Send(text("one")))
			failure(s.t, "send", both.Send(text("two")))
			failure(s.t, "close", both.CloseRequest())
			for err = nil; err == nil; {
				msg, failed := both.Receive()
				s.received("receive", msg, failed)
				err = failed
			}
			failure(s.t, "close", both.CloseResponse())
		}
	}
}

func oddRequests(s *steps) {
	handler := s.bidi(func(_ context.Context, stream *connect.BidiStream[Message, Message]) error {
		s.t.Add("host %q", stream.RequestHeader()["Host"])
		for range 3 {
			msg, err := stream.Receive()
			s.received("receive", msg, err)
		}
		return nil
	}, connect.WithReadMaxBytes(8))
	for _, ended := range []bool{false, true} {
		for _, body := range []string{
			"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00",          // as if compressed, and an unknown flag
			"\x08\x00\x00\x00\x09123456789\x00\x00\x00\x00\x00", // too large, and an unknown flag
			"\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",
			"\x00\x00\x00\x00\x03a",
		} {
			ctx, cancel := context.WithCancel(context.Background())
			if ended {
				cancel()
			}
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, stepProcedure, strings.NewReader(body))
			r.ProtoMajor = 2
			r.Header.Set("Content-Type", "application/grpc")
			r.Header.Set("Host", "other")
			handler.ServeHTTP(httptest.NewRecorder(), r)
			cancel()
		}
	}
}
