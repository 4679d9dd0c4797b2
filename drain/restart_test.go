// SPDX-License-Identifier: Apache-2.0

// Restarts: servers take each other's place while calls are made, and no call is lost.

package drain_test

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/drain"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/inprocess"
)

// TestInFlight has thousands of unary calls in handlers when the server ends, and as many
// that begin afterwards. The transport repeats those that no server has processed.
func TestInFlight(t *testing.T) {
	const calls = inFlight
	limits := connecttest.WithServer(func(server *http.Server) { server.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: calls} })
	held := newGate(calls)
	var entered atomic.Int64
	old, replacement := &service{unary: func(ctx context.Context) error {
		if entered.Add(1) > calls {
			return nil // one of the later calls, on its way before the client has read the GOAWAY
		}
		return held.wait(ctx)
	}}, new(service)
	var s site
	first := newReplica(old, []connecttest.Option{connecttest.WithEngine(), limits})
	defer first.server.Close()
	s.current.Store(first)
	transport := h2.NewTransport(&h2.TransportConfig{DialContext: s.dial})
	defer transport.Close()
	c := newClient(transport, pathUnary, connect.WithGRPC())
	var failed atomic.Int64
	var working sync.WaitGroup
	call := func() {
		if err := unary(t.Context(), c); err != nil {
			if failed.Add(1) == 1 {
				t.Errorf("got %v, want an answer", err)
			}
		}
	}
	for range calls {
		working.Go(call)
	}
	held.entered.Wait()
	second := newReplica(replacement, []connecttest.Option{connecttest.WithEngine(), limits})
	defer second.server.Close()
	s.current.Store(second)
	ended := make(chan error, 1)
	go func() { ended <- first.Shutdown(t.Context()) }()
	for range calls {
		working.Go(call)
	}
	for replacement.runs.Load() == 0 { // no new call meets the old server for ever
		call()
		if t.Failed() {
			break
		}
	}
	close(held.opened)
	working.Wait()
	if err := <-ended; err != nil {
		t.Errorf("got %v from Shutdown, want nil", err)
	}
	if got := old.runs.Load() + replacement.runs.Load(); failed.Load() != 0 || got < 2*calls || old.runs.Load() < calls {
		t.Errorf("got %d of %d calls failed, %d runs, %d of them on the old server, want 0, all, and at least %d", failed.Load(), 2*calls, got, old.runs.Load(), calls)
	}
	t.Logf("%d runs on the old server, %d on the new one", old.runs.Load(), replacement.runs.Load())
}

// TestRolling replaces servers one after the other under callers that never stop. They
// have no policy of retries; the transport repeats what no server has processed.
func TestRolling(t *testing.T) {
	const callers, restarts = 16, 20
	for name, c := range map[string]struct {
		options   []connecttest.Option
		transport func(*site) (http.RoundTripper, func())
	}{
		"h2":           {[]connecttest.Option{connecttest.WithEngine()}, (*site).engineTransport},
		"h2, net/http": {[]connecttest.Option{connecttest.WithEngine()}, func(s *site) (http.RoundTripper, func()) { return s.standardTransport(false) }},
	} {
		t.Run(name, func(t *testing.T) {
			var s site
			var services service
			r := newReplica(&services, c.options)
			s.current.Store(r)
			transport, closeTransport := c.transport(&s)
			defer closeTransport()
			var made, failed atomic.Int64
			var working sync.WaitGroup
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			for range callers {
				c := newClient(transport, pathUnary)
				working.Go(func() {
					for ctx.Err() == nil {
						made.Add(1)
						if err := unary(t.Context(), c); err != nil && failed.Add(1) == 1 {
							t.Errorf("got %v, want an answer", err)
						}
					}
				})
			}
			for i := range restarts {
				for made.Load() < int64(100*(i+1)) {
					time.Sleep(time.Millisecond) // paces the restarts
				}
				next := newReplica(&services, c.options)
				s.current.Store(next)
				if err := r.Shutdown(t.Context()); err != nil {
					t.Errorf("restart %d: got %v from Shutdown, want nil", i, err)
				}
				r.server.Close()
				r = next
			}
			stop()
			working.Wait()
			r.server.Close()
			if failed.Load() != 0 || services.runs.Load() != made.Load() {
				t.Errorf("got %d of %d calls failed, %d runs, want 0 and one for each", failed.Load(), made.Load(), services.runs.Load())
			}
			t.Logf("%d calls over %d restarts", made.Load(), restarts)
		})
	}
}

