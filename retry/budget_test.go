// SPDX-License-Identifier: Apache-2.0

// Breakers, observers, and a mix of everything.

package retry_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/retry"
)

// A breaker refuses when open, and counts the attempts that are reported to it.
type breaker struct {
	open       bool
	ok, failed int
}

func (b *breaker) Allow() (func(error), error) {
	if b.open {
		return nil, errors.New("circuit breaker is open")
	}
	return func(err error) {
		if err == nil {
			b.ok++
		} else {
			b.failed++
		}
	}, nil
}

// TestBreaker has calls of all kinds pass a breaker, which decides alone.
func TestBreaker(t *testing.T) {
	for _, path := range []string{pathUnary, pathServer, pathClient, pathBidi} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var answer error
				s := serve(t, func(_ context.Context, _ int, _ http.Header, in func() (*message, error), out func(*message) error) error {
					if answer != nil {
						return answer
					}
					return echo(in, out)
				})
				b := new(breaker)
				client := s.client(path, idempotent, retry.New(retry.WithBreaker(func(connect.Spec) retry.Breaker { return b })))
				for _, c := range []struct {
					answer     error
					open       bool
					ok, failed int
					runs       int64
				}{
					{nil, false, 1, 0, 1},
					{connect.NewError(connect.CodeNotFound, errors.New("no")), false, 1, 0, 1}, // the caller's
					{unavailable(), false, 0, 3, 3},
					{nil, true, 0, 0, 0},
				} {
					*b = breaker{open: c.open}
					answer = c.answer
					s.runs.Store(0)
					_, err := call(t.Context(), client, path)
					synctest.Wait()
					if b.ok != c.ok || b.failed != c.failed || s.runs.Load() != c.runs {
						t.Errorf("answer %v, open %v: got %d successes, %d failures and %d runs, want %d, %d and %d",
							c.answer, c.open, b.ok, b.failed, s.runs.Load(), c.ok, c.failed, c.runs)
					}
					if c.open && (connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "circuit breaker is open")) {
						t.Errorf("got %v, want unavailable with the breaker's error", err)
					}
				}
			})
		})
	}
}

// TestBreakerLearnsOfStreams has a stream send a message and fail later: the breaker gets its
// success with the message, also where the program has asked for the header before.
func TestBreakerLearnsOfStreams(t *testing.T) {
	for _, asked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, func(_ context.Context, _ int, _ http.Header, in func() (*message, error), out func(*message) error) error {
				for range 2 {
					msg, err := in()
					if err == nil {
						err = out(msg)
					}
					if err != nil {
						return err
					}
				}
				return unavailable()
			})
			b := new(breaker)
			client := s.client(pathBidi, idempotent, retry.New(retry.WithBreaker(func(connect.Spec) retry.Breaker { return b })))
			stream := client.CallBidiStream(t.Context())
			for n := range 2 {
				if err := stream.Send(wrapperspb.String("a")); err != nil {
					t.Fatal(err)
				}
				if asked {
					_ = stream.ResponseHeader()
				}
				if b.ok != min(n, 1) {
					t.Errorf("got %d successes before message %d, want %d", b.ok, n+1, min(n, 1))
				}
				if _, err := stream.Receive(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := stream.Receive(); connect.CodeOf(err) != connect.CodeUnavailable {
				t.Errorf("got %v, want the server's error", err)
			}
			_ = stream.CloseRequest()
			_ = stream.CloseResponse()
			synctest.Wait()
			if b.ok != 1 || b.failed != 0 {
				t.Errorf("got %d successes and %d failures, want one success", b.ok, b.failed)
			}
		})
	}
}

// A silentBreaker allows everything, and does not want to know.
type silentBreaker struct{}

func (silentBreaker) Allow() (func(error), error) { return nil, nil }

// TestSilentBreaker has a breaker that returns no function for the outcome.
func TestSilentBreaker(t *testing.T) {
	for _, path := range []string{pathUnary, pathServer, pathClient, pathBidi} {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, func(_ context.Context, _ int, _ http.Header, in func() (*message, error), out func(*message) error) error {
				return echo(in, out)
			})
			policy := retry.New(retry.WithBreaker(func(connect.Spec) retry.Breaker { return silentBreaker{} }))
			if _, err := call(t.Context(), s.client(path, idempotent, policy), path); err != nil {
				t.Errorf("%s: got %v, want an answer", path, err)
			}
		})
	}
}

