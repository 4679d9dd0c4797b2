// SPDX-License-Identifier: Apache-2.0

// The typed streams of clients.

package connect

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
)

// isEOF reports whether err wraps io.EOF, the end of a stream.
func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// ServerStreamForClient is the client's side of a stream of responses. One
// goroutine at a time may use it.
//
// If the program neither reads the stream to its end nor closes it, the call
// lasts until its context ends.
type ServerStreamForClient[Res any] struct {
	conn       StreamingClientConn
	initialize func(Spec, any) error
	msg        *Res
	err        error
	left       leftover[Res]
}

// Receive waits for the next message, which Msg then returns. It returns false
// at the end of the stream and after an error: Err returns that error.
func (s *ServerStreamForClient[Res]) Receive() bool {
	if s.err != nil {
		return false
	}
	s.msg, s.err = s.left.receive(s.conn, s.initialize)
	return s.err == nil
}

// next is Receive, but returns the message and the error.
func (s *ServerStreamForClient[Res]) next() (*Res, error) {
	if !s.Receive() {
		return nil, s.err
	}
	return s.msg, nil
}

// ReceiveContext waits for the next message, until ctx ends at the latest, and
// returns it. At the end of the stream it returns an error that wraps [io.EOF].
//
// If ctx ends first, the error has CodeDeadlineExceeded or CodeCanceled, and the
// call goes on: no message is lost, as the next receive of the stream, of whatever
// kind, returns the message that ReceiveContext did not wait for. Until it arrives,
// or the call ends, a goroutine waits for it. To end the call as well, close the
// stream. A context that never ends costs nothing; any other costs a goroutine
// while ReceiveContext waits.
func (s *ServerStreamForClient[Res]) ReceiveContext(ctx context.Context) (*Res, error) {
	if s.err != nil {
		return nil, s.err
	}
	msg, err, outwaited := s.left.receiveWithin(ctx, s.conn, s.initialize)
	if !outwaited {
		s.msg, s.err = msg, err
	}
	return received(msg, err)
}

// Messages ranges over the messages that are left. The loop ends after the last
// message of a call that succeeded. Any other end, such as the server's error or a
// lost connection, is an error, which is the loop's last value, with a nil message.
// After either the call is over.
//
// A loop that is left early takes no further message, and the call goes on: another
// loop, or Receive, goes on after it, and Close ends the call.
func (s *ServerStreamForClient[Res]) Messages() iter.Seq2[*Res, error] { return messages(s.next) }

// Msg returns the message that the last Receive has received: an empty one
// before the first Receive. After one that returned false it has what was
// decoded before the error, mostly nothing.
func (s *ServerStreamForClient[Res]) Msg() *Res {
	if s.msg == nil {
		s.msg = new(Res)
	}
	return s.msg
}

// Err returns the error that ended the stream: nil while it goes on, and if the
// server ended it without an error.
func (s *ServerStreamForClient[Res]) Err() error { return unlessEOF(s.err) }

// ResponseHeader returns the response's headers, never nil.
func (s *ServerStreamForClient[Res]) ResponseHeader() http.Header { return s.conn.ResponseHeader() }

// ResponseTrailer returns the response's trailers, never nil. They are complete
// once Receive has returned false.
func (s *ServerStreamForClient[Res]) ResponseTrailer() http.Header { return s.conn.ResponseTrailer() }

// Close ends the call without waiting for the server. If Receive has not
// returned false before, Close resets the HTTP/2 stream, or closes the HTTP/1.1
// connection.
func (s *ServerStreamForClient[Res]) Close() error { return s.conn.CloseResponse() }

// Conn returns the stream without types. The error is always nil.
func (s *ServerStreamForClient[Res]) Conn() (StreamingClientConn, error) { return s.conn, nil }

// ClientStreamForClient is the client's side of a stream of requests. One
// goroutine at a time may use it.
//
// If the program does not call CloseAndReceive, the call lasts until its context
// ends.
type ClientStreamForClient[Req, Res any] struct {
	conn       StreamingClientConn
	initialize func(Spec, any) error
	err        error // of the client's construction: there is no conn
	closed     bool  // CloseAndReceive was called
	again      bool  // it may be called again, see WithConnectGoBehavior
}

