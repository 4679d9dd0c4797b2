// SPDX-License-Identifier: Apache-2.0

// Endpoints that are slow, hang, are new, or fail their probes. Time is synctest's.

package balance_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/health"
	"github.com/seed-b7c59c10/connect/inprocess"
)

// TestSlow makes 1 800 calls a second to four endpoints, of which one takes 50 ms instead
// of 1 ms: the default policy hardly uses it, and round robin does.
func TestSlow(t *testing.T) {
	for name, policy := range map[string]balance.Policy{"PeakEWMA": balance.PeakEWMA(), "RoundRobin": balance.RoundRobin()} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, 4, false, func(_ context.Context, n *node, _ int64, _ string) (string, error) {
				if n.name == "a" {
					time.Sleep(50 * time.Millisecond)
				}
				time.Sleep(time.Millisecond)
				return n.name, nil
			})
			b := s.balancer(t, nil, policy)
			c := clientOf(b, pathUnary, unknown, protocols["grpc"])
			end := settled(t, s, b, c)
			const calls = 9000
			took := make([]time.Duration, calls)
			var working sync.WaitGroup
			for i := range calls {
				working.Go(func() {
					began := time.Now()
					if _, err := ask(context.Background(), c); err != nil {
						t.Error(err)
					}
					took[i] = time.Since(began)
				})
				time.Sleep(time.Second / 1800)
			}
			working.Wait()
			slices.Sort(took)
			p99, share := took[calls*99/100], 100*float64(s.node("a").runs.Load())/calls
			t.Logf("%s: p99 %v, the slow endpoint got %.1f %%", name, p99, share)
			if name == "PeakEWMA" && (p99 > 10*time.Millisecond || share > 1.5) {
				t.Errorf("%s: got p99 %v and %.1f %% of the calls at the slow endpoint, want at most 10 ms and 1.5 %%", name, p99, share)
			}
			if name == "RoundRobin" && p99 < 50*time.Millisecond {
				t.Errorf("%s: got p99 %v, want at least 50 ms: the test is too easy", name, p99)
			}
			end()
		})
	}
}

// TestBlackhole has one of three endpoints swallow all bytes: 10 s later no call is
// affected, and when the endpoint answers again it is back within 10 s.
func TestBlackhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 3, false, echo)
		b := s.balancer(t, nil, balance.RoundRobin())
		c := clientOf(b, pathUnary, unknown, protocols["grpc"])
		end := settled(t, s, b, c)
		var working sync.WaitGroup
		var slow atomic.Int64
		var last time.Duration
		s.node("a").hide(true)
		began := time.Now()
		for range 400 { // 40 s
			working.Go(func() {
				at := time.Since(began)
				_, err := ask(context.Background(), c)
				if took := time.Since(began) - at; took > 0 || err != nil {
					slow.Add(1)
					if at > 10*time.Second {
						t.Errorf("got %v after %v for a call that began after %v, want an answer at once", err, took, at)
					}
				}
			})
			time.Sleep(100 * time.Millisecond)
		}
		working.Wait()
		if slow.Load() == 0 {
			t.Error("got no call that was affected: the test is too easy")
		}
		t.Logf("%d of 400 calls were affected", slow.Load())
		s.node("a").hide(false)
		began = time.Now()
		for states(b)["a"] != balance.StateReady && time.Since(began) < time.Minute {
			time.Sleep(10 * time.Millisecond)
			last = time.Since(began)
		}
		if last > 12*time.Second { // a dial in vain of 5 s, and a pause of 5 to 6.25 s
			t.Errorf("got the endpoint back after %v, want at most 12 s", last)
		}
		end()
	})
}

// TestFirstBlack has one of the endpoints swallow connections from the start: no call
// waits for it.
func TestFirstBlack(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, 2, http1, echo)
			s.node("a").hide(true)
			b := s.balancer(t, nil, balance.RoundRobin())
			c := clientOf(b, pathUnary, unknown, protocols["connect"])
			var slowest time.Duration
			for range 100 {
				began := time.Now()
				if name, err := ask(context.Background(), c); err != nil || name != "b" {
					t.Fatalf("got %q and %v, want an answer of b", name, err)
				}
				slowest = max(slowest, time.Since(began))
			}
			// An http.Transport finds out with the first call.
			if want := map[bool]time.Duration{true: 5 * time.Second}[http1]; slowest > want {
				t.Errorf("http1 %v: got a call that took %v, want at most %v", http1, slowest, want)
			}
			s.node("a").hide(false)
			b.Close()
			s.node("a").stop(t, false)
			s.node("b").stop(t, false)
		})
	}
}