// A closingConn counts calls of CloseResponse.
type closingConn struct {
	connect.StreamingClientConn
	closes *int
}

func (c *closingConn) CloseResponse() error {
	*c.closes++
	return c.StreamingClientConn.CloseResponse()
}

// TestRefusedStreamIsClosed has a breaker refuse a stream that the program leaves after the
// error: interceptors after the policy learn that each attempt has ended.
func TestRefusedStreamIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ context.Context, _ int, _ http.Header, in func() (*message, error), out func(*message) error) error {
			return echo(in, out)
		})
		begun, closes := 0, 0
		closing := streamInterceptor(func(next connect.StreamingClientFunc) connect.StreamingClientFunc {
			return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
				begun++
				return &closingConn{next(ctx, spec), &closes}
			}
		})
		policy := retry.New(retry.Attempts(1), retry.WithBreaker(func(connect.Spec) retry.Breaker { return &breaker{open: true} }))
		stream := connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+pathBidi,
			connect.WithInterceptors(policy, closing)).CallBidiStream(t.Context())
		if _, err := stream.Receive(); connect.CodeOf(err) != connect.CodeUnavailable {
			t.Errorf("got %v, want unavailable", err)
		}
		if begun != 1 || closes != 1 {
			t.Errorf("got %d streams begun and %d closed, want 1 and 1", begun, closes)
		}
	})
}

// TestBreakerLearnsOfPanics has an interceptor panic in the second attempt: the breaker gets
// an end for each attempt that it has allowed, and the panic's is a failure.
func TestBreakerLearnsOfPanics(t *testing.T) {
	for _, path := range []string{pathUnary, pathServer, pathClient, pathBidi} {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, func(context.Context, int, http.Header, func() (*message, error), func(*message) error) error {
				return unavailable()
			})
			attempts, b := 0, new(breaker)
			second := func() {
				if attempts++; attempts == 2 {
					panic("second attempt")
				}
			}
			client := connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+path, connect.WithIdempotency(idempotent), connect.WithInterceptors(
				retry.New(retry.WithBreaker(func(connect.Spec) retry.Breaker { return b })),
				connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
					return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
						second()
						return next(ctx, r)
					}
				}),
				streamInterceptor(func(next connect.StreamingClientFunc) connect.StreamingClientFunc {
					return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
						second()
						return next(ctx, spec)
					}
				})))
			defer func() {
				got := recover()
				synctest.Wait()
				if got != "second attempt" || b.ok != 0 || b.failed != 2 {
					t.Errorf("%s: got %v from recover, %d successes and %d failures, want the panic, 0 and 2", path, got, b.ok, b.failed)
				}
			}()
			_, _ = call(t.Context(), client, path)
		})
	}
}

