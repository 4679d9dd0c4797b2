// SPDX-License-Identifier: Apache-2.0

// The server's side of a call: everything that reads the request and writes the
// response.

package connect

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// What net/http reads of a body that its handler left, to keep an HTTP/1.1
	// connection.
	drainedMax = 256 << 10
	// How long after the deadline a blocked read and write end. A read ends
	// later than the context, so that the deadline is seen as what ended it; a
	// write leaves time to tell the client.
	readGrace  = 100 * time.Millisecond
	writeGrace = 2 * time.Second
	// The size from which on net/http does not find out an answer's length by
	// itself.
	lengthKnown = 2 << 10
)

// handlerConn is one HTTP exchange, as a handler sees it. It is the
// StreamingHandlerConn of its call and the CallInfo of its context.
//
// Its halves may run concurrently, each under its own lock. The locks are never
// contended by correct programs: they keep a goroutine that the handler left
// behind from the buffers and the ResponseWriter of other calls.
type handlerConn struct {
	*route
	config  *config
	w       http.ResponseWriter
	direct  directCall // w, if it is one
	request inbound
	remote  string     // address of the client
	query   url.Values // of the URL, nil if there is none
	host    [1]string  // the Host header's value
	ctx     handlerContext
	cancel  context.CancelFunc // nil unless the client set a timeout

	asking sync.Mutex // held while the headers of a direct call's request are made

	writeLimited bool // the connection or stream has a write deadline from this call

	receiving sync.Mutex
	in        unpacker
	received  error // what ended the reading half

	sending       sync.Mutex
	out           packer
	trailer       http.Header // nil until someone asks for it
	headersThen   int         // how many headers there were when the call began
	outbox        *outbox     // nil until messages follow each other closely
	turned        atomic.Bool // the handler has received since it sent last
	tellsEncoding bool        // the response headers name the messages' compression
	tellsAccept   bool        // and those that the client may use
	wanted        bool        // the response headers of a direct call were asked for
	began         bool        // the response headers are written
	closed        bool        // the handler returned
}

// inbound is a request as a conn sees it.
type inbound struct {
	wireHead
	method string
	proto  int // the major version of HTTP
	body   io.Reader
	length int64 // of the body, negative if unknown
}

// setRequest takes what the conn needs of an [http.Request].
func (c *handlerConn) setRequest(r *http.Request) {
	c.request = inbound{requestHead(r), r.Method, r.ProtoMajor, r.Body, r.ContentLength}
	c.ctx = handlerContext{r.Context(), c}
	c.remote = r.RemoteAddr
	if r.URL.RawQuery != "" {
		c.query = r.URL.Query()
	}
	c.headersThen = len(c.w.Header())
	if r.Header[headerHost] == nil {
		c.host[0] = r.Host // net/http keeps it apart
		r.Header[headerHost] = c.host[:]
	}
}

// handlerContext is the context of a handler's call. It is a part of the conn, so
// that it costs no allocation.
type handlerContext struct {
	context.Context
	conn *handlerConn
}

func (c *handlerContext) Value(key any) any {
	if key == (handlerInfoKey{}) {
		return CallInfo(c.conn)
	}
	return c.Context.Value(key)
}

