// SPDX-License-Identifier: Apache-2.0

// The server's side of a call: what both of its halves share.

package connect

import (
	"context"
	"net/http"
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
	// write leaves time to send the error.
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
	config   *config
	request  inbound
	exchange handlerExchange // writes the response
	ctx      handlerContext
	limit    *timeLimit // nil unless the client set a timeout

	receiving sync.Mutex
	in        unpacker
	received  error // what ended the reading half

	sending       sync.Mutex
	out           packer
	trailer       http.Header // nil until the handler asks for it
	headersThen   int32       // how many headers there were when the call began
	given         http.Header // those of them that describe the body; nil if there are none
	outbox        *outbox     // nil until messages follow each other closely
	answers       atomic.Bool // the handler has received since it sent last: it answers
	namesEncoding bool        // the response headers name the messages' compression
	namesAccept   bool        // and those that the client may use
	own           bool        // the ResponseWriter is net/http's or the engine's: no middleware is around it
	asked         bool        // the response has a header: that of a direct call once the program has asked for it
	began         bool        // the response headers are written
	closed        bool        // the handler returned
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
	if c.config.requireVersion && !c.hasVersion(&c.request.wireHead) {
		return &c.ctx, errorf(CodeInvalidArgument, "missing header %s: expected %q", headerConnectVersion, protocolVersion)
	}
	encoding := ""
	if len(hd.encoding) > 0 {
		encoding = hd.encoding[0]
	}
	used, known := c.config.compressions.received(encoding)
	if used != nil || !known { // the client has a use for it; to others the header is a cost
		c.namesAccept = true
	}
	if !known {
		return &c.ctx, errorf(CodeUnimplemented, "unknown compression %q: supported encodings are %v", encoding, &c.config.compressions)
	}
	c.in.compression = used
	c.out.compression = c.config.compressions.choose(hd.accept, used)
	c.namesEncoding = c.framed && c.out.compression != nil // an unframed answer names it only if it is compressed
	if hd.message != nil {
		c.in.frames.src = &buffer{data: hd.message}
	} else if n := c.request.length; n > 0 {
		c.in.hint = int(min(n, hintMax))
	}
	if c.config.spec.StreamType.serverStreams() && !canFlush(c.exchange) {
		return &c.ctx, errorf(CodeInternal, "%T does not implement http.Flusher and no Unwrap leads to one that does", c.exchange.Unwrap())
	}
	if c.config.spec.StreamType.clientStreams() && c.request.proto == 1 {
		// So that an early answer need not wait for the rest of the request. Where
		// it is not supported, it waits.
		_ = http.NewResponseController(c.exchange).EnableFullDuplex()
	}
	return &c.ctx, nil
}

// limitTime ends the call's context, and whatever waits for the client, after a
// timeout. The waits for the network cannot see the context: when the time is over
// net/http gets a deadline that has passed. Until then the deadlines of the server and
// of its middleware are in force: a client can only shorten them. A ResponseWriter
// without deadlines is left as it is.
func (c *handlerConn) limitTime(timeout time.Duration) {
	limit := &timeLimit{rc: http.NewResponseController(c.exchange)}
	limit.deadline = time.Now().Add(timeout)
	c.ctx.Context, limit.cancel = context.WithDeadline(c.ctx.Context, limit.deadline)
	limit.mu.Lock()
	limit.timer = time.AfterFunc(timeout+readGrace, limit.pass)
	limit.mu.Unlock()
	c.limit = limit
}

// timeLimit is what is left to do when the time of a call is over.
type timeLimit struct {
	deadline time.Time
	cancel   context.CancelFunc // of the call's context
	rc       *http.ResponseController

	mu     sync.Mutex  // held while rc is used, which must not be after the handler returned
	timer  *time.Timer // first for reads, then for writes
	reads  bool        // those have ended
	closed bool        // the handler has returned
}

// pass ends the reads, or, later, the writes.
func (l *timeLimit) pass() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
	case !l.reads:
		l.reads = true
		_ = l.rc.SetReadDeadline(l.deadline)
		l.timer.Reset(time.Until(l.deadline.Add(writeGrace)))
	default:
		_ = l.rc.SetWriteDeadline(l.deadline)
	}
}

// end is the inverse of limitTime.
func (l *timeLimit) end() {
	if l == nil {
		return
	}
	l.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.timer.Stop()
}

// serveUnary calls with the request that was received, and sends the response.
func (c *handlerConn) serveUnary(ctx context.Context, request AnyRequest, call UnaryFunc, look func(AnyResponse) (content, error)) error {
	if err := ctx.Err(); err != nil {
		return fault(ctx, err, CodeCanceled)
	}
	state := request.state()
	state.spec, state.peer = &c.config.spec, c.Peer()
	state.method = c.method
	state.receive(c)
	response, err := call(ctx, request)
	if err != nil {
		return err
	}
	found, err := look(response)
	if err != nil {
		return err
	}
	if len(found.header) > 0 {
		addMetadata(c.ResponseHeader(), found.header)
	}
	if len(found.trailer) > 0 {
		addMetadata(c.ResponseTrailer(), found.trailer)
	}
	return c.Send(found.msg)
}

func (c *handlerConn) Spec() Spec { return c.config.spec }

func (c *handlerConn) Peer() Peer { return Peer{c.request.remote, c.name, c.request.query} }

func (c *handlerConn) HTTPMethod() string { return c.method }

func (c *handlerConn) internalOnly() {}

// close ends the call with what the handler returned, and gives everything back.
func (c *handlerConn) close(err error) {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.closed = true
	defer c.limit.end()
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
	defer c.limit.end()
	c.closeOutbox()
}
