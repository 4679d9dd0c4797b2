// SPDX-License-Identifier: Apache-2.0

// The end of a transport: which connections there are, and how all of them close.
//
// Invariants. conns has every connection from before its greeting until it is closed.
// drained is closed once: when closed is set and conns is empty.

package h2

import (
	"context"
	"time"
)

// CloseIdleConnections closes the connections that carry no call. It returns when they
// are closed, or after a second if peers do not read.
func (t *Transport) CloseIdleConnections() {
	all := t.list()
	closing := all[:0]
	for _, c := range all {
		if c.closeIfIdle() {
			closing = append(closing, c)
		}
	}
	if len(closing) == 0 {
		return
	}
	timer := time.NewTimer(closeLinger)
	defer timer.Stop()
	for _, c := range closing {
		select {
		case <-c.done:
		case <-timer.C:
			return
		}
	}
}

// Shutdown ends the transport gracefully. New requests fail at once; Shutdown returns
// nil when the calls in flight have ended and all connections are closed, or the cause
// of ctx's end if that comes first. The calls then go on.
func (t *Transport) Shutdown(ctx context.Context) error {
	t.end()
	for _, c := range t.list() {
		c.retire()
	}
	select {
	case <-t.drained:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close ends the transport and all its connections at once. Calls in flight fail. It
// returns nil when all connections are closed.
func (t *Transport) Close() error {
	t.end()
	for _, c := range t.list() {
		c.mu.Lock()
		c.failLocked(errTransportClosed)
		c.mu.Unlock()
	}
	<-t.drained
	t.breaking.Wait()
	return nil
}

// end fails all new requests and those that wait for a place.
func (t *Transport) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	for _, h := range t.hosts {
		h.stop()
	}
	if len(t.conns) == 0 {
		close(t.drained)
	}
}

func (t *Transport) list() []*clientConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*clientConn, 0, len(t.conns))
	for c := range t.conns {
		all = append(all, c)
	}
	return all
}

// opened counts a connection, and ended counts it off. opened reports false if the
// transport is closed; then ended is not called.
func (t *Transport) opened(c *clientConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.conns[c] = struct{}{}
	return true
}

func (t *Transport) ended(c *clientConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
	if len(t.conns) == 0 && t.closed {
		close(t.drained)
	}
}
