// SPDX-License-Identifier: Apache-2.0

// How streams end at the signal, and what clients with retries and balancers make of it.

package drain_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/drain"
	"github.com/seed-b7c59c10/connect/retry"
)

// TestEndings has streams over two replicas, of which one ends while the network to it is
// still there. Each stream sends a message before the signal, or none.
//
// A stream that ended without an error is no failure of its server to anybody. Unavailable
// is repeated by retry for idempotent procedures, as long as the client has seen no message,
// and otherwise it is the program's. With a pushback it is repeated for all.
func TestEndings(t *testing.T) {
	const streams = 20
	unavailable := func(pushback string) func(func(string) error) error {
		return func(func(string) error) error {
			err := connect.NewError(connect.CodeUnavailable, errors.New("the server ends: call again"))
			if pushback != "" {
				err.Meta().Set("Grpc-Retry-Pushback-Ms", pushback)
			}
			return err
		}
	}
	own := func(send func(string) error) error { return send("continue elsewhere") }
	idempotent := connect.WithIdempotency(connect.IdempotencyNoSideEffects)
	for name, c := range map[string]struct {
		end        func(send func(string) error) error
		before     bool // the stream sends a message before
		idempotent bool
		again      bool // retry repeats the stream on the other replica
		failed     bool // the program gets the error
	}{
		"a message":                             {end: own, before: true},
		"no error":                              {end: func(func(string) error) error { return nil }, before: true},
		"a message, the first":                  {end: own},
		"unavailable":                           {end: unavailable(""), failed: true},
		"unavailable, idempotent":               {end: unavailable(""), idempotent: true, again: true},
		"unavailable after a message":           {end: unavailable(""), before: true, idempotent: true, failed: true},
		"unavailable, pushback":                 {end: unavailable("0"), again: true},
		"unavailable, pushback after a message": {end: unavailable("0"), before: true, failed: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var begun, repeated atomic.Int64
				replicas := make(map[string]*connecttest.Server)
				var drainers []*drain.Drainer
				for _, address := range []string{"10.0.0.1:80", "10.0.0.2:80"} {
					d := drain.New(stays{})
					h := connect.NewServerStreamHandler(pathServer, func(ctx context.Context, _ *connect.Request[message], stream *connect.ServerStream[message]) error {
						send := func(text string) error { return stream.Send(wrapperspb.String(text)) }
						if begun.Add(1) > streams {
							repeated.Add(1)
							return send("continued")
						}
						if c.before {
							if err := send("begun"); err != nil {
								return err
							}
						}
						select {
						case <-drain.Signal(ctx):
							return c.end(send)
						case <-ctx.Done():
							return ctx.Err()
						}
					})
					s := connecttest.NewServer(d.Handler(connect.NewServiceHandler([]*connect.Handler{h})), connecttest.WithEngine())
					defer s.Close()
					replicas[address] = s
					drainers = append(drainers, d)
				}
				lb, err := balance.New(balance.Static("10.0.0.1:80", "10.0.0.2:80"), balance.RoundRobin(),
					balance.DialContext(func(ctx context.Context, network, address string) (net.Conn, error) {
						return replicas[address].DialContext(ctx, network, address)
					}))
				if err != nil {
					t.Fatal(err)
				}
				defer lb.Close()
				level := connect.WithIdempotency(connect.IdempotencyUnknown)
				if c.idempotent {
					level = idempotent
				}
				client := connect.NewClient[message, message](lb.HTTPClient(), "http://test.local"+pathServer, connect.WithGRPC(), level,
					connect.WithInterceptors(retry.New(retry.Ratio(1, streams))), lb.Options())
				if err := unary(t.Context(), newClient(lb.HTTPClient().Transport, pathUnary)); connect.CodeOf(err) != connect.CodeUnimplemented {
					t.Errorf("got %v of a procedure that is not there, want unimplemented", err)
				}
				synctest.Wait() // until both are connected
				var failed, ended atomic.Int64
				var working sync.WaitGroup
				for range streams {
					working.Go(func() {
						switch _, err := follow(t.Context(), client, pathServer, func(string) {}); {
						case err == nil:
							ended.Add(1)
						case connect.CodeOf(err) == connect.CodeUnavailable && connect.IsWireError(err):
							failed.Add(1)
						default:
							t.Errorf("got %v, want unavailable of the server, or none", err)
						}
					})
				}
				synctest.Wait()
				if got := begun.Load(); got != streams {
					t.Fatalf("got %d streams, want %d", got, streams)
				}
				onFirst := drainers[0].Running()
				shut := make(chan error, 1)
				go func() { shut <- drainers[0].Shutdown(t.Context()) }()
				synctest.Wait()
				time.Sleep(time.Second)
				if onFirst < 5 || ended.Load()+failed.Load() != int64(onFirst) {
					t.Errorf("got %d streams on the first replica, of which %d ended and %d failed, want at least 5, and all at their end", onFirst, ended.Load(), failed.Load())
				}
				if got := repeated.Load() != 0; got != c.again || c.again && repeated.Load() != int64(onFirst) {
					t.Errorf("got %d of %d streams repeated, want all or none: %v", repeated.Load(), onFirst, c.again)
				}
				if got := failed.Load() != 0; got != c.failed {
					t.Errorf("got %d of %d streams that fail, want that %v", failed.Load(), onFirst, c.failed)
				}
				if !c.again && !c.failed { // of the others the Balancer may think as it likes
					for _, e := range lb.Status().Endpoints {
						if e.State != balance.StateReady {
							t.Errorf("got endpoint %s %s, want it ready: its streams ended without an error", e.Addr, e.State)
						}
					}
				}
				if err := errors.Join(<-shut, drainers[1].Shutdown(t.Context())); err != nil {
					t.Errorf("got %v from Shutdown, want nil", err)
				}
				working.Wait()
			})
		})
	}
}

// A server that stays after Shutdown.
type stays struct{}

func (stays) Shutdown(context.Context) error { return nil }
