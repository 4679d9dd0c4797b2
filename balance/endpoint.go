// SPDX-License-Identifier: Apache-2.0

// One endpoint: its connections, and whether calls may go there.
//
// Invariants. An endpoint is made anew when the resolver changes its weight, zone,
// priority or meta; its backend, with the connections, stays. The goroutine of run owns
// the end of the transport: it closes it when the backend is removed and has no users, or
// the Balancer is closed.

package balance

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/internal/direct"
)

const (
	dialTimeout    = 5 * time.Second
	connectTimeout = 30 * time.Second
	steadyAfter    = time.Second // a connection that was ready for less has failed
)

// An endpoint is an Endpoint of the newest set, with its backend.
type endpoint struct {
	Endpoint
	*backend
}

// A backend has the connections to one address, and the records of its calls.
type backend struct {
	// What every call writes is in load and the beginning of health, which share a cache
	// line. What calls only read is in others.
	load    load
	health  health
	removed atomic.Bool

	readySince atomic.Int64  // the moment when it became ready; 0: no slow start
	slowStart  time.Duration // the window; 0: no slow start
	hash       atomic.Uint64 // of Addr, for id

	group     *group
	addr      string
	transport http.RoundTripper
	direct    direct.Transport // transport, nil if it makes no direct calls
	sockets   *sockets         // of an http.Transport, nil otherwise
	ctx       context.Context  // ends when the backend is removed, or the Balancer closed
	cancel    context.CancelFunc
	signal    chan struct{} // has a value when the state may have changed; for run
	connects  chan struct{} // the same, for probe
	ready     atomic.Bool   // has a connection and, if there are probes, has passed the last

	opened atomic.Int64  // connections
	unused chan struct{} // closed when removed and without users
	once   sync.Once     // for unused

	mu        sync.Mutex
	connected bool
	passed    bool // the last probe, or there are none
	probeErr  error
	lastErr   error  // of the last connection that could not be opened; nil once one was
	lostAt    moment // when the loss of a connection was counted as a failure
	lostAfter int64  // value of opened then
	leftAt    moment // when the end of a stream, with which the server goes away, was counted as a failure
	failed    bool   // a connection could not be opened, and none has lasted since
	changed   time.Time
}

// newBackend returns the backend for an endpoint of a group, without its goroutine.
func newBackend(g *group, e Endpoint) *backend {
	c := &g.b.config
	d := &backend{
		group: g, addr: e.Addr, slowStart: c.slowStart,
		signal: make(chan struct{}, 1), connects: make(chan struct{}, 1), unused: make(chan struct{}),
		passed: c.probe == nil, connected: c.kind != kindH2, changed: time.Now(),
	}
	d.ctx, d.cancel = context.WithCancel(g.b.ctx)
	d.health.ejector = g.ejector
	secure := c.tls
	if c.tlsOf != nil && c.kind != kindOther {
		secure = c.tlsOf(e)
	}
	switch c.kind {
	case kindH2:
		d.transport = h2.NewTransport(&h2.TransportConfig{
			MaxAttempts: 1, DialContext: d.dial, TLSClientConfig: secure, IdleConnTimeout: -1,
			OnReady: func(_ string, ready bool) { d.setConnected(ready, nil) },
		})
	case kindNetHTTP:
		d.sockets = newSockets()
		d.transport = newHTTPTransport(secure, d.dial)
	default:
		if d.transport = c.make(e, d.dial); d.transport == nil {
			d.transport = noTransport{e.Addr}
		}
	}
	d.direct, _ = d.transport.(direct.Transport)
	d.settle()
	return d
}

// noTransport stands for the nil that the function of Transport has returned.
type noTransport struct{ addr string }

func (n noTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	closeBody(r)
	return nil, fmt.Errorf("balance: endpoint %q has no transport: the function of balance.Transport returned nil", n.addr)
}

