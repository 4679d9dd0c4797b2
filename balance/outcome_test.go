// SPDX-License-Identifier: Apache-2.0

// What outcomes of calls do: ejections, other endpoints for retries, and which errors
// count.

package balance_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/retry"
)

// settled returns a client of a site within a synctest bubble, with all endpoints ready,
// and a function that ends everything.
func settled(t *testing.T, s *site, b *balance.Balancer, c *client) (end func()) {
	t.Helper()
	if _, err := ask(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return func() {
		b.Close()
		for _, name := range s.names {
			s.node(name).stop(t, false)
		}
	}
}

// TestEject has one of four endpoints answer unavailable at once: after five failures it
// gets no call for 30 s, then one for trial. After its repair it is back with the next
// trial, at most twice the base time later. All of that happens in calls without retries.
func TestEject(t *testing.T) {
	for name, protocol := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var broken atomic.Bool
				s := newSite(t, 4, false, func(_ context.Context, n *node, _ int64, _ string) (string, error) {
					if n.name == "a" && broken.Load() {
						return "", connect.NewError(connect.CodeUnavailable, errors.New("no database"))
					}
					return n.name, nil
				})
				b := s.balancer(t, nil, balance.RoundRobin())
				c := clientOf(b, pathUnary, unknown, protocol)
				end := settled(t, s, b, c)
				broken.Store(true)
				failed := 0
				before := s.node("a").runs.Load()
				steps := func(n int, every time.Duration) {
					t.Helper()
					for range n {
						if _, err := ask(t.Context(), c); err != nil {
							failed++
						}
						time.Sleep(every)
					}
				}
				steps(500, 2*time.Millisecond)
				if runs := s.node("a").runs.Load() - before; runs != 5 || failed != 5 {
					t.Errorf("got %d calls at the broken endpoint in the first second, and %d that failed, want 5", runs, failed)
				}
				for _, e := range b.Status().Endpoints {
					if e.Addr == "a" && (e.State != balance.StateEjected || !strings.Contains(e.Reason, "5 calls in a row") || time.Until(e.Until) < 28*time.Second) {
						t.Errorf("got status %+v, want an ejection of 30 s with the reason", e)
					}
				}
				steps(280, 100*time.Millisecond)
				if runs := s.node("a").runs.Load() - before; runs != 5 {
					t.Errorf("got %d calls at the ejected endpoint, want none after 5", runs)
				}
				steps(20, 100*time.Millisecond) // a trial, which fails: 60 s more
				if runs := s.node("a").runs.Load() - before; runs != 6 {
					t.Errorf("got %d calls at the ejected endpoint, want one for trial after 5", runs)
				}
				broken.Store(false)
				steps(600, 100*time.Millisecond)
				if state := states(b)["a"]; state != balance.StateReady {
					t.Errorf("got state %s after the repair and twice the base time, want ready", state)
				}
				before = s.node("a").runs.Load()
				steps(100, time.Millisecond)
				if runs := s.node("a").runs.Load() - before; runs != 25 {
					t.Errorf("got %d of 100 calls at the endpoint that is back, want 25", runs)
				}
				if failed != 6 {
					t.Errorf("got %d calls that failed, want 6", failed)
				}
				end()
			})
		})
	}
}

// TestFastFailure has one of three endpoints fail fast, without ejection, while a policy
// of retries has tokens as gRPC's throttling: retries go to another endpoint, so no call
// fails. Without other endpoints most tokens would be lost to the broken one.
func TestFastFailure(t *testing.T) {
	s := newSite(t, 3, false, func(_ context.Context, n *node, _ int64, _ string) (string, error) {
		if n.name == "a" {
			return "", connect.NewError(connect.CodeUnavailable, errors.New("no database"))
		}
		return n.name, nil
	})
	b := s.balancer(t, nil, balance.Random(), balance.Eject(balance.Ejection{Consecutive: -1, FailurePercent: -1}))
	var retries atomic.Int64
	policy := retry.New(retry.Attempts(4), retry.Backoff(time.Microsecond, time.Microsecond, 1), retry.Tokens(1000, 1),
		retry.Observe(func(_ context.Context, a retry.Attempt) {
			if a.Number > 2 {
				t.Errorf("got attempt %d, want an answer at the second endpoint", a.Number)
			}
			if a.Again {
				retries.Add(1)
			}
		}))
	_, _ = ask(t.Context(), clientOf(b, pathUnary, idempotent, protocols["grpc"])) // has connections opened
	allReady(t, b, 3)
	before := s.node("a").runs.Load()
	for _, path := range []string{pathUnary, pathServer, pathClient, pathBidi} {
		c := clientOf(b, path, idempotent, protocols["grpc"], policy)
		for range 100 {
			if _, err := call(t.Context(), c, path); err != nil {
				t.Fatalf("%s: got %v, want an answer of another endpoint", path, err)
			}
		}
	}
	if got := s.node("a").runs.Load() - before; got != retries.Load() || got == 0 {
		t.Errorf("got %d calls at the broken endpoint and %d retries, want as many, and some", got, retries.Load())
	}
	wantIdle(t, b)
}