// open reads the head of the request and decides on that of the response. The
// context that it returns is the call's, also with an error.
func (c *handlerConn) open() (context.Context, error) {
	c.in = unpacker{codec: c.codec, framed: c.framed, endFlag: c.endFlag, limit: c.config.readMax,
		blame: CodeInvalidArgument, single: !c.config.spec.StreamType.clientStreams()}
	c.in.frames.src = c.request.body
	c.out = packer{codec: c.codec, framed: c.framed, minBytes: c.config.compressMin, limit: c.config.sendMax, last: &c.config.lastSent}

	hd, err := c.openRequest(&c.request.wireHead)
	if err != nil {
		return &c.ctx, err
	}
	if hd.timed {
		c.limitTime(hd.timeout)
	}
	if c.config.requireVersion && !c.framed && !c.request.hasVersion(c.request.method) {
		return &c.ctx, errorf(CodeInvalidArgument, "missing header %s: expected %q", headerConnectVersion, protocolVersion)
	}
	encoding := ""
	if len(hd.encoding) > 0 {
		encoding = hd.encoding[0]
	}
	used, known := c.config.compressions.get(encoding)
	if used != nil || !known { // the client wants to know; to others the header is a cost
		c.tellsAccept = true
	}
	if !known {
		return &c.ctx, errorf(CodeUnimplemented, "unknown compression %q: supported encodings are %v", encoding, &c.config.compressions)
	}
	c.in.compression = used
	c.out.compression = c.config.compressions.choose(hd.accept, used)
	c.tellsEncoding = c.framed && c.out.compression != nil // an unframed answer tells when it is compressed
	if c.request.method == http.MethodGet {
		c.in.frames.src = &buffer{data: hd.message}
	} else if n := c.request.length; n > 0 {
		c.in.hint = int(min(n, hintMax))
	}
	if c.config.spec.StreamType.serverStreams() && !canFlush(c.w) {
		return &c.ctx, errorf(CodeInternal, "%T does not implement http.Flusher and no Unwrap leads to one that does", c.w)
	}
	if c.config.spec.StreamType.clientStreams() && c.request.proto == 1 {
		// So that an early answer need not wait for the rest of the request. Where
		// it is not supported, it waits.
		_ = http.NewResponseController(c.w).EnableFullDuplex()
	}
	return &c.ctx, nil
}

// limitTime ends the call's context, and whatever waits for the client, after a
// timeout. The waits for the network cannot see the context, so net/http gets the
// deadline, unless the server has timeouts of its own: a client must not extend
// these. A ResponseWriter without deadlines is left as it is.
func (c *handlerConn) limitTime(timeout time.Duration) {
	deadline := time.Now().Add(timeout)
	c.ctx.Context, c.cancel = context.WithDeadline(c.ctx.Context, deadline)
	rc := http.NewResponseController(c.w)
	server, ok := c.ctx.Value(http.ServerContextKey).(*http.Server)
	if !ok || server.ReadTimeout == 0 {
		_ = rc.SetReadDeadline(deadline.Add(readGrace)) // net/http sets it anew for each request on a connection
	}
	if !ok || server.WriteTimeout == 0 {
		c.writeLimited = rc.SetWriteDeadline(deadline.Add(writeGrace)) == nil
	}
}

// unlimitTime is the inverse of limitTime.
func (c *handlerConn) unlimitTime() {
	if c.cancel != nil {
		c.cancel()
	}
	if c.writeLimited {
		_ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{})
	}
}

// hasVersion reports whether a unary request tells its protocol version.
func (w wireHead) hasVersion(method string) bool {
	if method == http.MethodGet {
		return w.url.Query().Get(queryVersion) != ""
	}
	return w.first(headerConnectVersion) != ""
}

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

// serveUnary calls with the request that was received, and sends the response.
func (c *handlerConn) serveUnary(ctx context.Context, request AnyRequest, call UnaryFunc) error {
	if err := ctx.Err(); err != nil {
		return fault(ctx, err, CodeCanceled)
	}
	state := request.state()
	state.spec, state.peer = &c.config.spec, c.Peer()
	state.method = c.request.method
	state.received(c)
	response, err := call(ctx, request)
	if err != nil {
		return err
	}
	if response == nil {
		return errNoResponse(c.config.spec.Procedure)
	}
	header, trailer := response.metadata()
	if len(header) > 0 {
		addMetadata(c.ResponseHeader(), header)
	}
	if len(trailer) > 0 {
		addMetadata(c.ResponseTrailer(), trailer)
	}
	return c.Send(response.Any())
}