// TestSlowStart adds an endpoint: in the first tenth of the window it gets at most a tenth
// of its share, and then all of it.
func TestSlowStart(t *testing.T) {
	for name, policy := range map[string]balance.Policy{"RoundRobin": balance.RoundRobin(), "PeakEWMA": balance.PeakEWMA()} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, 2, false, func(_ context.Context, n *node, _ int64, _ string) (string, error) {
				time.Sleep(time.Millisecond)
				return n.name, nil
			})
			r := newResolver()
			b := s.balancer(t, r, policy, balance.SlowStart(30*time.Second))
			r.set("a")
			c := clientOf(b, pathUnary, unknown, protocols["grpc"])
			end := settled(t, s, b, c)
			time.Sleep(time.Minute)
			r.set("a", "b")
			synctest.Wait()
			steps := func(n int) (atB int64) {
				before := s.node("b").runs.Load()
				for range n {
					if _, err := ask(context.Background(), c); err != nil {
						t.Fatal(err)
					}
				}
				return s.node("b").runs.Load() - before
			}
			if got := steps(3000); got > 300 || got == 0 { // 3 s
				t.Errorf("%s: got %d of 3000 calls at the new endpoint in a tenth of its window, want at most 300, and some", name, got)
			}
			time.Sleep(30 * time.Second)
			if got := steps(1000); name == "RoundRobin" && got != 500 || got < 200 {
				t.Errorf("%s: got %d of 1000 calls at the endpoint after its window, want its share", name, got)
			}
			end()
		})
	}
}

