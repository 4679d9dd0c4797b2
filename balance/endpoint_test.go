// SPDX-License-Identifier: Apache-2.0

// The state of one endpoint.

package balance

import (
	"errors"
	"net"
	"net/url"
	"testing"
	"time"
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
	start := time.Now()
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
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
		s := d.group.search(c)
		if !d.enter() {
			t.Fatal("got an endpoint that is removed")
		}
		s.use = use{d: d, began: time.Now()}
		s.owned = c.take(s.use)
		c.abandon()
		leave(&s)
		if users, calls := d.users.Load(), d.load.calls.Load(); users != 0 || calls != 0 {
			t.Errorf("%s: got %d users and %d calls in flight, want none", name, users, calls)
		}
	}
}
