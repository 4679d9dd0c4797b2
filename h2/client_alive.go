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
	lonePings  = 3
	loneQuiet  = 5*time.Minute + 10*time.Second
	tooManyMsg = "too_many_pings" // what they say then
)

var errSilent = errors.New("h2: the peer does not answer: connection given up")

// An aliveness is what a connection knows of its peer's life. conn.mu guards it. It
// counts reads, and not time, to see whether something has come.
type aliveness struct {
	opened  uint64    // conn.reads when the last call was opened
	asking  bool      // an answer is awaited
	pinged  bool      // and a PING has asked for it
	askedAt time.Time //
	asked   uint64    // conn.reads then
	askedID uint32    // clientConn.nextID then
	heard   uint64    // conn.reads when the last answer was noticed
	lone    int       // PINGs answered while nothing else came
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
func (c *clientConn) look() {
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
			c.retireRelocking(nil)
			return
		}
		next = min(next, left)
	}
	if c.alive.asking {
		left := c.awaitAnswerLocked(now)
		if c.err != nil {
			return
		}
		if left > 0 {
			next = min(next, left)
		}
	}
	a := &c.alive
	if waits := calls || c.nextID > 1 && a.opened == c.reads.Load(); waits && !a.asking {
		if patience, ping := c.patienceLocked(); patience > 0 {
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
func (c *clientConn) patienceLocked() (patience time.Duration, ping bool) {
	a := &c.alive
	patience = c.t.config.KeepAlive
	if patience <= 0 || !c.t.lenient {
		return patience, true
	}
	if c.reads.Load() != a.heard {
		a.lone = 0 // there is more than answers
	}
	switch {
	case a.lone < lonePings && !c.host.calm.Load():
		return patience, true
	case c.nextID != a.askedID: // there are new calls
		return patience, false
	}
	return max(patience, loneQuiet), true
}

// askRelocking asks whether the peer is alive: with a PING, or with SETTINGS that
// change nothing and have to be acknowledged, which no peer counts. [RFC 9113, section
// 6.5.3]
func (c *clientConn) askRelocking(now time.Time, ping bool) {
	a := &c.alive
	a.asking, a.pinged, a.askedAt, a.asked, a.askedID = true, ping, now, c.reads.Load(), c.nextID
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
	if came := c.reads.Load() - a.asked; came > 0 {
		a.asking = false
		switch {
		case came > 1:
			a.lone = 0
		case a.pinged:
			a.lone++
		}
		a.heard = c.reads.Load()
		c.host.freed() // it may have been suspect
		return 0
	}
	limit, waited := c.t.config.KeepAliveTimeout, now.Sub(a.askedAt)
	switch {
	case waited >= limit:
		c.failLocked(errSilent)
		return 0
	case waited >= lateAfter && !c.suspect() && !c.host.single: // calls can go elsewhere
		c.late.Store(a.asked + 1)
		c.host.freed() // for those who wait there may be another connection
	}
	return min(lateAfter, limit-waited)
}
