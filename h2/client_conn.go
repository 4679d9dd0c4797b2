// SPDX-License-Identifier: Apache-2.0

// The client's end of a connection: how many calls it takes, whether it is alive,
// and how it ends.

package h2

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"
)

// A clientConn carries calls to one host. The pool reserves a place before a call
// begins (active), and reads without the connection's lock whether there is one.
type clientConn struct {
	*conn
	t    *Transport
	host *host
	tls  *tls.ConnectionState

	active      atomic.Int32  // calls that have a place: a stream, or the promise of one
	max         atomic.Int32  // places
	gotSettings atomic.Bool   // the peer has said how many
	retired     atomic.Bool   // takes no more calls
	done        chan struct{} // closed when the network connection is
	// late is one more than reads was when the peer was found to be late with a sign of
	// life; 0: never.
	late atomic.Uint64

	// Guarded by conn.mu.
	nextID    uint32
	timer     *time.Timer
	idleSince time.Time
	used      bool // has carried a call before
	removed   bool // from the pool
	ending    bool // the reading goroutine is about to end it
	goAways   int
	alive     aliveness
}

func (t *Transport) newClientConn(h *host, nc net.Conn) *clientConn {
	l := t.limits
	l.burst, l.rate = defaultBurst, defaultRate
	c := &clientConn{conn: newConn(nc, l), t: t, host: h, nextID: 1, idleSince: time.Now(), done: make(chan struct{})}
	c.side = c
	c.max.Store(placesAtFirst)
	if secure, ok := nc.(*tls.Conn); ok {
		state := secure.ConnectionState()
		c.tls = &state
	}
	return c
}

// begin starts reading.
func (c *clientConn) begin() {
	c.mu.Lock()
	c.timer = time.AfterFunc(c.interval(), c.checkAlive)
	c.mu.Unlock()
	go func() {
		err := c.readFrames()
		c.mu.Lock()
		err = c.explainLocked(err)
		c.ending = true
		c.retireLocked(err) // finish may linger
		c.mu.Unlock()
		c.finish(err)
		c.timer.Stop()
		c.closing.Wait()
		close(c.done)
		c.t.ended(c)
	}()
}

// greetingWritten waits until what was said has been written, and returns why it could
// not be. A connection that takes nothing ends after the time for writing.
func (c *clientConn) greetingWritten() error {
	written := make(chan struct{})
	c.mu.Lock()
	c.afterWritingLocked(func() { close(written) })
	c.mu.Unlock()
	<-written
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// load returns how many calls the connection carries, and whether it takes more.
func (c *clientConn) load() (int, bool) {
	n := c.active.Load()
	return int(n), !c.retired.Load() && n < c.max.Load() && !c.suspect()
}

// release gives a place back. With mu held.
func (c *clientConn) releaseLocked() {
	if c.active.Add(-1) == 0 {
		c.idleSince = time.Now()
		if c.retired.Load() {
			c.leaveLocked()
		}
	}
	c.host.freed()
}

// giveBack gives a place back that was not used.
func (c *clientConn) giveBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.releaseLocked()
}

// retire takes the connection out of the pool. It closes after its last call.
func (c *clientConn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retireLocked(nil)
}

// retireLocked is retire with mu held. cause is an error that ends the connection,
// if there is one.
func (c *clientConn) retireLocked(cause error) {
	c.retired.Store(true)
	if !c.removed {
		c.removed = true
		if c.gotSettings.Load() || cause == errClosed || cause == errTransportClosed {
			cause = nil
		}
		c.host.remove(c, cause)
	}
	if c.active.Load() == 0 {
		c.leaveLocked()
	}
}

// leaveLocked appends a GOAWAY and has the connection closed once it is written. A
// goroutine of its own does that: the caller, who may be in the middle of ending a
// stream, keeps the lock. [RFC 9113, section 6.8]
func (c *clientConn) leaveLocked() {
	if c.err != nil || c.ending {
		return
	}
	c.ending = true
	c.appendGoAwayLocked(ErrCodeNo, "")
	go c.closeWritten()
}

// closeWritten closes the connection when all frames are written, or after
// closeLinger if the peer takes none.
func (c *clientConn) closeWritten() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushRelocking()
	if c.writer.writing {
		_ = c.nc.SetReadDeadline(time.Now().Add(closeLinger)) // for a peer that takes nothing
	}
	c.afterWritingLocked(func() { c.failLocked(errClosed) })
}

// closeIfIdle closes the connection if it carries no call, and reports whether it does.
func (c *clientConn) closeIfIdle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := c.active.Load() == 0 && !c.host.single
	if idle {
		c.retireLocked(nil)
	}
	return idle
}

// ---- side ----

// settledLocked takes the peer's limit on streams. Calls that have a place beyond it
// and no stream yet will not get one here; see [clientStream.openLocked].
func (c *clientConn) settingsChangedLocked() {
	c.max.Store(int32(min(c.peerMaxStreams, 1<<30)))
	if !c.gotSettings.Swap(true) {
		c.host.proved()
	}
	c.host.freed()
}

// goAway stops new calls, and lets those that the peer will not process be tried
// elsewhere. [RFC 9113, section 6.8]
func (c *clientConn) goAway(last uint32, code ErrCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goAways++; c.goAways > defaultBurst {
		c.failLocked(ConnError{Code: ErrCodeEnhanceYourCalm, Reason: "too many GOAWAY frames"})
		return
	}
	ended := ConnError{Code: code, Remote: true, Reason: reason}
	if code != ErrCodeNo || c.peerGoAway == nil { // an error explains more than a goodbye
		c.peerGoAway = ended
	}
	if code == ErrCodeEnhanceYourCalm && reason == tooManyPingsReason {
		c.host.tooManyPings.Store(true)
	}
	c.retireLocked(nil)
	for id, s := range c.table.open {
		if id > last {
			delete(c.table.open, id)
			s.user.(*clientStream).markUnprocessedLocked()
			s.stopLocked(ended)
			c.wakeLater(s)
		}
	}
}

// start has nothing to start: callers are woken.
func (c *clientConn) startHandlers() {}

// batchEnded has nothing to do before the next read.
func (c *clientConn) batchEnded() bool { return true }

// overLocked takes the connection out of the pool.
func (c *clientConn) connEndedLocked(err error) { c.retireLocked(err) }

// headers takes the head of a response, or its trailers.
func (c *clientConn) headers(s *stream, id uint32, end bool) error {
	if s != nil {
		return s.user.(*clientStream).headers(&c.rd.fields, end)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table.idleLocked(id) {
		return violated(ErrCodeProtocol, "HEADERS on stream %d, which was never opened", id)
	}
	return nil // the call was given up
}
