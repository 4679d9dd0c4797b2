// SPDX-License-Identifier: Apache-2.0

// The sending half of a handler's conn: it writes the response.

package connect

import (
	"maps"
	"net/http"
	"slices"
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
	if c.takesAnyName() {
		return c.anyHeader()
	}
	c.asked = true
	return c.exchange.Header()
}

// takesAnyName reports whether the handler may set headers and trailers of any name:
// those of a stream, with connect-go's meaning.
func (c *handlerConn) takesAnyName() bool {
	return c.config.connectGo && c.config.spec.StreamType != StreamTypeUnary
}

// anyHeader is ResponseHeader for such a response. In Connect the handler sees the
// library's headers, and may change them. In gRPC the handler's are added to them.
func (c *handlerConn) anyHeader() http.Header {
	switch {
	case c.name != ProtocolConnect:
		if c.added == nil {
			c.added = make(http.Header)
		}
		return c.added
	case !c.began && !c.headSet:
		c.asked, c.headSet = true, true
		header := c.exchange.Header()
		c.writeHead(headerWriter(header), c.answer())
	}
	return c.exchange.Header()
}

// remember keeps the headers that describe the body and are there before the call:
// middleware has set them.
func (c *handlerConn) remember(h http.Header) {
	c.asked, c.headersThen = true, int32(len(h))
	for key, values := range h {
		if describesMessages(key) {
			if c.given == nil {
				c.given = make(http.Header)
			}
			c.given[key] = slices.Clone(values) // the handler may write to it
		}
	}
}

// restore undoes the handler's changes of headers that describe the body.
func (c *handlerConn) restore(h http.Header) {
	for key := range h {
		if describesMessages(key) {
			delete(h, key)
		}
	}
	maps.Copy(h, c.given)
}

// untouched reports whether the handler has added no response headers.
func (c *handlerConn) untouched() bool {
	return len(c.added) == 0 && !c.touched && (!c.asked || len(c.exchange.Header()) == int(c.headersThen))
}

func (c *handlerConn) ResponseTrailer() http.Header {
	if c.trailer == nil {
		c.trailer = make(http.Header)
	}
	return c.trailer
}