func (c *handlerConn) Spec() Spec         { return c.config.spec }
func (c *handlerConn) Peer() Peer         { return Peer{c.remote, c.name, c.query} }
func (c *handlerConn) HTTPMethod() string { return c.request.method }
func (c *handlerConn) internalOnly()      {}

func (c *handlerConn) RequestHeader() http.Header {
	if c.direct == nil {
		return c.request.header
	}
	c.asking.Lock()
	defer c.asking.Unlock()
	if c.request.header == nil {
		c.request.all()[headerHost] = c.host[:]
	}
	return c.request.header
}

func (c *handlerConn) ResponseHeader() http.Header {
	if c.direct != nil {
		c.wanted = true
	}
	return c.w.Header()
}

// untouched reports whether the response headers are as they were when the call
// began.
func (c *handlerConn) untouched() bool {
	if c.direct != nil && !c.wanted {
		return true
	}
	return len(c.w.Header()) == c.headersThen
}

func (c *handlerConn) ResponseTrailer() http.Header {
	if c.trailer == nil {
		c.trailer = make(http.Header)
	}
	return c.trailer
}

// Receive reads one message. Where the procedure takes one message only, the
// second call looks for the end of the request, and neither reads nor decodes
// what may be there instead. What ended the request is told again by every later
// call.
func (c *handlerConn) Receive(msg any) error {
	return codedEnd(c.receiveNext(msg, false))
}

// receiveNext is Receive with a plain io.EOF at the end. Fresh says that msg has
// nothing in it.
func (c *handlerConn) receiveNext(msg any, fresh bool) error {
	c.turned.Store(true)
	c.receiving.Lock()
	defer c.receiving.Unlock()
	if c.received == nil {
		c.received = c.receive(msg, fresh)
	}
	return c.received
}

// codedEnd gives the end of a stream a code: anew each time, as the caller may
// change the error.
func codedEnd(err error) error {
	if err == io.EOF {
		return NewError(CodeUnknown, io.EOF)
	}
	return err
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
		return readFault(&c.ctx, err, c.request.proto)
	case p.end && c.name == ProtocolConnect:
		return errorf(CodeInvalidArgument, "protocol error: a request has no end-of-stream message")
	case p.end:
		return errorf(CodeInternal, "protocol error: invalid envelope flags: a request has no trailers")
	}
	return c.in.unmarshal(p.data, msg, fresh)
}

