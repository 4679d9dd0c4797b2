// SPDX-License-Identifier: Apache-2.0

// FailFast: when calls wait, and when they fail.

package balance_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
)

// TestFailFast has calls fail once connections to all endpoints have failed.
func TestFailFast(t *testing.T) {
	s := newSite(t, 0, false, echo)
	b := s.balancer(t, balance.Static("a", "b"), balance.FailFast())
	c := clientOf(b, pathUnary, unknown, protocols["grpc"])
	for range 3 {
		_, err := ask(t.Context(), c)
		if connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "none of 2 endpoints is ready") || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("got %v, want unavailable with the reason", err)
		}
	}
	s.start(t, "b")
	waitFor(t, "an answer", func() bool {
		name, err := ask(t.Context(), c)
		return err == nil && name == "b"
	})
}

// TestFailFastAgain restarts the only endpoint, to which a connection could not be opened
// long ago: calls wait for the attempt to connect again, and fail once it has failed.
func TestFailFastAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 0, false, echo)
		b, err := balance.New(balance.Static("a"), balance.FailFast(), balance.DialContext(func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(100 * time.Millisecond)
			return s.dial(ctx, network, address)
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		c := clientOf(b, pathUnary, unknown, protocols["grpc"])
		fails := func() {
			t.Helper()
			if _, err := ask(t.Context(), c); connect.CodeOf(err) != connect.CodeUnavailable {
				t.Errorf("got %v, want unavailable", err)
			}
		}
		fails()
		for range 2 {
			s.start(t, "a")
			time.Sleep(10 * time.Second)
			if name, err := ask(t.Context(), c); err != nil || name != "a" {
				t.Errorf("got %q and %v, want an answer of a", name, err)
			}
			s.node("a").stop(t, false)
			synctest.Wait()
			s.start(t, "a")
			if name, err := ask(t.Context(), c); err != nil || name != "a" {
				t.Errorf("got %q and %v after a restart, want an answer of a", name, err)
			}
			s.node("a").stop(t, false)
			time.Sleep(10 * time.Second)
			fails()
		}
	})
}

// TestFailFastProbe has calls fail once the probes of all endpoints have failed, and wait
// before.
func TestFailFastProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 2, false, echo)
		b := s.balancer(t, nil, balance.FailFast(), balance.Probe(func(context.Context, connect.HTTPClient, string) error {
			time.Sleep(time.Second)
			return errors.New("no database")
		}, time.Minute))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		_, err := ask(ctx, clientOf(b, pathUnary, unknown, protocols["grpc"]))
		if connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "no database") || time.Since(began) != time.Second {
			t.Errorf("got %v after %v, want unavailable with the reason after the probes' second", err, time.Since(began))
		}
		b.Close()
		s.node("a").stop(t, false)
		s.node("b").stop(t, false)
	})
}

// TestDialReturnsNothing has a function of DialContext that returns neither a connection nor
// an error: calls learn of it.
func TestDialReturnsNothing(t *testing.T) {
	for name, options := range map[string][]balance.Option{"h2": nil, "net/http": {balance.NetHTTP()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, err := balance.New(balance.Static("a"), append(options, balance.FailFast(),
					balance.DialContext(func(context.Context, string, string) (net.Conn, error) { return nil, nil }))...)
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err = ask(ctx, clientOf(b, pathUnary, unknown, protocols["connect"]))
				if connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "returned neither a connection nor an error") {
					t.Errorf("got %v, want unavailable with the reason", err)
				}
			})
		})
	}
}
