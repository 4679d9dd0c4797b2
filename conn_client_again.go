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
	return c.passed && c.parent.Err() == nil && c.now() == phaseAnswered
}

// afterMessage returns the error of a response, for that of a message that is refused:
// in gRPC the server's status, if it has arrived with the message. If the error wraps
// io.EOF, such as one of a codec, it means the end of the body: then the rest is skipped
// up to the trailers of gRPC, and there has to be a status.
//
//go:noinline
func (c *clientConn) afterMessage(err error) error {
	if c.name == ProtocolConnect {
		c.passed = c.framed
		return err
	}
	ends := isEOF(err)
	c.passed = ends && c.endFlag != 0
	var trailer fields
	if c.endFlag == 0 {
		if ends {
			c.in.frames.skip(skippedMax)
		}
		if ends || c.prefilled || c.in.frames.endedWith(c.in.unread) {
			trailer = c.trailers()
		}
	}
	e := c.decodeEnd(wireEnd{trailer: trailer.all(), protobuf: c.config.protobuf()})
	if ends && !c.passed || len(e.trailer) > 0 {
		c.end = &end{err: e.err, trailer: e.trailer.Clone(), closed: c.in.frames.err != io.EOF || !ends}
	}
	if e.err != nil && (ends || first(e.trailer, headerGRPCStatus) != "") {
		return c.serverError(e)
	}
	c.arrived.trailer.add(trailer)
	return err
}

// skippedMax is how much of a body is skipped to find its trailers.
const skippedMax = 4 << 20

// trailers returns the trailers of the response that have arrived. With connect-go's
// meaning those that were announced alone are none.
func (c *clientConn) trailers() fields {
	f := c.exchange.trailer()
	if c.config.connectGo {
		f.header = withValues(f.header)
	}
	return f
}

// withValues returns a header without names that have no values.
func withValues(h http.Header) http.Header {
	for _, values := range h {
		if len(values) == 0 {
			valued := make(http.Header, len(h))
			addHeader(valued, h)
			return valued
		}
	}
	return h
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
		if e := c.end.err; e != nil && (e.wire || first(c.end.trailer, headerGRPCStatus) != "" || !c.end.closed && !c.shut && c.parent.Err() == nil) {
			if c.name != ProtocolConnect { // otherwise the error is that of the frame, each time
				e = e.copy()
			}
			e.meta = c.responseHeader().Clone()
			addHeader(e.meta, c.arrived.trailer.header())
			return e
		}
	}
	switch gaveUp := c.parent.Err(); {
	case gaveUp != nil:
		return ofClient(fault(c.parent, gaveUp, CodeCanceled))
	case c.shut:
		return ofClient(c.errClosed())
	case c.end == nil && c.name == ProtocolConnect:
		return c.received
	case c.end == nil, c.end.closed:
		return ofClient(c.errClosed())
	case c.name == ProtocolConnect:
		if lost := c.end.lost; lost != nil && lost != io.EOF {
			return ofClient(c.config.faultOfBody(c.parent, lost, CodeInternal))
		}
		return ofClient(errorf(CodeInternal, "receive: the stream has ended: %w", io.ErrUnexpectedEOF))
	}
	return io.EOF
}