// Send writes one message, with the response headers before the first one. A nil
// message writes the headers alone.
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
		c.tellsEncoding = compressed
	}
	first := !c.began
	c.begin(before)
	if !c.framed && len(b.data) >= lengthKnown {
		length := strconv.Itoa(len(b.data))
		if c.direct != nil {
			c.direct.DirectField(headerContentLength, length)
		} else {
			c.w.Header()[headerContentLength] = []string{length}
		}
	}
	if c.config.spec.StreamType.serverStreams() && !c.alone(first) {
		err = c.gather(b.data)
	} else if _, err = c.w.Write(b.data); err == nil {
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
// answers what was received. The first one always goes alone, so that nobody but
// the handler's goroutine reads the response headers.
func (c *handlerConn) alone(first bool) bool {
	turned := c.turned.Swap(false)
	return first || turned && (c.outbox == nil || c.outbox.quiet())
}

// gather sends a message together with what else waits.
func (c *handlerConn) gather(frame []byte) error {
	if c.outbox == nil {
		c.outbox = newOutbox(c.w)
	}
	if len(frame) <= outboxMax {
		return c.outbox.add(frame)
	}
	if err := c.outbox.settle(); err != nil { // rather than copy
		return err
	}
	if _, err := c.w.Write(frame); err != nil {
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
	return http.NewResponseController(c.w).Flush()
}

// answer returns what the response headers tell of the messages.
func (c *handlerConn) answer() head {
	hd := head{contentType: c.contentType}
	if c.tellsEncoding {
		hd.encoding = c.out.compression.value
	}
	if c.tellsAccept {
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
	if c.direct != nil && w.status == 0 && len(w.header) == 0 && c.untouched() {
		c.beginDirect()
		return
	}
	h := c.w.Header()
	if len(h) > c.headersThen {
		maps.DeleteFunc(h, func(key string, _ []string) bool { return describesMessages(key) })
	}
	c.writeHead(h, c.answer())
	if c.dialect == dialectGRPC && c.request.proto == 1 {
		h[headerTrailer] = valueStatus // net/http sends trailers over HTTP/1.1 only if it hears of them before the body
	}
	for key, values := range w.header {
		if protocolOwns(key) {
			h[key] = values
		} else {
			h[key] = append(h[key], values...)
		}
	}
	if w.status != 0 {
		c.w.WriteHeader(w.status)
	}
}

// close ends the call with what the handler returned, and gives everything back.
func (c *handlerConn) close(err error) {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.closed = true
	defer c.unlimitTime()
	c.closeOutbox()
	bare := !c.began && c.untouched()
	c.closeRequest()
	if !c.began || c.framed { // otherwise the end went before the message
		c.finish(err, bare)
	}
}

// abandon is close without an end, for handlers that panic.
func (c *handlerConn) abandon() {
	if c.closed { // by this goroutine
		return
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	c.closed = true
	c.closeOutbox()
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
	if !c.framed {
		c.tellsEncoding = false // errors are not compressed
	}
	c.begin(w)
	c.writeEnd(w)
}

// writeEnd writes what follows the headers. An error means that the client is
// gone: nobody is left to be told.
func (c *handlerConn) writeEnd(w wireEnd) {
	switch {
	case w.hasBody && c.framed:
		frame := append(make([]byte, prefixSize, prefixSize+len(w.body)), w.body...)
		putPrefix(frame, c.endFlag)
		_, _ = c.w.Write(frame)
	case w.hasBody:
		_, _ = c.w.Write(w.body)
	}
	switch {
	case len(w.trailer) == 0:
	case c.direct != nil:
		for key, values := range w.trailer {
			for _, value := range values {
				c.direct.DirectTrailer(key, value)
			}
		}
	default:
		h := c.w.Header()
		for key, values := range w.trailer {
			h[trailerKey(key)] = values
		}
	}
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
	if length := c.request.length; !ended && !c.began && c.request.proto == 1 && (length < 0 || length > drainedMax) {
		c.w.Header()[headerConnection] = []string{"close"}
	}
}

// outcome returns the error to tell the client, nil for none.
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
	e, _ := asError(fault(context.Background(), err, CodeUnknown))
	if c.config.safeErrors {
		return &Error{code: e.code}
	}
	return e
}

// size returns the bytes in which an end tells of an error.
func (w wireEnd) size() int {
	size := len(w.body)
	for _, h := range []http.Header{w.header, w.trailer} {
		size += len(first(h, headerGRPCMessage)) + len(first(h, headerGRPCDetails))
	}
	return size
}

// receivingConn is the receiving half of a conn.
type receivingConn interface {
	Spec() Spec
	Receive(msg any) error
}

// ownConn is a conn of this package, without interceptors around it.
type ownConn interface {
	receiveNext(msg any, fresh bool) error
}

// receiveInto receives into a message that has nothing in it.
func receiveInto(conn receivingConn, msg any, initialize func(Spec, any) error) error {
	if initialize != nil {
		if err := initialize(conn.Spec(), msg); err != nil {
			return err
		}
	} else if own, ok := conn.(ownConn); ok {
		return codedEnd(own.receiveNext(msg, true))
	}
	return conn.Receive(msg)
}

// receiveOnly is receiveInto for the one message of its direction, with its end.
func receiveOnly(conn receivingConn, msg any, initialize func(Spec, any) error) error {
	if err := receiveInto(conn, msg, initialize); err != nil {
		return err
	}
	if own, ok := conn.(ownConn); ok {
		return unlessEOF(own.receiveNext(msg, false))
	}
	return unlessEOF(conn.Receive(msg))
}
