// SPDX-License-Identifier: Apache-2.0

// Hooks of the program on a server's connection, ConnState and CountError, and what a hook
// that fails does.
//
// Invariants. Hooks run without locks of the engine other than stateMu. A hook that panics
// ends its connection, wherever it runs, and not the program: net/http promises that for
// the goroutine of a connection.

package h2

import "net/http"

// reportState calls the server's ConnState if the connection has become active or idle.
// It runs code of the user, so it is called without conn.mu.
func (c *serverConn) reportState() {
	hook := c.server.ConnState
	if hook == nil {
		return
	}
	c.stateMu.Lock()
	defer c.stateMu.Unlock()
	if c.lastState == http.StateClosed {
		return // a handler returns after the connection's end
	}
	state := http.StateIdle
	c.mu.Lock()
	if c.handlers > 0 {
		state = http.StateActive
	}
	c.mu.Unlock()
	if state != c.lastState {
		c.lastState = state
		hook(c.nc, state)
	}
}

// reportIdle is reportState for the goroutine of a handler, which has returned. If
// ConnState panics there, it ends the connection, and not the program.
func (c *serverConn) reportIdle() {
	if c.server.ConnState == nil {
		return
	}
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			c.logPanic(v)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.afterWritingLocked(func() { c.failLocked(errClosed) }) // the response is under way
	}()
	c.reportState()
	returned = true
}

// hookFailed ends a connection on which a hook of the program has panicked, or has ended
// its goroutine: handlers that wait for the peer wait for nothing, maybe.
func (c *serverConn) hookFailed() {
	c.mu.Lock()
	c.failLocked(errClosed)
	c.mu.Unlock()
	c.closed()
}
