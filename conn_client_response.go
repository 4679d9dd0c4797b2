// SPDX-License-Identifier: Apache-2.0

// The receiving half of a client's conn: it reads the response.

package connect

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// answer ends the exchange with the response in x, or with an error. The goroutine
// that has sent the request calls it.
func (c *clientConn) answer(x clientExchange, err error) {
	if err == nil {
		var length int64
		c.exchange = x
		c.arrived.header.from, c.reply, c.body, length = x.reply()
		c.reply.fields, c.reply.exact = &c.arrived.header.from, c.config.connectGo
		if c.call != nil {
			c.call.headed()
		}
		if c.config.connectGo && c.framed && c.arrived.header.from.header != nil {
			c.arrived.header.replace(withValues(c.arrived.header.from.header))
			c.prefilled = len(c.trailers().header) > 0
		}
		err = ofClient(c.readHead(length))
	}
	if err == nil {
		c.closeAtEnd(x)
	} else {
		err = c.unanswered(clearer(notEnd(withoutURL(err))))
		if _, coded := asError(err); !coded { // otherwise it is the program's, or marked
			err = ofClient(c.config.faultBeside(c.ctx, err, CodeUnavailable))
		}
	}
	c.failed = err
	if _, after := c.step(eventAnswer); c.body != nil && (after == phaseReleased || err != nil) {
		c.closeBody()
	}
	if c.ready != nil {
		close(c.ready)
	}
}

// closeAtEnd closes the body when the context ends, where the transport may not do so,
// and a Read of the response would wait for ever: a transport of the program may not look
// at the context, and net/http's for HTTP/2 does not while it sends a request and waits
// for the server's window.
func (c *clientConn) closeAtEnd(x clientExchange) {
	h, ok := x.(*httpExchange)
	if ok && (!c.config.heeds || c.pipe != nil || h.request.ContentLength >= unsentMin) && c.ctx.Done() != nil {
		body := c.body
		c.stop = context.AfterFunc(c.ctx, func() { _ = body.Close() })
	}
}

// unsentMin is the size from which a request may be sent in parts, and so may be
// unfinished when the response arrives.
const unsentMin = 16 << 10

// readHead reads the head of a response and prepares the unpacker. The announced
// length of the body is a hint for its buffer.
func (c *clientConn) readHead(length int64) error {
	hd, err := c.openResponse(&c.reply, c.config.codec.Name())
	if err != nil {
		c.hideHeader()
		return c.refused(err)
	}
	encoding := ""
	if len(hd.encoding) > 0 {
		encoding = hd.encoding[0]
	}
	compression, known := c.config.compressions.received(encoding)
	if !known && !c.statusAlone() {
		c.hideHeader()
		return errorf(CodeInternal, "unknown compression %q: accepted encodings are %v", encoding, &c.config.compressions)
	}
	if c.spec.StreamType == StreamTypeBidi && c.reply.proto == 1 {
		return errorf(CodeUnimplemented, "%s answered over HTTP/1.%d: a bidirectional stream needs HTTP/2: %s", c.config.peer.Addr, c.reply.protoMinor, c.waysToHTTP2())
	}
	c.in.compression = compression
	c.in.frames.src = c.body
	if length > 0 {
		c.in.hint = int(min(length, hintMax))
	}
	return nil
}

// statusAlone reports whether a unary response is an error of which only the status counts,
// with connect-go's meaning: its body is not JSON.
func (c *clientConn) statusAlone() bool {
	return c.config.connectGo && !c.framed && c.reply.status != http.StatusOK && !isJSON(c.reply.first(headerContentType), c.reply.exact)
}

// statusCounts reports whether the body of a unary error cannot be read, so that only its
// status counts, with connect-go's meaning. An error of the body's size counts itself.
func (c *clientConn) statusCounts(err error) bool {
	return err != nil && err != io.EOF && !c.framed && c.reply.status != http.StatusOK &&
		(CodeOf(fault(c.ctx, err, CodeUnknown)) != CodeResourceExhausted || c.statusAlone())
}

