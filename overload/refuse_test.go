// SPDX-License-Identifier: Apache-2.0

// Which calls are refused, with which error, and what clients make of it.

package overload_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/drain"
	"github.com/seed-b7c59c10/connect/overload"
	"github.com/seed-b7c59c10/connect/retry"
)

// TestRefused has one call more than the limit, for each protocol, way and kind.
func TestRefused(t *testing.T) {
	for protocol, options := range protocols {
		for name, way := range ways {
			for _, path := range []string{pathUnary, pathServer} {
				synctest.Test(t, func(t *testing.T) {
					const most = 3
					what := protocol + ", " + name + ", " + path
					var s service
					limiter := overload.New(overload.Fixed(most), overload.Streams(most))
					transport, end := way(limiter.Handler(s.handler()))
					defer end()
					c := newClient(transport, path, options...)
					release := hold(t, &s, most, c, path)
					pushback := wantRefused(t, what, call(t.Context(), c, path))
					if ms, err := strconv.Atoi(pushback); err != nil || ms < 50 || ms > 150 {
						t.Errorf("%s: got a pushback of %q ms, want 50 to 150", what, pushback)
					}
					stats := limiter.Stats()
					want := overload.Stats{Limit: most, Running: most, RefusedCalls: 1}
					if path == pathServer {
						want = overload.Stats{Limit: most, Streams: most, RefusedStreams: 1}
					}
					if stats != want || s.runs.Load() != most {
						t.Errorf("%s: got %+v and %d runs, want %+v and %d", what, stats, s.runs.Load(), want, most)
					}
					release()
					if err := call(t.Context(), c, path); err != nil {
						t.Errorf("%s: got %v when the others have ended, want an answer", what, err)
					}
					if stats := limiter.Stats(); stats.Running != 0 || stats.Streams != 0 {
						t.Errorf("%s: got %+v at the end, want nothing that runs", what, stats)
					}
				})
			}
		}
	}
}

// TestRetry has a policy meet refusals: it waits for as long as the server has said, and
// repeats the call, which is not idempotent.
func TestRetry(t *testing.T) {
	for protocol, options := range protocols {
		for name, way := range ways {
			for _, path := range []string{pathUnary, pathServer} {
				synctest.Test(t, func(t *testing.T) {
					what := protocol + ", " + name + ", " + path
					var s service
					transport, end := way(overload.Handler(s.handler(), overload.Rate(0.5, 1, nil)))
					defer end()
					policy := retry.New()
					c := newClient(transport, path, append(options, connect.WithInterceptors(policy))...)
					began := time.Now()
					for i := range 3 {
						if err := call(t.Context(), c, path); err != nil {
							t.Errorf("%s: call %d: got %v, want an answer", what, i, err)
						}
						want := 2 * time.Second * time.Duration(i)
						if took := time.Since(began); took < want || took > want+10*time.Millisecond {
							t.Errorf("%s: call %d: got an answer after %v, want %v", what, i, took, want)
						}
					}
					if s.runs.Load() != 3 {
						t.Errorf("%s: got %d runs, want 3", what, s.runs.Load())
					}
				})
			}
		}
	}
}

// TestRetryAfter has plain HTTP clients: they see a status and a header.
func TestRetryAfter(t *testing.T) {
	h := overload.Handler(new(service).handler(), overload.Rate(1.0/16, 1, nil))
	post := func(contentType string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, pathUnary, strings.NewReader("\"a\""))
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	if w := post("application/json"); w.Code != http.StatusOK {
		t.Errorf("got status %d, want 200: %s", w.Code, w.Body)
	}
	for _, contentType := range []string{"application/json", "text/plain"} {
		w := post(contentType)
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "16" || !strings.Contains(w.Body.String(), "resource_exhausted") {
			t.Errorf("%s: got status %d, header %v and %s, want 429 and a Retry-After of 16", contentType, w.Code, w.Header(), w.Body)
		}
	}
}

