// SPDX-License-Identifier: Apache-2.0

// Checks of what services depend on, repeated on a schedule.

package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Check finds out whether something works that services depend on, such as a database.
type Check struct {
	// Name is the dependency's name in errors and panics.
	Name string
	// Probe returns nil if the dependency works. Its context ends after Timeout, and with
	// that of Run. A Probe that returns later has failed, and is not called again before it
	// has returned. A panic is a failure, too.
	Probe func(context.Context) error
	// Services are those that depend on it, by full name, with "" for the server as a
	// whole. None means all.
	Services []string
	// Interval is the time from the end of a probe to the next one. Zero means 10 seconds.
	Interval time.Duration
	// Timeout bounds each probe. Zero means one second.
	Timeout time.Duration
	// Failures is how many probes in a row must fail until the services of a dependency that
	// has worked are not serving. Zero means one. The first probe that succeeds makes them
	// serving again.
	Failures int
	// Observe, if it is not nil, gets the result of each probe: nil, or why it failed. It is
	// called on the goroutine of the check, after the statuses have changed. If it panics, or
	// ends its goroutine, Run panics.
	Observe func(error)
}

// check is a Check with its state.
type check struct {
	Check
	passing  bool       // guarded by the server's lock; false before the first probe
	failures int        // in a row; of the goroutine of the check
	late     chan error // of a probe that has not returned in time, nil if none; of that goroutine
}

// AddCheck adds a check, before Run. The services that it names are not serving until the
// probe has succeeded for the first time. AddCheck panics after Run, and for a check that
// makes no sense: without a Name or Probe, with a negative number, or with a service that
// the server does not have.
func (s *Server) AddCheck(c Check) {
	must(c.Name != "", "AddCheck: Name is empty")
	must(c.Probe != nil, "AddCheck of %q: Probe is nil", c.Name)
	must(c.Interval >= 0 && c.Timeout >= 0 && c.Failures >= 0, "AddCheck of %q: Interval %v, Timeout %v, Failures %d: expected no negative one", c.Name, c.Interval, c.Timeout, c.Failures)
	if c.Interval == 0 {
		c.Interval = 10 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	c.Failures = max(c.Failures, 1)
	c.Services = slices.Clone(c.Services)
	s.mu.Lock()
	defer s.mu.Unlock()
	must(!s.running, "AddCheck of %q: Run was called: add checks before", c.Name)
	for _, service := range c.Services {
		_, known := s.services[service]
		must(known, "AddCheck of %q: the server has no service %q: pass it to New, or Set it before", c.Name, service)
	}
	s.checks = append(s.checks, &check{Check: c})
	s.wake()
}

// Run repeats the checks, each on a goroutine of its own, until ctx ends or Shutdown is
// called. It then returns at once: a Probe that has not returned yet goes on, with a context
// that has ended, and its result does not count. Until Run is called, services with checks
// are not serving. A second call panics. If an Observe panics, all checks end, and Run panics
// with the same value.
func (s *Server) Run(ctx context.Context) {
	s.mu.Lock()
	again := s.running
	s.running = true
	s.mu.Unlock()
	must(!again, "Run was called twice")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.draining, cancel)()
	var group sync.WaitGroup
	broken := make(chan any, len(s.checks)) // gets why a check has ended too early
	for _, c := range s.checks {            // they do not change any more
		group.Go(func() {
			var why any = fmt.Sprintf("health: check %q: Observe ended its goroutine, and did not return", c.Name) // runtime.Goexit
			defer func() {
				if value := recover(); value != nil {
					why = value
				}
				if why != nil {
					broken <- why
					cancel()
				}
			}()
			s.repeat(ctx, c)
			why = nil
		})
	}
	group.Wait()
	select {
	case why := <-broken:
		panic(why)
	default:
	}
}

// repeat probes until ctx ends.
func (s *Server) repeat(ctx context.Context, c *check) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		err := c.probe(ctx)
		if ctx.Err() != nil {
			return // the error is that of ctx
		}
		s.report(c, err)
		timer.Reset(c.Interval)
	}
}

// probe calls Probe once, and waits for it for Timeout at most.
func (c *check) probe(ctx context.Context) error {
	if c.late != nil {
		select {
		case <-c.late:
			c.late = nil
		default:
			return fmt.Errorf("check %q: the last probe has not returned: it does not heed its context", c.Name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		err := errors.New("the probe ended its goroutine") // with runtime.Goexit
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
			result <- err
		}()
		err = c.Probe(ctx)
	}()
	var err error
	select {
	case err = <-result:
	case <-ctx.Done():
		select {
		case err = <-result: // a probe that heeds its context
		default:
			c.late, err = result, ctx.Err()
		}
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return fmt.Errorf("check %q: no result after %v: %w", c.Name, c.Timeout, err)
	}
	if err != nil {
		return fmt.Errorf("check %q: %w", c.Name, err)
	}
	return nil
}

// report changes the statuses by the result of a probe.
func (s *Server) report(c *check, err error) {
	c.failures++
	if err == nil {
		c.failures = 0
	}
	s.mu.Lock()
	if now := err == nil || c.passing && c.failures < c.Failures; now != c.passing {
		c.passing = now
		s.wake()
	}
	s.mu.Unlock()
	if c.Observe != nil {
		c.Observe(err)
	}
}

// concerns reports whether a service depends on the check.
func (c *check) concerns(service string) bool {
	return len(c.Services) == 0 || slices.Contains(c.Services, service)
}

func must(ok bool, format string, args ...any) {
	if !ok {
		panic("health: " + fmt.Sprintf(format, args...))
	}
}
