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

// ClientStream is the handler's side of a stream of requests. One goroutine at a
// time may use it. It is not valid after the handler has returned.
type ClientStream[Req any] struct {
	in receiver[Req]
}

// Spec returns the description of the procedure.
func (c *ClientStream[_]) Spec() Spec { return c.in.conn.Spec() }

// Peer returns the description of the client.
func (c *ClientStream[_]) Peer() Peer { return c.in.conn.Peer() }

// RequestHeader returns the request's headers, never nil.
func (c *ClientStream[Req]) RequestHeader() http.Header { return c.in.conn.RequestHeader() }

// Receive waits for the next message, which Msg then returns. It returns false
// at the end of the stream and after an error: Err returns that error.
func (c *ClientStream[Req]) Receive() bool { return c.in.receive() }

// Msg returns the message that the last Receive has received: an empty one
// before the first Receive, and after one that returned false.
func (c *ClientStream[Req]) Msg() *Req {
	if c.in.msg == nil {
		c.in.msg = new(Req)
	}
	return c.in.msg
}

// Err returns the error that ended the stream: nil while it goes on, and if the
// client ended it.
func (c *ClientStream[Req]) Err() error { return unlessEOF(c.in.err) }

// Conn returns the stream without types.
func (c *ClientStream[Req]) Conn() StreamingHandlerConn { return c.in.conn }

// ServerStream is the handler's side of a stream of responses. One goroutine at a
// time may use it. It is not valid after the handler has returned.
type ServerStream[Res any] struct {
	conn StreamingHandlerConn
}

// ResponseHeader returns the response's headers, never nil. The first Send writes
// them; later changes have no effect.
func (s *ServerStream[Res]) ResponseHeader() http.Header { return s.conn.ResponseHeader() }

// ResponseTrailer returns the response's trailers, never nil. They are written
// when the handler returns.
func (s *ServerStream[Res]) ResponseTrailer() http.Header { return s.conn.ResponseTrailer() }

// Send sends a message, or the headers alone if msg is nil. It waits while the
// client does not read, and fails with CodeCanceled when the client is gone. See
// [StreamingHandlerConn] for what a nil error means.
func (s *ServerStream[Res]) Send(msg *Res) error { return send(s.conn, msg) }

// Conn returns the stream without types.
func (s *ServerStream[Res]) Conn() StreamingHandlerConn { return s.conn }

// BidiStream is the handler's side of a stream in both directions. One goroutine
// at a time may call Receive and RequestHeader, and another one Send,
// ResponseHeader and ResponseTrailer. It is not valid after the handler has
// returned.
type BidiStream[Req, Res any] struct {
	conn       StreamingHandlerConn
	initialize func(Spec, any) error
}

// Spec returns the description of the procedure.
func (b *BidiStream[_, _]) Spec() Spec { return b.conn.Spec() }

// Peer returns the description of the client.
func (b *BidiStream[_, _]) Peer() Peer { return b.conn.Peer() }

// RequestHeader returns the request's headers, never nil.
func (b *BidiStream[Req, Res]) RequestHeader() http.Header { return b.conn.RequestHeader() }

// Receive waits for the next message. After the last one it returns an error
// that wraps [io.EOF].
func (b *BidiStream[Req, Res]) Receive() (*Req, error) {
	return receiveMessage[Req](b.conn, b.initialize)
}

// ResponseHeader returns the response's headers, never nil. The first Send writes
// them; later changes have no effect.
func (b *BidiStream[Req, Res]) ResponseHeader() http.Header { return b.conn.ResponseHeader() }

// ResponseTrailer returns the response's trailers, never nil. They are written
// when the handler returns.
func (b *BidiStream[Req, Res]) ResponseTrailer() http.Header { return b.conn.ResponseTrailer() }

// Send sends a message, or the headers alone if msg is nil. It waits while the
// client does not read, and fails with CodeCanceled when the client is gone. See
// [StreamingHandlerConn] for what a nil error means.
func (b *BidiStream[Req, Res]) Send(msg *Res) error { return send(b.conn, msg) }

// Conn returns the stream without types.
func (b *BidiStream[Req, Res]) Conn() StreamingHandlerConn { return b.conn }

// send sends msg. It passes a nil msg on as a nil interface, not as one that
// holds a nil pointer.
func send[T any](conn interface{ Send(any) error }, msg *T) error {
	if msg == nil {
		return conn.Send(nil)
	}
	return conn.Send(msg)
}
