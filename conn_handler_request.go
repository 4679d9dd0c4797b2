// SPDX-License-Identifier: Apache-2.0

// The receiving half of a handler's conn: it reads the request.

package connect

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

func (c *handlerConn) RequestHeader() http.Header { return c.request.lazy.header() }

// Receive reads one message. If the procedure takes one message, the second call
// reads the end of the request: it refuses a second message without reading it.
// After the end each call returns the same error. So does each call after another
// error, but not with connect-go's meaning: there a message that was refused, because
// of its size or what it has, does not end the stream.
func (c *handlerConn) Receive(msg any) error {
	return codedEnd(c.receiveNext(msg, false))
}

// receiveNext is Receive, but returns a plain io.EOF at the end. If fresh is true,
// msg is an empty message.
func (c *handlerConn) receiveNext(msg any, fresh bool) error {
	c.answers.Store(true)
	c.receiving.Lock()
	defer c.receiving.Unlock()
	if c.received == nil || c.config.connectGo && !c.over {
		done := c.early.watch.begin("receive")
		c.received = c.because(c.receive(msg, fresh))
		done(c.received)
	}
	return c.received
}

func (c *handlerConn) receive(msg any, fresh bool) error {
	if c.request.proto == 1 && c.config.connectGo && c.closedByAnswer() {
		return c.noMessage(http.ErrBodyReadAfterClose)
	}
	p, err := c.in.next()
	if err == nil && p.end && c.config.connectGo {
		err = c.requestEnd(p)
	}
	if err != nil || p.end {
		return c.noMessage(err)
	}
	if c.call != nil {
		return c.call.receive(&c.in, p, msg, fresh)
	}
	return c.in.unmarshal(p.data, msg, fresh)
}

// closedByAnswer reports whether net/http has closed the request, which it does over
// HTTP/1.1 when the answer begins. Then what was read ahead does not count, see
// [WithConnectGoBehavior].
//
//go:noinline
func (c *handlerConn) closedByAnswer() bool {
	if !c.sending.TryLock() {
		return false // the answer is about to begin
	}
	began := c.began
	c.sending.Unlock()
	if !began {
		return false
	}
	if _, err := c.in.frames.src.Read(nil); err != http.ErrBodyReadAfterClose {
		return false
	}
	c.in.frames.begun = false
	return true
}

// noMessage returns the error for a request that has ended or cannot be read: err, which
// is nil if it has a frame that only responses may have.
func (c *handlerConn) noMessage(err error) error {
	switch {
	case err == io.EOF && c.in.single && c.in.count == 0:
		return errNoMessage(c.config.spec)
	case err == io.EOF:
		return err
	case err == errSecondMessage:
		return errMoreMessages(c.config.spec)
	case err != nil:
		if e, ok := err.(*Error); ok && c.config.connectGo {
			return e // of a message: it may wrap io.EOF
		}
		return c.readFault(c.lateRead(err))
	}
	return NewError(c.strayEnd.code, errors.New(c.strayEnd.text))
}

// requestEnd returns io.EOF for a frame that ends a request, which only responses have.
// With connect-go's meaning it ends a request, too, if it has the form of one.
//
//go:noinline
func (c *handlerConn) requestEnd(p piece) error {
	e := c.decodeEnd(wireEnd{body: p.data, hasBody: true}) // before afterEnd, which overwrites it
	if err := c.config.afterEnd(&c.ctx, &c.in.frames); err != nil {
		return err
	}
	if e.err != nil && !e.err.wire && e.trailer == nil {
		return NewError(CodeInternal, errors.New(c.strayEnd.text))
	}
	return io.EOF
}

// unreadableBody is a body whose reads fail, and the error with which they do.
type unreadableBody struct{ error }

func (b unreadableBody) Read([]byte) (int, error) { return 0, b.error }

// readFault returns the error of a request whose body cannot be read.
func (c *handlerConn) readFault(err error) error {
	proto, otherwise := int(c.request.proto), CodeInvalidArgument // such as a malformed chunk
	if c.config.connectGo {
		if overLimit(err) != nil { // also if the context has ended
			return c.config.faultOfBody(context.Background(), err, CodeUnknown)
		}
		code, lost := c.in.lost(err)
		switch otherwise = code; {
		case !lost:
			return NewError(CodeInternal, err) // also if the context has ended
		case errors.Is(err, io.ErrUnexpectedEOF):
			return fault(&c.ctx, err, code)
		}
		if _, reset := resetOf(err); !reset && !abandoned(err) {
			proto = 1 // the client may be there
		}
	}
	return readFault(&c.ctx, err, proto, otherwise)
}

// leavesRequest reports whether a part of the request may be unread.
func (c *handlerConn) leavesRequest() bool {
	if !c.receiving.TryLock() {
		return true // another goroutine is reading it
	}
	defer c.receiving.Unlock()
	return !c.in.ended && c.in.frames.err != io.EOF
}

// duplex reports whether a response may begin before an HTTP/1.1 request has ended.
func (c *handlerConn) duplex() bool {
	return c.request.proto == 1 && c.config.spec.StreamType.clientStreams() && !c.config.connectGo
}

// closeRequest ends the receiving half. If much of an HTTP/1.1 request is unread, it
// makes net/http close the connection, and not read the rest. With connect-go's meaning
// net/http decides, after it has read up to 256 KiB.
func (c *handlerConn) closeRequest() {
	if !c.receiving.TryLock() { // a goroutine of the handler still reads into the buffers
		_ = http.NewResponseController(c.exchange).SetReadDeadline(time.Now()) // so that it ends
		return
	}
	defer c.receiving.Unlock()
	ended := c.in.ended || c.in.frames.err == io.EOF
	c.in.free()
	if c.over = true; c.received == nil {
		c.received = errorf(CodeInternal, "receive: the handler has returned")
	}
	if ended {
		return
	}
	length := c.request.length
	switch {
	case c.request.proto == 2:
		drain(&c.ctx, c.exchange.Unwrap(), c.request.body, length, !c.config.spec.StreamType.clientStreams())
	case !c.began && c.request.proto == 1 && !c.config.connectGo && (length < 0 || length > drainedMax || c.duplex()):
		c.exchange.Header()[headerConnection] = []string{"close"}
	}
}
