// SPDX-License-Identifier: Apache-2.0

// Hedged calls: the first answer counts, the other attempts end.

package retry_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/retry"
)

// TestHedge has a first attempt that does not answer: the second one does, and the first
// is cancelled.
func TestHedge(t *testing.T) {
	for protocol, options := range protocols {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				canceled := make(chan struct{})
				s := serve(t, func(ctx context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
					if run == 1 {
						<-ctx.Done()
						close(canceled)
						return ctx.Err()
					}
					return echo(in, out)
				})
				ctx, info := connect.NewClientContext(t.Context())
				began := time.Now()
				_, err := call(ctx, s.client(pathUnary, idempotent, retry.New(retry.Hedge(30*time.Millisecond, 3)), options...), pathUnary)
				if took := time.Since(began); err != nil || took != 30*time.Millisecond {
					t.Errorf("got error %v after %v, want an answer after 30ms", err, took)
				}
				<-canceled
				s.wantRuns(t, 2)
				if info.ResponseHeader() == nil {
					t.Error("got no header in the CallInfo, want that of the attempt that answered")
				}
			})
		})
	}
}

// TestHedgeOnlyIdempotent has a procedure that must not run twice. The observer
// learns it once.
func TestHedgeOnlyIdempotent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ context.Context, _ int, _ http.Header, in func() (*message, error), out func(*message) error) error {
			time.Sleep(time.Second)
			return echo(in, out)
		})
		var noted, attempts int
		client := s.client(pathUnary, unknown, retry.New(retry.Hedge(30*time.Millisecond, 3), retry.Observe(func(_ context.Context, a retry.Attempt) {
			if a.Number == 0 {
				noted++
			} else {
				attempts++
			}
		})))
		for range 3 {
			if _, err := call(t.Context(), client, pathUnary); err != nil {
				t.Error(err)
			}
		}
		s.wantRuns(t, 3)
		if noted != 1 || attempts != 3 {
			t.Errorf("got %d notes and %d attempts, want 1 and 3", noted, attempts)
		}
	})
}

// TestHedgeFailures has attempts that fail: an error that would be repeated has the next
// attempt follow, a final one ends the call.
func TestHedgeFailures(t *testing.T) {
	for name, c := range map[string]struct {
		errs []error // of the runs; nil for an answer
		runs int
		code connect.Code // 0 for an answer
	}{
		"unavailable, then an answer": {[]error{unavailable(), nil}, 2, 0},
		"unavailable to the end":      {[]error{unavailable(), unavailable(), unavailable()}, 3, connect.CodeUnavailable},
		"final":                       {[]error{connect.NewError(connect.CodeNotFound, errors.New("no"))}, 1, connect.CodeNotFound},
		"no other wanted":             {[]error{withMeta(connect.CodeUnavailable, "Grpc-Retry-Pushback-Ms", "-1")}, 1, connect.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
					if err := c.errs[run-1]; err != nil {
						return err
					}
					return echo(in, out)
				})
				_, err := call(t.Context(), s.client(pathUnary, idempotent, retry.New(retry.Hedge(time.Hour, 3))), pathUnary)
				s.wantRuns(t, c.runs)
				if c.code == 0 && err != nil || c.code != 0 && connect.CodeOf(err) != c.code {
					t.Errorf("got %v, want code %v", err, c.code)
				}
				if err != nil && retry.AttemptsOf(err) != c.runs {
					t.Errorf("got %d attempts, want %d", retry.AttemptsOf(err), c.runs)
				}
			})
		})
	}
}

