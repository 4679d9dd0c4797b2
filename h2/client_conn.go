// SPDX-License-Identifier: Apache-2.0

// The client's end of a connection: how many calls it takes, whether it is alive,
// and how it ends.

package h2

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// A clientConn carries calls to one host. The pool reserves a place before a call
// begins (active), and reads without the connection's lock whether there is one.
type clientConn struct {
	*conn
	t     *Transport
	host  *host
	tls   *tls.ConnectionState
	timer *time.Timer

	active  atomic.Int32 // calls that have a place
	max     atomic.Int32 // places
	retired atomic.Bool  // takes no more calls
	born    bool         // has carried a call before
	removed bool         // from the pool. Guarded by conn.mu

	// Guarded by conn.mu.
	nextID    uint32
	idleSince time.Time
	probing   bool // a PING waits for its answer
}

func (t *Transport) newClientConn(h *host, nc net.Conn) *clientConn {
	l := t.limits
	l.burst, l.rate = defaultBurst, defaultRate
	c := &clientConn{conn: newConn(nc, l), t: t, host: h, nextID: 1, idleSince: time.Now()}
	c.side = c
	c.max.Store(streamsAtFirst)
	if secure, ok := nc.(*tls.Conn); ok {
		state := secure.ConnectionState()
		c.tls = &state
	}
	return c
}

// begin starts reading.
func (c *clientConn) begin() {
	c.greet(clientPreface)
	c.mu.Lock()
	c.timer = time.AfterFunc(c.interval(), c.look)
	c.mu.Unlock()
	go func() {
		c.finish(c.readFrames())
		c.timer.Stop()
		c.t.ended()
	}()
}

// load returns how many calls the connection carries, and whether it takes more.
func (c *clientConn) load() (int, bool) {
	n := c.active.Load()
	return int(n), !c.retired.Load() && n < c.max.Load()
}

// release gives a place back. With mu held.
func (c *clientConn) release() {
	if c.active.Add(-1) == 0 {
		c.idleSince = time.Now()
		if c.retired.Load() {
			c.leave()
		}
	}
	c.host.freed()
}

// retire takes the connection out of the pool. It closes after its last call.
func (c *clientConn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retireLocked()
}

func (c *clientConn) retireLocked() {
	c.retired.Store(true)
	if !c.removed {
		c.removed = true
		c.host.remove(c)
	}
	if c.active.Load() == 0 {
		c.leave()
	}
}

// leave says goodbye and closes. With mu held.
func (c *clientConn) leave() {
	if c.err != nil {
		return
	}
	c.sayGoAway(ErrCodeNo, "")
	c.flush()
	c.fail(errClosed)
}

// closeIfIdle closes the connection if it carries no call.
func (c *clientConn) closeIfIdle(string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active.Load() == 0 {
		c.retireLocked()
	}
}

// ---- timer ----

// interval is how often the connection is looked at.
func (c *clientConn) interval() time.Duration {
	alive, idle := c.t.config.KeepAlive, c.t.config.IdleConnTimeout
	switch {
	case alive <= 0 && idle <= 0:
		return time.Hour
	case alive <= 0:
		return idle
	case idle <= 0:
		return alive
	}
	return min(alive, idle)
}

// look closes the connection if it was idle for too long, and asks whether the
// peer is alive if it was silent while calls are open.
func (c *clientConn) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	now := time.Now()
	alive, idle := c.t.config.KeepAlive, c.t.config.IdleConnTimeout
	if c.active.Load() == 0 {
		if idle > 0 && now.Sub(c.idleSince) >= idle {
			c.retireLocked()
			return
		}
	} else if silent := now.Sub(time.Unix(0, c.lastRead.Load())); alive > 0 && silent >= alive && !c.probing {
		c.probing = true
		answered := c.ping()
		c.flush()
		go c.await(answered)
	}
	c.timer.Reset(c.interval())
}

// await gives the connection up if nothing at all arrives in time.
func (c *clientConn) await(answered <-chan struct{}) {
	asked := time.Now()
	patience := time.NewTimer(c.t.config.KeepAliveTimeout)
	defer patience.Stop()
	select {
	case <-answered:
	case <-patience.C:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probing = false
	select {
	case <-answered:
		return
	default:
	}
	if time.Unix(0, c.lastRead.Load()).Before(asked) {
		c.fail(errSilent)
	}
}

var errSilent = errors.New("http2: the peer does not answer: connection given up")

// ---- side ----

// settled takes the peer's limit on streams. With mu held.
func (c *clientConn) settled() {
	c.max.Store(int32(min(c.peerMaxStreams, 1<<30)))
	c.host.freed()
}

// goAway stops new calls, and lets those that the peer will not process be tried
// elsewhere. [RFC 9113, section 6.8]
func (c *clientConn) goAway(last uint32, code ErrCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ended := ConnError{Code: code, Remote: true, Reason: reason}
	for id, s := range c.streams {
		if id > last {
			delete(c.streams, id)
			s.user.(*clientStream).unprocessed = true
			s.stop(ended)
			c.wakeLater(s)
		}
	}
	c.retireLocked()
}

// over tells the pool. With mu held.
func (c *clientConn) over(error) {
	c.retired.Store(true)
	if !c.removed {
		c.removed = true
		c.host.remove(c)
	}
}

// headers takes the head of a response, or its trailers.
func (c *clientConn) headers(s *stream, id uint32, end bool) error {
	if s != nil {
		return s.user.(*clientStream).headers(&c.fields, end)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isIdle(id) {
		return violated(ErrCodeProtocol, "HEADERS on stream %d, which was never opened", id)
	}
	return nil // the call was given up
}