// hideHeader removes the headers of a response in frames that is refused, with connect-go's
// meaning.
func (c *clientConn) hideHeader() {
	if c.config.connectGo && c.framed {
		c.arrived.header.replace(make(http.Header))
	}
}

// wait waits for the response headers. It returns the error that came in their
// place, or that of the context.
func (c *clientConn) wait() error {
	if c.ready == nil {
		return c.failed
	}
	select {
	case <-c.ready:
		return c.failed
	default:
	}
	select {
	case <-c.ready:
		return c.failed
	case <-c.ctx.Done():
		return ofClient(fault(c.ctx, c.ctx.Err(), CodeCanceled))
	}
}

// Receive reads one message. If the response has one message, the second call
// reads the end of the response. After the end each call returns the same error: see
// receiveAgain for connect-go's meaning.
func (c *clientConn) Receive(msg any) error {
	return codedEnd(c.receiveNext(msg, false))
}

// receiveNext is Receive, but returns a plain io.EOF at the end. If fresh is true,
// msg is an empty message.
func (c *clientConn) receiveNext(msg any, fresh bool) error {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	if c.received != nil && c.config.connectGo && !c.resumes {
		return c.receiveAgain()
	}
	if c.received == nil || c.resumes {
		done := c.watch.begin("receive")
		c.passed = false
		err := c.wait()
		if err == nil {
			err = ofClient(c.receive(msg, fresh))
		}
		if err != io.EOF && isEOF(err) && c.framed && c.name == ProtocolConnect { // of a codec
			err = ofClient(errorf(CodeInternal, "protocol error: the stream has no end-of-stream message: %w", io.ErrUnexpectedEOF))
		}
		c.received = c.because(err)
		done(c.received)
		if c.received != nil && c.received != io.EOF && c.now().ended() && c.parent.Err() == nil && c.reason.Load() == nil && !IsWireError(c.received) {
			c.received = c.errClosed() // by another goroutine, meanwhile
		}
		c.resumes = c.received != nil && c.goesOn()
		switch {
		case c.resumes && c.pipe != nil:
			c.pipe.end() // so that Send fails
		case c.received != nil && !c.resumes:
			c.release()
			c.free()
		}
	}
	return c.received
}

// receive is Receive once the response headers are there.
func (c *clientConn) receive(msg any, fresh bool) error {
	p, err := c.in.next()
	// Once the caller's context has ended, its error is the result, whatever has
	// arrived; the deadline counts even if the context's timer is late.
	if ended := c.parent.Err(); ended != nil {
		return fault(c.parent, ended, CodeCanceled)
	}
	if expired(c.parent) {
		return fault(c.parent, context.DeadlineExceeded, CodeDeadlineExceeded)
	}
	if err == nil && !p.end && (c.framed || c.reply.status == http.StatusOK) {
		if c.call != nil {
			err = c.call.receive(&c.in, p, msg, fresh)
		} else {
			err = c.in.unmarshal(p.data, msg, fresh)
		}
		if err != nil && c.config.connectGo {
			return c.afterMessage(err)
		}
		return err
	}
	return c.receiveEnd(p, err)
}

