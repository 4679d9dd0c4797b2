// SPDX-License-Identifier: Apache-2.0

// The handler's conn: the state that its receiving and sending halves share.

package connect

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// drainedMax is how many bytes of a body that a handler has left net/http reads,
	// to keep an HTTP/1.1 connection.
	drainedMax = 256 << 10
	// readGrace and writeGrace are the times after the deadline at which blocked
	// reads and writes end. A read ends after the context, so that its error is the
	// context's. A write ends later, so that the handler can still send the error.
	readGrace  = 100 * time.Millisecond
	writeGrace = 2 * time.Second
	// lengthKnown is the size from which net/http does not set the Content-Length of
	// a response itself.
	lengthKnown = 2 << 10
)

// handlerConn is the handler's side of a call: the StreamingHandlerConn over one
// HTTP exchange, and the CallInfo of the call's context.
//
// Its halves may run concurrently, each under its own lock. In a correct program no
// goroutine waits for these locks. If a goroutine uses the conn after the handler
// has returned, they keep it from the buffers and the ResponseWriter of other calls.
type handlerConn struct {
	*route
	config   *config
	request  inbound
	exchange handlerExchange // writes the response; never another one, as cutShort uses it, too
	ctx      handlerContext
	limit    *timeLimit // nil unless the call has a time
	early    early
	call     *Call // nil unless there are call interceptors

	receiving sync.Mutex
	in        unpacker
	received  error // the error that ended the receiving half
	over      bool  // closeRequest was called

	sending       sync.Mutex
	out           packer
	trailer       http.Header // nil until the handler asks for it
	headersThen   int32       // how many headers there were when the call began
	given         http.Header // those of them that describe the body; nil if there are none
	added         http.Header // by the handler, see anyHeader; nil until it asks for it
	outbox        *outbox     // nil until a message does not answer one that was received
	answers       atomic.Bool // the handler has called Receive since its last Send
	namesEncoding bool        // the response headers name the messages' compression
	namesAccept   bool        // the response headers list the compressions for requests
	unknown       bool        // the request's compression is unknown
	touched       bool        // the handler has added headers, also such as middleware has set; false without connect-go's meaning
	measured      bool        // the handler has declared the length of a stream; false without connect-go's meaning
	headSet       bool        // the response headers have those of the library, see anyHeader
	own           bool        // the ResponseWriter is net/http's or the engine's, not middleware's
	asked         bool        // the exchange's Header may have fields; in a direct call, once the program has asked for it
	began         bool        // the response headers are written
	broken        bool        // the ResponseWriter has refused a message
	closed        bool        // the handler returned
}

// handlerContext is the context of a handler's call. It is a part of the conn, and
// so needs no allocation.
type handlerContext struct {
	context.Context
	conn *handlerConn
}

func (c *handlerContext) Value(key any) any {
	if key == (handlerInfoKey{}) || key == (handlerCallKey{}) {
		return CallInfo(c.conn)
	}
	return c.Context.Value(key)
}

// AfterFunc runs f when the context ends. Package context calls it for contexts that
// handlers derive, and needs no goroutine to watch this one if that inside of it needs
// none, as those of package h2.
func (c *handlerContext) AfterFunc(f func()) (stop func() bool) {
	if inside, ok := c.Context.(interface{ AfterFunc(func()) func() bool }); ok {
		return inside.AfterFunc(f)
	}
	return context.AfterFunc(c.Context, f)
}

