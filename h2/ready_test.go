// SPDX-License-Identifier: Apache-2.0

// What callers that choose among hosts stand on: whether a host is ready, that a
// connection can be opened before the first call, and whether a failed request ran.

package h2_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// A readinessLog has the arguments of OnReady.
type readinessLog struct {
	mu  sync.Mutex
	got []bool
}

func (l *readinessLog) add(_ string, ready bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, ready)
}

// want checks all calls of OnReady so far when all is quiet.
func (l *readinessLog) want(t testing.TB, after string, want ...bool) {
	t.Helper()
	settle()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.got, want) {
		t.Errorf("after %s: got OnReady calls %v, want %v", after, l.got, want)
	}
}

func unprocessed(err error) bool {
	var u interface{ Unprocessed() bool }
	return errors.As(err, &u) && u.Unprocessed()
}

// TestOnReady follows one host through SETTINGS, GOAWAY, a new connection, a late
// answer, and the end.
func TestOnReady(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var l readinessLog
		s, client := newFake(t, &h2.TransportConfig{OnReady: l.add})
		done := begin(client, get(t.Context()))
		nc := s.silent()
		l.want(t, "a connection without SETTINGS")
		if err := http2.NewFramer(nc, nil).WriteSettings(); err != nil {
			t.Fatal(err)
		}
		p := newRawPeer(t, nc, false)
		p.respond(p.request().StreamID, "200", "")
		receive(t, "a response", done).want(t, 200, "")
		l.want(t, "SETTINGS", true)
		p.goAway(1, http2.ErrCodeNo)
		l.want(t, "GOAWAY", true, false)

		done = begin(client, get(t.Context()))
		p = s.accept()
		id := p.request().StreamID
		l.want(t, "a new connection", true, false, true)
		p.mute.Store(true)
		time.Sleep(7 * time.Second) // 5 until the PING, and 1 for the answer
		l.want(t, "a late answer", true, false, true, false)
		p.respond(id, "200", "")
		receive(t, "a response", done).want(t, 200, "")
		time.Sleep(2 * time.Second)
		l.want(t, "an answer", true, false, true, false, true)
		_ = client.Close()
		l.want(t, "Close", true, false, true, false, true, false)
	})
}

// TestOnReadySlow has an OnReady that takes its time: the calls for one host do not
// overlap, and the last one has the last state.
func TestOnReadySlow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var l readinessLog
		s, client := newFake(t, &h2.TransportConfig{OnReady: func(host string, ready bool) {
			l.add(host, ready)
			time.Sleep(time.Second)
		}})
		for range 5 { // within the second
			done := begin(client, get(t.Context()))
			p := s.accept()
			p.respond(p.request().StreamID, "200", "")
			receive(t, "a response", done).want(t, 200, "")
			p.goAway(1, http2.ErrCodeNo)
			settle()
		}
		l.want(t, "five connections", true)
		time.Sleep(3 * time.Second)
		l.want(t, "the first call", true, false)
	})
}

// TestConnect opens a connection before the first call, which then uses it.
func TestConnect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		network := newMemoryNetwork()
		t.Cleanup(func() { _ = network.Close() })
		s, d := &fakeServer{t: t, network: network}, &dialer{network: network}
		client := newClient(t, nil, &h2.TransportConfig{DialContext: d.dial})
		u, err := url.Parse(serverURL)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- client.Connect(t.Context(), u) }()
		nc := s.silent()
		settle()
		select {
		case err := <-done:
			t.Fatalf("got %v from Connect before SETTINGS, want it to wait", err)
		default:
		}
		if err := http2.NewFramer(nc, nil).WriteSettings(); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, "the end of Connect", done); err != nil {
			t.Errorf("got %v from Connect, want nil", err)
		}
		if err := client.Connect(t.Context(), u); err != nil {
			t.Errorf("got %v from a second Connect, want nil", err)
		}
		p := newRawPeer(t, nc, false)
		answer := begin(client, get(t.Context()))
		p.respond(p.request().StreamID, "200", "")
		receive(t, "a response", answer).want(t, 200, "")
		d.want(t, 1, 1)
	})
}

