// SPDX-License-Identifier: Apache-2.0

// Whether the peer of a client's connection is alive, and how long a connection may be
// idle.
//
// Invariants. A connection is asked when nothing has come for KeepAlive although a call
// is open, or was opened since anything came: callers may give up before the connection
// is asked. Any bytes that come, an answer or not, are a sign of life, so the code
// compares counts of reads and not times. A connection that owes an answer for lateAfter
// is suspect, and gets no more calls until bytes come.

package h2

import (
	"errors"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

const (
	lateAfter = time.Second // without an answer, then a connection is suspect
	// Servers of gRPC count PINGs that arrive while they send nothing, and end the
	// connection at the fourth within five minutes, with the reason "too_many_pings".
	// [gRPC A8]
	idlePingsMax       = 3
	idlePingInterval   = 5*time.Minute + 10*time.Second
	tooManyPingsReason = "too_many_pings"
)

var errSilent = errors.New("h2: the peer does not answer: connection given up")

// An aliveness records when the peer was asked and when it last answered. conn.mu guards
// it.
type aliveness struct {
	readsAtOpen   uint64    // conn.reads when the last call was opened
	awaiting      bool      // the peer was asked and has not answered
	byPing        bool      // it was asked by PING, not by SETTINGS
	askedTime     time.Time //
	readsAtAsk    uint64    // conn.reads when the peer was asked
	nextIDAtAsk   uint32    // clientConn.nextID when the peer was asked
	readsAtAnswer uint64    // conn.reads when the last answer was noticed
	idlePings     int       // PINGs in a row that were answered while nothing else came
}

// suspect reports whether an answer is late and nothing has come since it was found to
// be.
func (c *clientConn) suspect() bool {
	late := c.late.Load()
	return late != 0 && late == c.reads.Load()+1
}

// interval returns how long the timer may sleep at the most.
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

// checkAlive runs when the timer fires. It closes the connection if it was idle for too
// long, looks for an answer that is due, asks the peer if it was silent for too long,
// and sets the timer for the next of these. Calls come and go without touching the
// timer.
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
		if limit, ping := c.silenceLimitLocked(); limit > 0 {
			left := limit - c.silent()
			if left <= 0 {
				c.askRelocking(now, ping)
				left = min(lateAfter, c.t.config.KeepAliveTimeout)
			}
			next = min(next, left)
		}
	}
	c.timer.Reset(next)
}

// silenceLimitLocked returns how long the peer may be silent before it is asked, and
// whether by PING.
//
// With the default KeepAlive, gRPC servers must not count too many PINGs. After
// idlePingsMax that nothing but answers followed, or a complaint, a connection that has
// new calls is asked by SETTINGS, which no server counts, and one that has none by a
// PING every idlePingInterval.
func (c *clientConn) silenceLimitLocked() (limit time.Duration, ping bool) {
	a := &c.alive
	limit = c.t.config.KeepAlive
	if limit <= 0 || !c.t.keepAliveIsDefault {
		return limit, true
	}
	if c.reads.Load() != a.readsAtAnswer {
		a.idlePings = 0 // more than answers has come
	}
	switch {
	case a.idlePings < idlePingsMax && !c.host.tooManyPings.Load():
		return limit, true
	case c.nextID != a.nextIDAtAsk: // there are new calls
		return limit, false
	}
	return max(limit, idlePingInterval), true
}

// askRelocking asks whether the peer is alive: by PING [RFC 9113, section 6.7], or by
// SETTINGS that change nothing and have to be acknowledged all the same [section 6.5.3].
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

// awaitAnswerLocked looks for the answer. It returns when to look again, 0 if there is
// nothing to look for any more. After KeepAliveTimeout the connection fails.
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
		c.host.readyChanged()
		return 0
	}
	limit, waited := c.t.config.KeepAliveTimeout, now.Sub(a.askedTime)
	switch {
	case waited >= limit:
		c.failLocked(errSilent)
		return 0
	case waited >= lateAfter && !c.suspect() && !c.host.single: // calls can go elsewhere
		c.late.Store(a.readsAtAsk + 1)
		c.host.freed() // calls that wait may get another connection
		c.host.readyChanged()
	}
	return min(lateAfter, limit-waited)
}