// open reads the head of the request and chooses the compression of the response.
// It returns the call's context, also with an error.
func (c *handlerConn) open() (context.Context, error) {
	c.in = unpacker{codec: c.codec, framed: c.framed, asIs: c.config.connectGo, endFlag: c.endFlag, limit: c.config.readMax,
		single: !c.config.spec.StreamType.clientStreams() && !c.config.connectGo} // receiveOnly counts
	c.in.frames.src = c.request.body
	c.out = packer{codec: c.codec, framed: c.framed, asIs: c.config.connectGo, minBytes: c.config.compressMin, limit: c.config.sendMax, last: &c.config.lastSent}

	c.namesAccept = c.config.connectGo
	hd, refused := c.openRequest(&c.request.wireHead)
	if late, ok := refused.(unreadableBody); ok {
		c.in.frames.src, refused = late, nil
	}
	if refused == nil && c.config.requireVersion && !c.hasVersion(&c.request.wireHead) {
		refused = errorf(CodeInvalidArgument, "missing header %s: expected %q", headerConnectVersion, protocolVersion)
	}
	if refused != nil && !c.config.connectGo { // connect-go looks at the compressions first
		return &c.ctx, refused
	}
	if timeout, timed := c.config.times.limit(hd.timeout, hd.timed); timed {
		c.limitTime(timeout)
	}
	encoding := ""
	if len(hd.encoding) > 0 {
		encoding = hd.encoding[0]
	}
	used, known := c.config.compressions.received(encoding)
	if used != nil || !known { // only a client that compresses needs the list
		c.namesAccept = true
	}
	if c.unknown = !known; c.unknown {
		return &c.ctx, errorf(CodeUnimplemented, "unknown compression %q: supported encodings are %v", encoding, &c.config.compressions)
	}
	c.in.compression = used
	if c.config.connectGo {
		c.out.compression = c.config.compressions.chooseFirst(hd.accept, used)
	} else {
		c.out.compression = c.config.compressions.choose(hd.accept, used)
	}
	c.namesEncoding = c.framed && c.out.compression != nil // an unframed answer names it only if it is compressed
	if hd.message != nil {
		c.in.frames.src = &buffer{data: hd.message}
	} else if n := c.request.length; n > 0 {
		c.in.hint = int(min(n, hintMax))
	}
	if c.config.spec.StreamType.serverStreams() && !c.flushes() {
		return &c.ctx, errorf(CodeInternal, "%T does not implement http.Flusher and no Unwrap leads to one that does: "+
			"no stream passes http.TimeoutHandler or other middleware whose ResponseWriter cannot flush: take it from around %s", c.exchange.Unwrap(), c.config.spec.Procedure)
	}
	if refused != nil {
		return &c.ctx, refused
	}
	if c.duplex() {
		// Lets net/http send an early answer before it has read the rest of the
		// request. A ResponseWriter without full duplex sends it after that.
		_ = http.NewResponseController(c.exchange).EnableFullDuplex()
	}
	c.openWatch()
	return &c.ctx, nil
}

// limitTime ends the call's context, and reads and writes that wait for the client,
// after a timeout. Reads and writes do not depend on the context: when the time is
// over, limitTime sets net/http's deadlines to a time in the past. It does not set
// them before, so the deadlines of the server and of its middleware stay in force,
// and a client can only shorten them. A ResponseWriter without deadlines does not
// change.
func (c *handlerConn) limitTime(timeout time.Duration) {
	limit := &timeLimit{rc: http.NewResponseController(c.exchange)}
	limit.deadline = time.Now().Add(timeout)
	c.ctx.Context, limit.cancel = context.WithDeadline(c.ctx.Context, limit.deadline)
	limit.over = c.ctx.Context.Done()
	limit.mu.Lock()
	limit.timer = time.AfterFunc(timeout+readGrace, limit.pass)
	limit.mu.Unlock()
	c.limit = limit
}

// timeLimit ends the reads and writes of a call after its deadline.
type timeLimit struct {
	deadline time.Time
	cancel   context.CancelFunc // of the call's context
	over     <-chan struct{}    // closed when that has ended
	rc       *http.ResponseController

	mu     sync.Mutex  // held while rc is used: not after the handler has returned
	timer  *time.Timer // first for reads, then for writes
	reads  bool        // pass has ended the reads
	closed bool        // the handler has returned
}

// pass ends the reads at the first call, and the writes at the second. It waits for
// the end of the context first, because on a busy machine both timers may fire
// together: net/http cancels the request's context when a read fails, and the call
// would end with CodeCanceled.
func (l *timeLimit) pass() {
	<-l.over
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

// end stops the timer and ends the call's context. A nil timeLimit has none.
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

func (c *handlerConn) Spec() Spec { return c.config.spec }

func (c *handlerConn) Peer() Peer {
	p := Peer{Addr: c.request.remote, Protocol: c.name, Query: c.request.query, tls: c.request.tls}
	switch {
	case !c.config.connectGo:
	case c.name != ProtocolConnect:
		p.Query = nil
	case p.Query == nil:
		p.Query = make(url.Values)
	}
	p.addConn(c.ctx.Context)
	return p
}

func (c *handlerConn) HTTPMethod() string { return c.method }

func (c *handlerConn) internalOnly() {}

// Close ends the call with the handler's error, and frees the buffers. A second
// Close does nothing.
func (c *handlerConn) Close(err error) {
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	defer c.limit.end()
	defer c.early.end()
	c.closeOutbox()
	bare := !c.began && c.untouched()
	c.closeRequest()
	if !c.began || c.framed { // otherwise Send has written the end, before the message
		var e *Error
		if err != nil {
			e = faultOf(err) // itself, from serveConn
		}
		c.finish(e, bare)
	}
}

// abandon closes the conn of a handler that panics: it writes no end of the call.
func (c *handlerConn) abandon() {
	if c.closed { // this goroutine has called Close
		return
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	c.closed = true
	defer c.limit.end()
	defer c.early.end()
	if c.config.connectGo && !c.began && !c.headSet { // for middleware
		c.writeHead(headerWriter(c.exchange.Header()), c.answer())
	}
	if c.outbox != nil {
		c.closeOutbox()
		_ = http.NewResponseController(c.exchange).Flush() // the client gets what was sent before the panic
	}
}