// Spec returns the description of the procedure.
func (c *ClientStreamForClient[_, _]) Spec() Spec {
	if c.err != nil {
		return Spec{}
	}
	return c.conn.Spec()
}

// Peer returns the description of the server.
func (c *ClientStreamForClient[_, _]) Peer() Peer {
	if c.err != nil {
		return Peer{}
	}
	return c.conn.Peer()
}

// RequestHeader returns the request's headers, never nil. The first Send writes
// them; later changes have no effect.
func (c *ClientStreamForClient[Req, Res]) RequestHeader() http.Header {
	if c.err != nil {
		return make(http.Header)
	}
	return c.conn.RequestHeader()
}

// Send sends a message, or the headers alone if request is nil. It waits while
// the server does not read. If the server has ended the call, Send returns an
// error that wraps [io.EOF], and CloseAndReceive returns the reason.
func (c *ClientStreamForClient[Req, Res]) Send(request *Req) error {
	if c.err != nil {
		return c.err
	}
	return send(c.conn, request)
}

// SendContext is Send, until ctx ends at the latest. If ctx ends while SendContext
// waits, the call is over, because a part of the message may be on its way: the
// error has CodeDeadlineExceeded or CodeCanceled, and the server sees that the
// client is gone. If ctx has ended before, nothing is sent, and the call goes on.
func (c *ClientStreamForClient[Req, Res]) SendContext(ctx context.Context, request *Req) error {
	if c.err != nil {
		return c.err
	}
	return sendWithin(ctx, c.conn, request, cutClient(c.conn))
}

// CloseAndReceive ends the stream of requests, waits for the response and ends
// the call. A second CloseAndReceive returns an error.
func (c *ClientStreamForClient[Req, Res]) CloseAndReceive() (*Response[Res], error) {
	if c.err != nil {
		return nil, c.err
	}
	if c.closed && !c.again {
		return nil, errorf(CodeInternal, "close and receive: CloseAndReceive was called before: a stream of requests has one response")
	}
	c.closed = true
	msg := new(Res)
	err := c.conn.CloseRequest()
	if err == nil {
		err = receiveOnly(c.conn, msg, c.initialize, c.again)
	}
	if err != nil {
		_ = c.conn.CloseResponse()
		return nil, err
	}
	response := &Response[Res]{msg, metadata{own: c.conn.ResponseHeader()}, metadata{own: c.conn.ResponseTrailer()}}
	return response, c.conn.CloseResponse()
}

// Conn returns the stream without types, or the error of a client that
// [NewClient] could not make.
func (c *ClientStreamForClient[Req, Res]) Conn() (StreamingClientConn, error) { return c.conn, c.err }

// ClientStreamForClientSimple is [ClientStreamForClient] without methods for
// headers and trailers, which are in the call's context: see [NewClientContext]. The
// methods of the zero value return an error.
type ClientStreamForClientSimple[Req, Res any] struct {
	stream *ClientStreamForClient[Req, Res] // nil in a stream that no client has made
}

// errNoStream is the error of a simple stream that no client has made.
var errNoStream = errors.New("the stream is not that of a call: use a client's method, which returns one")

// open returns the stream. One that no client has made fails.
func (c *ClientStreamForClientSimple[Req, Res]) open() *ClientStreamForClient[Req, Res] {
	if c.stream == nil {
		return &ClientStreamForClient[Req, Res]{err: errNoStream}
	}
	return c.stream
}

// Spec returns the description of the procedure.
func (c *ClientStreamForClientSimple[Req, Res]) Spec() Spec { return c.open().Spec() }

// Peer returns the description of the server.
func (c *ClientStreamForClientSimple[Req, Res]) Peer() Peer { return c.open().Peer() }

// Send is [ClientStreamForClient.Send].
func (c *ClientStreamForClientSimple[Req, Res]) Send(request *Req) error {
	return c.open().Send(request)
}

// SendContext is [ClientStreamForClient.SendContext].
func (c *ClientStreamForClientSimple[Req, Res]) SendContext(ctx context.Context, request *Req) error {
	return c.open().SendContext(ctx, request)
}

