// SPDX-License-Identifier: Apache-2.0

// The typed streams of handlers.

package connect

import (
	"context"
	"iter"
	"net/http"
)

// receiver receives messages one after the other, as an iterator.
type receiver[T any] struct {
	conn       StreamingHandlerConn
	initialize func(Spec, any) error
	msg        *T
	err        error
	left       leftover[T]
}

func (r *receiver[T]) receive() bool {
	if r.err != nil {
		return false
	}
	r.msg, r.err = r.left.receive(r.conn, r.initialize)
	return r.err == nil
}

// next is receive, but returns the message and the error.
func (r *receiver[T]) next() (*T, error) {
	if !r.receive() {
		return nil, r.err
	}
	return r.msg, nil
}

// receiveWithin is next within a context.
func (r *receiver[T]) receiveWithin(ctx context.Context) (*T, error) {
	if r.err != nil {
		return nil, r.err
	}
	msg, err, outwaited := r.left.receiveWithin(ctx, r.conn, r.initialize)
	if !outwaited {
		r.msg, r.err = msg, err
	}
	return received(msg, err)
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

// ReceiveContext waits for the next message, until ctx ends at the latest, and
// returns it. At the end of the stream it returns an error that wraps [io.EOF].
//
// If ctx ends first, the error has CodeDeadlineExceeded or CodeCanceled, and the
// stream goes on: no message is lost, as the next receive of the stream, of
// whatever kind, returns the message that ReceiveContext did not wait for. After
// the handler has returned, no goroutine waits for it. A context that never ends
// costs nothing; any other costs a goroutine while ReceiveContext waits.
func (c *ClientStream[Req]) ReceiveContext(ctx context.Context) (*Req, error) {
	return c.in.receiveWithin(ctx)
}

// Messages ranges over the messages that are left. The loop ends after the
// client's last message. Any other end of the stream, such as a lost connection,
// is an error, which is the loop's last value, with a nil message. A loop that is
// left early takes no further message: another loop, or Receive, goes on after it.
func (c *ClientStream[Req]) Messages() iter.Seq2[*Req, error] { return messages(c.in.next) }

// Msg returns the message that the last Receive has received: an empty one
// before the first Receive. After one that returned false it has what was
// decoded before the error, mostly nothing.
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
	call context.Context // the handler's, nil in tests
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

// SendContext is Send, until ctx ends at the latest. If ctx ends while SendContext
// waits, the call is over, because a part of the message may be on its way: the
// error has CodeDeadlineExceeded or CodeCanceled, and the client receives no more.
// If ctx has ended before, nothing is sent, and the stream goes on.
func (s *ServerStream[Res]) SendContext(ctx context.Context, msg *Res) error {
	return sendWithin(ctx, s.conn, msg, cutHandler(s.call))
}

// Conn returns the stream without types.
func (s *ServerStream[Res]) Conn() StreamingHandlerConn { return s.conn }

// BidiStream is the handler's side of a stream in both directions. One goroutine
// at a time may call Receive and RequestHeader, and another one Send,
// ResponseHeader and ResponseTrailer. It is not valid after the handler has
// returned.
type BidiStream[Req, Res any] struct {
	conn       StreamingHandlerConn
	initialize func(Spec, any) error
	call       context.Context // the handler's, nil in tests
	left       leftover[Req]
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
	return received(b.left.receive(b.conn, b.initialize))
}

// ReceiveContext is Receive, until ctx ends at the latest. If ctx ends first, the
// error has CodeDeadlineExceeded or CodeCanceled, and the stream goes on: no
// message is lost, as the next receive of the stream, of whatever kind, returns
// the message that ReceiveContext did not wait for. After the handler has returned,
// no goroutine waits for it. A context that never ends costs nothing; any other
// costs a goroutine while ReceiveContext waits.
func (b *BidiStream[Req, Res]) ReceiveContext(ctx context.Context) (*Req, error) {
	msg, err, _ := b.left.receiveWithin(ctx, b.conn, b.initialize)
	return received(msg, err)
}

// Messages ranges over the messages that are left: see [ClientStream.Messages].
func (b *BidiStream[Req, Res]) Messages() iter.Seq2[*Req, error] { return messages(b.Receive) }

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

// SendContext is [ServerStream.SendContext].
func (b *BidiStream[Req, Res]) SendContext(ctx context.Context, msg *Res) error {
	return sendWithin(ctx, b.conn, msg, cutHandler(b.call))
}

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
