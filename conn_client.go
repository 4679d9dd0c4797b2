// SPDX-License-Identifier: Apache-2.0

// The client's side of a call: what both of its halves share.

package connect

import (
	"context"
	"io"
	"net/http"
	"sync"
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
