// SPDX-License-Identifier: Apache-2.0

// Restarts: servers go away and come back in turn, gracefully or not, while callers call.

package balance_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/retry"
)

// TestRestarts restarts three servers in turn. No call may fail on HTTP/2 if the servers
// stop gracefully, without retries; with retries no idempotent call may fail on HTTP/1.1,
// or where servers are killed. A call that is not idempotent never runs twice.
//
// RESTART_CALLS sets the number of calls of each case.
func TestRestarts(t *testing.T) {
	calls, most := 10_000, 9 // calls, and restarts
	if testing.Short() || raceEnabled {
		calls = 3_000
	}
	if text := os.Getenv("RESTART_CALLS"); text != "" {
		if _, err := fmt.Sscan(text, &calls); err != nil {
			t.Fatal(err)
		}
		most = calls / 1000
	}
	for _, test := range []struct {
		name     string
		http1    bool
		graceful bool
		retries  bool
		level    connect.IdempotencyLevel
		protocol string
		lossless bool // no call fails
		size     int  // of an answer: a large one is cut off after its head, too
	}{
		{"h2, graceful", false, true, false, unknown, "grpc", true, 0},
		{"h2, graceful, connect", false, true, false, unknown, "connect", true, 0},
		{"h2, killed, retries, idempotent", false, false, true, idempotent, "grpc", true, 0},
		{"h2, killed, retries, idempotent, large", false, false, true, idempotent, "grpc", true, 300 << 10},
		{"h2, killed, retries, idempotent, large, connect", false, false, true, idempotent, "connect", true, 300 << 10},
		{"h2, killed, retries", false, false, true, unknown, "grpc", false, 0},
		{"HTTP/1.1, graceful, retries, idempotent", true, true, true, idempotent, "connect", true, 0},
		{"HTTP/1.1, killed, retries, idempotent", true, false, true, idempotent, "grpcweb", true, 0},
		{"HTTP/1.1, killed, retries, idempotent, large", true, false, true, idempotent, "grpcweb", true, 300 << 10},
		{"HTTP/1.1, graceful, retries", true, true, true, unknown, "connect", false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // a graceful stop takes up to half a second
			const callers = 16
			calls, most := calls, most
			if test.size > 0 {
				calls /= 10
			}
			answer := strings.Repeat("x", test.size)
			if test.http1 && test.graceful && calls <= 10_000 {
				most = 3 // net/http waits 5 seconds for connections that had no request yet
			}
			runs := make([]atomic.Int32, calls)
			s := newSite(t, 3, test.http1, func(_ context.Context, n *node, _ int64, text string) (string, error) {
				var i int
				if _, err := fmt.Sscan(text, &i); err != nil {
					return "", err
				}
				runs[i].Add(1)
				return answer, nil
			})
			b := s.balancer(t, nil)
			var interceptors []connect.Interceptor
			if test.retries {
				interceptors = append(interceptors, retry.New(retry.Attempts(4), retry.Ratio(1, 1000)))
			}
			c := clientOf(b, pathUnary, test.level, protocols[test.protocol], interceptors...)
			// The callers go on by steps, so that all restarts come while they call: as far as
			// allowed, which the restarts move.
			step := int64(calls / (2 * (most + 1)))
			var next, failed, allowed atomic.Int64
			allowed.Store(step)
			var working sync.WaitGroup
			for range callers {
				working.Go(func() {
					for i := next.Add(1) - 1; i < int64(calls); i = next.Add(1) - 1 {
						for i >= allowed.Load() {
							time.Sleep(time.Millisecond)
						}
						ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
						_, err := c.CallUnary(ctx, connect.NewRequest(wrapperspb.String(fmt.Sprint(i))))
						cancel()
						if err == nil {
							continue
						}
						if failed.Add(1) <= 5 && test.lossless {
							t.Errorf("call %d: got %v, want an answer", i, err)
						}
					}
				})
			}
			advance := func(n int64) { // n calls begin
				until := min(next.Load()+n, int64(calls))
				allowed.Store(max(until, allowed.Load()))
				waitFor(t, "calls that begin", func() bool { return next.Load() >= until })
			}
			for i := range most {
				advance(step)
				n := s.node(s.names[i%3])
				n.stop(t, test.graceful)
				advance(min(20, step)) // meanwhile others serve
				s.start(t, n.name)
				waitFor(t, "the endpoint being ready again", func() bool { return states(b)[n.name] == balance.StateReady })
			}
			allowed.Store(int64(calls))
			working.Wait()
			twice, lost := 0, 0
			for i := range runs {
				switch n := runs[i].Load(); {
				case n > 1:
					twice++
				case n == 0:
					lost++
				}
			}
			t.Logf("%d calls, %d restarts: %d failed, %d ran more than once", calls, most, failed.Load(), twice)
			if failed.Load() > 0 && test.lossless {
				t.Errorf("got %d of %d calls that failed, want none", failed.Load(), calls)
			}
			if test.level == unknown && twice > 0 {
				t.Errorf("got %d calls that ran twice, want none: they are not idempotent", twice)
			}
			if int64(lost) > failed.Load() {
				t.Errorf("got %d calls that did not run and %d that failed, want no more", lost, failed.Load())
			}
			wantIdle(t, b)
		})
	}
}
