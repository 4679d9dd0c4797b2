// SPDX-License-Identifier: Apache-2.0

// How many connections a transport opens, and when it closes them.

package h2_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// A dialer counts connections: those that were opened, and those that are open.
type dialer struct {
	network      *memoryNetwork
	dials, alive atomic.Int64
	fails        atomic.Bool
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d.dials.Add(1)
	if d.fails.Load() {
		return nil, errRefused
	}
	nc, err := d.network.dialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.alive.Add(1)
	return &countedConn{memoryConn: nc.(*memoryConn), d: d}, nil
}

type countedConn struct {
	*memoryConn
	d    *dialer
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.d.alive.Add(-1) })
	return c.memoryConn.Close()
}

// want checks the counts when all is quiet.
func (d *dialer) want(t testing.TB, dials, alive int64) {
	t.Helper()
	settle()
	if got, open := d.dials.Load(), d.alive.Load(); got != dials || open != alive {
		t.Errorf("got %d dials and %d open connections, want %d and %d", got, open, dials, alive)
	}
}

// many makes n calls at once and returns their outcomes.
func many(t testing.TB, rt http.RoundTripper, n int) []outcome {
	outcomes := make([]outcome, n)
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() { outcomes[i] = call(rt, get(t.Context())) })
	}
	calls.Wait()
	return outcomes
}

// pooled returns a server that holds its handlers until the gate opens, and how
// connections to it are counted.
func poolServer(t testing.TB, streams int) (*dialer, *gate) {
	g := newGate(t)
	s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		g.wait()
		answerOK(w, r)
	}, func(s *http.Server, _ *h2.ServerConfig) {
		s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
	})
	return &dialer{network: s.network}, g
}

// TestPoolShares makes many calls at once on a new transport: they share one
// connection.
func TestPoolShares(t *testing.T) {
	for _, within := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			d, g := poolServer(t, 0)
			var rt http.RoundTripper
			if within {
				standard := newWithin(t, d.network, new(http.Transport), nil)
				standard.DialContext = d.dial
				rt = standard
			} else {
				rt = newClient(t, nil, &h2.TransportConfig{DialContext: d.dial})
			}
			time.AfterFunc(time.Second, g.open)
			for _, o := range many(t, rt, 90) {
				o.want(t, 200, "ok")
			}
			settle()
			if n := d.alive.Load(); n != 1 {
				t.Errorf("got %d open connections for 90 calls, want 1", n)
			}
		})
	}
}

// TestPoolGrows opens as many connections as the server's limit on streams asks
// for.
func TestPoolGrows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d, g := poolServer(t, 3)
		client := newClient(t, nil, &h2.TransportConfig{DialContext: d.dial})
		g2 := time.AfterFunc(time.Minute, g.open)
		defer g2.Stop()
		first := begin(client, get(t.Context())) // learns the limit
		settle()
		for _, o := range many(t, client, 10) {
			o.want(t, 200, "ok")
		}
		receive(t, "a response", first).want(t, 200, "ok")
		d.want(t, 4, 4) // 11 calls, 3 on each
	})
}

// TestPoolBounded waits for places where MaxConnsPerHost allows no more
// connections, or the configuration has calls wait.
func TestPoolBounded(t *testing.T) {
	for name, config := range map[string]*h2.TransportConfig{
		"MaxConnsPerHost": {MaxConnsPerHost: 2},
		"strict":          {HTTP2: &http.HTTP2Config{StrictMaxConcurrentRequests: true}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d, g := poolServer(t, 3)
				config.DialContext = d.dial
				client := newClient(t, nil, config)
				first := begin(client, get(t.Context()))
				settle()
				go func() {
					for range 21 { // in turn, as places become free
						time.Sleep(time.Second)
						g.pass()
					}
				}()
				for _, o := range many(t, client, 20) {
					o.want(t, 200, "ok")
				}
				receive(t, "a response", first).want(t, 200, "ok")
				n := int64(max(config.MaxConnsPerHost, 1))
				d.want(t, n, n)
			})
		})
	}
}

// TestPoolStrictWithin waits for a place in an http.Transport.
func TestPoolStrictWithin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d, g := poolServer(t, 1)
		strict := &h2.TransportConfig{HTTP2: &http.HTTP2Config{StrictMaxConcurrentRequests: true}}
		client := newWithin(t, d.network, new(http.Transport), strict)
		first := begin(client, get(t.Context()))
		settle()
		second := begin(client, get(t.Context()))
		settle()
		g.pass()
		receive(t, "a response", first).want(t, 200, "ok")
		g.pass()
		receive(t, "a response", second).want(t, 200, "ok")
	})
}

// TestPoolInOrder gives places to waiting calls in the order in which they came.
func TestPoolInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, &h2.TransportConfig{MaxConnsPerHost: 1})
		var calls []<-chan outcome
		var p *rawPeer
		for i := range 20 {
			r := get(t.Context())
			r.Header.Set("X-Turn", fmt.Sprint(i))
			calls = append(calls, begin(client, r))
			if i == 0 {
				p = s.accept(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
			}
			settle()
		}
		for i, done := range calls {
			f := p.request()
			if got := field(f.fields, "x-turn"); got != fmt.Sprint(i) {
				t.Errorf("got call %s in turn %d", got, i)
			}
			p.respond(f.StreamID, "200", "")
			receive(t, "a response", done).want(t, 200, "")
		}
	})
}

