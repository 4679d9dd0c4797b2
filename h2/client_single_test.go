// SPDX-License-Identifier: Apache-2.0

// http.Transport.NewClientConn: connections whose user reserves places.

package h2_test

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// newSingle returns a connection within an http.Transport, and its server's end.
func newSingle(t *testing.T, settings ...http2.Setting) (*http.ClientConn, *http.Transport, *rawPeer) {
	t.Helper()
	s := &fakeServer{t: t, network: newMemoryNetwork()}
	t.Cleanup(func() { _ = s.network.Close() })
	standard := newWithin(t, s.network, new(http.Transport), nil)
	type made struct {
		c   *http.ClientConn
		err error
	}
	done := make(chan made, 1)
	go func() {
		c, err := standard.NewClientConn(t.Context(), "http", "server.test:80")
		done <- made{c, err}
	}()
	p := s.accept(settings...)
	m := receive(t, "a connection", done)
	if m.err != nil {
		t.Fatal(m.err)
	}
	t.Cleanup(func() { _ = m.c.Close() })
	settle()
	return m.c, standard, p
}

// wantPlaces checks the counts of a connection.
func wantPlaces(t *testing.T, c *http.ClientConn, available, inFlight int) {
	t.Helper()
	if a, n := c.Available(), c.InFlight(); a != available || n != inFlight {
		t.Errorf("got %d places and %d calls, want %d and %d", a, n, available, inFlight)
	}
}

// TestSingle reserves places, uses them and gives them back. A call without a place
// waits for one.
func TestSingle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, standard, p := newSingle(t, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
		var changes atomic.Int32
		c.SetStateHook(func(*http.ClientConn) { changes.Add(1) })
		wantPlaces(t, c, 2, 0)
		if err := errors.Join(c.Reserve(), c.Reserve()); err != nil {
			t.Fatal(err)
		}
		wantPlaces(t, c, 0, 2)
		if c.Reserve() == nil {
			t.Error("got a third place, want an error")
		}
		first := begin(c, get(t.Context()))
		second := begin(c, get(t.Context()))
		third := begin(c, get(t.Context()))
		settle()
		wantPlaces(t, c, 0, 2)
		for _, done := range []<-chan outcome{first, second, third} {
			p.respond(p.request().StreamID, "200", "")
			_ = done
		}
		for _, done := range []<-chan outcome{first, second, third} {
			receive(t, "a response", done).want(t, 200, "")
		}
		settle()
		wantPlaces(t, c, 2, 0)
		if changes.Load() == 0 {
			t.Error("got no call of the hook, want some")
		}
		_ = c.Reserve()
		c.Release()
		c.Release() // of nothing
		bad := get(t.Context())
		bad.Header["bad name"] = []string{"x"}
		_ = c.Reserve()
		if _, err := c.RoundTrip(bad); err == nil {
			t.Error("got a response to a request that cannot be sent")
		}
		wantPlaces(t, c, 2, 0)
		standard.CloseIdleConnections() // is about others
		if err := c.Err(); err != nil {
			t.Errorf("got error %v after CloseIdleConnections, want none", err)
		}
		p.settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 5})
		settle()
		wantPlaces(t, c, 5, 0)
	})
}

// TestSingleEnds has the connection end: by its user, by the server, and while a call
// waits for a place.
func TestSingleEnds(t *testing.T) {
	for name, end := range map[string]func(c *http.ClientConn, p *rawPeer){
		"Close":  func(c *http.ClientConn, _ *rawPeer) { _ = c.Close() },
		"server": func(_ *http.ClientConn, p *rawPeer) { _ = p.conn.Close() },
	} {
		bubble(t, func(t *testing.T) {
			c, _, p := newSingle(t, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
			var closed atomic.Bool
			c.SetStateHook(func(c *http.ClientConn) { closed.Store(c.Err() != nil) })
			open := begin(c, get(t.Context()))
			waits := begin(c, get(t.Context()))
			p.request()
			end(c, p)
			for _, done := range []<-chan outcome{open, waits} {
				if o := receive(t, "an error", done); o.err == nil {
					t.Errorf("%s: got a response, want an error", name)
				}
			}
			settle()
			if c.Err() == nil || !closed.Load() {
				t.Errorf("%s: got error %v, the hook saw it %v, want an error that it saw", name, c.Err(), closed.Load())
			}
			wantPlaces(t, c, 0, 0)
			if _, err := c.RoundTrip(get(t.Context())); err == nil || c.Reserve() == nil {
				t.Errorf("%s: got a call on a connection that is over", name)
			}
		})
	}
}

// TestSingleSilent keeps a connection whose peer is late: there is no other.
func TestSingleSilent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c, _, p := newSingle(t)
		p.mute.Store(true)
		open := begin(c, get(t.Context()))
		id := p.request().StreamID
		time.Sleep(7 * time.Second)
		second := begin(c, get(t.Context()))
		p.respond(p.request().StreamID, "200", "")
		p.respond(id, "200", "")
		receive(t, "a response", open).want(t, 200, "")
		receive(t, "a response", second).want(t, 200, "")
	})
}
