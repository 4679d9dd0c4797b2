// SPDX-License-Identifier: Apache-2.0

// The receiving half of a handler's conn: everything that reads the request.

package connect

import (
	"errors"
	"io"
	"net/http"
)

func (c *handlerConn) RequestHeader() http.Header { return c.request.lazy.header() }

// Receive reads one message. Where the procedure takes one message only, the
// second call looks for the end of the request, and neither reads nor decodes
// what may be there instead. Every later call returns again what
// ended the request.
func (c *handlerConn) Receive(msg any) error {
	return codedEnd(c.receiveNext(msg, false))
}

// receiveNext is Receive with a plain io.EOF at the end. Fresh says that msg has
// nothing in it.
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
		return readFault(&c.ctx, err, int(c.request.proto))
	case p.end:
		return NewError(c.strayEnd.code, errors.New(c.strayEnd.text))
	}
	return c.in.unmarshal(p.data, msg, fresh)
}

// leavesRequest reports whether a part of the request may not have been read.
func (c *handlerConn) leavesRequest() bool {
	if !c.receiving.TryLock() {
		return true // it is being read
	}
	defer c.receiving.Unlock()
	return !c.in.ended && c.in.frames.err != io.EOF
}

// closeRequest lets go of the request. A connection with much left to read is
// closed rather than read.
func (c *handlerConn) closeRequest() {
	if !c.receiving.TryLock() {
		return // a goroutine that the handler left behind still reads: the buffers are its own
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