func newHTTPTransport(c *tls.Config, dial Dial) *http.Transport {
	t := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 256, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true}
	if c != nil {
		t.TLSClientConfig = c.Clone()
	}
	return t
}

// ---- users ----

// enter counts a call. It reports false if the endpoint is removed.
func (d *backend) enter() bool {
	d.load.begin()
	if d.removed.Load() {
		d.leave(0, -1)
		return false
	}
	return true
}

// leave counts a call off that has entered, with the time it took as for load.end.
func (d *backend) leave(now moment, took time.Duration) {
	if d.load.end(now, took) <= 0 && d.removed.Load() {
		d.once.Do(func() { close(d.unused) })
	}
}

// remove ends the endpoint for new calls. Its calls go on.
func (d *backend) remove() {
	d.health.leave()
	d.removed.Store(true)
	if d.load.calls.Load() <= 0 {
		d.once.Do(func() { close(d.unused) })
	}
	d.cancel()
}

// ---- readiness ----

// setConnected notes whether there is a connection, and err if one could not be opened.
func (d *backend) setConnected(connected bool, err error) {
	d.mu.Lock()
	was := d.connected
	d.connected = connected
	if connected && !was && d.group.b.config.probe != nil && time.Since(d.changed) >= steadyAfter {
		d.passed = false // it may be another server now
	}
	switch {
	case connected:
		if d.lastErr != nil { // there was no server for a time, so it may be another one
			d.health.tryNow(clock())
		}
		d.lastErr = nil
	case err != nil:
		d.lastErr = err
	}
	if was && !connected && time.Since(d.changed) >= steadyAfter {
		d.failed = false // the next connection is awaited, even with FailFast
	}
	first := err != nil && !d.failed
	d.failed = d.failed || err != nil
	changed := d.settle()
	d.mu.Unlock()
	if (was && !connected || err != nil) && d.ctx.Err() == nil {
		d.group.b.trouble()
	}
	wake(d.signal)
	if connected && !was {
		wake(d.connects)
	}
	if changed || first && d.group.b.config.failFast {
		d.group.changed()
	}
}

// connectFailed notes that run could not open a connection. It does not change the state: a
// call may have opened one meanwhile, which OnReady has reported.
func (d *backend) connectFailed(err error) {
	d.mu.Lock()
	first := !d.failed
	if !d.connected {
		d.lastErr, d.failed = err, true
	}
	d.mu.Unlock()
	d.group.b.trouble()
	if first && d.group.b.config.failFast {
		d.group.changed()
	}
}

// setProbe notes the outcome of a probe.
func (d *backend) setProbe(err error) {
	d.mu.Lock()
	first := err != nil && d.probeErr == nil
	d.passed, d.probeErr = err == nil, err
	changed := d.settle()
	d.mu.Unlock()
	if changed || first && d.group.b.config.failFast {
		d.group.changed()
	}
}

// settle sets ready, and reports whether it has changed. The caller holds mu, or is the
// only one that has the backend.
func (d *backend) settle() bool {
	ready := d.connected && d.passed
	if ready == d.ready.Load() {
		return false
	}
	now := time.Now()
	if ready && (d.readySince.Load() == 0 || now.Sub(d.changed) >= steadyAfter) { // and not only a new connection for an old one
		d.startSlowly(clock())
	}
	d.changed = now
	d.ready.Store(ready)
	return true
}

// lose reports whether the loss of its connection by a call that began at a time counts as
// a failure. All calls of a connection are lost with it, and after a restart all
// connections are. So a loss counts only if the call began, and a connection was opened,
// after the last one that has counted.
func (d *backend) lose(now, began moment) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	opened := d.opened.Load()
	if began <= d.lostAt || opened > 0 && opened == d.lostAfter {
		return false
	}
	d.lostAt, d.lostAfter = now, opened
	return true
}