// TestProbe has a probe fail for one endpoint: it gets no calls until the probe succeeds.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 2, false, echo)
		var sick atomic.Bool
		sick.Store(true)
		var probes sync.Map
		b := s.balancer(t, nil, balance.RoundRobin(), balance.Probe(func(ctx context.Context, c connect.HTTPClient, base string) error {
			e := balance.ProbedEndpoint(ctx)
			n, _ := probes.LoadOrStore(e.Addr, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
			if base != "http://test.local" {
				t.Errorf("got base %q, want that of the calls", base)
			}
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/none", nil)
			if err != nil {
				return err
			}
			res, err := c.Do(r)
			if err != nil {
				return err
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusNotFound {
				t.Errorf("got status %d from the endpoint, want 404", res.StatusCode)
			}
			if e.Addr == "a" && sick.Load() {
				return errors.New("not well")
			}
			return nil
		}, time.Second))
		c := clientOf(b, pathUnary, unknown, protocols["grpc"])
		for range 20 {
			if name, err := ask(t.Context(), c); err != nil || name != "b" {
				t.Fatalf("got %q and %v, want an answer of b", name, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		for _, e := range b.Status().Endpoints {
			if e.Addr == "a" && (e.State != balance.StateProbing || e.Reason != "not well") {
				t.Errorf("got status %+v, want the probe's error", e)
			}
		}
		sick.Store(false)
		time.Sleep(1200 * time.Millisecond)
		if got := states(b)["a"]; got != balance.StateReady {
			t.Errorf("got state %s after a probe that succeeded, want ready", got)
		}
		sick.Store(true)
		time.Sleep(1200 * time.Millisecond)
		if got := states(b)["a"]; got != balance.StateProbing {
			t.Errorf("got state %s after a probe that failed, want probing", got)
		}
		n, _ := probes.Load("a")
		if got := n.(*atomic.Int64).Load(); got < 4 || got > 6 {
			t.Errorf("got %d probes in 4.4 s, want 4 to 6", got)
		}
		b.Close()
		s.node("a").stop(t, false)
		s.node("b").stop(t, false)
	})
}

// TestTLS calls endpoints whose certificate is that of the service, and not of their
// addresses, over both kinds of transports, and by a function.
func TestTLS(t *testing.T) {
	handler := handlerOf(newNetwork().node("a"), echo)
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	config := &tls.Config{RootCAs: roots}
	address := server.Listener.Addr().String()
	each := func(e balance.Endpoint) *tls.Config {
		if e.Addr != address {
			t.Errorf("got the endpoint %q, want %q", e.Addr, address)
		}
		return config
	}
	var made atomic.Int64
	for name, options := range map[string][]balance.Option{
		"h2":       {balance.TLS(config)},
		"net/http": {balance.TLS(config), balance.NetHTTP()},
		// The endpoint's configuration takes the place of that of all.
		"each h2":       {balance.TLS(new(tls.Config)), balance.EndpointTLS(each)},
		"each net/http": {balance.EndpointTLS(each), balance.NetHTTP()},
		"other h2": {balance.Transport(func(e balance.Endpoint, dial balance.Dial) http.RoundTripper {
			made.Add(1)
			return h2.NewTransport(&h2.TransportConfig{DialContext: dial, TLSClientConfig: config, MaxAttempts: 1})
		})},
		"other": {balance.Transport(func(e balance.Endpoint, dial balance.Dial) http.RoundTripper {
			made.Add(1)
			return &http.Transport{DialContext: dial, TLSClientConfig: config}
		})},
	} {
		b, err := balance.New(balance.Static(address), options...)
		if err != nil {
			t.Fatal(err)
		}
		// example.com is a name in httptest's certificate.
		c := connect.NewClient[message, message](b.HTTPClient(), "https://example.com"+pathUnary, b.Options())
		if _, err := ask(t.Context(), c); err != nil {
			t.Errorf("%s: got %v, want an answer", name, err)
		}
		other := connect.NewClient[message, message](b.HTTPClient(), "https://other.example"+pathUnary, b.Options())
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if _, err := ask(ctx, other); err == nil || !strings.Contains(err.Error(), "certificate") && connect.CodeOf(err) != connect.CodeDeadlineExceeded {
			t.Errorf("%s: got %v for another name, want an error of its certificate", name, err)
		}
		cancel()
		wantIdle(t, b)
		b.Close()
	}
	if made.Load() != 4 {
		t.Errorf("got %d calls of the functions, want one for each endpoint and host, 4", made.Load())
	}
}

// TestReconnect has a server close its connection gracefully again and again, as for its
// age: no call fails, and the endpoint does not become slow.
func TestReconnect(t *testing.T) {
	s := newSite(t, 1, false, echo)
	n := s.node("a")
	n.stop(t, false)
	l := listener{n, make(chan net.Conn), make(chan struct{}), new(sync.Once)}
	server := &http.Server{Handler: handlerOf(n, echo)}
	if err := h2.ConfigureServer(server, &h2.ServerConfig{MaxConnAge: 20 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	n.mu.Lock()
	n.queue, n.gone, n.server, n.served = l.queue, l.gone, server, served
	n.mu.Unlock()
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	b := s.balancer(t, nil, balance.SlowStart(time.Hour))
	c := clientOf(b, pathUnary, unknown, protocols["grpc"])
	for n.dials.Load() < 6 {
		if _, err := ask(t.Context(), c); err != nil {
			t.Fatalf("got %v after %d connections, want an answer", err, n.dials.Load())
		}
	}
	wantIdle(t, b)
}

// TestStatus checks the parts of a status that other tests do not.
func TestStatus(t *testing.T) {
	s := newSite(t, 1, false, echo)
	b := s.balancer(t, balance.StaticEndpoints(balance.Endpoint{Addr: "a", Weight: 3, Zone: "z", Meta: map[string]string{"rack": "7"}}, balance.Endpoint{Addr: "x", Weight: 1}))
	waitFor(t, "the set", func() bool { return len(b.Status().Endpoints) == 2 })
	if got := fmt.Sprint(states(b)); got != "map[a:idle x:idle]" {
		t.Errorf("got states %s before the first call, want idle", got)
	}
	if _, err := ask(t.Context(), clientOf(b, pathUnary, unknown, protocols["grpc"])); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a reason", func() bool {
		e := b.Status().Endpoints[1]
		return e.State == balance.StateConnecting && strings.Contains(e.Reason, "connection refused")
	})
	e := b.Status().Endpoints[0]
	if e.Zone != "z" || e.Meta["rack"] != "7" || e.Weight != 3 || e.Origin != "http://test.local" || e.State != balance.StateReady || e.Reason != "" || e.Latency <= 0 {
		t.Errorf("got status %+v", e)
	}
}

// TestPriority uses the second level while the first is down.
func TestPriority(t *testing.T) {
	s := newSite(t, 2, false, echo)
	b := s.balancer(t, balance.StaticEndpoints(balance.Endpoint{Addr: "a"}, balance.Endpoint{Addr: "b", Priority: 1}))
	c := clientOf(b, pathUnary, unknown, protocols["grpc"])
	answeredBy := func(want string) {
		t.Helper()
		waitFor(t, "an answer of "+want, func() bool {
			name, err := ask(t.Context(), c)
			return err == nil && name == want
		})
	}
	answeredBy("a")
	waitFor(t, "a connection to b", func() bool { return states(b)["b"] == balance.StateStandby })
	s.node("a").stop(t, false)
	answeredBy("b")
	s.start(t, "a")
	answeredBy("a")
}

// TestNilTransport has the program's function return nil: calls fail with the reason.
func TestNilTransport(t *testing.T) {
	s := newSite(t, 1, false, echo)
	b := s.balancer(t, nil, balance.Transport(func(balance.Endpoint, balance.Dial) http.RoundTripper { return nil }))
	for _, path := range []string{pathUnary, pathBidi} {
		if _, err := call(t.Context(), clientOf(b, path, unknown, protocols["grpc"]), path); err == nil || !strings.Contains(err.Error(), "returned nil") {
			t.Errorf("%s: got %v, want an error that has the reason", path, err)
		}
	}
	wantIdle(t, b)
}

// TestHealthProbe drains the health service of one endpoint: calls go to the other.
func TestHealthProbe(t *testing.T) {
	const service = "acme.v1.S"
	var mux http.ServeMux
	status := health.New(service)
	mux.Handle(health.NewHandler(status))
	s := inprocess.NewTransport(&mux)
	b, err := balance.New(balance.Static("a:1"),
		balance.Transport(func(balance.Endpoint, balance.Dial) http.RoundTripper { return s }),
		balance.Probe(health.Probe(service), 50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	client := health.NewClient(b.HTTPClient(), "http://test.local", b.Options())
	if got, err := client.Check(t.Context(), service); err != nil || got != health.StatusServing {
		t.Errorf("got %v and %v, want serving", got, err)
	}
	status.Set(service, health.StatusNotServing)
	waitFor(t, "a probe that fails with the name of the service", func() bool {
		e := b.Status().Endpoints[0]
		return e.State == balance.StateProbing && strings.Contains(e.Reason, service)
	})
}

// TestRestartedProbe restarts a server that then fails its probe: it gets no call.
func TestRestartedProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 2, false, echo)
		var sick atomic.Bool
		b := s.balancer(t, nil, balance.RoundRobin(), balance.Probe(func(ctx context.Context, _ connect.HTTPClient, _ string) error {
			if sick.Load() && balance.ProbedEndpoint(ctx).Addr == "a" {
				return errors.New("warming up")
			}
			return nil
		}, time.Hour))
		c := clientOf(b, pathUnary, unknown, protocols["grpc"])
		end := settled(t, s, b, c)
		s.node("a").stop(t, false)
		sick.Store(true)
		time.Sleep(7 * time.Second) // not ten: then servers close connections that had no request
		before := s.node("a").runs.Load()
		s.start(t, "a")
		time.Sleep(7 * time.Second)
		for range 20 {
			if name, err := ask(t.Context(), c); err != nil || name != "b" {
				t.Errorf("got %q and %v, want an answer of b", name, err)
			}
		}
		if got := s.node("a").runs.Load() - before; got != 0 || states(b)["a"] != balance.StateProbing {
			t.Errorf("got %d calls at the endpoint and state %s, want none and probing", got, states(b)["a"])
		}
		end()
	})
}