// TestKinds has services whose streams the limiter must find.
func TestKinds(t *testing.T) {
	opaque := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) })
	}
	mux := func(h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/test.v1.S/", h)
		return mux
	}
	for name, c := range map[string]struct {
		around func(http.Handler) (http.Handler, []overload.Option)
		grpc   bool // streams of gRPC are found, too
	}{
		"service": {func(h http.Handler) (http.Handler, []overload.Option) { return h, nil }, true},
		"mux":     {func(h http.Handler) (http.Handler, []overload.Option) { return mux(h), nil }, true},
		"drain": {func(h http.Handler) (http.Handler, []overload.Option) {
			return drain.New(new(http.Server)).Handler(mux(h)), nil
		}, true},
		"twice": {func(h http.Handler) (http.Handler, []overload.Option) { return overload.Handler(h), nil }, true},
		"opaque, named": {func(h http.Handler) (http.Handler, []overload.Option) {
			return opaque(h), []overload.Option{overload.Services(h)}
		}, true},
		"opaque":           {func(h http.Handler) (http.Handler, []overload.Option) { return opaque(h), nil }, false},
		"opaque, in a mux": {func(h http.Handler) (http.Handler, []overload.Option) { return mux(opaque(h)), nil }, false},
	} {
		for protocol, options := range protocols {
			for way, reach := range ways {
				what := name + ", " + protocol + ", " + way
				var s service
				next, more := c.around(s.handler())
				limiter := overload.New(more...)
				transport, end := reach(limiter.Handler(next))
				for path, stream := range map[string]bool{pathUnary: false, pathServer: true} {
					release := hold(t, &s, 2, newClient(transport, path, options...), path)
					want := 0
					if stream && (c.grpc || protocol == "connect") {
						want = 2
					}
					if got := limiter.Stats(); got.Streams != want || got.Running != 2-want {
						t.Errorf("%s, %s: got %d streams and %d others, want %d and %d", what, path, got.Streams, got.Running, want, 2-want)
					}
					release()
				}
				end()
			}
		}
	}
}

// TestPriority fills a limit with calls of three priorities.
func TestPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 16
		priorities := map[string]int{"": 0, "high": 1, "low": -1, "lowest": -2}
		for name, way := range ways {
			var s service
			limiter := overload.New(overload.Fixed(most), overload.Priority(func(h http.Header) int { return priorities[h.Get("X-Priority")] }))
			transport, end := way(limiter.Handler(s.handler()))
			c := newClient(transport, pathUnary)
			try := func(priority string) error {
				return callWith(t.Context(), c, pathUnary, map[string]string{"X-Priority": priority})
			}
			release := hold(t, &s, most/4, c, pathUnary)
			releaseMore := hold(t, &s, most-most/4, c, pathUnary)
			for priority, want := range map[string]bool{"": false, "high": true, "low": false, "lowest": false} {
				if err := try(priority); (err == nil) != want {
					t.Errorf("%s: %q at the limit: got %v, want answered %v", name, priority, err, want)
				}
			}
			releaseMore()
			for priority, want := range map[string]bool{"": true, "high": true, "low": true, "lowest": false} {
				if err := try(priority); (err == nil) != want {
					t.Errorf("%s: %q with a quarter in use, just after: got %v, want answered %v", name, priority, err, want)
				}
			}
			time.Sleep(time.Second)
			if err := try("lowest"); err != nil {
				t.Errorf("%s: lowest after a second: got %v, want an answer", name, err)
			}
			release()

			release = hold(t, &s, most, c, pathUnary)
			g := newGate(2)
			s.f = g.wait
			high := make(chan error, 3)
			for range 2 { // an eighth
				go func() { high <- try("high") }()
			}
			g.entered.Wait()
			s.f = nil
			wantRefused(t, name+": a third of high priority", try("high"))
			close(g.opened)
			for range 2 {
				if err := <-high; err != nil {
					t.Errorf("%s: got %v of high priority beyond the limit, want an answer", name, err)
				}
			}
			release()
			end()
		}
	})
}

// TestExempt has calls that pass without limits.
func TestExempt(t *testing.T) {
	var health int
	mux := http.NewServeMux()
	count := func(w http.ResponseWriter, _ *http.Request) { health++ }
	mux.HandleFunc("/grpc.health.v1.Health/Check", count)
	mux.HandleFunc("/healthz", count)
	mux.HandleFunc("/other", count)
	h := overload.Handler(mux, overload.Rate(0.001, 1, nil), overload.Exempt("/healthz"))
	for range 5 {
		for _, path := range []string{"/grpc.health.v1.Health/Check", "/healthz", "/other"} {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, nil))
		}
	}
	if health != 11 {
		t.Errorf("got %d calls that passed, want 11: 5 of each that is exempt, and one of the other", health)
	}
}

