// SPDX-License-Identifier: Apache-2.0

// How long a server's connection lives: its timers, and its graceful end.

package h2

import (
	"context"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

func (c *serverConn) startTimers() {
	_ = c.nc.SetReadDeadline(time.Time{})
	c.mu.Lock() // which the timers' functions take
	defer c.mu.Unlock()
	c.idleSince = time.Now()
	first := c.engine.config.FirstRequestTimeout
	if first > 0 {
		if accepted, ok := c.ctx.Value(acceptedKey{}).(time.Time); ok {
			first -= time.Since(accepted)
		}
		c.firstTimer = time.AfterFunc(max(first, 0), func() {
			c.stopServing(ErrCodeNo, "no request within the time for the first")
		})
	}
	if c.idleFor > 0 {
		c.idleTimer = time.AfterFunc(c.idleFor, c.checkIdle)
	}
	if standard := c.server.HTTP2; standard != nil && standard.SendPingTimeout > 0 {
		c.healthTimer = time.AfterFunc(standard.SendPingTimeout, c.checkHealth)
	}
}

func (c *serverConn) stopTimers() {
	for _, t := range []*time.Timer{c.firstTimer, c.idleTimer, c.healthTimer} {
		if t != nil {
			t.Stop()
		}
	}
}

// checkHealth asks a client that was silent for SendPingTimeout whether it is
// there, and gives the connection up if it does not say so within PingTimeout.
func (c *serverConn) checkHealth() {
	wait, patience := c.server.HTTP2.SendPingTimeout, c.server.HTTP2.PingTimeout
	if patience <= 0 {
		patience = defaultPingTimeout
	}
	if silent := time.Since(time.Unix(0, c.lastRead.Load())); silent >= wait {
		c.mu.Lock()
		answered := c.pingLocked()
		c.flushRelocking()
		c.mu.Unlock()
		timer := time.NewTimer(patience)
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
		c.healthTimer.Reset(max(wait-time.Since(time.Unix(0, c.lastRead.Load())), time.Millisecond))
	}
}

// checkIdle ends the connection if it had no stream for so long. Otherwise it
// looks again when that can be: streams come and go without touching the timer.
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

// stopServing says GOAWAY and closes the connection.
func (c *serverConn) stopServing(code ErrCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopServingRelocking(code, reason)
}

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

// drain ends the connection so that no request is lost: the first GOAWAY asks the
// peer to stop, a PING finds out when it has heard of it, and the second says
// which streams were accepted. [RFC 9113, section 6.8]
func (c *serverConn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beginDrainLocked()
	c.flushRelocking()
}

// beginDrainLocked appends the first GOAWAY; the rest of the end goes by itself.
func (c *serverConn) beginDrainLocked() {
	if c.draining || c.err != nil {
		return
	}
	c.draining = true
	c.writer.out = wire.AppendGoAway(c.outLocked(), wire.StreamIDMax, ErrCodeNo, "")
	go c.endDrain(c.pingLocked())
}

// endDrain sends the second GOAWAY when the peer has heard of the first.
func (c *serverConn) endDrain(heard <-chan struct{}) {
	patience := time.NewTimer(drainPingWait)
	defer patience.Stop()
	select {
	case <-heard:
	case <-patience.C:
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

// baseDone cancels all requests: the context that the server gave us is over.
func (c *serverConn) baseDone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.table.open {
		s.user.(*serverStream).ctx.cancel(context.Cause(c.ctx))
	}
}
