// SPDX-License-Identifier: Apache-2.0

// The client's conn: the state that its sending and receiving halves share.

package connect

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// phase is the state of a client's exchange.
//
//	        Send, CloseRequest          Do returned
//	idle ────────────────────────▶ sent ───────────▶ answered
//	 │                              │                   │ end, error,
//	 │ CloseResponse                │ CloseResponse     │ CloseResponse
//	 ▼                              ▼    Do returned    ▼
//	released ◀──────────────── abandoned            released
//
// Send itself sends a request of one message, and waits for the response headers.
// A goroutine sends a stream, which it reads from a pipe; a goroutine also calls an
// HTTPClient that may not return when the context ends. The goroutine that sends
// writes the results of the exchange before phaseAnswered; other goroutines read
// them after it. If the exchange is abandoned, the goroutine that sends closes the
// response when it arrives.
type phase uint8

const (
	phaseIdle      phase = iota // nothing is sent
	phaseSent                   // the transport has the request
	phaseAnswered               // the response headers or an error arrived
	phaseAbandoned              // released before that
	phaseReleased
)

// phaseEvent is an event that changes the phase of an exchange.
type phaseEvent uint8

const (
	eventSend phaseEvent = iota
	eventAnswer
	eventRelease
)

// after returns the phase after an event, which is p if the event changes nothing.
func (p phase) after(e phaseEvent) phase {
	switch {
	case p == phaseIdle && e == eventSend:
		return phaseSent
	case p == phaseSent && e == eventAnswer:
		return phaseAnswered
	case p == phaseSent && e == eventRelease:
		return phaseAbandoned
	case p == phaseAbandoned && e == eventAnswer, p != phaseAbandoned && e == eventRelease:
		return phaseReleased
	}
	return p
}

// over reports whether no goroutine writes the results of the exchange any more.
func (p phase) over() bool { return p == phaseAnswered || p == phaseReleased }

// ended reports whether the exchange is of no use any more.
func (p phase) ended() bool { return p == phaseAbandoned || p == phaseReleased }

// clientConn is the client's side of a call: the StreamingClientConn over one HTTP
// exchange.
type clientConn struct {
	*dialect
	config *config
	spec   *Spec                 // never written
	parent context.Context       // the caller's
	ctx    context.Context       // ends with parent, or with cancel
	cancel context.CancelFunc    // nil for unary calls
	reason atomic.Pointer[Error] // why the call was ended early, see cut
	watch  *watch                // nil unless an option asks for it
	call   *Call                 // nil unless there are call interceptors

	mu         sync.Mutex
	phase      phase
	compressed bool // the message of a unary request
	chosen     bool // the caller has chosen the compression

	// The sending half.
	out     packer
	header  http.Header // of the request, nil until the program asks for it
	asGiven bool        // header has all that is sent, see WithConnectGoBehavior
	pipe    *pipe       // nil unless the client streams

	// The results of the exchange.
	exchange clientExchange // before it is sent, memory for one
	ready    chan struct{}  // closed when the results are there; nil if the caller's goroutine sends
	failed   error          // why there is no response
	reply    wireHead       // of the response
	body     io.ReadCloser  // of the response, nil without one
	stop     func() bool    // stops the function that closes the body when the context ends; may be nil
	*arrived

	// The receiving half.
	receiving sync.Mutex
	in        unpacker
	received  error // the error that ended the half, or the last one: see goesOn
	end       *end  // of a stream, for receiveAgain; nil without connect-go's meaning
	shut      bool  // CloseResponse was called
	resumes   bool  // the next Receive reads on
	prefilled bool  // the trailers came with the response's headers; false without connect-go's meaning
	passed    bool  // the last message was refused, and the body goes on; false without connect-go's meaning
}

// newUnaryConn returns a conn for one unary call.
func newUnaryConn(ctx context.Context, c *config, a *arrived) *clientConn {
	var conn *clientConn
	if transport, ok := c.transport().(directTransport); ok && c.heeds {
		direct := new(struct {
			conn     clientConn
			exchange directExchange
		})
		conn, direct.exchange.transport = &direct.conn, transport
		conn.exchange = &direct.exchange
	} else {
		other := new(struct {
			conn     clientConn
			exchange httpExchange
		})
		conn, other.conn.exchange = &other.conn, &other.exchange
	}
	conn.dialect, conn.config, conn.spec, conn.parent, conn.ctx, conn.arrived = c.dialect, c, &c.spec, ctx, ctx, a
	if !c.heeds {
		conn.ready = make(chan struct{})
	}
	conn.open()
	return conn
}