// TestRate counts calls of several peers in virtual time.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := overload.New(overload.Rate(10, 5, overload.ByField("X-Tenant")), overload.Rate(100, 40, overload.ByPeer))
		var s service
		transport, end := inProcess(limiter.Handler(s.handler()))
		defer end()
		c := newClient(transport, pathUnary)
		answered := map[string]int{}
		burst := func(tenant string, n int) {
			for range n {
				if callWith(t.Context(), c, pathUnary, map[string]string{"X-Tenant": tenant}) == nil {
					answered[tenant]++
				}
			}
		}
		wantAnswered := func(what, want string) {
			t.Helper()
			if got := fmt.Sprint(answered); got != "map["+want+"]" {
				t.Errorf("%s: got %v answered, want %s", what, got, want)
			}
			clear(answered)
		}
		burst("a", 20)
		burst("b", 3)
		wantAnswered("bursts", "a:5 b:3")
		time.Sleep(200 * time.Millisecond)
		burst("a", 20)
		burst("b", 20)
		wantAnswered("200 ms later", "a:2 b:4")
		time.Sleep(time.Hour)
		for i := range 10 {
			burst(fmt.Sprint(i), 5)
		}
		wantAnswered("ten tenants of one peer", "0:5 1:5 2:5 3:5 4:5 5:5 6:5 7:5")
		if got := limiter.Stats().RefusedByRate; got != 113-54 {
			t.Errorf("got %d refused by rate, want 59", got)
		}
	})
}

// TestByPeer has addresses of all kinds.
func TestByPeer(t *testing.T) {
	for peer, want := range map[string]string{
		"192.0.2.1:1234":           "192.0.2.1",
		"192.0.2.1:99":             "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:7": "2001:db8:1:2::/64",
		"[2001:db8:1:2::9]:1":      "2001:db8:1:2::/64",
		"[::ffff:192.0.2.1]:1":     "192.0.2.1",
		"[fe80::1%eth0]:1":         "fe80::/64",
		"@":                        "@",
		"":                         "",
		"pipe":                     "pipe",
		"[zz::1]:1":                "zz::1",
		"inprocess:0":              "inprocess",
	} {
		if got := overload.ByPeer(&overload.Call{Peer: peer}); got != want {
			t.Errorf("%q: got %q, want %q", peer, got, want)
		}
	}
}

// TestPermitsReturn has calls that no handler takes, a handler that panics, and a client that
// leaves: none of them keeps a permit.
func TestPermitsReturn(t *testing.T) {
	for name, way := range ways {
		synctest.Test(t, func(t *testing.T) {
			s := service{f: func(ctx context.Context) error {
				if _, bounded := ctx.Deadline(); bounded {
					<-ctx.Done()
					return ctx.Err()
				}
				panic(http.ErrAbortHandler)
			}}
			limiter := overload.New(overload.Fixed(1), overload.Streams(1))
			transport, end := way(limiter.Handler(s.handler()))
			defer end()
			for range 3 {
				if err := call(t.Context(), newClient(transport, "/test.v1.S/None"), pathUnary); connect.CodeOf(err) != connect.CodeUnimplemented {
					t.Errorf("%s: got %v of an unknown procedure, want unimplemented", name, err)
				}
				for _, path := range []string{pathUnary, pathServer} {
					c := newClient(transport, path)
					if err := call(t.Context(), c, path); err == nil || connect.CodeOf(err) == connect.CodeResourceExhausted {
						t.Errorf("%s: got %v of a handler that panics, want another error", name, err)
					}
					synctest.Wait()
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					if err := call(ctx, c, path); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
						t.Errorf("%s: got %v, want deadline_exceeded", name, err)
					}
					cancel()
					synctest.Wait()
				}
			}
			if stats := limiter.Stats(); stats != (overload.Stats{Limit: 1}) {
				t.Errorf("%s: got %+v at the end, want nothing that runs, and nothing refused", name, stats)
			}
		})
	}
}

// TestInvalid has options that make no sense.
func TestInvalid(t *testing.T) {
	for name, f := range map[string]func(){
		"Adaptive": func() { overload.Adaptive(2, 1) },
		"Fixed":    func() { overload.Fixed(0) },
		"Streams":  func() { overload.Streams(-1) },
		"New":      func() { overload.New(overload.Fixed(1), nil) },
		"Rate":     func() { overload.Rate(0, 1, nil) },
		"ByField":  func() { overload.ByField("") },
		"Priority": func() { overload.Priority(nil) },
		"Exempt":   func() { overload.Exempt("healthz") },
		"Services": func() { overload.Services(http.NotFoundHandler()) },
		"Errors":   func() { overload.Errors(nil) },
		"Handler":  func() { overload.Handler(nil) },
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.HasPrefix(text, "overload: "+name+"(") {
					t.Errorf("%s: got a panic with %q, want one that names it", name, text)
				}
			}()
			f()
		}()
	}
}
