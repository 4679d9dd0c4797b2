// SPDX-License-Identifier: Apache-2.0

// What Observe gets, and functions of programs that do not return.

package consul_test

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/consul"
)

// held returns a middleware that holds requests for a path until release is called.
func held(path string) (middleware func(http.Handler) http.Handler, release func()) {
	free := make(chan struct{})
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == path {
				select {
				case <-free:
				case <-r.Context().Done():
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}, sync.OnceFunc(func() { close(free) })
}

// TestObserveReady has the intentions come last: Observe gets the service as ready.
func TestObserveReady(t *testing.T) {
	a := newAgent(t)
	middleware, release := held("/v1/connect/intentions/match")
	defer release()
	a.Intercept(middleware)
	states := make(chan consul.Status, 100)
	startService(t, a, "web", func(c *consul.Config) { c.Observe = func(s consul.Status) { states <- s } })
	ctx := within(t)
	for known := false; ; {
		select {
		case s := <-states:
			if s.Ready {
				return
			}
			if known = s.Roots > 0; known {
				release()
			}
		case <-ctx.Done():
			t.Fatalf("got no state that is ready, a certificate and roots: %v", known)
		}
	}
}

// TestObserveEnds has an Observe that panics, and then ends its goroutine: the service goes on.
func TestObserveEnds(t *testing.T) {
	a := newAgent(t)
	calls := 0
	later := make(chan consul.Status, 100)
	s := newService(t, a, "web", func(c *consul.Config) {
		c.Observe = func(s consul.Status) {
			switch calls++; calls {
			case 1:
				panic("of the program")
			case 2:
				runtime.Goexit()
			default:
				later <- s
			}
		}
	})
	for range 2 {
		changes := s.Status().Changes
		if err := a.RotateCA(); err != nil {
			t.Fatal(err)
		}
		await(t, "another certificate", func() bool { return s.Status().Changes > changes })
	}
	select {
	case <-later:
	case <-within(t).Done():
		t.Error("got no state after the function had failed")
	}
}

// TestWaitReadyDecides asks a service that is ready with a context that has ended, and one that
// was ready and is closed: the answer is no matter of luck.
func TestWaitReadyDecides(t *testing.T) {
	s := newService(t, newAgent(t), "web")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if err := s.WaitReady(ctx); err != nil {
			t.Fatalf("got %v from a service that is ready, want nil", err)
		}
	}
	_ = s.Close()
	for range 100 {
		if s.WaitReady(t.Context()) == nil {
			t.Fatal("got nil from a service that is closed, want an error")
		}
	}
}

// TestOptionsAfterClose makes clients of a service that is closed: their calls fail, and the
// program does not.
func TestOptionsAfterClose(t *testing.T) {
	s := newService(t, newAgent(t), "web")
	_ = s.Close()
	_, err := call(within(t), s.HTTPClient(), pingURL, pathUnary, s.Options(pingURL))
	wantError(t, "a call", err, connect.CodeUnavailable, "is closed")
}

// A closing resolver finds an instance of a service that is closed meanwhile.
type closing struct {
	consul.StaticResolver
	s *consul.Service
}

func (c *closing) Resolve(ctx context.Context) (string, consul.Identity, error) {
	_ = c.s.Close()
	return c.StaticResolver.Resolve(ctx)
}

// TestOwnEnd has a client that is closed before its handshake: that is not the server's identity.
func TestOwnEnd(t *testing.T) {
	a := newAgent(t)
	ping, web := newService(t, a, "ping"), newService(t, a, "web")
	l := serve(t, a, ping, handlers(nil))
	_, err := web.Dial(within(t), &closing{consul.StaticResolver{Addr: l.Addr().String(), CertURI: a.ServiceURI("ping")}, web})
	wantText(t, "dial", err, "is closed")
	if code := connect.CodeOf(err); code == connect.CodeUnauthenticated {
		t.Errorf("got the code %v, want none that blames the server", code)
	}
}