// TestHedge checks that a hedge goes to another endpoint than the attempt that hangs.
func TestHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hanging atomic.Bool
		s := newSite(t, 2, false, func(ctx context.Context, n *node, _ int64, _ string) (string, error) {
			if n.name == "a" && hanging.Load() {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return n.name, nil
		})
		b := s.balancer(t, nil, balance.RoundRobin())
		c := clientOf(b, pathUnary, idempotent, protocols["grpc"], retry.New(retry.Hedge(10*time.Millisecond, 2), retry.Ratio(1, 1000)))
		end := settled(t, s, b, c)
		hanging.Store(true)
		for range 20 {
			began := time.Now()
			if name, err := ask(t.Context(), c); err != nil || name != "b" {
				t.Errorf("got %q and %v, want an answer of b", name, err)
			}
			if took := time.Since(began); took > 11*time.Millisecond {
				t.Errorf("got an answer after %v, want it with the first hedge, after 10 ms", took)
			}
		}
		synctest.Wait()
		wantIdle(t, b)
		if state := states(b)["a"]; state != balance.StateReady {
			t.Errorf("got state %s of the endpoint whose attempts were cancelled, want ready", state)
		}
		end()
	})
}

// TestVerdicts lists outcomes and whether ten of them eject an endpoint.
func TestVerdicts(t *testing.T) {
	code := func(code connect.Code) func(context.Context) error {
		return func(context.Context) error { return connect.NewError(code, errors.New("as the test asks")) }
	}
	hang := func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(time.Second) // longer than the caller waits
		return ctx.Err()
	}
	honest := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	within := func(d time.Duration) func() (context.Context, context.CancelFunc) {
		return func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), d)
		}
	}
	canceled := func() (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(10*time.Millisecond, cancel)
		return ctx, cancel
	}
	timed := retry.New(retry.Attempts(1), retry.AttemptTimeout(10*time.Millisecond))
	for _, test := range []struct {
		name   string
		do     func(context.Context) error
		ctx    func() (context.Context, context.CancelFunc)
		policy connect.Interceptor
		eject  bool
	}{
		{"unavailable", code(connect.CodeUnavailable), nil, nil, true},
		{"deadline of the server's own", code(connect.CodeDeadlineExceeded), nil, nil, true},
		{"invalid_argument", code(connect.CodeInvalidArgument), nil, nil, false},
		{"canceled", code(connect.CodeCanceled), nil, nil, false},
		{"internal", code(connect.CodeInternal), nil, nil, false},
		{"resource_exhausted", code(connect.CodeResourceExhausted), nil, nil, false},
		{"panic", func(context.Context) error { panic(http.ErrAbortHandler) }, nil, nil, true},
		{"caller's deadline", hang, within(10 * time.Millisecond), nil, false},
		{"caller's deadline, of which the server knows", honest, within(10 * time.Millisecond), nil, false},
		{"caller cancels", hang, canceled, nil, false},
		{"attempt's timeout", hang, nil, timed, true},
		{"attempt's timeout, of which the server knows", honest, nil, timed, true},
	} {
		for name, protocol := range protocols {
			for _, path := range []string{pathUnary, pathServer, pathBidi} {
				if path != pathUnary && test.policy != nil {
					continue // AttemptTimeout is for unary calls
				}
				t.Run(test.name+"/"+name+path, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						var failing atomic.Bool
						s := newSite(t, 2, false, func(ctx context.Context, n *node, _ int64, _ string) (string, error) {
							if n.name == "a" && failing.Load() {
								return "", test.do(ctx)
							}
							return n.name, nil
						})
						b := s.balancer(t, nil, balance.RoundRobin())
						var interceptors []connect.Interceptor
						if test.policy != nil {
							interceptors = append(interceptors, test.policy)
						}
						end := settled(t, s, b, clientOf(b, pathUnary, unknown, protocol))
						failing.Store(true)
						c := clientOf(b, path, idempotent, protocol, interceptors...)
						for range 20 {
							ctx, cancel := context.Background(), func() {}
							if test.ctx != nil {
								var stop context.CancelFunc
								ctx, stop = test.ctx()
								cancel = stop
							}
							_, _ = call(ctx, c, path)
							cancel()
							time.Sleep(2 * time.Second) // handlers and probes of connections end
						}
						synctest.Wait()
						wantIdle(t, b)
						want := balance.StateReady
						if test.eject {
							want = balance.StateEjected
						}
						if got := states(b); got["a"] != want || got["b"] != balance.StateReady {
							t.Errorf("got states %v, want a %s and b ready: %+v", got, want, b.Status())
						}
						failing.Store(false)
						end()
						time.Sleep(2 * time.Second)
					})
				})
			}
		}
	}
}