// TestHedgeAt has answers of which five in a hundred, at random, come 500 ms later: with
// the quantile that fits, the 99th percentile is at most three times the median, and there
// are few extra runs. The times are virtual and the random numbers the same each time.
func TestHedgeAt(t *testing.T) {
	const calls = 2000
	for protocol, options := range protocols {
		for seed := range uint64(3) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 0))
				s := serveAfter(t, func() time.Duration {
					took := 5*time.Millisecond + time.Duration(random.Int64N(int64(4*time.Millisecond)))
					if random.IntN(20) == 0 {
						took += 500 * time.Millisecond
					}
					return took
				})
				times := timesOf(t, s.client(pathUnary, idempotent, retry.New(retry.HedgeAt(0.95, 2)), options...), calls)
				if p50, p99 := times[calls/2], times[calls*99/100]; p99 > 3*p50 || p50 > 9*time.Millisecond {
					t.Errorf("seed %d, %s: got a median of %v and a 99th percentile of %v, want at most three times as much", seed, protocol, p50, p99)
				}
				if extra := s.runs.Load() - calls; extra > calls*8/100 || extra == 0 {
					t.Errorf("seed %d, %s: got %d extra runs for %d calls, want some, at most 8%%", seed, protocol, extra, calls)
				}
			})
		}
	}
}

// TestHedgeAtFollows has a server whose answers all become ten times as slow, and then as
// fast as before: the delay follows, and most calls stay without a hedge.
func TestHedgeAtFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 0))
		scale, slow := 1, 0
		s := serveAfter(t, func() time.Duration {
			took := 5*time.Millisecond + time.Duration(random.Int64N(int64(4*time.Millisecond)))
			if random.IntN(100) < slow {
				took += 500 * time.Millisecond
			}
			return time.Duration(scale) * took
		})
		client := s.client(pathUnary, idempotent, retry.New(retry.HedgeAt(0.95, 2), retry.Ratio(1, 1e6)))
		timesOf(t, client, 500)
		for _, phase := range []int{10, 1, 10} {
			scale = phase
			timesOf(t, client, 160) // it takes the calls that it measures
			before := s.runs.Load()
			timesOf(t, client, 1000)
			if extra := s.runs.Load() - before - 1000; extra > 100 || extra == 0 {
				t.Errorf("%d times as slow: got %d extra runs for 1000 calls, want some, at most 100", phase, extra)
			}
		}
		scale, slow = 1, 3
		timesOf(t, client, 160)
		if p99 := timesOf(t, client, 1000)[990]; p99 > 20*time.Millisecond {
			t.Errorf("got a 99th percentile of %v where 3 of 100 answers are slow, want at most 20ms", p99)
		}
	})
}

// serveAfter returns a site that answers each run after a time.
func serveAfter(t *testing.T, took func() time.Duration) *site {
	var mu sync.Mutex // runs overlap
	return serve(t, func(ctx context.Context, _ int, _ http.Header, in func() (*message, error), out func(*message) error) error {
		mu.Lock()
		wait := took()
		mu.Unlock()
		select {
		case <-time.After(wait):
			return echo(in, out)
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// timesOf makes calls one after the other, and returns how long they took, sorted.
func timesOf(t *testing.T, c *client, calls int) []time.Duration {
	t.Helper()
	times := make([]time.Duration, calls)
	for i := range times {
		began := time.Now()
		if _, err := call(t.Context(), c, pathUnary); err != nil {
			t.Fatal(err)
		}
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	return times
}

// TestHedgePanics has an attempt panic: the caller's goroutine can recover, and no
// attempt is left.
func TestHedgePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(ctx context.Context, _ int, _ http.Header, _ func() (*message, error), _ func(*message) error) error {
			<-ctx.Done()
			return ctx.Err()
		})
		var attempts atomic.Int32
		panicking := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
				if attempts.Add(1) == 2 {
					panic("second attempt")
				}
				return next(ctx, r)
			}
		})
		client := connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+pathUnary,
			connect.WithIdempotency(idempotent), connect.WithInterceptors(retry.New(retry.Hedge(time.Millisecond, 2)), panicking))
		defer func() {
			if got := recover(); got != "second attempt" {
				t.Errorf("got %v from recover, want the value of the panic", got)
			}
		}()
		_, _ = call(t.Context(), client, pathUnary)
		t.Error("got a result, want a panic")
	})
}