// TestPoolNoPlaces meets a server that takes no calls: they wait, and do not open
// one connection after the other.
func TestPoolNoPlaces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, _ := newFake(t, nil)
		d := &dialer{network: s.network}
		client := newClient(t, nil, &h2.TransportConfig{DialContext: d.dial})
		first := begin(client, get(t.Context()))
		p := s.accept()
		id := p.request().StreamID // before the limit can be applied
		p.settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
		p.reset(id, http2.ErrCodeRefusedStream)
		settle()
		for range 10 {
			call(client, get(timeout(t, time.Second))).wantError(t, errTimeout)
		}
		d.want(t, 1, 1)
		p.settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		p.respond(p.request().StreamID, "200", "")
		receive(t, "a response", first).want(t, 200, "")
	})
}

// TestPoolIdle closes connections without calls after a while, and at once with
// CloseIdleConnections; not those with calls.
func TestPoolIdle(t *testing.T) {
	for within, idle := range map[bool]time.Duration{false: 0, true: 20 * time.Second} {
		bubble(t, func(t *testing.T) {
			s := startServer(t, answerOK)
			d := &dialer{network: s.network}
			var client interface {
				http.RoundTripper
				CloseIdleConnections()
			}
			want := idle
			if within {
				standard := newWithin(t, nil, &http.Transport{IdleConnTimeout: idle}, nil)
				standard.DialContext = d.dial
				client = standard
			} else {
				want = 90 * time.Second
				client = newClient(t, nil, &h2.TransportConfig{DialContext: d.dial})
			}
			call(client, get(t.Context())).want(t, 200, "ok")
			time.Sleep(want - time.Second)
			d.want(t, 1, 1)
			call(client, get(t.Context())).want(t, 200, "ok") // begins anew
			time.Sleep(want - time.Second)
			d.want(t, 1, 1)
			time.Sleep(2 * time.Second)
			d.want(t, 1, 0)

			call(client, get(t.Context())).want(t, 200, "ok")
			in := newWaitingBody()
			held := begin(client, request(t.Context(), "POST", in))
			settle()
			client.CloseIdleConnections()
			d.want(t, 2, 1)
			_ = in.Close()
			receive(t, "an error", held)
			client.CloseIdleConnections()
			d.want(t, 2, 0)
		})
	}
}

// TestDialBackoff makes many calls to a dead address: they fail at once, with few
// dials, and work as soon as the address does.
func TestDialBackoff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := startServer(t, answerOK)
		d := &dialer{network: s.network}
		d.fails.Store(true)
		client := newClient(t, nil, &h2.TransportConfig{DialContext: d.dial})
		start := time.Now()
		for range 60 {
			for _, o := range many(t, client, 100) {
				o.wantError(t, errRefused)
			}
			time.Sleep(time.Second)
		}
		if n := d.dials.Load(); n < 10 || n > 30 {
			t.Errorf("got %d dials for 6000 calls in a minute, want about 20", n)
		}
		within(t, "calls to a dead address", time.Since(start), time.Minute, time.Minute)
		d.fails.Store(false)
		time.Sleep(5 * time.Second)
		call(client, get(t.Context())).want(t, 200, "ok")
		d.fails.Store(true)
		before := d.dials.Load()
		client.CloseIdleConnections()
		settle()
		call(client, get(t.Context())).wantError(t, errRefused) // tried at once: it had worked
		if got := d.dials.Load() - before; got != 1 {
			t.Errorf("got %d dials, want 1", got)
		}
	})
}

// TestDialBackoffAccepted meets an address that accepts and hangs up, as balancers
// without servers do: that is no success.
func TestDialBackoffAccepted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		network := newMemoryNetwork()
		t.Cleanup(func() { _ = network.Close() })
		d := &dialer{network: network}
		client := newClient(t, nil, &h2.TransportConfig{DialContext: d.dial})
		go func() {
			for {
				nc, err := network.Accept()
				if err != nil {
					return
				}
				_ = nc.Close()
			}
		}()
		for range 600 {
			if o := call(client, get(t.Context())); o.err == nil {
				t.Error("got a response, want an error")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := d.dials.Load(); n < 10 || n > 30 {
			t.Errorf("got %d dials for 600 calls in a minute, want about 20", n)
		}
	})
}

// TestDialTimeout gives up an address that does not answer at all. The error is
// not that of the caller's context.
func TestDialTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, client := newFake(t, nil)
		start := time.Now()
		o := call(client, get(t.Context()))
		if timed, ok := errors.AsType[net.Error](o.err); !ok || !timed.Timeout() {
			t.Errorf("got error %v, want a timeout", o.err)
		}
		if errors.Is(o.err, context.DeadlineExceeded) {
			t.Errorf("got error %v, which is that of a context", o.err)
		}
		within(t, "giving up", time.Since(start), 30*time.Second, 30*time.Second)
	})
}

// TestManyHosts talks to thousands of hosts, one after the other. Those without
// connections are forgotten.
func TestManyHosts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := startServer(t, answerOK)
		client := newClient(t, s.network, nil)
		for i := range 3000 {
			r := get(t.Context())
			r.URL.Host = fmt.Sprintf("host%d.test", i)
			call(client, r).want(t, 200, "ok")
			client.CloseIdleConnections()
		}
		call(client, get(t.Context())).want(t, 200, "ok")
	})
}

// TestManyHostsDirect is the same with a target that was prepared before its host was
// forgotten.
func TestManyHostsDirect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := startServer(t, answerOK)
		client := newClient(t, s.network, nil)
		target, err := client.PrepareDirect(client, directURL(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3000 {
			r := get(t.Context())
			if i%1500 == 0 {
				body, err := target.RoundTripDirect(t.Context(), nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				if text, err := io.ReadAll(body); string(text) != "ok" || err != nil {
					t.Errorf("after %d hosts: got %q and error %v", i, text, err)
				}
				_ = body.Close()
			}
			r.URL.Host = fmt.Sprintf("host%d.test", i)
			call(client, r).want(t, 200, "ok")
			client.CloseIdleConnections()
		}
	})
}
