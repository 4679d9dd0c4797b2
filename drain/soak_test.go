// SPDX-License-Identifier: Apache-2.0

// A soak: calls of all kinds, callers that leave early or do not read, servers that end
// gracefully, in a hurry, or at once.

package drain_test

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/drain"
)

// countConns returns a ConnContext that counts connections.
func countConns(n *atomic.Int64) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, _ net.Conn) context.Context {
		n.Add(1)
		return ctx
	}
}

func TestSoak(t *testing.T) {
	const callers, restarts = 12, 24
	for name, c := range map[string]struct {
		options   []connecttest.Option
		transport func(*site) (http.RoundTripper, func())
	}{
		"h2":       {[]connecttest.Option{connecttest.WithEngine()}, (*site).engineTransport},
		"net/http": {nil, func(s *site) (http.RoundTripper, func()) { return s.standardTransport(false) }},
		"HTTP/1.1": {nil, func(s *site) (http.RoundTripper, func()) { return s.standardTransport(true) }},
	} {
		t.Run(name, func(t *testing.T) {
			served := service{unary: func(ctx context.Context) error {
				select {
				case <-time.After(rand.N(time.Millisecond)):
				case <-ctx.Done():
				}
				return ctx.Err()
			}}
			var s site
			r := newReplica(&served, c.options)
			s.current.Store(r)
			transport, closeTransport := c.transport(&s)
			defer closeTransport()
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var made, answered atomic.Int64
			var working sync.WaitGroup
			for i := range callers {
				options := protocols[[]string{"connect", "grpcweb"}[i%2]]
				path := []string{pathUnary, pathUnary, pathServer}[i%3]
				working.Go(func() {
					c := newClient(transport, path, options...)
					for ctx.Err() == nil {
						patience := time.Millisecond/2 + rand.N(20*time.Millisecond)
						if i == 0 {
							patience = time.Minute
						}
						ctx, cancel := context.WithTimeout(ctx, patience)
						made.Add(1)
						var err error
						switch {
						case path == pathUnary:
							err = unary(ctx, c)
						case i%2 == 0:
							_, err = follow(ctx, c, path, func(string) {})
						default:
							_, err = follow(ctx, c, path, func(string) { <-ctx.Done() }) // a slow peer
						}
						cancel()
						if err == nil {
							answered.Add(1)
						}
					}
				})
			}
			for i := range restarts {
				for made.Load() < int64(25*(i+1)) {
					time.Sleep(time.Millisecond) // paces the restarts
				}
				next := newReplica(&served, c.options)
				s.current.Store(next)
				var ending sync.WaitGroup
				switch i % 4 {
				case 0:
					ending.Go(func() { _ = r.Shutdown(t.Context(), drain.Grace(10*time.Second)) })
				case 1:
					ending.Go(func() { _ = r.Shutdown(t.Context(), drain.Grace(time.Millisecond)) })
				case 2:
					ending.Go(func() { _ = r.Shutdown(t.Context(), drain.Delay(time.Hour)) })
					ending.Go(func() { _ = r.Close() })
				case 3:
					ending.Go(func() { _ = r.Close() })
				}
				ending.Wait()
				r.server.Close()
				if r.Running() != 0 {
					t.Errorf("restart %d: got %d running after the end, want 0", i, r.Running())
				}
				r = next
			}
			stop()
			working.Wait()
			if err := unary(t.Context(), newClient(r.server.Client().Transport, pathUnary)); err != nil { // over a new connection
				t.Errorf("got %v from a call after the soak, want an answer", err)
			}
			r.server.Close()
			t.Logf("%d calls, %d answered", made.Load(), answered.Load())
		})
	}
}