// TestMixed makes calls of all kinds at once that fail, hang, are given up and time out
// at random. The observer counts what the server counts, no message is lost or
// duplicated, and nothing is left.
func TestMixed(t *testing.T) {
	var runs, final atomic.Int64
	s := serve(t, func(ctx context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
		runs.Add(1)
		switch random := rand.IntN(10); {
		case random < 3:
			return unavailable()
		case random == 3:
			<-ctx.Done()
			return ctx.Err()
		case random == 4:
			_ = out(nil)
			return unavailable()
		case random == 5:
			return connect.NewError(connect.CodeNotFound, errors.New("no"))
		}
		return echo(in, out)
	})
	var observed atomic.Int64
	policy := retry.New(retry.Attempts(4), retry.Ratio(1, 1e6), retry.Backoff(time.Microsecond, time.Millisecond, 2),
		retry.AttemptTimeout(20*time.Millisecond), retry.Observe(func(_ context.Context, a retry.Attempt) { observed.Add(1) }))
	hedging := retry.New(retry.Hedge(time.Millisecond, 3), retry.Ratio(1, 1e6), retry.AttemptTimeout(20*time.Millisecond))
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			for i := range 60 {
				path := []string{pathUnary, pathServer, pathClient, pathBidi}[i%4]
				var options []connect.ClientOption
				for _, options = range protocols {
					break // any
				}
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				switch rand.IntN(5) {
				case 0:
					go func() {
						time.Sleep(rand.N(3 * time.Millisecond))
						cancel()
					}()
				case 1:
					if path == pathUnary {
						_, _ = call(ctx, s.client(path, harmless, hedging, options...), path)
						cancel()
						continue
					}
				}
				texts, err := call(ctx, s.client(path, harmless, policy, options...), path)
				want := "abc"
				if path == pathUnary || path == pathServer {
					want = "a"
				}
				if err == nil {
					final.Add(1)
					if len(texts) != 1 || texts[0] != want {
						t.Errorf("%s: got %q, want %q", path, texts, want)
					}
				} else if code := connect.CodeOf(err); code != connect.CodeUnavailable && code != connect.CodeNotFound && code != connect.CodeCanceled && code != connect.CodeDeadlineExceeded {
					t.Errorf("%s: got %v, want one of the four codes", path, err)
				}
				cancel()
			}
		})
	}
	callers.Wait()
	if final.Load() == 0 || observed.Load() == 0 {
		t.Error("got no call that succeeded, or no attempt observed")
	}
}

// TestObserved makes calls one after the other: there is one observation for each run.
func TestObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ context.Context, _ int, _ http.Header, in func() (*message, error), out func(*message) error) error {
			if rand.IntN(2) == 0 {
				return unavailable()
			}
			return echo(in, out)
		})
		var observed, again int64
		policy := retry.New(retry.Ratio(1, 1e6), retry.Observe(func(_ context.Context, a retry.Attempt) {
			observed++
			if a.Again {
				again++
			}
		}))
		const calls = 400
		for i := range calls {
			path := []string{pathUnary, pathServer, pathClient, pathBidi}[i%4]
			_, err := call(t.Context(), s.client(path, harmless, policy), path)
			if n := retry.AttemptsOf(err); err != nil && n != 3 {
				t.Errorf("got %d attempts of a call that failed with %v, want 3", n, err)
			}
		}
		if observed != s.runs.Load() || again != observed-calls {
			t.Errorf("got %d observations, %d of them with another attempt, for %d runs of %d calls", observed, again, s.runs.Load(), calls)
		}
	})
}

// TestRatioKeepsCredit has a hundred calls succeed and then twenty fail: what the first
// have earned is there for the others.
func TestRatioKeepsCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
			if run > 100 {
				return unavailable()
			}
			return echo(in, out)
		})
		client := s.client(pathUnary, idempotent, retry.New(retry.Attempts(2), retry.Ratio(0.25, 0)))
		for range 130 {
			_, _ = call(t.Context(), client, pathUnary)
		}
		s.wantRuns(t, 100+30+25)
	})
}

// TestRatioFillsUp uses up the retries of a policy, and then lets time pass: each second
// brings its number of them, and ten seconds' worth may be saved up.
func TestRatioFillsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		client := overTransport(transportFunc(func(*http.Request) (*http.Response, error) {
			requests++
			return nil, errors.New("connection reset")
		}), pathUnary, idempotent, retry.New(retry.Attempts(2), retry.Ratio(0, 5), retry.Backoff(time.Nanosecond, time.Nanosecond, 1)))
		retries := func() int {
			const calls = 100
			requests = 0
			for range calls {
				if _, err := call(t.Context(), client, pathUnary); err == nil {
					t.Fatal("got an answer, want an error")
				}
			}
			return requests - calls
		}
		for _, c := range []struct {
			after time.Duration
			want  int
		}{
			{0, 5}, // at the start, those of a second
			{0, 0},
			{time.Second, 5},
			{time.Second / 2, 2},
			{time.Second / 2, 3}, // with the half that was left
			{3 * time.Second, 15},
			{10 * time.Second, 50},
			{time.Hour, 50},
			{time.Second, 5},
		} {
			time.Sleep(c.after)
			if got := retries(); got != c.want {
				t.Errorf("%v later: got %d retries, want %d", c.after, got, c.want)
			}
		}
	})
}
