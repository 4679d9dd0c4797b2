// SPDX-License-Identifier: Apache-2.0

// The sending half of a client's conn: everything that writes the request.

package connect

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// outgoing is a request as net/http has it.
type outgoing struct {
	request http.Request
	url     url.URL // of the request: a copy, as HTTP clients may change it

	// The body of a request of one message: a copy, or the packed buffer itself.
	body   bytes.Reader
	lent   lentBuffer // empty if it is a copy
	reader lentReader
}

func (c *clientConn) RequestHeader() http.Header {
	if c.header == nil {
		c.header = make(http.Header)
	}
	return c.header
}

// Send writes one message, with the request headers before the first one. A nil
// message writes the headers of a stream alone.
func (c *clientConn) Send(msg any) error {
	if c.pipe == nil {
		return c.sendOnly(msg)
	}
	if err := c.parent.Err(); err != nil {
		return fault(c.parent, err, CodeCanceled)
	}
	if msg == nil {
		c.start()
		return nil
	}
	b, _, err := c.out.pack(msg)
	if err != nil {
		return err
	}
	defer b.free()
	if len(b.data) > pipeBuffered {
		c.start() // such a message waits for the one who reads
	}
	err = c.pipe.write(b.data)
	c.start() // with the first message there already, so that it goes with the headers
	if err != nil {
		if ended := c.parent.Err(); ended != nil {
			return fault(c.parent, ended, CodeCanceled)
		}
		if err == errEnded {
			return errorf(CodeInternal, "send: %w", err)
		}
		return NewError(CodeUnknown, io.EOF) // Receive tells why
	}
	return nil
}

// start begins to send a stream.
func (c *clientConn) start() {
	if c.sent {
		return
	}
	c.sent = true
	r := c.newRequest()
	r.Body, r.ContentLength = c.pipe, -1
	go c.roundTrip(r)
}

// sendOnly sends a request of one message and waits for the response headers.
func (c *clientConn) sendOnly(msg any) error {
	if c.sent {
		return errorf(CodeInternal, "send: %s takes one message", c.spec.Procedure)
	}
	if err := c.parent.Err(); err != nil {
		return fault(c.parent, err, CodeCanceled)
	}
	if msg == nil {
		return nil // the headers go with the message
	}
	b, compressed, err := c.out.pack(msg)
	if err != nil {
		return err
	}
	c.sent = true
	if c.exchangeDirect(b, compressed) {
		return c.sentOnly()
	}
	r := c.newRequest()
	if compressed && !c.framed {
		r.Header[c.encoding] = c.config.send.value
	}
	get, err := c.makeGet(r, msg)
	if err != nil {
		b.free()
		return err
	}
	if !get {
		c.setBody(r, b)
	} else {
		b.free()
	}
	c.exchange(r)
	return c.sentOnly()
}

// sentOnly is the end of sendOnly: what went wrong, other than by the caller's will,
// is for Receive to tell.
func (c *clientConn) sentOnly() error {
	if err := c.parent.Err(); err != nil {
		return fault(c.parent, err, CodeCanceled)
	}
	return nil
}

// exchange is roundTrip, but no longer than the context.
func (c *clientConn) exchange(r *http.Request) {
	if c.config.heeds || c.ctx.Done() == nil {
		c.roundTrip(r)
		return
	}
	go c.roundTrip(r)
	_ = c.wait() // Receive waits again, and tells the outcome
}

