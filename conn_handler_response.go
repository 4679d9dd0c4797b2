// SPDX-License-Identifier: Apache-2.0

// The sending half of a handler's conn: everything that writes the response.

package connect

import (
	"net/http"
	"strconv"
)

// canFlush reports whether [http.ResponseController] finds a way to flush w.
func canFlush(w http.ResponseWriter) bool {
	for {
		switch t := w.(type) {
		case interface{ FlushError() error }, http.Flusher:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return false
		}
	}
}

func (c *handlerConn) ResponseHeader() http.Header {
	c.asked = true
	return c.exchange.Header()
}

// remember notes which headers the response has before the call: those that
// describe the body belong to middleware, which set them.
func (c *handlerConn) remember(h http.Header) {
	c.asked, c.headersThen = true, int32(len(h))
	for key, values := range h {
		if describesMessages(key) {
			if c.given == nil {
				c.given = make(http.Header)
			}
			c.given[key] = values
		}
	}
}

// restore takes back what the handler has done to headers that describe the body.
func (c *handlerConn) restore(h http.Header) {
	for key := range h {
		if !describesMessages(key) {
			continue
		}
		if values, ok := c.given[key]; ok {
			h[key] = values
		} else {
			delete(h, key)
		}
	}
}

// untouched reports whether the response headers are as they were when the call
// began.
func (c *handlerConn) untouched() bool {
	return !c.asked || len(c.exchange.Header()) == int(c.headersThen)
}

func (c *handlerConn) ResponseTrailer() http.Header {
	if c.trailer == nil {
		c.trailer = make(http.Header)
	}
	return c.trailer
}

// Send writes one message, with the response headers before the first one. A nil
// message writes the headers alone. Where middleware is around the ResponseWriter it
// returns when that has the message, and its error; otherwise a message of a stream may
// be written after Send returned, and a later Send returns the error.
func (c *handlerConn) Send(msg any) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.closed {
		return errorf(CodeInternal, "send: the handler has returned")
	}
	if msg == nil {
		if c.began {
			return nil
		}
		c.begin(wireEnd{})
		return fault(&c.ctx, c.flush(), CodeCanceled)
	}
	b, compressed, err := c.out.pack(msg)
	if err != nil {
		return err
	}
	var before wireEnd
	if !c.framed {
		// A unary Connect response has its trailers among the headers: what ends
		// the call goes before the message.
		before = c.encodeEnd(end{trailer: c.trailer}, true)
	}
	if !c.began && !c.config.spec.StreamType.serverStreams() {
		c.namesEncoding = compressed // there is no other message
	}
	first := !c.began
	c.begin(before)
	if !c.framed && len(b.data) >= lengthKnown && c.own { // middleware may change the body
		c.exchange.field(headerContentLength, []string{strconv.Itoa(len(b.data))})
	}
	if c.own && c.config.spec.StreamType.serverStreams() && !c.alone(first) {
		err = c.gather(b.data)
	} else if _, err = c.exchange.Write(b.data); err == nil {
		err = c.flush()
	}
	if err != nil {
		// The buffer is not freed: a Write that was given up, as that of a stream
		// which is reset, may still read it.
		return fault(&c.ctx, err, CodeCanceled) // the client is gone
	}
	b.free()
	return nil
}

// alone reports whether a message is likely to be the only one for now: one that
// answers what was received. The first one always goes alone, so that only the
// handler's goroutine reads the response headers.
func (c *handlerConn) alone(first bool) bool {
	answers := c.answers.Swap(false)
	return first || answers && (c.outbox == nil || c.outbox.isIdle())
}

// gather sends a message together with what else waits.
func (c *handlerConn) gather(frame []byte) error {
	if c.outbox == nil {
		c.outbox = newOutbox(c.exchange.Unwrap())
	}
	if len(frame) <= outboxMax {
		return c.outbox.add(frame)
	}
	if err := c.outbox.drain(); err != nil { // rather than copy
		return err
	}
	if _, err := c.exchange.Write(frame); err != nil {
		return err
	}
	return c.flush()
}

