// SPDX-License-Identifier: Apache-2.0

// The client's side of a connection: how many calls it takes, and how it ends.
//
// Invariants. active counts the calls that have a place: a stream, or the promise of
// one. host.pickLocked takes a place, and releaseLocked gives each back once. A
// connection whose retired is set takes no more calls and closes after its last; removed
// is set once it is out of its host's conns. The places that the pool reads without
// conn.mu are atomics, and may be more than the peer allows by now: openLocked looks
// again.

package h2

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// A clientConn carries calls to one host.
type clientConn struct {
	*conn
	t    *Transport
	host *host
	tls  *tls.ConnectionState

	active      atomic.Int32  // calls that have a place
	max         atomic.Int32  // places in all
	gotSettings atomic.Bool   // the peer's first SETTINGS were applied
	retired     atomic.Bool   // takes no more calls
	ready       chan struct{} // closed when gotSettings is set
	done        chan struct{} // closed when the network connection is closed
	// late is reads+1 of the moment when an answer was found to be late; 0: never.
	late atomic.Uint64

	// Guarded by conn.mu.
	nextID    uint32
	timer     *time.Timer
	idleSince time.Time
	used      bool // a call has used it
	removed   bool // from its host's conns
	ending    bool // the end has begun: a GOAWAY is appended, or reading has ended
	goAways   int  // received
	alive     aliveness
}

func (t *Transport) newClientConn(h *host, nc net.Conn) *clientConn {
	l := t.limits
	l.burst, l.rate = defaultBurst, defaultRate
	c := &clientConn{conn: newConn(nc, l), t: t, host: h, nextID: 1, idleSince: time.Now(),
		ready: make(chan struct{}), done: make(chan struct{})}
	c.side = c
	c.max.Store(placesAtFirst)
	if secure, ok := nc.(*tls.Conn); ok {
		state := secure.ConnectionState()
		c.tls = &state
	}
	return c
}

// begin starts the reading goroutine and the timer.
func (c *clientConn) begin() {
	c.mu.Lock()
	c.timer = time.AfterFunc(c.interval(), c.checkAlive)
	c.mu.Unlock()
	go func() {
		err := errReadingLeft // unless readFrames returns
		defer func() {
			if v := recover(); v != nil {
				panic(v) // ends the program
			}
			c.readingEnded(err)
		}()
		err = c.readFrames()
	}()
}

// errReadingLeft is the error of a connection on which a hook of the program has ended the
// goroutine that reads, with runtime.Goexit.
var errReadingLeft = errors.New("h2: a hook ended the goroutine that reads")

// readingEnded ends the connection after the last read, whose error is err.
func (c *clientConn) readingEnded(err error) {
	c.mu.Lock()
	err = c.unspoken(c.explainLocked(err))
	c.ending = true
	c.retireLocked(err) // before finish, which may take a second
	c.mu.Unlock()
	defer func() { // CountError may end the goroutine
		c.mu.Lock()
		c.failLocked(err)
		c.mu.Unlock()
		c.timer.Stop()
		c.closing.Wait()
		close(c.done)
		c.t.ended(c)
	}()
	c.finish(err)
}

// unspoken explains why a connection may have ended before the server's SETTINGS. It is
// for the goroutine that reads.
func (c *clientConn) unspoken(err error) error {
	gone := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
	switch {
	case c.rd.greeted || !gone:
		return err
	case c.tls != nil:
		return fmt.Errorf("the server closed the connection before it spoke HTTP/2: %v", err)
	}
	return fmt.Errorf("the server closed the connection before it spoke HTTP/2: if it has TLS, use a URL with https: %v", err)
}

// greetingWritten waits until the preface and SETTINGS are written, and returns the
// error that prevented it. A connection whose peer takes nothing ends after the write
// timeout.
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

// load returns how many calls the connection carries, and whether it takes another.
func (c *clientConn) load() (int, bool) {
	n := c.active.Load()
	return int(n), !c.retired.Load() && n < c.max.Load() && !c.suspect()
}

// releaseLocked gives a place back.
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

// retireLocked is retire for callers that hold conn.mu. cause is the error that ends the
// connection, if one does: before the first SETTINGS, it counts as a failed dial.
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

// closeIfIdle closes the connection if it carries no call, and reports whether it does
// so.
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

// settingsChangedLocked takes the peer's limit on streams. A call that has a place
// beyond it and no stream yet goes back to the pool: see clientStream.openLocked. [RFC
// 9113, section 5.1.2]
func (c *clientConn) settingsChangedLocked() {
	c.max.Store(int32(min(c.peerMaxStreams, 1<<30)))
	if !c.gotSettings.Swap(true) {
		close(c.ready)
		c.host.proved()
	}
	c.host.freed()
}

// goAway stops new calls on the connection. Streams above last were not processed, so
// their calls are tried elsewhere; the others go on. [RFC 9113, sections 6.8 and 8.7]
func (c *clientConn) goAway(last uint32, code ErrCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goAways++; c.goAways > defaultBurst {
		c.failLocked(ConnError{Code: ErrCodeEnhanceYourCalm, Reason: "too many GOAWAY frames"})
		return
	}
	ended := ConnError{Code: code, Remote: true, Reason: reason}
	if code != ErrCodeNo || c.peerGoAway == nil { // an error explains more than NO_ERROR
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

// startHandlers does nothing: a client has no handlers.
func (c *clientConn) startHandlers() {}

// batchEnded reports true: the same goroutine reads on.
func (c *clientConn) batchEnded() bool { return true }

// connEndedLocked takes the connection out of the pool.
func (c *clientConn) connEndedLocked(err error) { c.retireLocked(err) }

// headers takes the head or the trailers of a response. Those for a call that was given
// up are dropped; on a stream that was never opened they are an error of the connection.
// [RFC 9113, section 5.1]
func (c *clientConn) headers(s *stream, id uint32, end bool) error {
	if s != nil {
		return s.user.(*clientStream).headers(&c.rd.fields, end)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table.idleLocked(id) {
		return violated(ErrCodeProtocol, "HEADERS on stream %d, which was never opened", id)
	}
	return nil
}
