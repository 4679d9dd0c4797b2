// SPDX-License-Identifier: Apache-2.0

// The client's side of a call: everything that writes the request and reads the
// response.

package connect

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// clientConn is one HTTP exchange, as a client sees it. It is the
// StreamingClientConn of its call.
//
//	         Send, CloseRequest           Do returned
//	  idle ──────────────────────▶ sent ──────────────▶ answered
//	   │                            │                      │ end, error,
//	   │ CloseResponse,             │ the same             │ CloseResponse
//	   ▼ the context's end          ▼                      ▼
//	released ◀─────────────────────────────────────────────┘
//
// Requests of one message are sent by Send itself, which waits for the response
// headers. Streams are sent by a goroutine of their own, through a pipe, and so
// is what goes through an HTTPClient that might not heed the context. Either way,
// what the exchange found is written before ready is closed and read after.
// An exchange that is released while it is being sent closes the response itself
// as soon as there is one.
type clientConn struct {
	*dialect
	config *config
	spec   *Spec              // never written
	parent context.Context    // the caller's
	ctx    context.Context    // ends with it, or with cancel
	cancel context.CancelFunc // nil for unary calls

	// The sending half.
	out      packer
	header   http.Header  // of the request, nil until someone asks for it
	pipe     *pipe        // nil unless the client streams
	outgoing *outgoing    // nil for a direct call
	own      [1][2]string // room for a field of a direct call

	// What the exchange found.
	ready    chan struct{} // nil where nobody waits
	failed   error         // instead of a response
	reply    wireHead      // of the response
	incoming io.ReadCloser // its body, nil without a response

	mu       sync.Mutex
	answered bool
	released bool

	sent      bool // of the sending half: the request, or its head
	get, post bool // what it is
	direct    bool // incoming is a directResponse

	// The receiving half.
	receiving sync.Mutex
	in        unpacker
	trailer   fields // of the response
	received  error  // what ended the half
}

// outgoing is a request as net/http has it.
type outgoing struct {
	request http.Request
	url     url.URL // of the request: a copy, as HTTP clients may change it

	// The body of a request of one message: a copy, or the packed buffer itself.
	body   bytes.Reader
	lent   lentBuffer // empty if it is a copy
	reader lentReader
}

// newConn returns an empty conn, in one piece with what it is going to need.
func newConn(direct bool) *clientConn {
	if direct {
		return new(clientConn)
	}
	both := new(struct {
		clientConn
		outgoing outgoing
	})
	both.clientConn.outgoing = &both.outgoing
	return &both.clientConn
}

// newUnaryConn returns a conn for one unary call.
func newUnaryConn(ctx context.Context, c *config) *clientConn {
	_, direct := c.transport().(directTransport)
	conn := newConn(direct)
	conn.dialect, conn.config, conn.spec, conn.parent, conn.ctx = c.dialect, c, &c.spec, ctx, ctx
	if !c.heeds {
		conn.ready = make(chan struct{})
	}
	conn.open()
	return conn
}

// newStreamConn returns a conn for one streaming call.
func newStreamConn(ctx context.Context, c *config, spec Spec) *clientConn {
	conn := newConn(false)
	conn.dialect, conn.config, conn.spec, conn.parent, conn.ready = c.streams, c, &spec, ctx, make(chan struct{})
	conn.ctx, conn.cancel = context.WithCancel(ctx)
	if spec.StreamType.clientStreams() {
		conn.pipe = newPipe(conn.ctx)
	}
	conn.open()
	return conn
}

func (c *clientConn) open() {
	c.out = packer{codec: c.config.codec, framed: c.framed, compression: c.config.send, minBytes: c.config.compressMin, limit: c.config.sendMax, last: &c.config.lastSent}
	c.in = unpacker{codec: c.config.codec, framed: c.framed, endFlag: c.endFlag, limit: c.config.readMax,
		blame: CodeInternal, single: !c.spec.StreamType.serverStreams()}
	c.in.frames.src = emptyReader{}
}

func (c *clientConn) Spec() Spec { return *c.spec }
func (c *clientConn) Peer() Peer { return c.config.peer }

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

