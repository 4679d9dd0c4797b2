// SPDX-License-Identifier: Apache-2.0

// Whether a host is ready for calls: for callers that choose among hosts.
//
// Invariants. A host is ready if one of its connections has received SETTINGS and takes
// calls. At most one goroutine of a host calls OnReady; it ends when the state is the one
// that it has reported last.

package h2

import (
	"context"
	"net/url"
	"slices"
)

// A readiness is what OnReady was called with. host.mu guards it.
type readiness struct {
	reported  bool // the last argument of OnReady
	reporting bool // a goroutine is about to call OnReady
}

// Connect opens a connection for requests to u, unless a usable one is open, and
// returns nil when the peer's SETTINGS have arrived: then the next call does not wait for
// the network. It returns the error that prevents this, or the cause of ctx's end. The
// path of u is not used.
func (t *Transport) Connect(ctx context.Context, u *url.URL) error {
	if err := checkURL(u); err != nil {
		return err
	}
	if h, err := t.host(u); err != nil || h.ready() {
		return err
	}
	c, err := t.place(ctx, u, nil, true, nil)
	if err != nil {
		return err
	}
	defer c.giveBack()
	select {
	case <-c.ready:
		return nil
	case <-c.done:
		c.mu.Lock()
		defer c.mu.Unlock()
		return unprocessedError{error: c.err}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (h *host) ready() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.readyLocked()
}

func (h *host) readyLocked() bool {
	return slices.ContainsFunc(h.conns, func(c *clientConn) bool {
		return c.gotSettings.Load() && !c.retired.Load() && !c.suspect()
	})
}

// readyChanged runs when the state may have changed. It may be called with conn.mu held.
func (h *host) readyChanged() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readyChangedLocked()
}

// readyChangedLocked is readyChanged for callers that hold host.mu.
func (h *host) readyChangedLocked() {
	r := &h.readiness
	if h.t.config.OnReady == nil || h.t.standard != nil || r.reporting || r.reported == h.readyLocked() {
		return
	}
	r.reporting = true
	go h.reportReady()
}

// reportReady calls OnReady until the state is the reported one. If OnReady ends the
// goroutine, with runtime.Goexit, another one goes on.
func (h *host) reportReady() {
	calling := false
	defer func() {
		if calling {
			go h.reportReady()
		}
	}()
	for h.reportNext() {
		calling = true
		h.t.config.OnReady(h.address, h.readiness.reported)
		calling = false
	}
}

// reportNext reports whether there is a change to report, and sets readiness to it.
func (h *host) reportNext() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &h.readiness
	now := h.readyLocked()
	r.reporting = now != r.reported
	r.reported = now
	return r.reporting
}