// lastStream reports whether unavailable at the end of a stream that began at a time, and
// worked, counts as a failure. A server that shuts down ends all its streams so. So an end
// counts only if the stream began after the last one that has counted.
func (d *backend) lastStream(now, began moment) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if began <= d.leftAt {
		return false
	}
	d.leftAt = now
	return true
}

// startSlowly begins the slow start.
func (d *backend) startSlowly(now moment) {
	if d.slowStart > 0 {
		d.readySince.Store(int64(cmp.Or(now, 1)))
	}
}

func wake(signal chan<- struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}

// state returns whether there is a connection, and since when the state is so.
func (d *backend) state() (connected bool, since time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.connected, d.changed
}

// ---- connections ----

type backgroundKey struct{}

// dial connects to the endpoint, whatever the address is.
func (d *backend) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	background := ctx.Value(backgroundKey{}) != nil
	if connected, _ := d.state(); !connected && !background && d.group.others(d) {
		// The call goes elsewhere at once, instead of waiting for this connection.
		return nil, &dialError{d.addr, errElsewhere}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	defer context.AfterFunc(d.group.b.ctx, cancel)() // package net/http does not
	dial, address := d.group.b.config.dial, d.addr
	if dial == nil {
		dial, address = new(net.Dialer).DialContext, dialAddr(d.addr, d.group.url.Scheme)
	}
	nc, err := dial(ctx, "tcp", address)
	if nc == nil && err == nil {
		err = errors.New("the function of balance.DialContext returned neither a connection nor an error")
	}
	if err != nil {
		err = &dialError{d.addr, err}
		if !background && d.ctx.Err() == nil && ctx.Err() != context.Canceled && d.group.b.config.kind != kindH2 {
			d.setConnected(false, err)
		}
		return nil, err
	}
	d.opened.Add(1)
	if d.sockets != nil {
		return d.sockets.add(nc)
	}
	return nc, nil
}

// run keeps the endpoint connected, and closes its transport in the end.
func (d *backend) run(u *url.URL) {
	if probe := d.group.b.config.probe; probe != nil {
		var probing sync.WaitGroup
		probing.Go(func() { d.probe(u) })
		defer probing.Wait()
	}
	ctx := context.WithValue(d.ctx, backgroundKey{}, true)
	failures := 0
	for d.ctx.Err() == nil {
		connected, since := d.state()
		if connected {
			select {
			case <-d.signal:
			case <-d.ctx.Done():
			}
			if now, _ := d.state(); !now && time.Since(since) >= steadyAfter {
				failures = 0
			}
			continue
		}
		if failures++; failures > 1 && !sleep(d.ctx, backoff(failures-1)) {
			break
		}
		err := d.connect(ctx, u)
		switch {
		case d.ctx.Err() != nil:
		case errors.Is(err, errElsewhere): // a call was quicker to ask for a connection
		case err != nil:
			d.connectFailed(err)
		case d.group.b.config.kind != kindH2:
			d.setConnected(true, nil)
		default: // OnReady reports it, unless the connection is lost already
			select {
			case <-d.signal:
			case <-d.ctx.Done():
			case <-time.After(backoffMin):
			}
		}
	}
	select {
	case <-d.unused:
	case <-d.group.b.ctx.Done():
	}
	d.close()
}

// connect opens a connection. For transports other than that of package h2 it finds out
// whether one can be opened.
func (d *backend) connect(ctx context.Context, u *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if t, ok := d.transport.(*h2.Transport); ok && d.group.b.config.kind == kindH2 {
		return t.Connect(ctx, u)
	}
	nc, err := d.dial(ctx, "tcp", d.addr)
	if err == nil {
		_ = nc.Close()
	}
	return err
}

func (d *backend) close() {
	switch t := d.transport.(type) {
	case io.Closer:
		_ = t.Close()
	case interface{ CloseIdleConnections() }:
		t.CloseIdleConnections()
	}
	if d.sockets != nil {
		d.sockets.close()
	}
}
