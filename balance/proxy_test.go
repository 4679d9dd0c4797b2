// SPDX-License-Identifier: Apache-2.0

// Answers that are not of the protocol, as proxies before a server give them, and resets.

package balance_test

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/balance"
)

// TestProxy has one of two endpoints answer with a status of HTTP alone, on a connection
// that stays: ten such answers eject it if the status stands for unavailable.
func TestProxy(t *testing.T) {
	for _, test := range []struct {
		status int
		eject  bool
	}{{http.StatusServiceUnavailable, true}, {http.StatusBadGateway, true}, {http.StatusForbidden, false}} {
		for name, protocol := range protocols {
			for _, path := range []string{pathUnary, pathServer} {
				t.Run(name+path+http.StatusText(test.status), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := newSite(t, 1, false, echo)
						s.names = append(s.names, "x")
						s.node("x").start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
							http.Error(w, "upstream connect error", test.status)
						}), false)
						b := s.balancer(t, nil, balance.RoundRobin())
						c := clientOf(b, path, idempotent, protocol)
						for range 20 {
							_, _ = call(t.Context(), c, path)
							time.Sleep(10 * time.Millisecond)
						}
						wantIdle(t, b)
						want := balance.StateReady
						if test.eject {
							want = balance.StateEjected
						}
						if got := states(b)["x"]; got != want {
							t.Errorf("got state %s, want %s: %+v", got, want, b.Status())
						}
						b.Close()
						for _, n := range s.names {
							s.node(n).stop(t, false)
						}
					})
				})
			}
		}
	}
}

// TestPlainResets has an endpoint reset each stream on a connection that stays, before the
// head of the response or after it: without the interceptor, too, that ejects it.
func TestPlainResets(t *testing.T) {
	for _, late := range []bool{false, true} {
		s := newSite(t, 1, false, echo)
		s.names = append(s.names, "x")
		s.node("x").start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if late {
				w.WriteHeader(http.StatusOK)
				_ = http.NewResponseController(w).Flush()
			}
			panic(http.ErrAbortHandler)
		}), false)
		b := s.balancer(t, nil, balance.RoundRobin())
		for i := range 40 {
			if i == 1 {
				allReady(t, b, 2)
			}
			res, err := b.HTTPClient().Get("http://test.local/x")
			if err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		}
		if state, dials := states(b)["x"], s.node("x").dials.Load(); state != balance.StateEjected || dials != 1 {
			t.Errorf("late %v: got state %s with %d connections, want ejected with one", late, state, dials)
		}
		wantIdle(t, b)
	}
}