// Send writes one message, after the response headers if it is the first. A nil
// message writes the headers alone. If the ResponseWriter is middleware's, Send
// returns after its Write and Flush, with their error. Otherwise the message of a
// stream may leave after Send has returned, and a later Send returns the error, as with
// connect-go: a client may close a stream as soon as it has the headers.
func (c *handlerConn) Send(msg any) (err error) {
	if w := c.early.watch; w != nil {
		done := w.begin(verbSend)
		defer func() { done(err) }()
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.closed {
		return errorf(CodeInternal, "send: the handler has returned")
	}
	if reason := c.early.cause.Load(); reason != nil {
		return reason
	}
	if msg == nil {
		err := c.sendHead()
		if c.config.connectGo {
			return nil // it forgets errors of flushing
		}
		return err
	}
	b, size, compressed, err := c.out.pack(msg)
	if err != nil {
		if c.config.connectGo {
			c.afterUnsent()
		}
		return err
	}
	var before wireEnd
	if !c.framed {
		// A unary Connect response has its trailers among the headers, so the end of
		// the call is written before the message.
		before = c.encodeEnd(end{trailer: c.trailer, connectGo: c.config.connectGo}, true)
	}
	if !c.began && !c.config.spec.StreamType.serverStreams() && !(c.framed && c.config.connectGo) {
		c.namesEncoding = compressed // this is the only message
	}
	first := !c.began
	c.begin(before)
	if !c.framed && len(b.data) >= lengthKnown && c.own { // middleware may change the body
		c.exchange.field(headerContentLength, []string{strconv.Itoa(len(b.data))})
	}
	unwritten := b.data
	if c.measured {
		unwritten, err = c.writePrefix(unwritten)
	}
	switch {
	case err != nil:
	case c.own && c.config.spec.StreamType.serverStreams() && !c.broken && !c.alone(first):
		err = c.gather(unwritten)
	default:
		if _, err = c.exchange.Write(unwritten); err == nil {
			err = c.flush()
		}
	}
	if err != nil {
		c.broken = true
		// Does not free the buffer: if net/http returned early from Write, because the
		// stream was reset, its goroutine may still read it.
		return c.unwritten(err)
	}
	if c.call != nil {
		c.call.sent(msg, size, len(b.data), c.out.prefix())
	}
	b.free()
	return nil
}

// afterUnsent does what connect-go has done with the response's headers before it finds
// that a message cannot be sent: those of frames are sent, and those of the answer to a
// GET have a Vary, to which the error adds another.
//
//go:noinline
func (c *handlerConn) afterUnsent() {
	switch {
	case c.framed:
		_ = c.sendHead()
	case c.method == http.MethodGet:
		header := c.exchange.Header()
		header[headerVary] = append(header[headerVary], headerAcceptEncoding)
	}
}

// alone reports whether Send writes a message itself, and not the outbox: a message
// that answers a received one, which is likely to be the only one for now. The
// first message is always alone, so that only the handler's goroutine reads the
// response headers.
func (c *handlerConn) alone(first bool) bool {
	answers := c.answers.Swap(false)
	return first || answers && (c.outbox == nil || c.outbox.isIdle())
}

// gather gives a message to the outbox, which writes it with those that wait.
func (c *handlerConn) gather(frame []byte) error {
	if c.outbox == nil {
		c.outbox = newOutbox(c.exchange.Unwrap())
	}
	if len(frame) <= outboxMax {
		return c.outbox.add(frame)
	}
	if err := c.outbox.drain(); err != nil { // a large message is not copied into the outbox
		return err
	}
	if _, err := c.exchange.Write(frame); err != nil {
		return err
	}
	return c.flush()
}

// closeOutbox writes the messages that wait, and ends the outbox's goroutine.
func (c *handlerConn) closeOutbox() {
	if c.outbox == nil {
		return
	}
	c.outbox.end()
	c.outbox = nil
}

// flush makes net/http send the bytes written so far, if the response is a stream, or,
// with connect-go's meaning, the request. A ResponseWriter that isOwn keeps the error of a
// flush, and the next Write returns it: so the Send after this one fails. Middleware may
// forget the error, so it is returned at once.
func (c *handlerConn) flush() error {
	if t := c.config.spec.StreamType; !t.serverStreams() && !(c.config.connectGo && t == StreamTypeClient) {
		return nil
	}
	err := http.NewResponseController(c.exchange).Flush()
	if c.own {
		return nil
	}
	return err
}

// answer returns the head of the response.
func (c *handlerConn) answer() head {
	hd := head{contentType: c.contentType}
	switch {
	case c.namesEncoding:
		hd.encoding = c.out.compression.value
	case c.unknown && c.framed && c.config.connectGo:
		hd.encoding = valueEmpty
	}
	if c.namesAccept {
		hd.accept = c.config.compressions.accept
		if hd.accept == nil && c.config.connectGo {
			hd.accept = valueEmpty
		}
	}
	return hd
}

// begin completes the response headers, once. The next write sends them. The end w
// has headers if it is known already, and is empty otherwise.
func (c *handlerConn) begin(w wireEnd) {
	if c.began {
		return
	}
	c.began = true
	if c.call != nil {
		c.call.headed()
	}
	if !c.headSet {
		if c.asked {
			c.restore(c.exchange.Header())
		}
		hd := c.answer()
		if _, other := w.header[headerContentType]; other && !(c.framed && c.config.connectGo) {
			hd.contentType = nil // connect-go's one has both
		}
		c.writeHead(c.exchange, hd)
	}
	if c.duplex() && c.leavesRequest() {
		// The answer begins before the request has ended. If the connection stayed open,
		// net/http would read the next request while a goroutine may still read this
		// one, and would panic.
		c.exchange.Header()[headerConnection] = []string{"close"}
	}
	switch {
	case c.config.connectGo:
		if c.framed && c.config.spec.StreamType == StreamTypeUnary {
			c.hideLength()
		}
	case c.announced == nil:
	case c.request.proto == 1: // net/http sends only announced trailers over HTTP/1.1
		c.exchange.field(headerTrailer, c.announced)
	case c.own || !canFlush(c.exchange): // writeEnd flushes middleware's
		// Keeps net/http from adding a Content-Length to a short response. A proxy that
		// sends the response on over HTTP/1.1 cannot send trailers after a body of known
		// length.
		c.exchange.field(headerContentLength, nil)
	}
	switch {
	case c.config.connectGo && c.framed: // to those of middleware
		addHeader(c.exchange.Header(), w.header)
		w.header = nil
	case c.config.connectGo:
		c.dropTrailers()
	}
	for key, values := range w.header {
		c.exchange.field(key, values)
	}
	if len(c.added) > 0 {
		addHeader(c.exchange.Header(), c.added)
	}
	if c.request.proto > 2 {
		delete(c.exchange.Header(), headerConnection) // HTTP/3 forbids it, and servers would send it (RFC 9114, section 4.2)
	}
	if c.takesAnyName() && first(c.exchange.Header(), headerContentLength) != "" {
		c.measured, c.own = true, false
	}
	if w.status != 0 {
		c.exchange.WriteHeader(w.status)
	}
}

// dropTrailers deletes the handler's headers with the names of trailers, which replace
// them with connect-go's meaning.
//
//go:noinline
func (c *handlerConn) dropTrailers() {
	for key := range c.trailer {
		if c.asked {
			delete(c.exchange.Header(), trailerPrefix+key)
		}
	}
}

// hideLength keeps net/http from adding a Content-Length to a short response in frames:
// connect-go flushes each, and so has none.
//
//go:noinline
func (c *handlerConn) hideLength() {
	if (c.own || !canFlush(c.exchange)) && (!c.asked || first(c.exchange.Header(), headerContentLength) == "") {
		c.exchange.field(headerContentLength, nil)
	}
}

// writePrefix writes the prefix of a frame, and returns the rest, nil with an error, in a
// stream whose length the handler has declared. Servers refuse a write that exceeds the
// length: as many bytes have to pass as with connect-go, which writes the prefix of a message
// before the rest.
//
//go:noinline
func (c *handlerConn) writePrefix(frame []byte) (rest []byte, err error) {
	if _, err := c.exchange.Write(frame[:prefixSize]); err != nil {
		return nil, err
	}
	return frame[prefixSize:], nil
}

// finish writes the end of the call, into the headers, the body or the trailers as
// the dialect does. If bare is true, nothing was written and the handler has set no
// header.
func (c *handlerConn) finish(err *Error, bare bool) {
	e := end{err: err, trailer: c.trailer, connectGo: c.config.connectGo, anyTrailer: c.takesAnyName()}
	if err != nil && c.name != ProtocolConnect {
		e.protobuf = c.config.protobuf()
	}
	sent := c.began || c.framed && !bare
	w := c.encodeEnd(e, sent)
	if c.config.sendMax > 0 && c.sizeOf(w) > c.config.sendMax {
		if c.config.connectGo && !c.framed {
			e = e.withoutDetails() // it is in the body, and the metadata is not
		} else {
			e = e.minimal()
			if c.config.connectGo && e.err.code == 0 && c.name != ProtocolConnect {
				e = end{}.minimal() // gRPC's status says that there is no error
			}
			c.out.plain = c.config.connectGo // its frame is not compressed
		}
		w = c.encodeEnd(e, sent)
	}
	w = c.fit(e, sent, w)
	if !c.began && !c.config.connectGo {
		w.keepForbidden()
	}
	switch {
	case !c.framed:
		c.namesEncoding = false // errors are not compressed
	case c.config.connectGo && !c.began:
		c.hideLength()
	}
	c.begin(w)
	c.writeEnd(w)
}

// writeEnd writes the parts of the end that follow the headers. It ignores errors:
// then the client is gone.
func (c *handlerConn) writeEnd(w wireEnd) {
	switch {
	case w.hasBody && c.framed:
		frame := c.endFrame(w.body)
		if frame != nil && c.measured {
			frame, _ = c.writePrefix(frame)
		}
		if frame != nil {
			_, _ = c.exchange.Write(frame)
		}
	case w.hasBody:
		_, _ = c.exchange.Write(w.body)
	}
	for key, values := range w.trailer {
		c.exchange.trailer(key, values)
	}
	if (len(w.trailer) > 0 || c.framed && c.config.connectGo) && !c.own {
		_ = http.NewResponseController(c.exchange).Flush() // middleware may look for trailers when it flushes
	}
}

// sizeOf returns the number of bytes in an end that the limit for sending is about.
// With connect-go's meaning that is the body alone, compressed.
func (c *handlerConn) sizeOf(w wireEnd) int {
	switch {
	case !c.config.connectGo:
		return w.size()
	case c.framed && w.hasBody:
		return max(len(c.endFrame(w.body))-prefixSize, 0)
	}
	return len(w.body)
}

// endFrame returns the frame that ends the body. It is short, and not worth
// compressing. With connect-go's meaning it is compressed all the same, and nil if that
// fails.
func (c *handlerConn) endFrame(payload []byte) []byte {
	flags := c.endFlag
	if c.config.connectGo && c.out.compresses(len(payload)) {
		b := newBuffer(0)
		defer b.free()
		if c.out.compression.compress(b, payload, true) != nil {
			return nil
		}
		payload, flags = b.data, flags|flagCompressed
	}
	frame := append(make([]byte, prefixSize, prefixSize+len(payload)), payload...)
	putPrefix(frame, flags)
	return frame
}

// size returns the number of bytes in an end that an error takes.
func (w wireEnd) size() int {
	size := len(w.body)
	for _, h := range []http.Header{w.header, w.trailer} {
		size += len(first(h, headerGRPCMessage)) + len(first(h, headerGRPCDetails))
	}
	return size
}
