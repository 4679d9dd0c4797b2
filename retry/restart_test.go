// SPDX-License-Identifier: Apache-2.0

// Restarts: a server goes away and comes back again and again, gracefully or not, while
// calls are made. No idempotent call is lost, and no other runs twice.

package retry_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/retry"
)

// A restarter serves at one address, with one server after the other.
type restarter struct {
	address string
	handler http.Handler
	server  *http.Server
	served  chan struct{}
}

func (r *restarter) start(t testing.TB) {
	var listener net.Listener
	for { // another program may have the port for a moment
		var err error
		if listener, err = net.Listen("tcp", r.address); err == nil {
			break
		} else if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	r.address = listener.Addr().String()
	r.server = &http.Server{Handler: r.handler, ErrorLog: log.New(io.Discard, "", 0)}
	if err := h2.ConfigureServer(r.server, nil); err != nil {
		t.Fatal(err)
	}
	r.served = make(chan struct{})
	server, served := r.server, r.served
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
}

func (r *restarter) stop(t testing.TB, graceful bool) {
	if graceful {
		if err := r.server.Shutdown(t.Context()); err != nil {
			t.Errorf("got %v from Shutdown, want nil", err)
		}
	} else {
		_ = r.server.Close()
	}
	<-r.served
}

func TestRestarts(t *testing.T) {
	const calls, callers = 3000, 16
	for _, graceful := range []bool{true, false} {
		for _, level := range []connect.IdempotencyLevel{unknown, idempotent} {
			for name, protocol := range map[string]struct {
				options   []connect.ClientOption
				transport func() (http.RoundTripper, func())
			}{
				"HTTP/1.1": {nil, func() (http.RoundTripper, func()) {
					transport := &http.Transport{MaxIdleConnsPerHost: callers}
					return transport, transport.CloseIdleConnections
				}},
				"h2": {[]connect.ClientOption{connect.WithGRPC()}, func() (http.RoundTripper, func()) {
					transport := h2.NewTransport(nil)
					return transport, func() { _ = transport.Close() }
				}},
			} {
				t.Run(fmt.Sprintf("%s/%v/graceful %v", name, level, graceful), func(t *testing.T) {
					runs := make([]atomic.Int32, calls)
					r := &restarter{address: "127.0.0.1:0"}
					r.handler = connect.NewUnaryHandler(pathUnary, func(_ context.Context, req *connect.Request[message]) (*connect.Response[message], error) {
						var n int
						if _, err := fmt.Sscan(req.Msg.Value, &n); err != nil {
							return nil, err
						}
						runs[n].Add(1)
						return connect.NewResponse(req.Msg), nil
					})
					r.start(t)
					transport, closeTransport := protocol.transport()
					defer closeTransport()
					client := connect.NewClient[message, message](&http.Client{Transport: transport}, "http://"+r.address+pathUnary,
						append(protocol.options, connect.WithIdempotency(level), connect.WithInterceptors(retry.New(retry.Attempts(20), retry.Ratio(1, 1000))))...) // enough for a slow restart
					var next, failed atomic.Int64
					var working sync.WaitGroup
					done := make(chan struct{})
					for range callers {
						working.Go(func() {
							for {
								n := next.Add(1) - 1
								if n >= calls {
									return
								}
								ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
								_, err := client.CallUnary(ctx, connect.NewRequest(wrapperspb.String(fmt.Sprint(n))))
								cancel()
								if err != nil {
									failed.Add(1)
									if level == idempotent || graceful && name == "h2" {
										t.Errorf("call %d: got %v after %d attempts, want an answer", n, err, retry.AttemptsOf(err))
									}
								}
							}
						})
					}
					go func() {
						working.Wait()
						close(done)
					}()
					for restarts := 0; ; restarts++ { // one for each 300 calls
						for next.Load() < int64(300*(restarts+1)) {
							select {
							case <-done:
							case <-time.After(time.Millisecond):
								continue
							}
							break
						}
						select {
						case <-done:
						default:
							r.stop(t, graceful)
							r.start(t)
							continue
						}
						if restarts < 5 {
							t.Errorf("got %d restarts, want at least 5", restarts)
						}
						break
					}
					r.stop(t, true)
					twice := 0
					for i := range runs {
						if n := runs[i].Load(); n > 1 {
							twice++
						} else if n == 0 && level == idempotent {
							t.Errorf("got no run of call %d, want one", i)
						}
					}
					if level == unknown && twice > 0 {
						t.Errorf("got %d of %d calls that ran twice, want none", twice, calls)
					}
					t.Logf("%d of %d calls failed, %d ran more than once", failed.Load(), calls, twice)
				})
			}
		}
	}
}