// setBody makes a packed message the request's body. The transport may read it
// as long as it likes, also after Do returned: it reads a copy, or the buffer
// goes back when the transport closed it.
func (c *clientConn) setBody(r *http.Request, b *buffer) {
	o := c.outgoing
	if len(b.data) >= bufferSize || c.dialect == dialectGRPC {
		o.lent.lend(b)
		_ = o.lent.open(&o.reader) // its owner has it
		r.ContentLength, r.Body, r.GetBody = int64(len(b.data)), &o.reader, o.lent.reader
		return
	}
	data := slices.Clone(b.data)
	b.free()
	r.ContentLength = int64(len(data))
	if len(data) == 0 {
		r.Body = http.NoBody
		return
	}
	// Over HTTP/1.1 net/http sends headers and a small body together if it knows the
	// body's type.
	o.body.Reset(data)
	r.Body = io.NopCloser(&o.body)
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

// mayGet reports whether the request may be a GET.
func (c *clientConn) mayGet() bool {
	return c.config.get && !c.framed && c.spec.IdempotencyLevel == IdempotencyNoSideEffects
}

// makeGet turns a request into a GET if it may be one. It reports whether it
// did.
func (c *clientConn) makeGet(r *http.Request, msg any) (bool, error) {
	if !c.mayGet() {
		return false, nil
	}
	codec, ok := c.config.codec.(stableCodec)
	if !ok {
		return false, nil
	}
	data, err := codec.MarshalStable(msg)
	if err != nil {
		return false, errorf(CodeInternal, "marshal message: %w", err)
	}
	binary := true
	if b, ok := c.config.codec.(binaryCodec); ok {
		binary = b.IsBinary()
	}
	u := getURL(c.config.url, c.config.codec.Name(), binary, data, nil)
	if size := len(u.String()); c.config.getMax > 0 && size > c.config.getMax && c.config.send != nil && len(data) >= c.config.compressMin {
		z := newBuffer(0)
		defer z.free()
		if err := c.config.send.compress(z, data); err != nil {
			return false, NewError(CodeInternal, err)
		}
		u = getURL(c.config.url, c.config.codec.Name(), binary, z.data, c.config.send)
	}
	if size := len(u.String()); c.config.getMax > 0 && size > c.config.getMax {
		if c.config.getFallback {
			return false, nil
		}
		return false, errorf(CodeResourceExhausted, "URL of %d bytes exceeds the limit of %d bytes for HTTP GET", size, c.config.getMax)
	}
	delete(r.Header, headerContentType) // the query has it all
	delete(r.Header, headerContentEncoding)
	delete(r.Header, headerConnectVersion)
	c.outgoing.url = *u
	c.get = true
	r.Method = http.MethodGet
	return true, nil
}

// method returns the HTTP method of the request, "" before there is one.
func (c *clientConn) method() string {
	switch {
	case c.get:
		return http.MethodGet
	case c.post:
		return http.MethodPost
	}
	return ""
}

// newRequest returns the request without its body.
func (c *clientConn) newRequest() *http.Request {
	var fixed, h http.Header
	switch {
	case c.cancel != nil:
		fixed, h = c.config.streamHead, c.RequestHeader()
	case len(c.header) == 0:
		h = maps.Clone(c.config.header)
	default: // the headers of a Request stay as the caller left them
		fixed, h = c.config.header, make(http.Header, len(c.config.header)+len(c.header)+1)
		maps.Copy(h, c.header)
	}
	o := c.outgoing
	if o == nil {
		o = new(outgoing)
		c.outgoing = o
	}
	o.url = *c.config.url
	c.post = true
	o.request = *(&http.Request{ // by value: WithContext's copy needs no memory then
		Method:     http.MethodPost,
		URL:        &o.url,
		Host:       o.url.Host,
		Header:     h,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
	}).WithContext(c.ctx)
	r := &o.request
	if len(h) > 0 && fixed != nil {
		if host := first(h, headerHost); host != "" {
			r.Host = host
		}
		maps.DeleteFunc(h, func(key string, _ []string) bool {
			return !isUserAgent(key) && protocolOwns(key)
		})
	}
	for key, values := range fixed {
		if _, given := h[key]; !given || !isUserAgent(key) {
			h[key] = values
		}
	}
	if timeout := c.timeLeft(); timeout != "" {
		h[c.timeout] = []string{timeout}
	}
	return r
}

// timeLeft returns the timeout to tell the server, "" for none.
func (c *clientConn) timeLeft() string {
	deadline, ok := c.ctx.Deadline()
	if !ok {
		return ""
	}
	return c.formatTTL(time.Until(deadline))
}

// isUserAgent reports whether a header is what applications may say of
// themselves.
func isUserAgent(key string) bool { return key == headerUserAgent || key == headerXUserAgent }

// roundTrip sends the request and reads the head of the response.
func (c *clientConn) roundTrip(r *http.Request) {
	var response *http.Response
	var err error
	if transport := c.config.transport(); transport != nil && c.pipe == nil {
		response, err = transport.RoundTrip(r)
		response, err = c.likeDo(r, transport, response, err)
	} else {
		response, err = c.config.http.Do(r)
	}
	c.take(response, err)
}

// CloseRequest ends the request. It sends the headers if nothing was sent.
func (c *clientConn) CloseRequest() error {
	switch {
	case c.pipe != nil:
		c.start()
		c.pipe.end()
	case !c.sent:
		c.sent = true
		r := c.newRequest()
		r.Body = http.NoBody
		c.exchange(r)
	}
	return nil
}
