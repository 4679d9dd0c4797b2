// SPDX-License-Identifier: Apache-2.0

// This file checks dependencies, in the time of testing/synctest.

package health

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("connection refused")

// run runs the checks until the test ends.
func run(t *testing.T, status *Server) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { status.Run(ctx) })
	return func() { cancel(); group.Wait() }
}

func TestChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		status := New("a.Needs", "a.Not")
		probes := 0
		status.AddCheck(Check{Name: "database", Services: []string{"a.Needs", ""}, Interval: time.Minute, Probe: func(context.Context) error {
			probes++
			if down.Load() {
				return errDown
			}
			return nil
		}})
		want := func(needs, whole Status) {
			t.Helper()
			synctest.Wait()
			got := []Status{status.Status("a.Needs"), status.Status(""), status.Status("a.Not"), status.Status("a.Missing")}
			if want := []Status{needs, whole, StatusServing, StatusServiceUnknown}; !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		want(StatusNotServing, StatusNotServing) // before the first probe
		stop := run(t, status)
		want(StatusServing, StatusServing)
		down.Store(true)
		want(StatusServing, StatusServing) // until the next probe
		time.Sleep(time.Minute)
		want(StatusNotServing, StatusNotServing)
		down.Store(false)
		time.Sleep(time.Minute)
		want(StatusServing, StatusServing)
		status.Set("a.Needs", StatusUnknown) // what the program sets holds
		want(StatusUnknown, StatusServing)
		if probes != 3 {
			t.Errorf("got %d probes, want 3", probes)
		}
		status.Shutdown()
		synctest.Wait()
		time.Sleep(time.Hour)
		if probes != 3 {
			t.Errorf("after Shutdown: got %d probes, want 3", probes)
		}
		stop()
	})
}

// Probes that fail in other ways than with an error, and watchers who see each.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		probe func(context.Context) error
		want  string
	}{
		"an error":        {func(context.Context) error { return errDown }, `check "dependency": connection refused`},
		"heeds":           {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, `no result after 3s: context deadline exceeded`},
		"does not heed":   {func(context.Context) error { time.Sleep(5 * time.Second); return nil }, `no result after 3s: context deadline exceeded`},
		"panics":          {func(context.Context) error { panic("broken") }, `check "dependency": panic: broken`},
		"ends goroutines": {func(context.Context) error { runtime.Goexit(); return nil }, `the probe ended its goroutine`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				status := New()
				probes := 0
				observed := make(chan error, 10)
				status.AddCheck(Check{Name: "dependency", Timeout: 3 * time.Second, Failures: 2, Interval: 10 * time.Second,
					Observe: func(err error) { observed <- err },
					Probe: func(ctx context.Context) error {
						if probes++; probes == 1 {
							return nil
						}
						return c.probe(ctx)
					}})
				stop := run(t, status)
				defer func() { stop(); time.Sleep(time.Minute) }() // until the last probe has returned
				if err := <-observed; err != nil || status.Status("") != StatusServing {
					t.Errorf("got %v and %v, want SERVING", err, status.Status(""))
				}
				for i, want := range []Status{StatusServing, StatusNotServing, StatusNotServing} {
					if err := <-observed; err == nil || !strings.Contains(err.Error(), c.want) {
						t.Errorf("failure %d: got error %v, want %q", i+1, err, c.want)
					}
					if got := status.Status(""); got != want {
						t.Errorf("failure %d: got %v, want %v", i+1, got, want)
					}
				}
			})
		})
	}
}

// A probe that does not return is not called again, and Run does not wait for it.
func TestStuckProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := New()
		var calls atomic.Int32
		release := make(chan struct{})
		observed := make(chan error, 10)
		status.AddCheck(Check{Name: "disk", Observe: func(err error) { observed <- err }, Probe: func(context.Context) error {
			if calls.Add(1) == 1 {
				<-release
			}
			return nil
		}})
		stop := run(t, status)
		for _, want := range []string{"no result after 1s", "has not returned", "has not returned"} {
			if err := <-observed; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
		if got := calls.Load(); got != 1 {
			t.Errorf("got %d calls, want 1", got)
		}
		close(release)
		if err := <-observed; err != nil || status.Status("") != StatusServing || calls.Load() != 2 {
			t.Errorf("got %v, %v and %d calls, want SERVING after a second call", err, status.Status(""), calls.Load())
		}
		stop()
	})
	synctest.Test(t, func(t *testing.T) {
		status := New()
		release := make(chan struct{})
		status.AddCheck(Check{Name: "disk", Timeout: time.Hour, Probe: func(context.Context) error { <-release; return nil }})
		stop := run(t, status)
		synctest.Wait()
		start := time.Now()
		stop()
		if took := time.Since(start); took != 0 {
			t.Errorf("got the end of Run after %v, want at once", took)
		}
		close(release)
	})
}

func TestMisuse(t *testing.T) {
	probe := func(context.Context) error { return nil }
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for want, misuse := range map[string]func(*Server){
		"Name is empty":                         func(s *Server) { s.AddCheck(Check{Probe: probe}) },
		"Probe is nil":                          func(s *Server) { s.AddCheck(Check{Name: "a"}) },
		"expected no negative one":              func(s *Server) { s.AddCheck(Check{Name: "a", Probe: probe, Timeout: -1}) },
		`the server has no service "a.Missing"`: func(s *Server) { s.AddCheck(Check{Name: "a", Probe: probe, Services: []string{"a.Missing"}}) },
		"Run was called: add checks before":     func(s *Server) { s.Run(done); s.AddCheck(Check{Name: "a", Probe: probe}) },
		"health: Run was called twice":          func(s *Server) { s.Run(done); s.Run(done) },
		`AddCheck of "a": Interval 0s, Timeout`: func(s *Server) { s.AddCheck(Check{Name: "a", Probe: probe, Failures: -1}) },
		"NewHandler: server is nil":             func(*Server) { NewHandler(nil) },
		`pass it to New, or Set it before`:      func(s *Server) { s.AddCheck(Check{Name: "a", Probe: probe, Services: []string{"", "b.S"}}) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, "health: ") || !strings.Contains(got, want) {
					t.Errorf("got panic %q, want %q", got, want)
				}
			}()
			misuse(New())
		}()
	}
}

// TestObservePanics has an Observe that panics, or ends its goroutine. Another check is left.
func TestObservePanics(t *testing.T) {
	for want, observe := range map[string]func(error){
		"broken": func(error) { panic("broken") },
		`health: check "a": Observe ended its goroutine, and did not return`: func(error) { runtime.Goexit() },
	} {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("got the panic %v, want %q", got, want)
				}
			}()
			s := New()
			probe := func(context.Context) error { return nil }
			s.AddCheck(Check{Name: "a", Probe: probe, Observe: observe})
			s.AddCheck(Check{Name: "b", Probe: probe})
			s.Run(t.Context())
		})
	}
}