// take takes what a transport returned.
func (c *clientConn) take(response *http.Response, err error) {
	if o := c.outgoing; o != nil && o.lent.b != nil {
		o.lent.giveBack()
	}
	switch {
	case err != nil:
	case response == nil:
		err = errorf(CodeInternal, "%T returned neither a response nor an error", c.config.http)
	default:
		c.incoming, c.reply = response.Body, responseHead(response)
		if c.incoming == nil {
			c.incoming = http.NoBody
		}
		err = c.readHead(response.ContentLength)
	}
	c.settle(err)
}

// settle ends the exchange: a response has been taken, or failed.
func (c *clientConn) settle(err error) {
	if err != nil {
		err = fault(c.ctx, notEnd(err), CodeUnavailable)
	}
	c.failed = err
	c.mu.Lock()
	c.answered = true
	released := c.released
	c.mu.Unlock()
	if c.incoming != nil && (released || err != nil) {
		_ = c.incoming.Close()
	}
	if c.ready != nil {
		close(c.ready)
	}
}

// readHead reads everything before the messages of a response, whose body is likely
// to have length bytes.
func (c *clientConn) readHead(length int64) error {
	hd, err := c.openResponse(&c.reply, c.config.codec.Name())
	if err != nil {
		return err
	}
	if r := c.reply.response; r != nil && c.spec.StreamType == StreamTypeBidi && r.ProtoMajor == 1 {
		return errorf(CodeUnimplemented, "%s answered over HTTP/1.%d: a bidirectional stream needs HTTP/2", c.config.peer.Addr, r.ProtoMinor)
	}
	encoding := ""
	if len(hd.encoding) > 0 {
		encoding = hd.encoding[0]
	}
	compression, known := c.config.compressions.get(encoding)
	if !known {
		return errorf(CodeInternal, "unknown compression %q: accepted encodings are %v", encoding, &c.config.compressions)
	}
	c.in.compression = compression
	c.in.frames.src = c.incoming
	if length > 0 {
		c.in.hint = int(min(length, hintMax))
	}
	return nil
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

// wait waits for the response headers, or for what comes in their place.
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
		return fault(c.ctx, c.ctx.Err(), CodeCanceled)
	}
}

// Receive reads one message. Where there is one message only, the second call
// looks for the end of the response. What ended the response is told again by
// every later call.
func (c *clientConn) Receive(msg any) error {
	return codedEnd(c.receiveNext(msg, false))
}

// receiveNext is Receive with a plain io.EOF at the end. Fresh says that msg has
// nothing in it.
func (c *clientConn) receiveNext(msg any, fresh bool) error {
	c.receiving.Lock()
	defer c.receiving.Unlock()
	if c.received == nil {
		c.received = c.receive(msg, fresh)
		if c.received != nil {
			c.release()
			c.free()
		}
	}
	return c.received
}

func (c *clientConn) receive(msg any, fresh bool) error {
	if err := c.wait(); err != nil {
		return err
	}
	p, err := c.in.next()
	// What arrived after the end of the caller's context counts for nothing, even
	// where the context's timer is late.
	if ended := c.parent.Err(); ended != nil {
		return fault(c.parent, ended, CodeCanceled)
	}
	if expired(c.parent) {
		return fault(c.parent, context.DeadlineExceeded, CodeDeadlineExceeded)
	}
	if err == nil && !p.end && (c.framed || c.reply.status == http.StatusOK) {
		return c.in.unmarshal(p.data, msg, fresh)
	}
	return c.receiveEnd(p, err)
}

