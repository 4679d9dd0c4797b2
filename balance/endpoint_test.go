// SPDX-License-Identifier: Apache-2.0

// The state of one endpoint.

package balance

import (
	"errors"
	"net"
	"net/url"
	"testing"
	"time"
	"unsafe"
)

// newTestBackend returns a backend without a goroutine, of a Balancer that is closed at
// the end of the test.
func newTestBackend(t *testing.T, options ...Option) *backend {
	t.Helper()
	b, err := New(Static("10.0.0.1:1"), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	g := newGroup(b, &url.URL{Scheme: "http", Host: "test.local"})
	d := newBackend(g, Endpoint{Addr: "10.0.0.1:1", Weight: 1})
	t.Cleanup(d.close)
	return d
}

// TestConnectFailed has the background's attempt to connect fail at the moment in which a
// call has opened a connection: the endpoint stays ready.
func TestConnectFailed(t *testing.T) {
	d := newTestBackend(t)
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	d.connectFailed(refused)
	if d.ready.Load() || d.lastErr == nil {
		t.Errorf("got ready %v and error %v, want the error", d.ready.Load(), d.lastErr)
	}
	d.setConnected(true, nil)
	d.connectFailed(refused)
	if !d.ready.Load() || d.lastErr != nil {
		t.Errorf("got ready %v and error %v, want an endpoint that is ready", d.ready.Load(), d.lastErr)
	}
	d.setConnected(false, nil)
	if d.ready.Load() {
		t.Error("got an endpoint that is ready after the loss of its connection")
	}
}

// TestLose lists losses of connections and which of them count.
func TestLose(t *testing.T) {
	d := newTestBackend(t)
	start := clock()
	at := func(second int) moment { return start.Add(time.Duration(second) * time.Second) }
	for _, step := range []struct {
		opened     bool // a connection, before
		now, began int
		want       bool
	}{
		{true, 10, 1, true},   // the first
		{false, 11, 2, false}, // a call of the same connection
		{true, 12, 3, false},  // it began before the loss was noticed
		{false, 13, 11, true}, // a call on the new connection
		{false, 14, 13, false},
		{false, 15, 14, false}, // no new connection
		{true, 20, 16, true},
	} {
		if step.opened {
			d.opened.Add(1)
		}
		if got := d.lose(at(step.now), at(step.began)); got != step.want {
			t.Errorf("%+v: got %v", step, got)
		}
	}
}

// TestSlowStartAgain lists when an endpoint begins slowly.
func TestSlowStartAgain(t *testing.T) {
	d := newTestBackend(t, SlowStart(time.Hour))
	d.setConnected(true, nil)
	first := d.readySince.Load()
	if first == 0 {
		t.Error("got no slow start of a new endpoint")
	}
	d.setConnected(false, nil)
	d.setConnected(true, nil) // a new connection for one that was too old
	if d.readySince.Load() != first {
		t.Error("got a slow start after a short interruption, want none")
	}
	d.setConnected(false, nil)
	d.changed = d.changed.Add(-2 * time.Second)
	d.setConnected(true, nil)
	if d.readySince.Load() == first {
		t.Error("got no slow start after two seconds")
	}
}

// TestEndedCall has the interceptor end a unary call that its transport is about to send
// elsewhere, because the transport's goroutine was left behind: the use ends once.
func TestEndedCall(t *testing.T) {
	for name, leave := range map[string]func(*search){
		"move":   func(s *search) { s.move(errors.New("not processed")) },
		"cancel": (*search).cancel,
		"fail":   func(s *search) { _ = s.fail(errors.New("lost"), false) },
	} {
		d := newTestBackend(t)
		c := &call{Context: t.Context(), b: d.group.b}
		var s search
		s.begin(d.group, c)
		if !d.enter() {
			t.Fatal("got an endpoint that is removed")
		}
		s.use = use{d: d, began: clock()}
		s.owned = c.take(s.use)
		c.abandon()
		leave(&s)
		if calls := d.load.calls.Load(); calls != 0 {
			t.Errorf("%s: got %d calls in flight, want none", name, calls)
		}
	}
}

// TestSizes checks what the cost of a call depends on: that all it writes at an endpoint is
// in one cache line, which has nothing else that is often written, and that what it
// allocates is one.
func TestSizes(t *testing.T) {
	const line = 64
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("sizes are those of 64-bit machines")
	}
	if size := unsafe.Sizeof(call{}); size > line {
		t.Errorf("got a call of %d bytes, want at most %d", size, line)
	}
	d := newTestBackend(t)
	for name, at := range map[string]unsafe.Pointer{
		"load.calls": unsafe.Pointer(&d.load.calls), "load.latency": unsafe.Pointer(&d.load.latency),
		"health.calls": unsafe.Pointer(&d.health.calls), "health.quiet": unsafe.Pointer(&d.health.quiet),
	} {
		if begin := uintptr(unsafe.Pointer(d)); begin%line != 0 || uintptr(at)-begin > line-8 {
			t.Errorf("got %s at byte %d of a backend that begins at %#x, want it in its first cache line", name, uintptr(at)-begin, begin)
		}
	}
}