// TestLost kills the connections of an endpoint with many calls once: that is one failure,
// and does not eject it. Five times do.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hanging atomic.Bool
		s := newSite(t, 2, false, func(ctx context.Context, n *node, _ int64, _ string) (string, error) {
			if n.name == "a" && hanging.Load() {
				<-ctx.Done()
			}
			return n.name, nil
		})
		b := s.balancer(t, nil, balance.RoundRobin())
		c := clientOf(b, pathUnary, unknown, protocols["grpc"])
		end := settled(t, s, b, c)
		hanging.Store(true)
		for round := range 5 {
			var calls sync.WaitGroup
			for range 20 {
				calls.Go(func() { _, _ = ask(context.Background(), c) })
			}
			synctest.Wait()
			if state := states(b)["a"]; state != balance.StateReady {
				t.Errorf("round %d: got state %s, want ready", round, state)
			}
			s.node("a").stop(t, false)
			calls.Wait()
			s.start(t, "a")
			time.Sleep(10 * time.Second)
			synctest.Wait()
		}
		if state := states(b)["a"]; state != balance.StateEjected {
			t.Errorf("got state %s after five losses without an answer, want ejected", state)
		}
		hanging.Store(false)
		end()
	})
}

// TestPlainEjection judges without the interceptor: by errors and statuses.
func TestPlainEjection(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		s := newSite(t, 2, http1, func(_ context.Context, n *node, _ int64, _ string) (string, error) {
			if n.name == "a" {
				return "", connect.NewError(connect.CodeUnavailable, errors.New("no database"))
			}
			return n.name, nil
		})
		b := s.balancer(t, nil, balance.RoundRobin())
		c := connect.NewClient[message, message](b.HTTPClient(), "http://test.local"+pathUnary)
		failed := 0
		for i := range 100 {
			if i == 1 {
				allReady(t, b, 2)
			}
			if _, err := ask(t.Context(), c); err != nil {
				failed++
			}
		}
		if failed != 5 || states(b)["a"] != balance.StateEjected {
			t.Errorf("http1 %v: got %d failed calls and state %s, want 5 and ejected", http1, failed, states(b)["a"])
		}
		wantIdle(t, b)
	}
}

// TestTrialOfStreams ejects an endpoint of which callers only have streams that they cancel
// in the end: the first message of the stream for trial brings the endpoint back.
func TestTrialOfStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failing atomic.Bool
		s := newSite(t, 2, false, func(_ context.Context, n *node, _ int64, _ string) (string, error) {
			if n.name == "a" && failing.Load() {
				return "", connect.NewError(connect.CodeUnavailable, errors.New("no database"))
			}
			return n.name, nil
		})
		b := s.balancer(t, nil, balance.RoundRobin())
		end := settled(t, s, b, clientOf(b, pathUnary, unknown, protocols["grpc"]))
		c := clientOf(b, pathBidi, unknown, protocols["grpc"])
		watch := func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stream := c.CallBidiStream(ctx)
			_ = stream.Send(wrapperspb.String("a"))
			_, _ = stream.Receive()
			cancel()
			_, _ = stream.Receive()
			_ = stream.CloseResponse()
		}
		failing.Store(true)
		for range 12 {
			watch()
		}
		if state := states(b)["a"]; state != balance.StateEjected {
			t.Errorf("got state %s after failures, want ejected", state)
		}
		failing.Store(false)
		time.Sleep(31 * time.Second)
		for range 3 {
			watch()
		}
		synctest.Wait()
		if state := states(b)["a"]; state != balance.StateReady {
			t.Errorf("got state %s after a stream for trial with a message, want ready", state)
		}
		wantIdle(t, b)
		end()
	})
}

