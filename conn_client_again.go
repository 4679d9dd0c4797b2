// SPDX-License-Identifier: Apache-2.0

// Receive after an error, the end or CloseResponse, and the trailers of a call that
// failed, with connect-go's meaning.

package connect

import (
	"io"
	"net/http"
)

// goesOn reports whether the response goes on after an error of Receive. With
// connect-go's meaning a message that was refused, because of its size or what it has,
// does not end a stream of the Connect protocol.
func (c *clientConn) goesOn() bool {
	return c.config.connectGo && c.framed && c.name == ProtocolConnect && !c.in.single && c.parent.Err() == nil &&
		c.now() == phaseAnswered && c.failed == nil && c.in.frames.err == nil && !c.in.ended
}

// splitTrailers makes trailers of the headers of a unary response that are trailers by
// their prefix, also if the call has failed before its end was read.
func (c *clientConn) splitTrailers() {
	if header := c.responseHeader(); hasTrailers(fields{header: header}) {
		e := connectUnary{}.decodeEnd(wireEnd{status: http.StatusOK, header: header})
		c.arrived.header.replace(e.header)
		c.arrived.trailer.add(fields{header: e.trailer})
	}
}

// receiveAgain is Receive after an error that has ended the receiving half. As
// connect-go reads the end of the call once more, the trailers are added again.
func (c *clientConn) receiveAgain() error {
	if c.now().over() && c.failed != nil {
		return c.received
	}
	if c.end != nil {
		trailer := http.Header(nil)
		if !c.end.inHeader {
			trailer = c.end.trailer
		}
		c.arrived.trailer.add(fields{header: trailer})
		if e := c.end.err; e != nil {
			again := *e
			again.meta = c.responseHeader().Clone()
			addHeader(again.meta, c.arrived.trailer.header())
			return &again
		}
	}
	switch gaveUp := c.parent.Err(); {
	case gaveUp != nil:
		return ofClient(fault(c.parent, gaveUp, CodeCanceled))
	case c.shut:
		return ofClient(c.errClosed())
	case c.end == nil && c.name == ProtocolConnect:
		return c.received
	case c.end == nil:
		return ofClient(c.errClosed())
	case c.name == ProtocolConnect:
		return ofClient(errorf(CodeInternal, "receive: the stream has ended: %w", io.ErrUnexpectedEOF))
	}
	return io.EOF
}
