// SPDX-License-Identifier: Apache-2.0

// Whether the peer of a client is alive, and how long a connection may be idle.
//
// Invariants. A connection is asked when nothing has come for a while although a call
// is open, or was opened since something came last: callers may give up sooner than
// the connection is asked. What comes, be it an answer or not, is a sign of life. A
// connection that owes an answer for a second gets no more calls until something comes.

package h2

import (
	"errors"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

const (
	lateAfter = time.Second // without an answer a connection is suspect
	// Servers of gRPC count PINGs that come while they send nothing, and end the
	// connection after the fourth within five minutes. [gRPC A8]
	idlePingsMax       = 3
	idlePingInterval   = 5*time.Minute + 10*time.Second
	tooManyPingsReason = "too_many_pings" // what they say then
)

var errSilent = errors.New("h2: the peer does not answer: connection given up")

// An aliveness is what a connection knows of its peer's life. conn.mu guards it. It
// counts reads, and not time, to see whether something has come.
type aliveness struct {
	readsAtOpen   uint64    // conn.reads when the last call was opened
	awaiting      bool      // an answer is awaited
	byPing        bool      // and a PING has asked for it
	askedTime     time.Time //
	readsAtAsk    uint64    // conn.reads then
	nextIDAtAsk   uint32    // clientConn.nextID then
	readsAtAnswer uint64    // conn.reads when the last answer was noticed
	idlePings     int       // PINGs answered while nothing else came
}

// suspect reports whether an answer is late and nothing has come since.
func (c *clientConn) suspect() bool {
	late := c.late.Load()
	return late != 0 && late == c.reads.Load()+1
}

// interval is how long nothing has to be looked at.
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

// look closes the connection if it was idle for too long, asks whether the peer is
// alive, and looks for the answer. Calls come and go without touching the timer.
func (c *clientConn) checkAlive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.ending {
		return
	}
	next := c.interval()
	now := time.Now()
	calls := c.active.Load() > 0
	if idle := c.t.config.IdleConnTimeout; !calls && idle > 0 {
		left := idle - now.Sub(c.idleSince)
		if left <= 0 {
			c.retireLocked(nil)
			return
		}
		next = min(next, left)
	}
	if c.alive.awaiting {
		left := c.awaitAnswerLocked(now)
		if c.err != nil {
			return
		}
		if left > 0 {
			next = min(next, left)
		}
	}
	a := &c.alive
	if waits := calls || c.nextID > 1 && a.readsAtOpen == c.reads.Load(); waits && !a.awaiting {
		if patience, ping := c.silenceLimitLocked(); patience > 0 {
			left := patience - now.Sub(time.Unix(0, c.lastRead.Load()))
			if left <= 0 {
				c.askRelocking(now, ping)
				left = min(lateAfter, c.t.config.KeepAliveTimeout)
			}
			next = min(next, left)
		}
	}
	c.timer.Reset(next)
}

// patienceLocked is how long the peer may be silent before it is asked, and whether a
// PING may ask.
func (c *clientConn) silenceLimitLocked() (patience time.Duration, ping bool) {
	a := &c.alive
	patience = c.t.config.KeepAlive
	if patience <= 0 || !c.t.keepAliveIsDefault {
		return patience, true
	}
	if c.reads.Load() != a.readsAtAnswer {
		a.idlePings = 0 // there is more than answers
	}
	switch {
	case a.idlePings < idlePingsMax && !c.host.tooManyPings.Load():
		return patience, true
	case c.nextID != a.nextIDAtAsk: // there are new calls
		return patience, false
	}
	return max(patience, idlePingInterval), true
}

// askRelocking asks whether the peer is alive: with a PING, or with SETTINGS that
// change nothing and have to be acknowledged, which no peer counts. [RFC 9113, section
// 6.5.3]
func (c *clientConn) askRelocking(now time.Time, ping bool) {
	a := &c.alive
	a.awaiting, a.byPing, a.askedTime, a.readsAtAsk, a.nextIDAtAsk = true, ping, now, c.reads.Load(), c.nextID
	if ping {
		c.pingCount++
		c.writer.out = wire.AppendPing(c.outLocked(), false, pingData(c.pingCount))
	} else {
		c.writer.out = wire.AppendSettings(c.outLocked())
	}
	c.flushRelocking()
}

// awaitAnswerLocked looks whether the peer has answered. It returns when to look again,
// 0 if there is nothing to look for.
func (c *clientConn) awaitAnswerLocked(now time.Time) time.Duration {
	a := &c.alive
	if came := c.reads.Load() - a.readsAtAsk; came > 0 {
		a.awaiting = false
		switch {
		case came > 1:
			a.idlePings = 0
		case a.byPing:
			a.idlePings++
		}
		a.readsAtAnswer = c.reads.Load()
		c.host.freed() // it may have been suspect
		return 0
	}
	limit, waited := c.t.config.KeepAliveTimeout, now.Sub(a.askedTime)
	switch {
	case waited >= limit:
		c.failLocked(errSilent)
		return 0
	case waited >= lateAfter && !c.suspect() && !c.host.single: // calls can go elsewhere
		c.late.Store(a.readsAtAsk + 1)
		c.host.freed() // for those who wait there may be another connection
	}
	return min(lateAfter, limit-waited)
}
