// SPDX-License-Identifier: Apache-2.0

// Constructors of streams and requests, for tests of functions that take them.
//
// Package connect has no constructors of its own for these: handlers and clients make them.
// So a handler or client makes them here, too, with an interceptor that puts the test's
// conn into the place of the real one.

package connecttest

import (
	"context"
	"net/http"
	"net/url"

	"github.com/seed-b7c59c10/connect"
)

// ---- of handlers ----

// NewClientStream returns a handler's stream that receives from conn: that of [NewConns], or
// another one. It is valid as long as conn is.
func NewClientStream[Req any](conn connect.StreamingHandlerConn) (stream *connect.ClientStream[Req]) {
	serve(conn, func(options ...connect.HandlerOption) http.Handler {
		return connect.NewClientStreamHandler(procedure, func(_ context.Context, s *connect.ClientStream[Req]) (*connect.Response[struct{}], error) {
			stream = s
			return nil, errMade
		}, options...)
	})
	return stream
}

// NewServerStream returns a handler's stream that sends to conn.
func NewServerStream[Res any](conn connect.StreamingHandlerConn) (stream *connect.ServerStream[Res]) {
	serve(&received{StreamingHandlerConn: conn}, func(options ...connect.HandlerOption) http.Handler {
		return connect.NewServerStreamHandler(procedure, func(_ context.Context, _ *connect.Request[struct{}], s *connect.ServerStream[Res]) error {
			stream = s
			return errMade
		}, options...)
	})
	return stream
}

// NewBidiStream returns a handler's stream that receives from conn and sends to it.
func NewBidiStream[Req, Res any](conn connect.StreamingHandlerConn) (stream *connect.BidiStream[Req, Res]) {
	serve(conn, func(options ...connect.HandlerOption) http.Handler {
		return connect.NewBidiStreamHandler(procedure, func(_ context.Context, s *connect.BidiStream[Req, Res]) error {
			stream = s
			return errMade
		}, options...)
	})
	return stream
}

// NewRequest returns a request that has arrived at a handler: it has a Spec and a Peer, and
// its HTTPMethod is POST. Its Header is empty, and a test may change it. If msg is nil, so
// is Msg.
func NewRequest[T any](msg *T, spec connect.Spec, peer connect.Peer) (request *connect.Request[T]) {
	handlerConn, _ := NewConns(context.Background(), spec, peer)
	serve(&received{StreamingHandlerConn: handlerConn}, func(options ...connect.HandlerOption) http.Handler {
		return connect.NewServerStreamHandler(procedure, func(_ context.Context, r *connect.Request[T], _ *connect.ServerStream[struct{}]) error {
			request = r
			return errMade
		}, options...)
	})
	request.Msg = msg
	return request
}

// procedure is the path of handlers and clients that only make streams.
const procedure = "/connecttest.Service/Method"

// errMade ends a handler that has made its stream.
var errMade = connect.NewError(connect.CodeAborted, nil)

// serve calls a handler whose function gets conn.
func serve(conn connect.StreamingHandlerConn, handler func(...connect.HandlerOption) http.Handler) {
	replaced := interceptor{handler: func(ctx context.Context, next connect.StreamingHandlerFunc) error { return next(ctx, conn) }}
	handler(connect.WithInterceptors(replaced)).ServeHTTP(&discard{header: make(http.Header)}, &http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: procedure}, Host: "server.test", Proto: "HTTP/2.0", ProtoMajor: 2,
		Header: http.Header{"Content-Type": {"application/connect+proto"}}, Body: http.NoBody,
	})
}

// received is a conn whose first message is empty, followed by the end: that which a
// handler of a server stream receives before it has its stream. It takes none from the
// test's conn.
type received struct {
	connect.StreamingHandlerConn
	count int
}

func (c *received) Receive(msg any) error {
	c.count++
	switch c.count {
	case 1:
		return nil
	case 2:
		return end()
	}
	return c.StreamingHandlerConn.Receive(msg)
}

// discard is a ResponseWriter of nothing.
type discard struct{ header http.Header }

func (w *discard) Header() http.Header         { return w.header }
func (w *discard) Write(p []byte) (int, error) { return len(p), nil }
func (w *discard) WriteHeader(int)             {}
func (w *discard) Flush()                      {}

// ---- of clients ----

// NewClientStreamForClient returns a client's stream that sends to conn, and receives the
// one response from it.
func NewClientStreamForClient[Req, Res any](conn connect.StreamingClientConn) *connect.ClientStreamForClient[Req, Res] {
	return client[Req, Res](conn).CallClientStream(context.Background())
}

// NewClientStreamForClientSimple is NewClientStreamForClient for generated code that takes
// and returns messages alone.
func NewClientStreamForClientSimple[Req, Res any](conn connect.StreamingClientConn) *connect.ClientStreamForClientSimple[Req, Res] {
	stream, _ := client[Req, Res](&began{StreamingClientConn: conn, sends: 1}).CallClientStreamSimple(context.Background()) // cannot fail
	return stream
}

// NewServerStreamForClient returns a client's stream that receives from conn. It sends
// nothing to conn: the request has been sent before there is such a stream.
func NewServerStreamForClient[Res any](conn connect.StreamingClientConn) *connect.ServerStreamForClient[Res] {
	stream, _ := client[struct{}, Res](&began{StreamingClientConn: conn, sends: 1, closes: 1}).CallServerStream(context.Background(), connect.NewRequest(&struct{}{})) // cannot fail
	return stream
}

// NewBidiStreamForClient returns a client's stream that sends to conn and receives from it.
func NewBidiStreamForClient[Req, Res any](conn connect.StreamingClientConn) *connect.BidiStreamForClient[Req, Res] {
	return client[Req, Res](conn).CallBidiStream(context.Background())
}

// NewBidiStreamForClientSimple is NewBidiStreamForClient for generated code that takes and
// returns messages alone.
func NewBidiStreamForClientSimple[Req, Res any](conn connect.StreamingClientConn) *connect.BidiStreamForClientSimple[Req, Res] {
	stream, _ := client[Req, Res](&began{StreamingClientConn: conn, sends: 1}).CallBidiStreamSimple(context.Background()) // cannot fail
	return stream
}

// client returns a client whose streams get conn.
func client[Req, Res any](conn connect.StreamingClientConn) *connect.Client[Req, Res] {
	return connect.NewClient[Req, Res](http.DefaultClient, "http://server.test"+procedure,
		connect.WithInterceptors(interceptor{client: conn}))
}

// began is a conn that ignores the first sends and closes: those with which a client begins
// a call before it returns the stream.
type began struct {
	connect.StreamingClientConn
	sends, closes int
}

func (c *began) Send(msg any) error {
	if c.sends > 0 {
		c.sends--
		return nil
	}
	return c.StreamingClientConn.Send(msg)
}

func (c *began) CloseRequest() error {
	if c.closes > 0 {
		c.closes--
		return nil
	}
	return c.StreamingClientConn.CloseRequest()
}

// interceptor replaces the conns of a handler or a client.
type interceptor struct {
	handler func(context.Context, connect.StreamingHandlerFunc) error
	client  connect.StreamingClientConn
}

func (i interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc { return next }

func (i interceptor) WrapStreamingClient(connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(context.Context, connect.Spec) connect.StreamingClientConn { return i.client }
}

func (i interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, _ connect.StreamingHandlerConn) error { return i.handler(ctx, next) }
}
