// SPDX-License-Identifier: Apache-2.0

// The pauses between attempts, in exact virtual time: those of the policy, and those for
// which servers ask.

package retry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/retry"
)

// A transportFunc is a transport without a network.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	return f(r)
}

// overTransport returns a client of a procedure over a transport.
func overTransport(transport http.RoundTripper, path string, level connect.IdempotencyLevel, policy *retry.Policy, options ...connect.ClientOption) *client {
	options = append(options, connect.WithIdempotency(level), connect.WithInterceptors(policy))
	return connect.NewClient[message, message](&http.Client{Transport: transport}, "http://test.local"+path, options...)
}

// TestPauses makes thousands of calls whose attempts all fail, and looks at the pauses
// before each retry: they are spread evenly from nothing to a bound that grows.
func TestPauses(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		path    string
		calls   int
		options []retry.Option
		bounds  []time.Duration // of each pause
	}{
		"the default": {pathUnary, 1500, nil, []time.Duration{50 * ms, 100 * ms}},
		"unary": {pathUnary, 1500, []retry.Option{retry.Attempts(7), retry.Backoff(100*ms, time.Second, 2)},
			[]time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, time.Second, time.Second}},
		"without growth": {pathUnary, 1500, []retry.Option{retry.Attempts(4), retry.Backoff(100*ms, time.Second, 1)},
			[]time.Duration{100 * ms, 100 * ms, 100 * ms}},
		"slow growth": {pathUnary, 1500, []retry.Option{retry.Attempts(4), retry.Backoff(100*ms, time.Second, 1.5)},
			[]time.Duration{100 * ms, 150 * ms, 225 * ms}},
		"the largest at once": {pathUnary, 1500, []retry.Option{retry.Attempts(3), retry.Backoff(100*ms, 100*ms, 2)},
			[]time.Duration{100 * ms, 100 * ms}},
		"bidi": {pathBidi, 800, []retry.Option{retry.Attempts(4), retry.Backoff(100*ms, 300*ms, 2)},
			[]time.Duration{100 * ms, 200 * ms, 300 * ms}},
		"hedged": {pathUnary, 800, []retry.Option{retry.Hedge(time.Hour, 4), retry.Backoff(100*ms, 300*ms, 2)},
			[]time.Duration{100 * ms, 200 * ms, 300 * ms}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var at []time.Time
				client := overTransport(transportFunc(func(*http.Request) (*http.Response, error) {
					at = append(at, time.Now())
					return nil, errors.New("connection reset")
				}), c.path, idempotent, retry.New(append(c.options, retry.Ratio(1, 1e9))...), connect.WithGRPC())
				pauses := make([][]time.Duration, len(c.bounds))
				for range c.calls {
					at = at[:0]
					if _, err := call(t.Context(), client, c.path); err == nil || len(at) != len(c.bounds)+1 {
						t.Fatalf("got %v after %d attempts, want an error after %d", err, len(at), len(c.bounds)+1)
					}
					for i := range pauses {
						pauses[i] = append(pauses[i], at[i+1].Sub(at[i]))
					}
				}
				for i, bound := range c.bounds {
					wantSpread(t, fmt.Sprintf("pause %d", i+1), pauses[i], bound)
				}
			})
		})
	}
}

// wantSpread checks that times are spread evenly from 0 to a bound: all are within, and
// each tenth has a tenth of them, give or take six standard deviations.
func wantSpread(t *testing.T, name string, times []time.Duration, bound time.Duration) {
	t.Helper()
	const parts = 10
	var counts [parts]int
	for _, d := range times {
		if d < 0 || d > bound {
			t.Errorf("%s: got %v, want at most %v", name, d, bound)
			return
		}
		counts[min(int(d*parts/bound), parts-1)]++
	}
	want := float64(len(times)) / parts
	for i, n := range counts {
		if off := math.Abs(float64(n) - want); off > 6*math.Sqrt(want*(1-1.0/parts)) {
			t.Errorf("%s: got %d of %d times in part %d of %d below %v, want about %v", name, n, len(times), i+1, parts, bound, want)
		}
	}
}

// refusing answers each request with unavailable, and with the headers that f returns.
func refusing(f func() http.Header) transportFunc {
	return func(r *http.Request) (*http.Response, error) {
		header := http.Header{"Content-Type": {"application/grpc"}, "Grpc-Status": {"14"}, "Grpc-Message": {"restarting"}}
		for key, values := range f() {
			header[key] = values
		}
		return &http.Response{
			Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/2.0", ProtoMajor: 2, Request: r,
			Header: header, Trailer: make(http.Header), Body: http.NoBody,
		}, nil
	}
}