// receiveEnd reads the end of the call: from the end frame or the body of an
// unframed error, which is p, and from the headers and trailers. The error is that
// of the read.
func (c *clientConn) receiveEnd(p piece, err error) error {
	w := wireEnd{
		status:  int(c.reply.status),
		body:    p.data,
		hasBody: p.end || !c.framed,
		empty:   c.in.count == 0,
		exact:   c.reply.exact,

		protobuf: c.config.protobuf(),
	}
	if c.config.connectGo && c.statusCounts(err) {
		w.body, err = nil, nil
	}
	if e, ok := err.(*Error); ok && c.config.connectGo {
		return c.afterMessage(e)
	}
	switch {
	case p.end && len(p.data) == 0:
		w.header = c.responseHeader()
	case !p.end: // otherwise the end frame has all
		trailer := c.trailers()
		if err == io.EOF && c.succeeded != nil && c.succeeded(*c.reply.fields, trailer) {
			if c.config.connectGo {
				c.end = &end{trailer: trailer.all().Clone()}
			}
			return c.ended(trailer)
		}
		w.header, w.trailer = c.responseHeader(), trailer.all()
	}
	if err == errSecondMessage {
		return errMoreMessages(*c.spec)
	}
	if err != nil && err != io.EOF {
		if first(w.trailer, headerGRPCStatus) != "" {
			if e := c.decodeEnd(w); e.err != nil {
				return c.serverError(e) // the server's status is more exact than the read error
			}
		}
		if c.config.connectGo {
			c.arrived.trailer.add(fields{header: w.trailer})
		}
		if e, ok := err.(*Error); ok {
			return e // of a message
		}
		err = cutOff(notEnd(err))
		return c.config.faultOfBody(c.ctx, err, c.lossOf(err))
	}
	e := c.decodeEnd(w)
	if e.header != nil {
		c.arrived.header.replace(e.header)
	}
	if p.end && c.config.connectGo {
		if err := c.config.afterEnd(c.ctx, &c.in.frames); err != nil {
			return err
		}
	} else if p.end && !c.in.frames.atEnd() {
		return errorf(CodeInternal, "protocol error: corrupt response: bytes after the end of the stream")
	}
	if c.config.connectGo && (e.err == nil || e.err.wire || c.name != ProtocolConnect && !(p.end && e.trailer == nil)) {
		c.end = &end{err: e.err, trailer: e.trailer.Clone(), inHeader: e.inHeader, lost: c.in.frames.err}
	}
	if e.err != nil {
		return c.refused(c.serverError(e))
	}
	return c.ended(fields{header: e.trailer})
}

// lossOf returns the code of an error that ended the response early, where the error
// itself has none: a reset without a meaning of its own, or a lost connection.
func (c *clientConn) lossOf(err error) Code {
	_, reset := resetOf(err)
	code, lost := c.in.lost(err)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) && !(c.config.connectGo && lost):
		return CodeInternal
	case c.config.connectGo && gone(err):
		return CodeCanceled
	case c.config.connectGo:
		return code
	case reset && c.framed:
		return CodeInternal
	case reset:
		return CodeUnknown
	}
	return CodeUnavailable
}

// ended returns io.EOF for a call that has succeeded, or an error if its one
// message is missing.
func (c *clientConn) ended(trailer fields) error {
	c.arrived.trailer.add(trailer)
	if c.in.single && c.in.count == 0 {
		return errNoMessage(*c.spec)
	}
	return io.EOF
}

// serverError returns the server's error, with all headers and trailers of the
// response in its metadata. If the caller's context has ended, the error has the
// code of the context: the server's error may be a consequence of that.
func (c *clientConn) serverError(e end) error {
	c.arrived.trailer.add(fields{header: e.trailer})
	if c.config.connectGo && !e.err.wire && c.name == ProtocolConnect {
		return e.err // the server has not sent it
	}
	meta := e.err.Meta()
	addHeader(meta, c.responseHeader())
	if !e.inHeader && !(c.config.connectGo && IsNotModifiedError(e.err)) { // connect-go expects no trailers there
		addHeader(meta, c.arrived.trailer.header())
	}
	if gaveUp := c.parent.Err(); gaveUp != nil && e.err.wire {
		e.err = &Error{code: CodeOf(fault(c.parent, gaveUp, CodeCanceled)), cause: e.err, meta: meta}
	}
	return e.err
}

func (c *clientConn) ResponseHeader() http.Header {
	_ = c.wait()
	return c.responseHeader()
}

// responseHeader is ResponseHeader without waiting.
func (c *clientConn) responseHeader() http.Header {
	if !c.now().over() {
		return make(http.Header)
	}
	return c.arrived.header.header()
}

func (c *clientConn) ResponseTrailer() http.Header {
	_ = c.wait()
	return c.arrived.trailer.header()
}
