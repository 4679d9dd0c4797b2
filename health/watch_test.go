// SPDX-License-Identifier: Apache-2.0

// This file watches statuses: in order, slowly, and while the server drains.

package health

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
)

func TestWatch(t *testing.T) {
	for _, c := range carriers {
		if c.name == "h1 get" {
			continue // a stream is never a GET
		}
		t.Run(c.name, func(t *testing.T) {
			status := New()
			s := serve(t, status, c.server)
			next, stop := iter.Pull2(NewClient(s.Client(), s.URL, c.options...).Watch(testContext(t), "acme.v1.S"))
			defer stop()
			want := func(want Status) {
				t.Helper()
				got, err, ok := next()
				if !ok {
					t.Fatal("got the end of the loop")
				}
				wantStatus(t, got, err, want)
			}
			want(StatusServiceUnknown)
			status.Set("acme.v1.Other", StatusServing) // not seen
			status.Set("acme.v1.S", StatusUnknown)
			want(StatusUnknown)
			status.Set("acme.v1.S", StatusUnknown) // no change
			status.Set("acme.v1.S", StatusServing)
			want(StatusServing)
			status.Set("acme.v1.S", StatusServiceUnknown)
			want(StatusServiceUnknown)
			status.Set("acme.v1.S", StatusServing)
			want(StatusServing)
			status.Shutdown()
			want(StatusNotServing)
			_, err, _ := next()
			wantError(t, err, connect.CodeUnavailable, "the server shuts down")
			if _, _, more := next(); more {
				t.Error("got a value after the error")
			}

			// A new watcher gets the last status and the error.
			var got []Status
			for one, err := range NewClient(s.Client(), s.URL, c.options...).Watch(testContext(t), "") {
				if err != nil {
					wantError(t, err, connect.CodeUnavailable, "the server shuts down")
					continue
				}
				got = append(got, one)
			}
			if !slices.Equal(got, []Status{StatusNotServing}) {
				t.Errorf("got %v, want NOT_SERVING", got)
			}
		})
	}
}

// A watcher whose client does not read keeps nothing but the newest status.
func TestSlowWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := New("a.S")
		ctx, cancel := context.WithCancel(t.Context())
		reads := make(chan struct{})
		var sent []Status
		var ended error
		var group sync.WaitGroup
		group.Go(func() {
			ended = status.watch(ctx, "a.S", func(ctx context.Context, one Status) error {
				select {
				case <-reads:
					sent = append(sent, one)
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
		synctest.Wait() // it sends the first status
		for range 1000 {
			status.Set("a.S", StatusNotServing)
			status.Set("a.S", StatusServing)
		}
		status.Set("a.S", StatusUnknown)
		reads <- struct{}{}
		reads <- struct{}{}
		synctest.Wait()
		cancel()
		group.Wait()
		if want := []Status{StatusServing, StatusUnknown}; !slices.Equal(sent, want) {
			t.Errorf("got %v, want %v", sent, want)
		}
		if !errors.Is(ended, context.Canceled) {
			t.Errorf("got error %v, want canceled", ended)
		}
	})
}

// The names that clients watch cost the server nothing: it keeps those that the program set.
func TestWatchedNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := New()
		ctx, cancel := context.WithCancel(t.Context())
		var sent atomic.Int32
		var group sync.WaitGroup
		for n := range 1000 {
			group.Go(func() {
				_ = status.watch(ctx, fmt.Sprint("acme.v1.S", n), func(_ context.Context, got Status) error {
					wantStatus(t, got, nil, StatusServiceUnknown)
					sent.Add(1)
					return nil
				})
			})
		}
		for range 10 {
			synctest.Wait()
			status.Set("", StatusNotServing) // wakes all of them
			synctest.Wait()
			status.Set("", StatusServing)
		}
		cancel()
		group.Wait()
		if got := sent.Load(); got != 1000 || len(status.services) != 1 {
			t.Errorf("got %d sent statuses and %d services, want 1000 and 1", got, len(status.services))
		}
	})
}

// Shutdown ends the calls of clients that do not read, within the time for the last status.
func TestShutdownOfSlowWatcher(t *testing.T) {
	for name, c := range map[string]struct {
		blocked int // the send from which on the client does not read
		took    time.Duration
	}{
		"in a send":       {1, lastWait},
		"in the last one": {2, lastWait},
		"in none":         {3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				status := New("a.S")
				var ended error
				var group sync.WaitGroup
				group.Go(func() {
					sends := 0
					ended = status.watch(t.Context(), "a.S", func(ctx context.Context, _ Status) error {
						if sends++; sends < c.blocked {
							return nil
						}
						<-ctx.Done()
						return ctx.Err()
					})
				})
				synctest.Wait()
				start := time.Now()
				status.Shutdown()
				group.Wait()
				if took := time.Since(start); took != c.took {
					t.Errorf("got the end after %v, want %v", took, c.took)
				}
				wantError(t, ended, connect.CodeUnavailable, "the server shuts down")
			})
		})
	}
}

// An HTTP server that drains does not wait for watchers: Shutdown fits as its hook.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := New("a.S")
		var server *http.Server
		s := serve(t, status, []connecttest.Option{connecttest.WithServer(func(s *http.Server) { server = s })})
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				var got []Status
				var last error
				for one, err := range NewClient(s.Client(), s.URL, connect.WithGRPC()).Watch(t.Context(), "a.S") {
					if last = err; err == nil {
						got = append(got, one)
					}
				}
				if want := []Status{StatusServing, StatusNotServing}; !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
				wantError(t, last, connect.CodeUnavailable, "the server shuts down")
			})
		}
		synctest.Wait()
		server.RegisterOnShutdown(status.Shutdown)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("got %v, want a server that has drained", err)
		}
		group.Wait()
		s.Close() // and its client's connections
	})
}

// A loop that is left ends the server's call.
func TestWatchLeft(t *testing.T) {
	ended := make(chan error, 1)
	follow := connect.WithCallInterceptors(func(next connect.CallFunc) connect.CallFunc {
		return func(ctx context.Context, call *connect.Call) error {
			err := next(ctx, call)
			ended <- err
			return err
		}
	})
	s := serve(t, New(), nil, follow)
	for got, err := range NewClient(s.Client(), s.URL).Watch(testContext(t), "") {
		wantStatus(t, got, err, StatusServing)
		break
	}
	select {
	case err := <-ended:
		if connect.CodeOf(err) != connect.CodeCanceled && !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want canceled", err)
		}
	case <-testContext(t).Done():
		t.Error("the call goes on")
	}
}

// What a program sets after Shutdown changes nothing.
func TestSetAfterShutdown(t *testing.T) {
	status := New("a.Old")
	status.Shutdown()
	before, changed := status.look("a.New")
	status.Set("a.New", StatusServing)
	status.Set("a.Old", StatusServiceUnknown)
	if got := status.Status("a.New"); got != before {
		t.Errorf("got %v for a service that was set after Shutdown, want %v", got, before)
	}
	if got := status.Status("a.Old"); got != StatusNotServing {
		t.Errorf("got %v for a service that was removed after Shutdown, want %v", got, StatusNotServing)
	}
	select {
	case <-changed:
		t.Error("got watchers woken, want none")
	default:
	}
}