// TestPushbackBound has servers that ask for long pauses, of calls with and without a
// deadline.
func TestPushbackBound(t *testing.T) {
	const most = 5 * time.Minute
	for name, c := range map[string]struct {
		key, value string
		date       time.Duration // instead of a value
		want       time.Duration // pause; 0 for no other attempt
		bounded    time.Duration // the same for a call that has ten minutes
	}{
		"seconds, within":      {"Retry-After", "300", 0, most, most},
		"seconds, beyond":      {"Retry-After", "301", 0, 0, 301 * time.Second},
		"years":                {"Retry-After", "2000000000", 0, 0, 0},
		"a number too large":   {"Retry-After", "99999999999999999999999", 0, 0, 0},
		"a date, within":       {"Retry-After", "", most, most, most},
		"a date, beyond":       {"Retry-After", "", most + time.Second, 0, most + time.Second},
		"a date in ages":       {"Retry-After", "", 250 * 365 * 24 * time.Hour, 0, 0},
		"milliseconds, within": {"Grpc-Retry-Pushback-Ms", "300000", 0, most, most},
		"milliseconds, beyond": {"Grpc-Retry-Pushback-Ms", "300001", 0, 0, most + time.Millisecond},
	} {
		for _, bounded := range []bool{false, true} {
			for _, path := range []string{pathUnary, pathServer} {
				synctest.Test(t, func(t *testing.T) {
					var at []time.Time
					client := overTransport(refusing(func() http.Header {
						at = append(at, time.Now())
						if c.value != "" {
							return http.Header{c.key: {c.value}}
						}
						return http.Header{c.key: {time.Now().Add(c.date).UTC().Format(http.TimeFormat)}}
					}), path, unknown, retry.New(retry.Attempts(2)), connect.WithGRPC())
					ctx, want := t.Context(), c.want
					if bounded {
						limited, cancel := context.WithTimeout(ctx, 10*time.Minute)
						defer cancel()
						ctx, want = limited, c.bounded
					}
					began := time.Now()
					_, err := call(ctx, client, path)
					switch took := time.Since(began); {
					case took != want || connect.CodeOf(err) != connect.CodeUnavailable:
						t.Errorf("%s, bounded %v, %s: got %v after %v, want unavailable after %v", name, bounded, path, err, took, want)
					case want > 0 && len(at) != 2:
						t.Errorf("%s, bounded %v, %s: got %d attempts, want 2", name, bounded, path, len(at))
					case want == 0 && (len(at) != 1 || !bounded && !strings.Contains(err.Error(), "without a deadline a call waits for 5m0s at most")):
						t.Errorf("%s, bounded %v, %s: got %v after %d attempts, want the reason after 1", name, bounded, path, err, len(at))
					}
				})
			}
		}
	}
}

// TestRetryAfterByServersClock has servers whose clocks go wrong, and that name a date: the
// time between it and the response's date is the pause.
func TestRetryAfterByServersClock(t *testing.T) {
	for name, c := range map[string]struct {
		clock, after time.Duration // of the server, from this one's; of the date, from the server's clock
		undated      bool
		want         time.Duration
	}{
		"the same":              {0, 30 * time.Second, false, 30 * time.Second},
		"ahead":                 {time.Hour, 30 * time.Second, false, 30 * time.Second},
		"behind":                {-time.Hour, 30 * time.Second, false, 30 * time.Second},
		"a date that is past":   {time.Hour, -time.Second, false, 0},
		"the same, and no date": {0, 30 * time.Second, true, 30 * time.Second},
		"behind, and no date":   {-time.Hour, 30 * time.Second, true, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := overTransport(refusing(func() http.Header {
				now := time.Now().Add(c.clock).UTC()
				header := http.Header{"Retry-After": {now.Add(c.after).Format(http.TimeFormat)}}
				if !c.undated {
					header["Date"] = []string{now.Format(http.TimeFormat)}
				}
				return header
			}), pathUnary, unknown, retry.New(retry.Attempts(2)), connect.WithGRPC())
			began := time.Now()
			_, err := call(t.Context(), client, pathUnary)
			if took := time.Since(began); took != c.want || retry.AttemptsOf(err) != 2 {
				t.Errorf("%s: got %v after %v, want two attempts and %v between", name, err, took, c.want)
			}
		})
	}
}
