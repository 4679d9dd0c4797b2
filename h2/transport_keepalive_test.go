// SPDX-License-Identifier: Apache-2.0

// Whether the other end is alive: PINGs while calls are open, and what happens
// without an answer.

package h2_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// pings notes when PINGs arrive within d. Each is answered.
func (p *rawPeer) pings(d time.Duration) (at []time.Duration) {
	p.t.Helper()
	start := time.Now()
	for end := time.After(d); ; {
		f, _ := p.take(func(f *frame) bool { return f.Type == http2.FramePing && !f.Flags.Has(http2.FlagPingAck) })
		if f != nil {
			at = append(at, time.Since(start))
			continue
		}
		select {
		case <-p.news:
		case <-end:
			return at
		}
	}
}

// TestKeepAlive asks a silent server every five seconds, three times, and then
// rarely: servers of gRPC end connections with more.
func TestKeepAlive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		done := begin(client, get(t.Context()))
		p := s.accept()
		f := p.request()
		got := p.pings(11 * time.Minute)
		want := []time.Duration{5 * time.Second, 10 * time.Second, 15 * time.Second, 325 * time.Second, 635 * time.Second}
		if !slices.Equal(got, want) {
			t.Errorf("got PINGs at %v, want %v", got, want)
		}
		p.headers(f.StreamID, false, ":status", "200")
		if got := p.pings(12 * time.Second); len(got) != 2 {
			t.Errorf("after a sign of life: got PINGs at %v, want two", got)
		}
		p.data(f.StreamID, true, nil)
		receive(t, "a response", done).want(t, 200, "")
		if got := p.pings(time.Minute); len(got) != 0 {
			t.Errorf("without calls: got PINGs at %v, want none", got)
		}
	})
}

// TestKeepAliveConfigured asks as often as configured.
func TestKeepAliveConfigured(t *testing.T) {
	for name, c := range map[string]struct {
		config h2.TransportConfig
		want   int
	}{
		"own":      {h2.TransportConfig{KeepAlive: time.Second}, 30},
		"standard": {h2.TransportConfig{HTTP2: &http.HTTP2Config{SendPingTimeout: 2 * time.Second}}, 15},
		"never":    {h2.TransportConfig{KeepAlive: -1}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, client := newFake(t, &c.config)
				done := begin(client, get(t.Context()))
				p := s.accept()
				f := p.request()
				if got := p.pings(30*time.Second + time.Millisecond); len(got) != c.want {
					t.Errorf("got PINGs at %v, want %d", got, c.want)
				}
				p.respond(f.StreamID, "200", "")
				receive(t, "a response", done).want(t, 200, "")
			})
		})
	}
}

// TestKeepAliveDead has a server fall silent: calls fail after ten seconds, new ones
// use a new connection.
func TestKeepAliveDead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		start := time.Now()
		first := begin(client, get(t.Context()))
		nc := s.silent()
		_ = http2.NewFramer(nc, nil).WriteSettings()
		second := begin(client, get(t.Context()))
		receive(t, "an error", first).wantText(t, "does not answer")
		receive(t, "an error", second).wantText(t, "does not answer")
		within(t, "giving a dead connection up", time.Since(start), 10*time.Second, 10*time.Second)
		third := begin(client, get(t.Context()))
		p := s.accept()
		p.respond(p.request().StreamID, "200", "alive")
		receive(t, "a response", third).want(t, 200, "alive")
	})
}

// TestKeepAliveDeadBody has a server fall silent in the middle of a body that is
// read, and one that is not.
func TestKeepAliveDeadBody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		done := begin(client, get(t.Context()))
		p := s.accept()
		p.mute.Store(true)
		p.headers(p.request().StreamID, false, ":status", "200")
		receive(t, "an error", done).wantText(t, "does not answer")
	})
}

// TestKeepAliveBusy lets a server answer no PING, but send: it lives.
func TestKeepAliveBusy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		done := begin(client, get(t.Context()))
		nc := s.silent()
		w := http2.NewFramer(nc, nil)
		_ = w.WriteSettings()
		for range 100 {
			time.Sleep(7 * time.Second) // after each PING, before its time is over
			_ = w.WriteWindowUpdate(0, 1)
		}
		select {
		case o := <-done:
			t.Errorf("got the end of a call on a connection that lives: %v", o.err)
		default:
		}
		_ = nc.Close()
		receive(t, "an error", done)
	})
}

// TestKeepAliveTooMany has a server complain of PINGs: the next connection to it
// gets fewer.
func TestKeepAliveTooMany(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		first := begin(client, get(t.Context()))
		p := s.accept()
		f := p.request()
		p.write(func(w *http2.Framer) error {
			return w.WriteGoAway(f.StreamID, http2.ErrCodeEnhanceYourCalm, []byte("too_many_pings"))
		})
		_ = p.conn.Close()
		receive(t, "an error", first)
		second := begin(client, get(t.Context()))
		q := s.accept()
		f = q.request()
		if got := q.pings(time.Minute); len(got) != 0 {
			t.Errorf("got PINGs at %v, want none in the first minute", got)
		}
		q.respond(f.StreamID, "200", "")
		receive(t, "a response", second).want(t, 200, "")
	})
}
