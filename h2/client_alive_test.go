// SPDX-License-Identifier: Apache-2.0

// A connection that falls silent with nothing configured: how soon calls go elsewhere,
// and how servers of gRPC that count PINGs see it.

package h2_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// answerAll answers the requests on each new connection, until the network ends.
func (s *fakeServer) answerAll() {
	for {
		nc, err := s.network.Accept()
		if err != nil {
			return
		}
		p := newAnswerer(s.t, nc.(*memoryConn))
		go p.answerAll()
	}
}

func newAnswerer(t testing.TB, nc *memoryConn) *rawPeer {
	preface := make([]byte, len(http2.ClientPreface))
	_, _ = nc.Read(preface)
	_ = http2.NewFramer(nc, nil).WriteSettings()
	return newRawPeer(t, nc, false)
}

// answerAll answers requests as long as the peer is not mute.
func (p *rawPeer) answerAll() {
	for {
		f, ended := p.take(func(f *frame) bool { return f.Type == http2.FrameHeaders })
		switch {
		case f != nil && !p.mute.Load():
			p.respond(f.StreamID, "200", "")
		case f == nil && ended:
			return
		case f == nil:
			<-p.news
		}
	}
}

// TestSilent has a server fall silent while the connection is idle, for different
// times, and makes one call after the other, each of which waits for 600 ms. The first
// answer comes within 8 s, and the new connection is the only one.
func TestSilent(t *testing.T) {
	for _, within := range []bool{false, true} {
		for idle := time.Duration(0); idle < 7*time.Second; idle += 500 * time.Millisecond {
			bubble(t, func(t *testing.T) {
				s := &fakeServer{t: t, network: newMemoryNetwork()}
				t.Cleanup(func() { _ = s.network.Close() })
				d := &dialer{network: s.network}
				var rt http.RoundTripper
				if within {
					standard := newWithin(t, nil, new(http.Transport), nil)
					standard.DialContext = d.dial
					rt = standard
				} else {
					rt = newClient(t, nil, &h2.TransportConfig{DialContext: d.dial})
				}
				done := begin(rt, get(t.Context()))
				p := s.accept()
				p.respond(p.request().StreamID, "200", "")
				receive(t, "a response", done).want(t, 200, "")
				go s.answerAll()
				time.Sleep(idle)
				p.mute.Store(true)
				start, failed := time.Now(), 0
				for ; failed < 100; failed++ {
					if o := call(rt, get(timeout(t, 600*time.Millisecond))); o.err == nil {
						break
					}
				}
				if took := time.Since(start); took > 8*time.Second {
					t.Errorf("within %v, idle for %v: got the first success after %v and %d calls, want it within 8s", within, idle, took, failed)
				}
				if n := d.dials.Load(); n != 2 {
					t.Errorf("within %v, idle for %v: got %d connections, want 2", within, idle, n)
				}
			})
		}
	}
}

// TestSilentForAMoment has a connection come back: calls go there again.
func TestSilentForAMoment(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, &h2.TransportConfig{MaxConnsPerHost: 1})
		first := begin(client, get(t.Context()))
		p := s.accept()
		id := p.request().StreamID
		p.mute.Store(true)
		time.Sleep(7 * time.Second)
		second := begin(client, get(t.Context()))
		settle()
		if n := p.count(func(f *frame) bool { return f.Type == http2.FrameHeaders }); n != 0 {
			t.Errorf("got %d calls on a connection that owes an answer, want none", n)
		}
		p.respond(id, "200", "")
		receive(t, "a response", first).want(t, 200, "")
		p.respond(p.request().StreamID, "200", "")
		receive(t, "a response", second).want(t, 200, "")
	})
}

// TestPingStrikes makes slow calls beside a quiet stream. A server of gRPC ends the
// connection at the third PING that comes within five minutes of the one before
// without anything sent meanwhile; a silent one is noticed all the same.
func TestPingStrikes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		quiet := begin(client, get(ctx))
		p := s.accept()
		p.request()
		pings := len(p.pings(time.Minute))
		for range 5 {
			slow := begin(client, get(t.Context()))
			id := p.request().StreamID
			pings += len(p.pings(20 * time.Second))
			if pings > 3 {
				t.Fatalf("got %d PINGs while nothing was sent, want at most 3", pings)
			}
			p.respond(id, "200", "")
			receive(t, "a response", slow).want(t, 200, "")
			if pings += len(p.pings(4 * time.Second)); pings > 3 {
				t.Fatalf("got %d PINGs, want at most 3", pings)
			}
			pings = 0 // something was sent
		}
		p.pings(time.Minute) // the three that are allowed
		p.mute.Store(true)
		go s.answerAll()
		start := time.Now()
		for call(client, get(timeout(t, 600*time.Millisecond))).err != nil && time.Since(start) < time.Minute {
		}
		within(t, "noticing that the server is silent", time.Since(start), 0, 8*time.Second)
		cancel()
		receive(t, "an error", quiet)
	})
}
