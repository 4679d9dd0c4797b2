// SPDX-License-Identifier: Apache-2.0

// What a limiter does over a whole life: a limit that falls, and a soak of calls with
// cancels, timeouts, panics, slow peers and connections that are cut.

package overload_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/overload"
	"github.com/seed-b7c59c10/connect/retry"
)

// TestNotAgain has a server whose calls all expire. Its limit falls, and a refusal then
// keeps policies of retries from another attempt, in each protocol.
func TestNotAgain(t *testing.T) {
	for protocol, options := range protocols {
		for name, way := range ways {
			synctest.Test(t, func(t *testing.T) {
				what := protocol + ", " + name
				s := service{f: func(context.Context) error {
					time.Sleep(time.Second)
					return nil
				}}
				limiter := overload.New(overload.Adaptive(1, 10))
				transport, end := way(limiter.Handler(s.handler()))
				defer end()
				for i := range 100 { // in a row
					ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
					if err := call(ctx, newClient(transport, pathUnary, options...), pathUnary); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
						t.Errorf("%s: call %d: got %v, want deadline_exceeded", what, i, err)
					}
					cancel()
					time.Sleep(time.Second)
				}
				synctest.Wait()
				s.f = nil
				stats := limiter.Stats()
				if stats.Limit != 2 {
					t.Errorf("%s: got a limit of %d after two times 50 expired calls, want a quarter of 10", what, stats.Limit)
				}
				runs := s.runs.Load()
				release := hold(t, &s, stats.Limit, newClient(transport, pathUnary, options...), pathUnary)
				c := newClient(transport, pathUnary, append(options, connect.WithInterceptors(retry.New()), connect.WithIdempotency(connect.IdempotencyIdempotent))...)
				err := call(t.Context(), c, pathUnary)
				if pushback := wantRefused(t, what, err); pushback != "-1" {
					t.Errorf("%s: got a pushback of %q, want -1", what, pushback)
				}
				if retry.AttemptsOf(err) != 1 || !strings.Contains(fmt.Sprint(err), "the server asks for no other") || s.runs.Load() != runs+int64(stats.Limit) {
					t.Errorf("%s: got %v after %d attempts and %d runs, want one attempt and %d", what, err, retry.AttemptsOf(err), s.runs.Load()-runs, stats.Limit)
				}
				release()
			})
		}
	}
}

// TestSoak checks that nothing counts any more when all calls have ended.
func TestSoak(t *testing.T) {
	const callers, calls = 16, 60
	for name, way := range ways {
		for kind, limit := range map[string]overload.Option{"adaptive": overload.Adaptive(2, 8), "fixed": overload.Fixed(6)} {
			s := service{f: func(ctx context.Context) error {
				switch rand.N(8) {
				case 0:
					panic(http.ErrAbortHandler)
				case 1:
					return errors.New("test")
				case 2:
					<-ctx.Done()
				case 3:
					select {
					case <-time.After(rand.N(2 * time.Millisecond)):
					case <-ctx.Done():
					}
				}
				return nil
			}}
			limiter := overload.New(limit, overload.Streams(3), overload.Rate(1e6, 1000, overload.ByPeer), overload.Rate(2000, 50, overload.ByField("X-Key")),
				overload.Priority(func(h http.Header) int { return len(h.Get("X-Key")) - 2 }))
			transport, end := way(limiter.Handler(s.handler()))
			var working sync.WaitGroup
			var answered, refused, other atomic.Int64
			for i := range callers {
				path := []string{pathUnary, pathUnary, pathServer}[i%3]
				options := protocols[[]string{"connect", "grpc", "grpcweb"}[i/3%3]]
				working.Go(func() {
					c := newClient(transport, path, options...)
					for range calls {
						ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond/4+rand.N(4*time.Millisecond))
						err := callWith(ctx, c, path, map[string]string{"X-Key": "xxxx"[:rand.N(4)]})
						cancel()
						switch {
						case err == nil:
							answered.Add(1)
						case connect.CodeOf(err) == connect.CodeResourceExhausted:
							refused.Add(1)
						default:
							other.Add(1)
						}
					}
				})
			}
			working.Wait()
			end() // cuts what is left, and waits for the handlers
			stats := limiter.Stats()
			for i := 0; name == "in process" && i < 5000 && stats.Running+stats.Streams > 0; i++ {
				time.Sleep(time.Millisecond) // handlers return behind their callers
				stats = limiter.Stats()
			}
			if stats.Running != 0 || stats.Streams != 0 {
				t.Errorf("%s, %s: got %+v at the end, want nothing that runs", name, kind, stats)
			}
			if got := int64(stats.RefusedCalls + stats.RefusedStreams + stats.RefusedByRate); got < refused.Load() {
				t.Errorf("%s, %s: got %d refused calls counted, and clients saw %d", name, kind, got, refused.Load())
			}
			t.Logf("%s, %s: %d answered, %d refused, %d others; %+v", name, kind, answered.Load(), refused.Load(), other.Load(), stats)
		}
	}
}