// TestHash sends calls with the same key to the same endpoint, by both paths.
func TestHash(t *testing.T) {
	type userKey struct{}
	s := newSite(t, 4, false, echo)
	for name, test := range map[string]struct {
		policy balance.Policy
		set    func(ctx context.Context, r *connect.Request[message], user string) context.Context
	}{
		"HashHeader": {balance.HashHeader("x-user"), func(ctx context.Context, r *connect.Request[message], user string) context.Context {
			r.Header().Set("X-User", user)
			return ctx
		}},
		"HashKey": {balance.HashKey(func(ctx context.Context) string { user, _ := ctx.Value(userKey{}).(string); return user }),
			func(ctx context.Context, _ *connect.Request[message], user string) context.Context {
				return context.WithValue(ctx, userKey{}, user)
			}},
	} {
		b := s.balancer(t, nil, test.policy)
		c := clientOf(b, pathUnary, unknown, protocols["grpc"])
		if _, err := ask(t.Context(), c); err != nil { // without a key
			t.Fatal(err)
		}
		allReady(t, b, 4)
		places := make(map[string]string)
		used := make(map[string]bool)
		for i := range 200 {
			user := fmt.Sprint("user", i%40)
			text := "x"
			if i%3 == 0 {
				text = strings.Repeat("x", 100<<10) // not on the direct path
			}
			request := connect.NewRequest(wrapperspb.String(text))
			res, err := c.CallUnary(test.set(t.Context(), request, user), request)
			if err != nil {
				t.Fatal(err)
			}
			if places[user] == "" {
				places[user] = res.Msg.Value
			}
			if places[user] != res.Msg.Value {
				t.Errorf("%s: got %s at %s and at %s, want one endpoint", name, user, places[user], res.Msg.Value)
			}
			used[res.Msg.Value] = true
		}
		if len(used) != 4 {
			t.Errorf("%s: got calls at %v, want them at all 4", name, used)
		}
		b.Close()
	}
}

// TestNoOther checks that a retry goes to the only endpoint, though it was tried.
func TestNoOther(t *testing.T) {
	s := newSite(t, 1, false, func(_ context.Context, n *node, run int64, _ string) (string, error) {
		if run%3 != 0 {
			return "", connect.NewError(connect.CodeUnavailable, errors.New("busy"))
		}
		return n.name, nil
	})
	b := s.balancer(t, nil)
	c := clientOf(b, pathUnary, idempotent, protocols["connect"], retry.New(retry.Backoff(time.Microsecond, time.Microsecond, 1), retry.Ratio(1, 1000)))
	for range 20 {
		if _, err := ask(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOrder lists the Balancer's option before that of retries, which is the wrong order:
// calls still succeed, and no use is left.
func TestOrder(t *testing.T) {
	s := newSite(t, 3, false, func(_ context.Context, n *node, _ int64, _ string) (string, error) {
		if n.name == "a" {
			return "", connect.NewError(connect.CodeUnavailable, errors.New("busy"))
		}
		return n.name, nil
	})
	b := s.balancer(t, nil)
	_, _ = ask(t.Context(), clientOf(b, pathUnary, unknown, protocols["connect"])) // a may be the first that is ready
	allReady(t, b, 3)
	for _, path := range []string{pathUnary, pathServer, pathBidi} {
		c := connect.NewClient[message, message](b.HTTPClient(), "http://test.local"+path, connect.WithIdempotency(idempotent), b.Options(),
			connect.WithInterceptors(retry.New(retry.Attempts(4), retry.Backoff(time.Microsecond, time.Microsecond, 1), retry.Ratio(1, 1000))))
		for range 50 {
			if _, err := call(t.Context(), c, path); err != nil {
				t.Errorf("%s: got %v, want an answer", path, err)
			}
		}
	}
	wantIdle(t, b)
}
