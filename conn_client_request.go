// SPDX-License-Identifier: Apache-2.0

// The sending half of a client's conn: it writes the request.

package connect

import (
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// RequestHeader returns the headers of the request, with those that the library
// sets. Of these, a program can change the user agents; newRequest drops other
// changes, but not with connect-go's meaning.
func (c *clientConn) RequestHeader() http.Header {
	if c.header == nil {
		c.header = make(http.Header, len(c.config.streamHead)+4)
		showHeader(c.header, c.config.streamHead)
		if timeout := c.timeLeft(); timeout != "" {
			c.header[c.timeout] = []string{timeout}
		}
		c.asGiven = c.config.connectGo
	}
	return c.header
}

// showHeader copies the headers that the library sets into the program's, except
// for a user agent that the program has set.
func showHeader(into, fixed http.Header) {
	all := make([]string, 0, len(fixed)) // most have one value
	for key, values := range fixed {
		if _, given := into[key]; !given || !isUserAgent(key) {
			first := len(all)
			all = append(all, values...)
			into[key] = all[first:len(all):len(all)]
		}
	}
}

// leaveHeader changes the headers of a unary request to those that were sent, as
// connect-go leaves them: a further call with the request sends them, too.
func (c *clientConn) leaveHeader(request AnyRequest, timeout string) {
	if timeout != "" {
		request.Header()[c.timeout] = []string{timeout}
	}
	switch {
	case c.method == http.MethodGet:
		deleteInQuery(request.Header())
	case c.compressed && !c.framed:
		request.Header()[c.encoding] = []string{c.out.compression.name}
	}
}

// askHeader appends a caller's headers to those of the library. A caller's user
// agent replaces the library's, but not with connect-go's meaning.
func (c *config) askHeader(into, asked http.Header) {
	for key := range asked {
		if isUserAgent(key) && !c.connectGo {
			delete(into, key)
		}
	}
	addHeader(into, asked)
}

// Send writes one message, with the request headers before the first one. A nil
// message writes the headers of a stream alone.
func (c *clientConn) Send(msg any) (err error) {
	if c.watch != nil {
		done := c.watch.begin(verbSend)
		defer func() { done(err) }()
	}
	if c.pipe == nil {
		return c.sendOnly(msg)
	}
	if msg == nil {
		err := c.parentErr()
		if err == nil {
			c.start()
		}
		return err
	}
	b, size, _, err := c.out.pack(msg)
	if err != nil {
		return ofClient(err)
	}
	defer b.free()
	if err := c.parentErr(); err != nil {
		return err
	}
	if len(b.data) > pipeBuffered {
		c.start() // such a message waits for its reader
	}
	err = c.pipe.write(b.data)
	c.start() // after the first message is in the pipe, so that it goes with the headers
	if err != nil {
		if ended := c.parent.Err(); ended != nil {
			return ofClient(fault(c.parent, ended, CodeCanceled))
		}
		if err == errEnded && !c.config.connectGo {
			return ofClient(errorf(CodeInternal, "send: %w", err))
		}
		if c.pipe.complete() {
			return errorf(CodeUnknown, "send: %w: %w", errEnded, io.EOF)
		}
		return c.because(NewError(CodeUnknown, io.EOF)) // Receive returns the reason
	}
	if c.call != nil {
		c.call.sent(msg, size, len(b.data), c.out.prefix())
	}
	return nil
}

// start starts the goroutine that sends a stream, once.
func (c *clientConn) start() {
	if before, _ := c.step(eventSend); before != phaseIdle {
		return
	}
	x := c.newRequest()
	x.request.Body, x.request.ContentLength = c.pipe, -1
	go func() { c.answer(x.send(c)) }()
}

// sendOnly sends a request of one message and waits for the response headers.
func (c *clientConn) sendOnly(msg any) error {
	sent := c.sentBefore()
	switch {
	case sent != nil && (msg == nil || !c.config.connectGo):
		return sent
	case msg == nil && c.config.connectGo:
		_ = c.CloseRequest() // sends a request without a message
		return c.parentErr()
	case msg == nil:
		return c.parentErr() // the headers go with the message
	}
	if c.config.connectGo && c.mayGet() {
		if err := c.beforeGet(); err != nil {
			return ofClient(err)
		}
	}
	b, size, compressed, err := c.out.pack(msg)
	if err != nil {
		return ofClient(err)
	}
	if sent != nil {
		b.free()
		return c.sentAgain(sent)
	}
	c.compressed = compressed
	if err := c.parentErr(); err != nil && !c.config.connectGo {
		c.notePosted()
		b.free()
		return err
	}
	x, err := c.newExchange(msg, b, size)
	if err != nil {
		c.compressed = false
		return ofClient(err)
	}
	if !c.exchangeOnly(x) {
		return c.sentBefore() // by another goroutine, meanwhile
	}
	if c.config.connectGo && c.method == http.MethodGet {
		return nil // Receive returns all errors, after its initializer
	}
	return c.parentErr() // Receive returns other errors
}

// notePosted notes that a stream has sent its request, or would have but for the end of
// the context.
func (c *clientConn) notePosted() {
	if c.cancel == nil || len(c.config.interceptors) == 0 {
		return
	}
	if posted, _ := c.parent.Value(postedKey{}).(*atomic.Bool); posted != nil {
		posted.Store(true)
	}
}

// sentBefore returns the error of a second message in a request of one, nil before the
// first.
func (c *clientConn) sentBefore() error {
	code := CodeInternal
	if c.config.connectGo {
		code = CodeUnknown
	}
	switch c.now() {
	case phaseSent, phaseAnswered:
		return ofClient(errorf(code, "send: %s takes one message, which was sent before", c.spec.Procedure))
	case phaseAbandoned, phaseReleased:
		return ofClient(errorf(code, "send: the call has ended: Close or CloseResponse was called before, or the response was read to its end"))
	}
	return nil
}

// sentAgain returns the error of a second message in the request of a stream, which has
// the code of the context with connect-go's meaning if that has ended.
//
//go:noinline
func (c *clientConn) sentAgain(sent error) error {
	if coded, ok := asError(sent); ok && c.framed {
		if err := c.parent.Err(); err != nil {
			coded.code = CodeOf(fault(c.parent, err, coded.code))
		}
	}
	return sent
}

// parentErr returns the error of a call whose context has ended. It does not come before
// that of a message which cannot be encoded. With connect-go's meaning the transport sees
// the request all the same, and refuses it.
func (c *clientConn) parentErr() error {
	err := c.parent.Err()
	if err == nil {
		return nil
	}
	if c.pipe != nil && c.config.connectGo {
		c.start()
	}
	return ofClient(fault(c.parent, err, CodeCanceled))
}

// exchangeOnly sends a request of at most one message and waits for the response
// headers, until the context ends at the latest. It reports false if another goroutine
// has sent a request or released the exchange.
func (c *clientConn) exchangeOnly(x clientExchange) bool {
	if before, _ := c.step(eventSend); before != phaseIdle {
		return false
	}
	c.notePosted()
	if c.config.heeds || c.ctx.Done() == nil {
		c.answer(x.send(c))
		return true
	}
	go func() { c.answer(x.send(c)) }()
	_ = c.wait() // Receive waits again, and returns the error
	return true
}

// newExchange returns an exchange for a message, of which b is the packed form, and size
// the size before compression. It takes b over: it frees b, or the exchange does.
func (c *clientConn) newExchange(msg any, b *buffer, size int) (clientExchange, error) {
	mayGet := c.mayGet()
	if mayGet {
		u, size, packed, err := c.getURL(msg)
		if u != nil || err != nil {
			b.free()
		}
		if err != nil {
			return nil, err
		}
		if u != nil {
			if c.call != nil {
				c.call.sentFirst(c.spec.StreamType, msg, size, packed, 0)
			}
			return c.newGet(u), nil
		}
	}
	if c.call != nil {
		c.call.sentFirst(c.spec.StreamType, msg, size, len(b.data), c.out.prefix())
	}
	if mayGet {
		return c.newPost(b), nil
	}
	if x, ok := c.exchange.(*directExchange); ok && !c.chosen && !c.asGiven && isPlain(c.header) {
		x.packed = b
		return x, nil
	}
	return c.newPost(b), nil
}

// mayGet reports whether the request may be a GET.
func (c *clientConn) mayGet() bool {
	return c.config.get && !c.framed && c.spec.IdempotencyLevel == IdempotencyNoSideEffects
}

// stable returns the codec for GETs, false if the client's cannot be used for them. With
// connect-go's meaning it needs both methods.
func (c *clientConn) stable() (codec stableCodec, ok bool) {
	codec, ok = c.config.codec.(stableCodec)
	if _, binary := c.config.codec.(binaryCodec); c.config.connectGo && !binary {
		return nil, false
	}
	return codec, ok
}

// beforeGet does what connect-go does before the message of a GET is encoded: a codec that
// cannot be used for it fails first, and getURL looks at the limit, and compresses only if
// it must.
//
//go:noinline
func (c *clientConn) beforeGet() error {
	if _, stable := c.stable(); stable {
		c.out.limit, c.out.minBytes = 0, 0
	} else if !c.config.getFallback {
		return errorf(CodeInternal, "codec %q has no method MarshalStable, which HTTP GET needs", c.config.codec.Name())
	}
	return nil
}

// getURL returns the URL of a GET for a message, nil if it must be a POST, and the sizes
// of the message in it before and after compression.
func (c *clientConn) getURL(msg any) (u *url.URL, size, packed int, err error) {
	codec, ok := c.stable()
	if !ok {
		return nil, 0, 0, nil
	}
	data, err := codec.MarshalStable(msg)
	if err != nil {
		return nil, 0, 0, errorf(CodeInternal, "marshal message: %w", ofCodec(err, c.config.connectGo))
	}
	binary := true
	if b, ok := c.config.codec.(binaryCodec); ok {
		binary = b.IsBinary()
	}
	packed = len(data)
	base, limit := *c.config.url, 0
	if c.config.connectGo {
		base.RawQuery, limit = "", c.config.sendMax
	}
	tooLarge := func() bool { return limit > 0 && packed > limit }
	u = getURL(&base, c.config.codec.Name(), binary, data, nil)
	if size := len(u.String()); (c.config.getMax > 0 && size > c.config.getMax || tooLarge()) && c.out.compresses(len(data)) {
		z := newBuffer(0)
		defer z.free()
		if err := c.out.compression.compress(z, data, c.config.connectGo); err != nil {
			return nil, 0, 0, ofCompression(err, CodeInternal)
		}
		packed = len(z.data)
		u = getURL(&base, c.config.codec.Name(), binary, z.data, c.out.compression)
	}
	if tooLarge() {
		return nil, 0, 0, errUnsendable(packed, sideName(true), limit)
	}
	if size := len(u.String()); c.config.getMax > 0 && size > c.config.getMax {
		if c.config.getFallback {
			return nil, 0, 0, nil
		}
		return nil, 0, 0, errorf(CodeResourceExhausted, "URL of %d bytes exceeds the limit of %d bytes for HTTP GET", size, c.config.getMax)
	}
	return u, len(data), packed, nil
}

// sentMethod returns the HTTP method of the request, "" if its message cannot be
// sent. A call whose context ended before it has the method that it would have had.
func (c *clientConn) sentMethod() string {
	if c.now() == phaseIdle {
		switch {
		case c.parent.Err() == nil:
			return ""
		case c.mayGet():
			return http.MethodGet
		}
	}
	return c.method
}

// timeLeft returns the value of the timeout header, "" without a deadline.
func (c *clientConn) timeLeft() string {
	deadline, ok := c.ctx.Deadline()
	if !ok {
		return ""
	}
	return c.formatTTL(time.Until(deadline))
}

// isUserAgent reports whether a header names the program that sends the request:
// applications can set these.
func isUserAgent(key string) bool { return key == headerUserAgent || key == headerXUserAgent }

// CloseRequest ends the request. It sends the headers if nothing was sent.
func (c *clientConn) CloseRequest() error {
	switch {
	case c.pipe != nil:
		c.start()
		c.pipe.end()
	case c.now() == phaseIdle:
		x := c.newRequest()
		x.request.Body = http.NoBody
		c.exchangeOnly(x)
	}
	return nil
}
