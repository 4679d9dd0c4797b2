// SPDX-License-Identifier: Apache-2.0

// The receiving half of a handler's conn: it reads the request.

package connect

import (
	"errors"
	"io"
	"net/http"
)

func (c *handlerConn) RequestHeader() http.Header { return c.request.lazy.header() }

// Receive reads one message. If the procedure takes one message, the second call
// reads the end of the request: it refuses a second message without reading it.
// After the end each call returns the same error.
func (c *handlerConn) Receive(msg any) error {
	return codedEnd(c.receiveNext(msg, false))
}

// receiveNext is Receive, but returns a plain io.EOF at the end. If fresh is true,
// msg is an empty message.
func (c *handlerConn) receiveNext(msg any, fresh bool) error {
	c.answers.Store(true)
	c.receiving.Lock()
	defer c.receiving.Unlock()
	if c.received == nil {
		c.received = c.receive(msg, fresh)
	}
	return c.received
}

func (c *handlerConn) receive(msg any, fresh bool) error {
	p, err := c.in.next()
	switch {
	case err == io.EOF && c.in.single && c.in.count == 0:
		return errorf(CodeUnimplemented, "%s takes one message: the request has none", c.config.spec.Procedure)
	case err == io.EOF:
		return err
	case err == errSecondMessage:
		return errorf(CodeUnimplemented, "%s takes one message: the request has more", c.config.spec.Procedure)
	case err != nil:
		return readFault(&c.ctx, c.lateRead(err), int(c.request.proto))
	case p.end:
		return NewError(c.strayEnd.code, errors.New(c.strayEnd.text))
	}
	return c.in.unmarshal(p.data, msg, fresh)
}

// leavesRequest reports whether a part of the request may be unread.
func (c *handlerConn) leavesRequest() bool {
	if !c.receiving.TryLock() {
		return true // another goroutine is reading it
	}
	defer c.receiving.Unlock()
	return !c.in.ended && c.in.frames.err != io.EOF
}

// closeRequest ends the receiving half. If much of an HTTP/1.1 request is unread, it
// makes net/http close the connection, and not read the rest.
func (c *handlerConn) closeRequest() {
	if !c.receiving.TryLock() {
		return // a goroutine of the handler still reads into the buffers
	}
	defer c.receiving.Unlock()
	ended := c.in.ended || c.in.frames.err == io.EOF
	c.in.free()
	if c.received == nil {
		c.received = errorf(CodeInternal, "receive: the handler has returned")
	}
	length, duplex := c.request.length, c.config.spec.StreamType.clientStreams()
	if !ended && !c.began && c.request.proto == 1 && (length < 0 || length > drainedMax || duplex) {
		c.exchange.Header()[headerConnection] = []string{"close"}
	}
}