// receiveEnd reads the end of the call from wherever its dialect put it. The
// piece is the end frame, or the body of an unframed error.
func (c *clientConn) receiveEnd(p piece, err error) error {
	if trailer, ok := c.succeededDirect(p, err); ok {
		return c.ended(trailer)
	}
	w := wireEnd{
		status:  c.reply.status,
		body:    p.data,
		hasBody: p.end || !c.framed,
		empty:   c.in.count == 0,
		get:     c.get,
	}
	if !p.end { // otherwise all is in the end frame
		trailer := c.trailers()
		w.header, w.trailer = c.responseHeader(), trailer.made()
	}
	if err == errSecondMessage {
		return errorf(CodeUnimplemented, "%s returns one message: the response has more", c.spec.Procedure)
	}
	if err != nil && err != io.EOF {
		if first(w.trailer, headerGRPCStatus) != "" {
			if e := c.decodeEnd(w); e.err != nil {
				return c.serverError(e) // the server's own word beats what the connection says
			}
		}
		if err = notEnd(err); errors.Is(err, io.ErrUnexpectedEOF) {
			return fault(c.ctx, err, CodeInternal)
		}
		return fault(c.ctx, err, CodeUnavailable)
	}
	e := c.decodeEnd(w)
	if p.end && !c.in.frames.atEnd() {
		return errorf(CodeInternal, "protocol error: corrupt response: bytes after the end of the stream")
	}
	if e.err != nil {
		return c.serverError(e)
	}
	return c.ended(fields{header: e.trailer})
}

// ended ends a call that has succeeded.
func (c *clientConn) ended(trailer fields) error {
	c.addTrailer(trailer)
	if c.in.single && c.in.count == 0 {
		return errorf(CodeUnimplemented, "%s returns one message: the response has none", c.spec.Procedure)
	}
	return io.EOF
}

// trailers returns what followed the body, once it was read to its end.
func (c *clientConn) trailers() fields {
	if c.direct {
		return fields{pairs: c.incoming.(directResponse).DirectTrailer()}
	}
	return fields{header: c.reply.response.Trailer}
}

// serverError returns the error that ended the call, with all metadata of the
// response. Once the caller gave up, its own reason is the error: what the server
// says then may be a consequence of it.
func (c *clientConn) serverError(e end) error {
	c.addTrailer(fields{header: e.trailer})
	meta := e.err.Meta()
	addHeader(meta, c.responseHeader())
	if !e.inHeader {
		addHeader(meta, c.trailer.made())
	}
	if gaveUp := c.parent.Err(); gaveUp != nil && e.err.wire {
		e.err = &Error{code: CodeOf(fault(c.parent, gaveUp, CodeCanceled)), cause: e.err, meta: meta}
	}
	return e.err
}

func (c *clientConn) addTrailer(trailer fields) {
	if c.trailer.header == nil {
		c.trailer = trailer
	} else {
		addHeader(c.trailer.header, trailer.made())
	}
}

func (c *clientConn) ResponseHeader() http.Header {
	_ = c.wait()
	return c.responseHeader()
}

// responseHeader is ResponseHeader without waiting.
func (c *clientConn) responseHeader() http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.answered || c.incoming == nil {
		return make(http.Header)
	}
	return c.reply.all()
}

func (c *clientConn) ResponseTrailer() http.Header {
	_ = c.wait()
	return c.trailer.all()
}

// CloseResponse ends the call. If the request is complete it first waits for the
// response headers, no longer than the context: the call was made, and the server
// shall see it.
func (c *clientConn) CloseResponse() error {
	if c.pipe != nil && c.pipe.complete() {
		_ = c.wait()
	}
	c.release()
	if c.receiving.TryLock() { // otherwise the goroutine that receives finds the call ended
		defer c.receiving.Unlock()
		if c.received == nil {
			c.received = errorf(CodeCanceled, "receive: the response is closed")
		}
		c.free()
	}
	return nil
}

// release lets go of the exchange: its connection may be used again if the
// response was read to the end, and is closed or its stream reset otherwise.
func (c *clientConn) release() {
	c.mu.Lock()
	first := !c.released
	c.released = true
	answered := c.answered
	c.mu.Unlock()
	if !first {
		return
	}
	if answered && c.incoming != nil {
		_ = c.incoming.Close()
	}
	if c.pipe != nil {
		_ = c.pipe.Close() // so that Send finds the call ended
	}
	if c.cancel != nil {
		c.cancel()
	}
}

// free gives the receiving half's buffers back.
func (c *clientConn) free() {
	c.mu.Lock()
	answered := c.answered // otherwise roundTrip may still set them up
	c.mu.Unlock()
	if answered {
		c.in.free()
	}
}
