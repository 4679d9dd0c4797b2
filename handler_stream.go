// SPDX-License-Identifier: Apache-2.0

// The typed streams of handlers.

package connect

import (
	"net/http"
)

// receiver receives messages one after the other, as an iterator.
type receiver[T any] struct {
	conn       StreamingHandlerConn
	initialize func(Spec, any) error
	msg        *T
	err        error
}

func (r *receiver[T]) receive() bool {
	if r.err != nil {
		return false
	}
	r.msg, r.err = receiveMessage[T](r.conn, r.initialize)
	return r.err == nil
}

// ClientStream is a stream of requests, as its handler sees it. One goroutine at
// a time may use it.
type ClientStream[Req any] struct {
	in receiver[Req]
}

// Spec describes the procedure.
func (c *ClientStream[_]) Spec() Spec { return c.in.conn.Spec() }

// Peer describes the client.
func (c *ClientStream[_]) Peer() Peer { return c.in.conn.Peer() }

// RequestHeader returns the request's headers.
func (c *ClientStream[Req]) RequestHeader() http.Header { return c.in.conn.RequestHeader() }

// Receive waits for the next message, which Msg then returns. It returns false
// at the end of the stream and on errors, which Err returns.
func (c *ClientStream[Req]) Receive() bool { return c.in.receive() }

// Msg returns the message that Receive received last, an empty one before the
// first.
func (c *ClientStream[Req]) Msg() *Req {
	if c.in.msg == nil {
		c.in.msg = new(Req)
	}
	return c.in.msg
}

// Err returns the error that ended the stream, nil if it ended well.
func (c *ClientStream[Req]) Err() error { return unlessEOF(c.in.err) }

// Conn returns the untyped stream.
func (c *ClientStream[Req]) Conn() StreamingHandlerConn { return c.in.conn }

// ServerStream is a stream of responses, as its handler sees it. One goroutine
// at a time may use it.
type ServerStream[Res any] struct {
	conn StreamingHandlerConn
}

// ResponseHeader returns the response's headers, which the first Send writes.
// Keys that begin with "Connect-" and "Grpc-" are the protocols': read, but do
// not write them.
func (s *ServerStream[Res]) ResponseHeader() http.Header { return s.conn.ResponseHeader() }

// ResponseTrailer returns the response's trailers, which are written when the
// handler returns. Keys that begin with "Connect-" and "Grpc-" are the
// protocols': read, but do not write them.
func (s *ServerStream[Res]) ResponseTrailer() http.Header { return s.conn.ResponseTrailer() }

// Send sends a message, nil only the headers. It waits while the client does
// not keep up, and returns CodeCanceled when the client is gone.
func (s *ServerStream[Res]) Send(msg *Res) error { return send(s.conn, msg) }

// Conn returns the untyped stream.
func (s *ServerStream[Res]) Conn() StreamingHandlerConn { return s.conn }

// BidiStream is a stream in both directions, as its handler sees it. One
// goroutine at a time may receive, and another one send.
type BidiStream[Req, Res any] struct {
	conn       StreamingHandlerConn
	initialize func(Spec, any) error
}

// Spec describes the procedure.
func (b *BidiStream[_, _]) Spec() Spec { return b.conn.Spec() }

// Peer describes the client.
func (b *BidiStream[_, _]) Peer() Peer { return b.conn.Peer() }

// RequestHeader returns the request's headers.
func (b *BidiStream[Req, Res]) RequestHeader() http.Header { return b.conn.RequestHeader() }

// Receive waits for the next message. After the last one it returns an error
// that wraps [io.EOF].
func (b *BidiStream[Req, Res]) Receive() (*Req, error) {
	return receiveMessage[Req](b.conn, b.initialize)
}

// ResponseHeader returns the response's headers, which the first Send writes.
// Keys that begin with "Connect-" and "Grpc-" are the protocols': read, but do
// not write them.
func (b *BidiStream[Req, Res]) ResponseHeader() http.Header { return b.conn.ResponseHeader() }

// ResponseTrailer returns the response's trailers, which are written when the
// handler returns. Keys that begin with "Connect-" and "Grpc-" are the
// protocols': read, but do not write them.
func (b *BidiStream[Req, Res]) ResponseTrailer() http.Header { return b.conn.ResponseTrailer() }

// Send sends a message, nil only the headers. It waits while the client does
// not keep up, and returns CodeCanceled when the client is gone.
func (b *BidiStream[Req, Res]) Send(msg *Res) error { return send(b.conn, msg) }

// Conn returns the untyped stream.
func (b *BidiStream[Req, Res]) Conn() StreamingHandlerConn { return b.conn }

// send keeps a nil message from becoming an interface that is not nil.
func send[T any](conn interface{ Send(any) error }, msg *T) error {
	if msg == nil {
		return conn.Send(nil)
	}
	return conn.Send(msg)
}
