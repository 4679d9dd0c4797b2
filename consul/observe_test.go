// SPDX-License-Identifier: Apache-2.0

// What Observe gets, and functions of programs that do not return.

package consul_test

import (
	"net/http"
	"runtime"
	"sync"
	"testing"

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