// closeOutbox writes what is left to be sent. Afterwards only the caller uses the
// ResponseWriter.
func (c *handlerConn) closeOutbox() {
	if c.outbox == nil {
		return
	}
	c.outbox.end()
	c.outbox = nil
}

// flush sends what was written to the client, in streams.
func (c *handlerConn) flush() error {
	if !c.config.spec.StreamType.serverStreams() {
		return nil
	}
	return http.NewResponseController(c.exchange).Flush()
}

// answer returns what the response headers say about the messages.
func (c *handlerConn) answer() head {
	hd := head{contentType: c.contentType}
	if c.namesEncoding {
		hd.encoding = c.out.compression.value
	}
	if c.namesAccept {
		hd.accept = c.config.compressions.accept
	}
	return hd
}

// begin completes the response headers, once. They take effect with the next
// write.
func (c *handlerConn) begin(w wireEnd) {
	if c.began {
		return
	}
	c.began = true
	if c.asked {
		c.restore(c.exchange.Header())
	}
	hd := c.answer()
	if _, other := w.header[headerContentType]; other {
		hd.contentType = nil
	}
	c.writeHead(c.exchange, hd)
	if c.request.proto == 1 && c.config.spec.StreamType.clientStreams() && c.leavesRequest() {
		// An answer ahead of the request's end: net/http reads the next request of the
		// connection while a read of this one may be under way, and panics.
		c.exchange.Header()[headerConnection] = []string{"close"}
	}
	switch {
	case c.announced == nil:
	case c.request.proto == 1:
		c.exchange.field(headerTrailer, c.announced) // or net/http does not send them
	case c.own:
		// Without a flush net/http would add a Content-Length. Where the response goes
		// on over HTTP/1.1, no trailers can follow a body of known length.
		c.exchange.field(headerContentLength, nil)
	}
	for key, values := range w.header {
		c.exchange.field(key, values)
	}
	if c.request.proto > 2 {
		delete(c.exchange.Header(), headerConnection) // HTTP/2 servers heed it, those of HTTP/3 send what clients refuse
	}
	if w.status != 0 {
		c.exchange.WriteHeader(w.status)
	}
}

// finish writes the end of the call, wherever its dialect wants it. Bare says
// that nothing was written and that the handler set no header.
func (c *handlerConn) finish(err error, bare bool) {
	e := end{err: c.outcome(err), trailer: c.trailer}
	sent := c.began || c.framed && !bare
	w := c.encodeEnd(e, sent)
	if c.config.sendMax > 0 && w.size() > c.config.sendMax {
		w = c.encodeEnd(e.minimal(), sent)
	}
	if !c.began {
		w.keepForbidden()
	}
	if !c.framed {
		c.namesEncoding = false // errors are not compressed
	}
	c.begin(w)
	c.writeEnd(w)
}

// writeEnd writes what follows the headers. An error means that the client is
// gone.
func (c *handlerConn) writeEnd(w wireEnd) {
	switch {
	case w.hasBody && c.framed:
		frame := append(make([]byte, prefixSize, prefixSize+len(w.body)), w.body...)
		putPrefix(frame, c.endFlag)
		_, _ = c.exchange.Write(frame)
	case w.hasBody:
		_, _ = c.exchange.Write(w.body)
	}
	for key, values := range w.trailer {
		c.exchange.trailer(key, values)
	}
	if len(w.trailer) > 0 && !c.own {
		_ = http.NewResponseController(c.exchange).Flush() // so that middleware sees the trailers
	}
}

// outcome returns the error for the client, nil for none.
func (c *handlerConn) outcome(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := asError(err); ok {
		if e.code == 0 { // of a program that did not set it: it must not pass for success
			return &Error{CodeUnknown, e.cause, e.details, e.meta, e.wire}
		}
		return e
	}
	e := faultOf(err)
	if c.config.safeErrors {
		return &Error{code: e.code}
	}
	return e
}

// size returns how many bytes of an end are an error's.
func (w wireEnd) size() int {
	size := len(w.body)
	for _, h := range []http.Header{w.header, w.trailer} {
		size += len(first(h, headerGRPCMessage)) + len(first(h, headerGRPCDetails))
	}
	return size
}