// TestConnectFails lists what prevents a connection.
func TestConnectFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		u, err := url.Parse(serverURL)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- client.Connect(t.Context(), u) }()
		_ = s.silent().Close()
		if err := receive(t, "an error", done); !unprocessed(err) || !strings.Contains(err.Error(), "before it spoke HTTP/2") {
			t.Errorf("got %v from Connect to a server that hangs up, want an unprocessed error with the reason", err)
		}

		time.Sleep(time.Second) // until it dials again
		gone := errors.New("given up")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() { done <- client.Connect(ctx, u) }()
		held := s.silent()
		cancel(gone)
		defer held.Close()
		if err := receive(t, "an error", done); !errors.Is(err, gone) {
			t.Errorf("got %v from Connect whose context ends, want %v", err, gone)
		}
		if err := client.Connect(t.Context(), &url.URL{Scheme: "ftp", Host: "a"}); err == nil {
			t.Error("got nil from Connect to ftp://a, want an error")
		}
		refusing := &dialer{}
		refusing.fails.Store(true)
		other := newClient(t, nil, &h2.TransportConfig{DialContext: refusing.dial})
		if err := other.Connect(t.Context(), u); !errors.Is(err, errRefused) || !unprocessed(err) {
			t.Errorf("got %v from Connect to no server, want an unprocessed error that wraps %v", err, errRefused)
		}
		_ = client.Close()
		if err := client.Connect(t.Context(), u); err == nil {
			t.Error("got nil from Connect after Close, want an error")
		}
	})
}

// TestUnprocessed lists ends of a request, and which of them prove that it did not run.
func TestUnprocessed(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(p *rawPeer, id uint32)
		want   bool
	}{
		"refused":               {func(p *rawPeer, id uint32) { p.reset(id, http2.ErrCodeRefusedStream) }, true},
		"above GOAWAY":          {func(p *rawPeer, _ uint32) { p.goAway(0, http2.ErrCodeNo) }, true},
		"reset, other reason":   {func(p *rawPeer, id uint32) { p.reset(id, http2.ErrCodeInternal) }, false},
		"connection lost":       {func(p *rawPeer, _ uint32) { _ = p.conn.Close() }, false},
		"below GOAWAY and lost": {func(p *rawPeer, id uint32) { p.goAway(id, http2.ErrCodeNo); _ = p.conn.Close() }, false},
		"head, then refused": {func(p *rawPeer, id uint32) {
			p.headers(id, false, ":status", "200")
			p.reset(id, http2.ErrCodeRefusedStream)
		}, false},
	} {
		for _, kind := range []string{"GET", "POST without GetBody", "direct"} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s, client := newFake(t, &h2.TransportConfig{MaxAttempts: 1})
					var done <-chan outcome
					switch kind {
					case "GET":
						done = begin(client, get(t.Context()))
					case "direct":
						result := make(chan outcome, 1)
						done = result
						go func() { result <- callDirect(t, client) }()
					default:
						r := request(t.Context(), http.MethodPost, strings.NewReader("body"))
						r.GetBody = nil
						done = begin(client, r)
					}
					p := s.accept()
					c.answer(p, p.request().StreamID)
					if o := receive(t, "an error", done); o.err == nil || unprocessed(o.err) != c.want {
						t.Errorf("got error %v with Unprocessed %v, want %v", o.err, unprocessed(o.err), c.want)
					}
					if n := p.count(func(f *frame) bool { return f.Type == http2.FrameHeaders }); n != 0 {
						t.Errorf("got %d more attempts, want none", n)
					}
				})
			})
		}
	}
}

// callDirect makes a direct call and reads the response to its end.
func callDirect(t testing.TB, client *h2.Transport) outcome {
	u, err := url.Parse(serverURL)
	if err != nil {
		return outcome{err: err}
	}
	target, err := client.PrepareDirect(client, u, nil)
	if err != nil {
		return outcome{err: err}
	}
	body, err := target.RoundTripDirect(t.Context(), nil, []byte("body"))
	if err != nil {
		return outcome{err: err}
	}
	defer body.Close()
	_, err = body.Read(make([]byte, 1))
	return outcome{err: err}
}

// TestMaxAttempts has a call refused again and again.
func TestMaxAttempts(t *testing.T) {
	for _, most := range []int{1, 2, 4} {
		bubble(t, func(t *testing.T) {
			s, client := newFake(t, &h2.TransportConfig{MaxAttempts: most})
			done := begin(client, get(t.Context()))
			p := s.accept()
			for range most {
				p.reset(p.request().StreamID, http2.ErrCodeRefusedStream)
			}
			o := receive(t, "an error", done)
			o.wantCode(t, h2.ErrCodeRefusedStream)
			if n := p.count(func(f *frame) bool { return f.Type == http2.FrameHeaders }); n != 0 || !unprocessed(o.err) {
				t.Errorf("got %d attempts beyond %d and error %v, want none and an unprocessed one", n, most, o.err)
			}
		})
	}
}
