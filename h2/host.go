// SPDX-License-Identifier: Apache-2.0

// The connections to one host: which of them takes the next call, and when
// another is opened.

package h2

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptrace"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	dialTimeout = 30 * time.Second
	backoffMin  = 50 * time.Millisecond
	backoffMax  = 5 * time.Second
)

// A host is the pool of connections to one address.
type host struct {
	t       *Transport
	secure  bool
	address string // host:port

	mu      sync.Mutex
	conns   []*clientConn
	waiters atomic.Int32  // calls that found no place; counted before they look again
	changed chan struct{} // closed when something a waiter waits for has happened

	dialing  bool
	cancel   context.CancelFunc // of the dial under way
	failed   error              // why the last dial failed
	failures int                // dials that failed one after another
	retryAt  time.Time
	rounds   uint64 // dials that have ended
	stopped  bool
}

// get returns a connection with a place for the call reserved. It waits for one to
// be opened, or for a place, until ctx is done.
func (h *host) get(ctx context.Context, trace *httptrace.ClientTrace) (*clientConn, error) {
	if trace != nil && trace.GetConn != nil && h.t.standard == nil {
		trace.GetConn(h.address)
	}
	h.mu.Lock()
	var c *clientConn
	if !h.stopped {
		if c = h.pick(); c != nil {
			h.mu.Unlock()
			return c, nil
		}
	}
	h.waiters.Add(1)
	defer h.waiters.Add(-1)
	round, waited := h.rounds, false
	for {
		if c = nil; !h.stopped {
			c = h.pick()
		}
		switch {
		case h.stopped:
			h.mu.Unlock()
			return nil, errTransportClosed
		case c != nil:
			h.mu.Unlock()
			return c, nil
		case h.t.standard != nil && !h.strict():
			h.mu.Unlock()
			return nil, errNoConn
		case h.failed != nil && (waited && h.rounds != round || time.Now().Before(h.retryAt)):
			err := h.failed
			h.mu.Unlock()
			return nil, err
		}
		if h.t.standard == nil && h.mayDial(true) {
			h.dial(ctx)
		}
		changed := h.changed
		h.mu.Unlock()
		var err error
		select {
		case <-changed:
			waited = true
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
		h.mu.Lock()
	}
}

// strict reports whether a full connection is to be waited for. With mu held.
func (h *host) strict() bool {
	standard := h.t.config.HTTP2
	return standard != nil && standard.StrictMaxConcurrentRequests && len(h.conns) > 0
}

// pick reserves a place on the connection with the fewest calls. With mu held.
func (h *host) pick() *clientConn {
	var best *clientConn
	load := 0
	for _, c := range h.conns {
		n, free := c.load()
		if free && (best == nil || n < load) {
			best, load = c, n
		}
	}
	if best == nil {
		return nil
	}
	best.active.Add(1)
	if load >= crowded && h.t.standard == nil && h.mayDial(false) {
		h.dial(context.Background()) // the next calls will have it
	}
	return best
}

// mayDial reports whether another connection may be opened; needed says that no
// other has room. With mu held.
func (h *host) mayDial(needed bool) bool {
	most := h.t.config.MaxConnsPerHost
	if most == 0 && !needed {
		most = runtime.GOMAXPROCS(0)
	}
	switch {
	case h.dialing || h.stopped:
		return false
	case most > 0 && len(h.conns) >= most:
		return false
	}
	return needed || time.Now().After(h.retryAt)
}

// dial opens a connection in the background: calls that wait for it may come and
// go. With mu held.
func (h *host) dial(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
	h.dialing, h.cancel = true, cancel
	go func() {
		defer cancel()
		nc, err := h.connect(ctx)
		h.mu.Lock()
		h.dialing = false
		h.rounds++
		if err != nil {
			h.failed = fmt.Errorf("h2: connecting to %s: %w", h.address, err)
			wait := min(backoffMin<<min(h.failures, 10), backoffMax)
			h.failures++
			h.retryAt = time.Now().Add(wait/2 + rand.N(wait/2+1))
			h.notify()
			h.mu.Unlock()
			return
		}
		h.failed, h.failures, h.retryAt = nil, 0, time.Time{}
		stopped := h.stopped
		h.mu.Unlock()
		if stopped {
			_ = nc.Close()
			return
		}
		h.add(h.t.newClientConn(h, nc))
	}()
}

// connect dials, and shakes hands where there is TLS.
func (h *host) connect(ctx context.Context) (net.Conn, error) {
	nc, err := h.t.config.DialContext(ctx, "tcp", h.address)
	if err != nil || !h.secure {
		return nc, err
	}
	config := new(tls.Config)
	if c := h.t.config.TLSClientConfig; c != nil {
		config = c.Clone()
	}
	config.NextProtos = []string{nextProtoTLS}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(h.address)
	}
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	secure := tls.Client(nc, config)
	err = secure.HandshakeContext(ctx)
	state := secure.ConnectionState()
	if trace != nil && trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(state, err)
	}
	if err == nil && state.NegotiatedProtocol != nextProtoTLS {
		err = fmt.Errorf("the server does not speak HTTP/2: it negotiated %q", state.NegotiatedProtocol)
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return secure, nil
}

// add puts a new connection into the pool.
func (h *host) add(c *clientConn) {
	h.t.opened()
	h.mu.Lock()
	h.conns = append(h.conns, c)
	stopped := h.stopped
	h.notify()
	h.mu.Unlock()
	c.begin()
	if stopped {
		c.retire()
	}
}

// remove takes a connection out: it takes no more calls.
func (h *host) remove(c *clientConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = slices.DeleteFunc(h.conns, func(other *clientConn) bool { return other == c })
	h.notify()
}

// freed tells those who wait that there may be a place.
func (h *host) freed() {
	if h.waiters.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notify()
}

// notify wakes those who wait. With mu held.
func (h *host) notify() {
	if h.waiters.Load() > 0 {
		close(h.changed)
		h.changed = make(chan struct{})
	}
}

// stop lets no call in any more, and ends a dial under way.
func (h *host) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	if h.cancel != nil {
		h.cancel()
	}
	h.notify()
}

func (h *host) list() []*clientConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.conns)
}