// CloseAndReceive ends the stream of requests, waits for the response's message
// and ends the call.
func (c *ClientStreamForClientSimple[Req, Res]) CloseAndReceive() (*Res, error) {
	response, err := c.open().CloseAndReceive()
	if err != nil {
		return nil, err
	}
	return response.Msg, nil
}

// Conn returns the stream without types.
func (c *ClientStreamForClientSimple[Req, Res]) Conn() (StreamingClientConn, error) {
	return c.open().Conn()
}

// BidiStreamForClient is the client's side of a stream in both directions. One
// goroutine at a time may call Send, RequestHeader and CloseRequest, and another
// one the other methods.
//
// If the program neither reads the stream to its end nor closes it, the call
// lasts until its context ends.
type BidiStreamForClient[Req, Res any] struct {
	conn       StreamingClientConn
	initialize func(Spec, any) error
	err        error // of the client's construction: there is no conn
	left       leftover[Res]
}

// Spec returns the description of the procedure.
func (b *BidiStreamForClient[_, _]) Spec() Spec {
	if b.err != nil {
		return Spec{}
	}
	return b.conn.Spec()
}

// Peer returns the description of the server.
func (b *BidiStreamForClient[_, _]) Peer() Peer {
	if b.err != nil {
		return Peer{}
	}
	return b.conn.Peer()
}

// RequestHeader returns the request's headers, never nil. The first Send writes
// them; later changes have no effect.
func (b *BidiStreamForClient[Req, Res]) RequestHeader() http.Header {
	if b.err != nil {
		return make(http.Header)
	}
	return b.conn.RequestHeader()
}

// Send sends a message, or the headers alone if msg is nil. It waits while the
// server does not read. If the server has ended the call, Send returns an error
// that wraps [io.EOF], and Receive returns the reason.
func (b *BidiStreamForClient[Req, Res]) Send(msg *Req) error {
	if b.err != nil {
		return b.err
	}
	return send(b.conn, msg)
}

// SendContext is [ClientStreamForClient.SendContext].
func (b *BidiStreamForClient[Req, Res]) SendContext(ctx context.Context, msg *Req) error {
	if b.err != nil {
		return b.err
	}
	return sendWithin(ctx, b.conn, msg, cutClient(b.conn))
}

// CloseRequest ends the stream of requests. If nothing was sent before, it sends
// the headers.
func (b *BidiStreamForClient[Req, Res]) CloseRequest() error {
	if b.err != nil {
		return b.err
	}
	return b.conn.CloseRequest()
}

// Receive waits for the next message. After the last one it returns an error
// that wraps [io.EOF] if the server ended the call without an error.
func (b *BidiStreamForClient[Req, Res]) Receive() (*Res, error) {
	if b.err != nil {
		return nil, b.err
	}
	return received(b.left.receive(b.conn, b.initialize))
}

// ReceiveContext is Receive, until ctx ends at the latest. If ctx ends first, the
// call goes on: see [ServerStreamForClient.ReceiveContext].
func (b *BidiStreamForClient[Req, Res]) ReceiveContext(ctx context.Context) (*Res, error) {
	if b.err != nil {
		return nil, b.err
	}
	msg, err, _ := b.left.receiveWithin(ctx, b.conn, b.initialize)
	return received(msg, err)
}

// Messages ranges over the messages that are left: see
// [ServerStreamForClient.Messages]. CloseResponse ends a call whose loop was left
// early.
func (b *BidiStreamForClient[Req, Res]) Messages() iter.Seq2[*Res, error] {
	return messages(b.Receive)
}

// CloseResponse ends the call. After CloseRequest it first waits for the response
// headers, until the context ends at the latest, so that the server sees the
// call; otherwise it does not wait. If Receive has not returned an error before,
// CloseResponse resets the HTTP/2 stream.
func (b *BidiStreamForClient[Req, Res]) CloseResponse() error {
	if b.err != nil {
		return b.err
	}
	return b.conn.CloseResponse()
}

// ResponseHeader waits for the response's headers and returns them, never nil.
// If the call ends before they arrive, they are empty.
func (b *BidiStreamForClient[Req, Res]) ResponseHeader() http.Header {
	if b.err != nil {
		return make(http.Header)
	}
	return b.conn.ResponseHeader()
}

