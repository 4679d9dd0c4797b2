// SPDX-License-Identifier: Apache-2.0

// The client's side of a call: what both of its halves share.

package connect

import (
	"context"
	"io"
	"net/http"
	"sync"
)

// phase is how far a client's exchange has come.
//
//	        Send, CloseRequest          Do returned
//	idle ────────────────────────▶ sent ───────────▶ answered
//	 │                              │                   │ end, error,
//	 │ CloseResponse                │ CloseResponse     │ CloseResponse
//	 ▼                              ▼    Do returned    ▼
//	released ◀──────────────── abandoned            released
//
// Requests of one message are sent by Send itself, which waits for the response
// headers. Streams are sent by a goroutine of their own, through a pipe, and so
// is what goes through an HTTPClient that might not heed the context. Either way,
// what the exchange found is written before it is answered and read after. One that
// is abandoned closes the response itself as soon as there is one.
type phase uint8

const (
	phaseIdle      phase = iota // nothing is sent
	phaseSent                   // a transport has the request
	phaseAnswered               // there is a response, or a reason why there is none
	phaseAbandoned              // released while it is sent
	phaseReleased
)

// phaseEvent is what moves an exchange from one phase to another.
type phaseEvent uint8

const (
	eventSend phaseEvent = iota
	eventAnswer
	eventRelease
)

// after returns the phase after an event. Where the event means nothing it is the
// same.
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

// over reports whether the exchange does nothing any more.
func (p phase) over() bool { return p == phaseAnswered || p == phaseReleased }

// clientConn is one HTTP exchange, as a client sees it. It is the
// StreamingClientConn of its call.
type clientConn struct {
	*dialect
	config *config
	spec   *Spec              // never written
	parent context.Context    // the caller's
	ctx    context.Context    // ends with it, or with cancel
	cancel context.CancelFunc // nil for unary calls

	mu         sync.Mutex
	phase      phase
	compressed bool // the message of a unary request

	// The sending half.
	out    packer
	header http.Header // of the request, nil until the program asks for it
	pipe   *pipe       // nil unless the client streams

	// What the exchange found.
	exchange clientExchange // before, room for one
	ready    chan struct{}  // nil where no goroutine waits
	failed   error          // instead of a response
	reply    wireHead       // of the response
	body     io.ReadCloser  // of the response, nil without one
	stop     func() bool    // of what closes the body at the context's end, may be nil
	*arrived

	// The receiving half.
	receiving sync.Mutex
	in        unpacker
	received  error // what ended the half
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
	conn.ctx, conn.cancel = context.WithCancel(ctx)
	if spec.StreamType.clientStreams() {
		conn.pipe = newPipe(conn.ctx)
	}
	conn.open()
	return conn
}

// step moves the exchange on. It returns the phases before and after.
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
	c.out = packer{codec: c.config.codec, framed: c.framed, compression: c.config.send, minBytes: c.config.compressMin, limit: c.config.sendMax, last: &c.config.lastSent}
	c.in = unpacker{codec: c.config.codec, framed: c.framed, endFlag: c.endFlag, limit: c.config.readMax,
		blame: CodeInternal, single: !c.spec.StreamType.serverStreams()}
	c.in.frames.src = emptyReader{}
}

func (c *clientConn) Spec() Spec { return *c.spec }

func (c *clientConn) Peer() Peer { return c.config.peer }

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
	before, after := c.step(eventRelease)
	if before == after {
		return
	}
	if before == phaseAnswered && c.body != nil {
		c.closeBody()
	}
	if c.pipe != nil {
		_ = c.pipe.Close() // so that Send finds the call ended
	}
	if c.cancel != nil {
		c.cancel()
	}
}

// closeBody closes the body of the response, unless the context's end does.
func (c *clientConn) closeBody() {
	if c.stop == nil || c.stop() {
		_ = c.body.Close()
	}
}

// free gives the receiving half's buffers back, unless the exchange may still set
// them up.
func (c *clientConn) free() {
	if c.now().over() {
		c.in.free()
	}
}