// TestConnAge has connections that live for a second, under load for a minute of virtual
// time.
func TestConnAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers, minutes = 4, 1
		var served service
		served.unary = func(context.Context) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		}
		var conns atomic.Int64
		var running httpServer
		d := drain.New(&running)
		server := connecttest.NewServer(d.Handler(served.handler()), connecttest.WithServer(func(s *http.Server) {
			s.ConnContext = countConns(&conns)
			running.Server = s
			if err := h2.ConfigureServer(s, &h2.ServerConfig{MaxConnAge: time.Second, MaxConnAgeGrace: time.Second}); err != nil {
				t.Error(err)
			}
		}))
		defer server.Close()
		transport := h2.NewTransport(&h2.TransportConfig{DialContext: server.DialContext})
		defer transport.Close()
		var made, failed atomic.Int64
		var working sync.WaitGroup
		end := time.Now().Add(minutes * time.Minute)
		for range callers {
			c := newClient(transport, pathUnary, connect.WithGRPC())
			working.Go(func() {
				for time.Now().Before(end) {
					made.Add(1)
					if err := unary(t.Context(), c); err != nil && failed.Add(1) == 1 {
						t.Errorf("got %v, want an answer", err)
					}
				}
			})
		}
		working.Wait()
		if err := d.Shutdown(t.Context()); err != nil {
			t.Errorf("got %v from Shutdown, want nil", err)
		}
		if failed.Load() != 0 || served.runs.Load() != made.Load() || conns.Load() < 30 {
			t.Errorf("got %d of %d calls failed, %d runs, %d connections, want 0, one run for each, and at least 30", failed.Load(), made.Load(), served.runs.Load(), conns.Load())
		}
		t.Logf("%d calls over %d connections", made.Load(), conns.Load())
	})
}

// ---- streams ----

// TestStreams has streams of each protocol open when the server ends: all of them see the
// signal at once, send a last message and end without an error.
func TestStreams(t *testing.T) {
	const streams = 20
	for name, options := range protocols {
		for engine, serverOptions := range engines {
			for _, path := range []string{pathServer, pathBidi} {
				t.Run(name+"/"+engine+path, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := newReplica(new(service), serverOptions)
						defer r.server.Close()
						var begun, working sync.WaitGroup
						begun.Add(streams)
						began := time.Now()
						for range streams {
							working.Go(func() {
								c := newClient(r.server.Client().Transport, path, options...)
								texts, err := follow(t.Context(), c, path, func(text string) {
									if text == "begun" {
										begun.Done()
									}
								})
								if err != nil || len(texts) != 2 || texts[1] != "continue elsewhere" || time.Since(began) != delay {
									t.Errorf("got %q, %v after %v, want two messages and no error after %v", texts, err, time.Since(began), delay)
								}
							})
						}
						begun.Wait()
						if err := r.Shutdown(t.Context(), drain.Delay(delay), drain.Grace(grace)); err != nil {
							t.Errorf("got %v from Shutdown, want nil", err)
						}
						working.Wait()
						if r.Running() != 0 {
							t.Errorf("got %d running, want 0", r.Running())
						}
					})
				})
			}
		}
	}
}

// ---- the direct path ----

// A counting handler counts the ways in which it is called.
type counting struct {
	http.Handler
	direct, plain atomic.Int64
}

func (h *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.plain.Add(1)
	h.Handler.ServeHTTP(w, r)
}

func (h *counting) ServeDirect(self http.Handler, path string, w http.ResponseWriter) bool {
	if self != http.Handler(h) {
		return false
	}
	h.direct.Add(1)
	inner := h.Handler.(interface {
		http.Handler
		ServeDirect(http.Handler, string, http.ResponseWriter) bool
	})
	return inner.ServeDirect(inner, path, w)
}

// TestDirect checks that a Drainer's handler leaves calls their direct path, also in front
// of a mux, unless another type embeds it.
func TestDirect(t *testing.T) {
	d := drain.New(new(http.Server))
	for name, around := range map[string]func(http.Handler) http.Handler{
		"alone": d.Handler,
		"before a mux": func(h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/test.v1.S/", h)
			return d.Handler(mux)
		},
		"twice":    func(h http.Handler) http.Handler { return d.Handler(d.Handler(h)) },
		"embedded": func(h http.Handler) http.Handler { return struct{ http.Handler }{d.Handler(h)} },
	} {
		inner := &counting{Handler: new(service).handler()}
		if err := unary(t.Context(), newClient(inprocess.NewTransport(around(inner)), pathUnary)); err != nil {
			t.Errorf("%s: got %v, want an answer", name, err)
		}
		want := name != "embedded"
		if got := inner.direct.Load() == 1; got != want || inner.direct.Load()+inner.plain.Load() != 1 {
			t.Errorf("%s: got %d direct calls and %d others, want direct %v", name, inner.direct.Load(), inner.plain.Load(), want)
		}
	}
}

// TestNoGoroutines has calls with deadlines, and handlers that derive contexts: neither
// needs a goroutine that watches the Drainer's context.
func TestNoGoroutines(t *testing.T) {
	var s service
	var watching atomic.Int64
	s.unary = func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		watching.Add(int64(strings.Count(stacks, "context.(*cancelCtx).propagateCancel.func")))
		return ctx.Err()
	}
	for name, options := range engines {
		r := newReplica(&s, options)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := unary(ctx, newClient(r.server.Client().Transport, pathUnary))
		cancel()
		r.server.Close()
		if got := watching.Swap(0); err != nil || got != 0 {
			t.Errorf("%s: got error %v and %d goroutines that watch a context, want none", name, err, got)
		}
	}
}
