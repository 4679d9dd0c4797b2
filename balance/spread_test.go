// SPDX-License-Identifier: Apache-2.0

// Calls for which the transport makes no direct call: each takes its turn once.

package balance_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/retry"
)

// TestTurns counts where calls in turn go that are too long for a direct call, or whose
// endpoints have transports that make none.
func TestTurns(t *testing.T) {
	plain := balance.Transport(func(_ balance.Endpoint, dial balance.Dial) http.RoundTripper {
		return &http.Transport{DialContext: dial}
	})
	for _, test := range []struct {
		name   string
		http1  bool
		text   string
		policy balance.Option
	}{
		{"long messages, round robin", false, strings.Repeat("a", 1<<20), balance.RoundRobin()},
		{"long messages, weighted", false, strings.Repeat("a", 1<<20), balance.Weighted()},
		{"no direct calls, round robin", true, "a", balance.RoundRobin()},
		{"no direct calls, weighted", true, "a", balance.Weighted()},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, 2, test.http1, echo)
			options := []balance.Option{balance.DialContext(s.dial), test.policy}
			if test.http1 {
				options = append(options, plain)
			}
			b, err := balance.New(balance.Static(s.names...), options...)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			c := clientOf(b, pathUnary, unknown, protocols["connect"])
			if _, err := ask(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			allReady(t, b, 2)
			before := s.runs()
			for range 20 {
				if _, err := c.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String(test.text))); err != nil {
					t.Fatal(err)
				}
			}
			after := s.runs()
			if a, b := after["a"]-before["a"], after["b"]-before["b"]; a < 9 || a > 11 || a+b != 20 {
				t.Errorf("got %d and %d calls, want 10 each", a, b)
			}
			wantIdle(t, b)
		})
	}
}

// TestLongHedge hedges calls that are too long for a direct call: each attempt goes to
// another of the endpoints.
func TestLongHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 2, false, func(ctx context.Context, n *node, _ int64, text string) (string, error) {
			if text != "a" {
				time.Sleep(time.Second)
			}
			return n.name, nil
		})
		b := s.balancer(t, nil, balance.RoundRobin())
		end := settled(t, s, b, clientOf(b, pathUnary, unknown, protocols["connect"]))
		c := clientOf(b, pathUnary, idempotent, protocols["connect"], retry.New(retry.Hedge(10*time.Millisecond, 2)))
		for range 8 {
			before := s.runs()
			if _, err := c.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String(strings.Repeat("a", 1<<20)))); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			after := s.runs()
			if a, b := after["a"]-before["a"], after["b"]-before["b"]; a != 1 || b != 1 {
				t.Errorf("got %d and %d runs, want one at each endpoint", a, b)
			}
		}
		wantIdle(t, b)
		end()
	})
}
