// SPDX-License-Identifier: Apache-2.0

// How long a server's connection lives: its timers, and its graceful end.
//
// Invariants. Timers are set once and look again when they fire, so that streams come
// and go without touching them. A connection ends gracefully in three steps that only go
// forward: open, draining (a first GOAWAY was sent), and ending (the final GOAWAY names
// lastStream).

package h2

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// startTimers starts the timers that the configuration asks for.
func (c *serverConn) startTimers() {
	_ = c.nc.SetReadDeadline(time.Time{})
	c.mu.Lock() // the timers' functions lock it, too: they see all timers set
	defer c.mu.Unlock()
	c.idleSince = time.Now()
	first := c.engine.config.FirstRequestTimeout
	if first > 0 {
		if accepted, ok := c.ctx.Value(acceptedKey{}).(time.Time); ok {
			first -= time.Since(accepted)
		}
		c.firstTimer = time.AfterFunc(max(first, 0), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.table.maxID == 0 { // otherwise the request came at this moment
				c.stopServingRelocking(ErrCodeNo, "no request within the time for the first")
			}
		})
	}
	if c.idleFor > 0 {
		c.idleTimer = time.AfterFunc(c.idleFor, c.checkIdle)
	}
	if standard := c.server.HTTP2; standard != nil && standard.SendPingTimeout > 0 {
		c.healthTimer = time.AfterFunc(standard.SendPingTimeout, c.checkHealth)
	}
	if age := c.engine.config.MaxConnAge; age > 0 {
		c.ageTimer = time.AfterFunc(age-age/10+rand.N(age/5+1), c.checkAge)
	}
}

// stopTimers stops them.
func (c *serverConn) stopTimers() {
	for _, t := range []*time.Timer{c.firstTimer, c.idleTimer, c.healthTimer, c.ageTimer} {
		if t != nil {
			t.Stop()
		}
	}
}

// checkHealth sends a PING to a client from which nothing has come for SendPingTimeout,
// and ends the connection if the answer takes longer than PingTimeout.
func (c *serverConn) checkHealth() {
	wait, limit := c.server.HTTP2.SendPingTimeout, c.server.HTTP2.PingTimeout
	if limit <= 0 {
		limit = defaultPingTimeout
	}
	if silent := c.silent(); silent >= wait {
		c.mu.Lock()
		answered := c.pingLocked()
		c.flushRelocking()
		c.mu.Unlock()
		timer := time.NewTimer(limit)
		defer timer.Stop()
		select {
		case <-answered:
		case <-timer.C:
			c.mu.Lock()
			c.failLocked(errSilent)
			c.mu.Unlock()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.healthTimer.Reset(max(wait-c.silent(), time.Millisecond))
	}
}

// checkIdle ends the connection if it had no stream for idleFor, and otherwise sets the
// timer for when that may be so.
func (c *serverConn) checkIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := time.Since(c.idleSince)
	switch {
	case c.err != nil:
	case c.handlers > 0:
		c.idleTimer.Reset(c.idleFor)
	case idle < c.idleFor:
		c.idleTimer.Reset(c.idleFor - idle)
	default:
		c.stopServingRelocking(ErrCodeNo, "idle")
	}
}

// checkAge begins the graceful end of a connection at MaxConnAge, and closes the
// connection when its streams have had MaxConnAgeGrace to end.
func (c *serverConn) checkAge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch grace := c.engine.config.MaxConnAgeGrace; {
	case c.err != nil:
	case c.old:
		c.stopServingRelocking(ErrCodeNo, "streams were still open when the time after the connection's maximum age was over")
	default:
		c.old = true
		if grace > 0 {
			c.ageTimer.Reset(grace)
		}
		c.beginDrainLocked()
		c.flushRelocking()
	}
}

// stopServingRelocking sends the final GOAWAY at once and closes the connection behind it.
func (c *serverConn) stopServingRelocking(code ErrCode, reason string) {
	if c.err != nil {
		return
	}
	c.draining, c.lastStream = true, c.table.maxID
	c.appendGoAwayLocked(code, reason)
	c.flushRelocking()
	c.hangUpLocked()
}

// ---- graceful end ----

// drain ends the connection so that no request is lost. The first GOAWAY, which names
// the highest possible stream, asks the client to open no more. The acknowledgement of a
// PING behind it shows that the client has read it; then the final GOAWAY names the
// streams that were accepted. They run to their end. [RFC 9113, section 6.8]
func (c *serverConn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beginDrainLocked()
	c.flushRelocking()
}

// beginDrainLocked appends the first GOAWAY, and starts endDrain for the rest. The
// caller flushes.
func (c *serverConn) beginDrainLocked() {
	if c.draining || c.err != nil {
		return
	}
	if !c.hasGreeted {
		c.drainsLater = true
		return
	}
	c.draining = true
	c.writer.out = wire.AppendGoAway(c.outLocked(), wire.StreamIDMax, ErrCodeNo, "")
	go c.endDrain(c.pingLocked())
}

// endDrain sends the final GOAWAY when the client has answered the PING, or after
// drainPingWait.
func (c *serverConn) endDrain(answered <-chan struct{}) {
	timer := time.NewTimer(drainPingWait)
	defer timer.Stop()
	select {
	case <-answered:
	case <-timer.C:
	}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.lastStream = c.table.maxID
	c.appendGoAwayLocked(ErrCodeNo, "")
	c.flushRelocking()
	if c.drainedLocked() {
		c.hangUpLocked()
	}
	c.mu.Unlock()
}

// baseDone cancels the contexts of all requests, because that of the server has ended.
func (c *serverConn) baseDone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.table.open {
		s.user.(*serverStream).ctx.cancel(context.Cause(c.ctx))
	}
}
