// SPDX-License-Identifier: Apache-2.0

// Three times as many calls as a server can serve, with and without a limiter, in virtual
// time: answers are counted.

package overload_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/overload"
)

const (
	workers  = 2 // of the server: as many calls as it works on at once; others wait in line
	work     = 10 * time.Millisecond
	capacity = int(workers * time.Second / work) // calls a second
	deadline = 200 * time.Millisecond
)

// A machine works on a few calls at once. It does not notice that a call has expired, as a
// handler that computes does not.
type machine struct {
	slots   chan struct{}
	work    atomic.Int64
	running sync.WaitGroup // calls, also those that wait
}

func newMachine() *machine {
	m := &machine{slots: make(chan struct{}, workers)}
	m.work.Store(int64(work))
	return m
}

func (m *machine) serve(context.Context) error {
	m.running.Add(1)
	defer m.running.Done()
	m.slots <- struct{}{}
	time.Sleep(time.Duration(m.work.Load()))
	<-m.slots
	return nil
}

// An outcome counts the calls of a storm.
type outcome struct {
	mu        sync.Mutex
	made      int
	good      int // answered before the deadline
	refused   int
	expired   int
	other     error
	pushbacks map[bool]int // whether they are -1
	times     []time.Duration
}

// quantile returns the time that a part of the answers took at most.
func (o *outcome) quantile(part float64) time.Duration {
	if len(o.times) == 0 {
		return 0
	}
	slices.Sort(o.times)
	return o.times[int(part*float64(len(o.times)-1))]
}

func (o *outcome) String() string {
	return fmt.Sprintf("%d calls: %d good, %d refused, %d expired; p50 %v, p99 %v", o.made, o.good, o.refused, o.expired, o.quantile(0.5), o.quantile(0.99))
}

// storm makes perSecond calls a second for a while, and counts those that begin after
// warmUp.
func storm(ctx context.Context, c *client, perSecond int, warmUp, long time.Duration) *outcome {
	o := &outcome{pushbacks: make(map[bool]int)}
	began := time.Now()
	var working sync.WaitGroup
	for n := 0; time.Since(began) < long; n++ {
		counts := time.Since(began) >= warmUp
		working.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, deadline)
			defer cancel()
			began := time.Now()
			err := call(ctx, c, pathUnary)
			took := time.Since(began)
			o.mu.Lock()
			defer o.mu.Unlock()
			if !counts {
				return
			}
			o.made++
			switch connect.CodeOf(err) {
			case connect.CodeResourceExhausted:
				o.refused++
				if e := new(connect.Error); asError(err, &e) {
					o.pushbacks[e.Meta().Get("Grpc-Retry-Pushback-Ms") == "-1"]++
				}
			case connect.CodeDeadlineExceeded:
				o.expired++
			default:
				if err != nil {
					o.other = err
					return
				}
				o.good++
				o.times = append(o.times, took)
			}
		})
		time.Sleep(time.Second / time.Duration(perSecond))
	}
	working.Wait()
	return o
}

func asError(err error, e **connect.Error) bool {
	found, ok := err.(*connect.Error)
	if ok {
		*e = found
	}
	return ok
}

// TestStorm compares the answers of a server without limits with those of one that has
// them.
func TestStorm(t *testing.T) {
	const warmUp, long = 2 * time.Second, 6 * time.Second
	possible := capacity * int((long - warmUp).Seconds())
	for name, options := range map[string][]overload.Option{
		"none":     nil,
		"Adaptive": {overload.Adaptive(2, 1000)},
		"Fixed":    {overload.Fixed(2 * workers)},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newMachine()
			defer m.running.Wait() // time stands still once the test has returned
			s := service{f: m.serve}
			h := s.handler()
			var limiter *overload.Limiter
			if name != "none" {
				limiter = overload.New(options...)
				h = limiter.Handler(h)
			}
			transport, end := inProcess(h)
			defer end()
			o := storm(t.Context(), newClient(transport, pathUnary), 3*capacity, warmUp, long)
			t.Logf("%s: %v", name, o)
			if o.other != nil {
				t.Errorf("%s: got %v, want answers, refusals and expired calls alone", name, o.other)
			}
			switch {
			case limiter == nil && o.good > possible/100:
				t.Errorf("got %d good answers without a limiter, want the overload to leave at most %d", o.good, possible/100)
			case limiter != nil && (o.good < possible*8/10 || o.good > possible*101/100):
				t.Errorf("%s: got %d good answers, want at least 80%% of %d", name, o.good, possible)
			}
			synctest.Wait()
			if limiter != nil {
				t.Logf("%s: limit %d, pushbacks of -1: %d, others: %d", name, limiter.Stats().Limit, o.pushbacks[true], o.pushbacks[false])
			}
		})
	}
}

// BenchmarkStorm is TestStorm in real time, over connections.
func BenchmarkStorm(b *testing.B) {
	for name, options := range map[string][]overload.Option{"without": nil, "adaptive": {overload.Adaptive(2, 1000)}} {
		b.Run(name, func(b *testing.B) {
			m := newMachine()
			s := service{f: m.serve}
			h := s.handler()
			if options != nil {
				h = overload.Handler(h, options...)
			}
			transport, end := ways["h2"](h)
			defer end()
			defer m.running.Wait()
			const warmUp, long = time.Second, 3 * time.Second
			for range b.N {
				o := storm(b.Context(), newClient(transport, pathUnary), 3*capacity, warmUp, long)
				b.ReportMetric(float64(o.good)/(long-warmUp).Seconds(), "good/s")
				b.ReportMetric(float64(o.refused)/(long-warmUp).Seconds(), "refused/s")
				b.ReportMetric(float64(o.quantile(0.99).Milliseconds()), "p99-ms")
			}
		})
	}
}

// TestSlower has a machine that becomes ten times as slow, so that every call expires: the
// limit falls until calls are answered in time again.
func TestSlower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		defer m.running.Wait()
		s := service{f: m.serve}
		limiter := overload.New(overload.Adaptive(2, 1000))
		transport, end := inProcess(limiter.Handler(s.handler()))
		defer end()
		c := newClient(transport, pathUnary)
		o := storm(t.Context(), c, 2*capacity, 0, 2*time.Second)
		t.Logf("before: %v; limit %d", o, limiter.Stats().Limit)
		m.work.Store(int64(10 * work))
		for range 2 {
			o = storm(t.Context(), c, 3*capacity/10, 0, 20*time.Second)
			t.Logf("%v; limit %d", o, limiter.Stats().Limit)
		}
		if possible := capacity / 10 * 20; o.good < possible/2 {
			t.Errorf("got %d good answers in the second 20 seconds, want at least half of %d", o.good, possible)
		}
		m.work.Store(int64(work))
		for range 2 {
			o = storm(t.Context(), c, 2*capacity, 0, 5*time.Second)
			t.Logf("%v; limit %d", o, limiter.Stats().Limit)
		}
		if possible := capacity * 5; o.good < possible/2 {
			t.Errorf("got %d good answers when the machine is quick again, want at least half of %d", o.good, possible)
		}
	})
}