// ResponseTrailer waits for the response's headers and returns the trailers,
// never nil. They are complete once Receive has returned an error.
func (b *BidiStreamForClient[Req, Res]) ResponseTrailer() http.Header {
	if b.err != nil {
		return make(http.Header)
	}
	return b.conn.ResponseTrailer()
}

// Conn returns the stream without types, or the error of a client that
// [NewClient] could not make.
func (b *BidiStreamForClient[Req, Res]) Conn() (StreamingClientConn, error) { return b.conn, b.err }

// BidiStreamForClientSimple is [BidiStreamForClient] without RequestHeader: the
// request's headers are in the call's context, see [NewClientContext]. The methods of
// the zero value return an error.
type BidiStreamForClientSimple[Req, Res any] struct {
	stream *BidiStreamForClient[Req, Res] // nil in a stream that no client has made
}

// open returns the stream. One that no client has made fails.
func (b *BidiStreamForClientSimple[Req, Res]) open() *BidiStreamForClient[Req, Res] {
	if b.stream == nil {
		return &BidiStreamForClient[Req, Res]{err: errNoStream}
	}
	return b.stream
}

// Spec returns the description of the procedure.
func (b *BidiStreamForClientSimple[Req, Res]) Spec() Spec { return b.open().Spec() }

// Peer returns the description of the server.
func (b *BidiStreamForClientSimple[Req, Res]) Peer() Peer { return b.open().Peer() }

// Send is [BidiStreamForClient.Send].
func (b *BidiStreamForClientSimple[Req, Res]) Send(msg *Req) error { return b.open().Send(msg) }

// SendContext is [BidiStreamForClient.SendContext].
func (b *BidiStreamForClientSimple[Req, Res]) SendContext(ctx context.Context, msg *Req) error {
	return b.open().SendContext(ctx, msg)
}

// CloseRequest is [BidiStreamForClient.CloseRequest].
func (b *BidiStreamForClientSimple[Req, Res]) CloseRequest() error { return b.open().CloseRequest() }

// Receive is [BidiStreamForClient.Receive].
func (b *BidiStreamForClientSimple[Req, Res]) Receive() (*Res, error) { return b.open().Receive() }

// ReceiveContext is [BidiStreamForClient.ReceiveContext].
func (b *BidiStreamForClientSimple[Req, Res]) ReceiveContext(ctx context.Context) (*Res, error) {
	return b.open().ReceiveContext(ctx)
}

// Messages is [BidiStreamForClient.Messages].
func (b *BidiStreamForClientSimple[Req, Res]) Messages() iter.Seq2[*Res, error] {
	return b.open().Messages()
}

// CloseResponse is [BidiStreamForClient.CloseResponse].
func (b *BidiStreamForClientSimple[Req, Res]) CloseResponse() error { return b.open().CloseResponse() }

// ResponseHeader is [BidiStreamForClient.ResponseHeader].
func (b *BidiStreamForClientSimple[Req, Res]) ResponseHeader() http.Header {
	return b.open().ResponseHeader()
}

// ResponseTrailer is [BidiStreamForClient.ResponseTrailer].
func (b *BidiStreamForClientSimple[Req, Res]) ResponseTrailer() http.Header {
	return b.open().ResponseTrailer()
}

// Conn returns the stream without types.
func (b *BidiStreamForClientSimple[Req, Res]) Conn() (StreamingClientConn, error) {
	return b.open().Conn()
}

// failedConn is a call that failed before it began: its methods return the error.
type failedConn struct {
	spec                     Spec
	peer                     Peer
	err                      error
	request, header, trailer metadata
}

func (c *failedConn) Spec() Spec                   { return c.spec }
func (c *failedConn) Peer() Peer                   { return c.peer }
func (c *failedConn) Send(any) error               { return c.err }
func (c *failedConn) RequestHeader() http.Header   { return c.request.header() }
func (c *failedConn) CloseRequest() error          { return c.err }
func (c *failedConn) Receive(any) error            { return c.err }
func (c *failedConn) ResponseHeader() http.Header  { return c.header.header() }
func (c *failedConn) ResponseTrailer() http.Header { return c.trailer.header() }
func (c *failedConn) CloseResponse() error         { return c.err }