// newStreamConn returns a conn for one streaming call.
func newStreamConn(ctx context.Context, c *config, spec Spec) *clientConn {
	made := new(struct {
		conn     clientConn
		exchange httpExchange
		arrived  arrived
	})
	conn := &made.conn
	conn.exchange, conn.arrived = &made.exchange, &made.arrived
	conn.dialect, conn.config, conn.spec, conn.parent = c.streams, c, &spec, ctx
	conn.ready = make(chan struct{})
	if deadline, limited := c.times.deadline(ctx); limited {
		conn.parent = &limitedContext{ctx, deadline}
		conn.ctx, conn.cancel = context.WithDeadline(ctx, deadline)
	} else {
		conn.ctx, conn.cancel = context.WithCancel(ctx)
	}
	if c.watches(spec.StreamType) {
		conn.watch = newWatch(c, conn.cutShort)
	}
	if spec.StreamType.clientStreams() {
		conn.pipe = newPipe(conn.ctx)
	}
	conn.open()
	return conn
}

// step changes the phase by an event. It returns the phases before and after.
func (c *clientConn) step(e phaseEvent) (before, after phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before = c.phase
	c.phase = before.after(e)
	return before, c.phase
}

// now returns the phase of the exchange.
func (c *clientConn) now() phase {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase
}

func (c *clientConn) open() {
	if c.config.around != nil {
		c.call, _ = c.parent.Value(clientCallKey{}).(*Call)
	}
	c.out = packer{codec: c.config.codec, framed: c.framed, client: true, asIs: c.config.connectGo, compression: c.config.send, minBytes: c.config.compressMin, limit: c.config.sendMax, last: &c.config.lastSent}
	c.in = unpacker{codec: c.config.codec, framed: c.framed, client: true, asIs: c.config.connectGo, endFlag: c.endFlag, limit: c.config.readMax,
		single: !c.spec.StreamType.serverStreams() && !c.config.connectGo} // receiveOnly counts
	c.in.frames.src = emptyReader{}
}

func (c *clientConn) Spec() Spec { return *c.spec }

func (c *clientConn) Peer() Peer {
	p := c.config.peer
	p.tls = c.serverTLS()
	return p
}

// serverTLS returns the state of the connection's TLS for a Peer: before the response
// headers, and without TLS, what the client's configuration has.
func (c *clientConn) serverTLS() *tls.ConnectionState {
	if c.now().over() && c.reply.tls != nil {
		return c.reply.tls
	}
	return c.config.peer.tls
}

// CloseResponse ends the call. If the stream of requests is complete, it first
// waits for the response headers, until the context ends at the latest: without
// that wait the reset could overtake the request, and the server would not see the
// call. With connect-go's meaning it waits as soon as the request is sent in part.
func (c *clientConn) CloseResponse() error {
	if c.pipe != nil && (c.pipe.complete() || c.config.connectGo && c.now() != phaseIdle) {
		_ = c.wait()
	}
	c.release()
	if c.receiving.TryLock() { // otherwise a goroutine is in Receive, which fails now
		defer c.receiving.Unlock()
		c.shut = true
		if c.received == nil || c.resumes {
			c.received, c.resumes = c.errClosed(), false
			if c.config.connectGo && c.now().over() && c.failed != nil {
				c.received = c.failed // of the exchange
			}
		}
		c.free()
	}
	return nil
}

// errClosed is the error of a receive after CloseResponse.
func (c *clientConn) errClosed() error {
	code := CodeCanceled
	if c.config.connectGo {
		if gaveUp := c.parent.Err(); gaveUp != nil {
			return ofClient(fault(c.parent, gaveUp, CodeCanceled))
		}
		code = CodeInternal
	}
	return errorf(code, "receive: the response is closed: Close or CloseResponse was called before")
}

// release ends the exchange. If the response was read to its end, the transport
// uses the connection again. Otherwise it closes the connection, or resets the
// stream.
func (c *clientConn) release() {
	c.mu.Lock()
	before := c.phase
	after := before.after(eventRelease)
	if before == phaseIdle && c.ready != nil { // nothing was sent: wait must not wait for a response
		c.failed = c.errClosed() // before another goroutine sees that the phase is over
		close(c.ready)
	}
	c.phase = after
	c.mu.Unlock()
	if before == after {
		return
	}
	c.watch.stop()
	if before == phaseAnswered && c.body != nil {
		c.closeBody()
	}
	if c.pipe != nil {
		_ = c.pipe.Close() // so that Send fails
	}
	if c.cancel != nil {
		c.cancel()
	}
}

// closeBody closes the body of the response, unless closeAtEnd's function does.
func (c *clientConn) closeBody() {
	if c.stop == nil || c.stop() {
		_ = c.body.Close()
	}
}

// free frees the receiving half's buffers, unless a goroutine may still prepare
// them.
func (c *clientConn) free() {
	if c.now().over() {
		c.in.free()
	}
}
