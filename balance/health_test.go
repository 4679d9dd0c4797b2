// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"math"
	"strings"
	"testing"
	"time"
)

// A ward is endpoints with one rule, and a time that the test sets.
type ward struct {
	*testing.T
	rule *ejector
	all  []*endpoint
	now  moment
}

func newWard(t *testing.T, n int, rule Ejection) *ward {
	t.Helper()
	j, err := newEjector(rule)
	if err != nil {
		t.Fatal(err)
	}
	w := &ward{T: t, rule: j, all: endpointsFor(n), now: clock()}
	for _, e := range w.all {
		e.health.ejector = j
	}
	j.setHosts(n)
	return w
}

// report reports n outcomes of endpoint i, and returns how many of them changed its state.
func (w *ward) report(i, n int, failed bool) (changes int) {
	for range n {
		if w.all[i].health.report(w.now, failed) {
			changes++
		}
	}
	return changes
}

// want checks whether endpoint i is ejected, and for how long from now.
func (w *ward) want(i int, out bool, lasts time.Duration) {
	w.Helper()
	got, reason, until := w.all[i].health.ejected(w.now)
	if got != out || out && until.Sub(w.now) != lasts || out == (reason == "") {
		w.Errorf("endpoint %d: got ejected %v for %v because %q, want %v for %v", i, got, until.Sub(w.now), reason, out, lasts)
	}
}

// wantOut checks the number of endpoints that are ejected, by state and by the count.
func (w *ward) wantOut(want int) {
	w.Helper()
	got := 0
	for _, e := range w.all {
		if out, _, _ := e.health.ejected(w.now); out {
			got++
		}
	}
	if got != want || w.rule.ejected != want {
		w.Errorf("got %d ejected endpoints and a count of %d, want %d", got, w.rule.ejected, want)
	}
}

func TestEjectionOfFailuresInARow(t *testing.T) {
	w := newWard(t, 3, Ejection{})
	w.report(0, 4, true)
	w.report(0, 1, false)
	w.report(0, 4, true)
	w.want(0, false, 0)
	if n := w.report(0, 3, true); n != 1 {
		t.Errorf("got %d changes, want 1", n)
	}
	w.want(0, true, 30*time.Second)
	if _, reason, _ := w.all[0].health.ejected(w.now); reason != "5 calls in a row have failed" {
		t.Errorf("got the reason %q", reason)
	}
	// Calls that began before have no effect.
	if n := w.report(0, 5, false) + w.report(0, 5, true); n != 0 {
		t.Errorf("got %d changes by calls that began before, want 0", n)
	}
	w.want(0, true, 30*time.Second)
}

func TestEjectionByPercent(t *testing.T) {
	w := newWard(t, 3, Ejection{Consecutive: -1, FailurePercent: 40, MinRequests: 20})
	mixed := func(n int) { // 40 % fail
		for range n {
			w.report(0, 3, false)
			w.report(0, 2, true)
		}
	}
	mixed(3)
	w.now = w.now.Add(10 * time.Second) // what was before is not counted
	mixed(3)
	w.want(0, false, 0)
	mixed(1)
	w.want(0, true, 30*time.Second)

	w.report(1, 13, false)
	w.report(1, 8, true) // 38 %
	w.want(1, false, 0)
	w = newWard(t, 3, Ejection{FailurePercent: -1, Consecutive: 1000})
	w.report(0, 999, true)
	w.want(0, false, 0)
}

func TestTrial(t *testing.T) {
	w := newWard(t, 3, Ejection{})
	h := &w.all[0].health
	w.report(0, 5, true)
	for times, lasts := range []time.Duration{30 * time.Second, time.Minute, 90 * time.Second} {
		w.want(0, true, lasts)
		w.now = w.now.Add(lasts - 1)
		if h.try(w.now) {
			t.Errorf("ejection %d: got a call for trial before the end", times)
		}
		w.now = w.now.Add(1)
		if !h.try(w.now) || h.try(w.now) {
			t.Errorf("ejection %d: want exactly one call for trial", times)
		}
		if times < 2 {
			if n := w.report(0, 1, true); n != 1 {
				t.Errorf("got %d changes by a trial that failed, want 1", n)
			}
		}
	}
	if n := w.report(0, 1, false); n != 1 {
		t.Errorf("got %d changes by a trial that succeeded, want 1", n)
	}
	w.want(0, false, 0)
	w.wantOut(0)
	if h.try(w.now) {
		t.Error("got a call for trial of an endpoint in use")
	}

	// One of three ejections is forgotten within 19 s, all within 30 s.
	w.now = w.now.Add(19 * time.Second)
	w.report(0, 5, true)
	w.want(0, true, 90*time.Second)
	w.now = w.now.Add(90 * time.Second)
	w.report(0, 1, false)
	w.now = w.now.Add(30 * time.Second)
	w.report(0, 5, true)
	w.want(0, true, 30*time.Second)
}

func TestTrialWithoutOutcome(t *testing.T) {
	w := newWard(t, 3, Ejection{})
	h := &w.all[0].health
	w.report(0, 5, true)
	w.now = w.now.Add(30 * time.Second)
	if !h.try(w.now) {
		t.Fatal("got no call for trial, want one")
	}
	h.abandon()
	if !h.try(w.now) || h.try(w.now) {
		t.Error("want exactly one call for trial after one was cancelled")
	}
	w.now = w.now.Add(trialPatience)
	if !h.try(w.now) || h.try(w.now) {
		t.Error("want exactly one call for trial after one had no outcome in time")
	}
	h.report(w.now, true)
	h.abandon() // of an old call
	w.want(0, true, time.Minute)
}

func TestTrialOf(t *testing.T) {
	w := newWard(t, 4, Ejection{})
	w.report(0, 5, true)
	w.report(1, 5, true)
	w.now = w.now.Add(30 * time.Second)
	out := w.all[:2]
	info := &pickInfo{now: w.now, tried: func(e *endpoint) bool { return e == w.all[0] }}
	if got := trialOf(out, info); got != w.all[1] {
		t.Errorf("got %v, want the second, as the first was tried", got)
	}
	if got := trialOf(out, info); got != nil {
		t.Errorf("got %v, want none", got)
	}
	if got := trialOf(out, &pickInfo{now: w.now}); got != w.all[0] {
		t.Errorf("got %v, want the first", got)
	}
}

func TestEjectionIsBounded(t *testing.T) {
	for _, test := range []struct{ hosts, percent, want int }{
		{1, 0, 0}, {2, 0, 1}, {3, 0, 1}, {4, 0, 2}, {10, 0, 5}, {10, 10, 1}, {3, 1, 1}, {3, 100, 3}, {20, 34, 6},
	} {
		w := newWard(t, test.hosts, Ejection{MaxPercent: test.percent})
		for i := range w.all {
			w.report(i, 100, true)
		}
		w.wantOut(test.want)
		// The next takes the place of one that is back, as it still fails.
		if test.want > 0 && test.want < test.hosts {
			w.now = w.now.Add(30 * time.Second)
			w.report(0, 1, false)
			w.wantOut(test.want - 1)
			w.report(test.hosts-1, 1, true)
			w.wantOut(test.want)
		}
	}
	w := newWard(t, 4, Ejection{MinHosts: 5})
	w.report(0, 100, true)
	w.wantOut(0)
}

// TestEjectionForEver has times as long as they can be: what is ejected stays out, and what
// works stays in.
func TestEjectionForEver(t *testing.T) {
	w := newWard(t, 4, Ejection{Base: math.MaxInt64, Interval: math.MaxInt64})
	w.report(0, 5, true)
	w.now = w.now.Add(100 * 365 * 24 * time.Hour)
	if out, _, _ := w.all[0].health.ejected(w.now); !out || w.all[0].health.try(w.now) {
		t.Errorf("got ejected %t, or a trial, after a hundred years, want it ejected", out)
	}
	w.report(1, 3, false)
	if quiet := moment(w.all[1].health.quiet.Load()); quiet <= w.now {
		t.Errorf("got successes without a lock until %d, want until after %d", quiet, w.now)
	}
}

// TestProbePause draws pauses between probes, also of the longest time that there is.
func TestProbePause(t *testing.T) {
	for _, every := range []time.Duration{1, time.Second, math.MaxInt64} {
		for range 100 {
			if got := probePause(every); got < every-every/10 || got-every > every/10 {
				t.Fatalf("got a pause of %v, want %v, a tenth more or less", got, every)
			}
		}
	}
}

func TestEndpointsThatLeave(t *testing.T) {
	w := newWard(t, 2, Ejection{})
	w.report(0, 5, true)
	w.all[0].health.leave()
	w.all[0].health.leave()
	w.report(0, 100, true) // calls that were in flight
	w.wantOut(0)
	w.report(1, 5, true)
	w.wantOut(1)
}

// TestDrainedEndpoints drains an ejected endpoint, and ends that: it is in use again.
func TestDrainedEndpoints(t *testing.T) {
	w := newWard(t, 3, Ejection{})
	h := &w.all[0].health
	h.join() // changes nothing
	w.report(0, 3, true)
	h.join()
	w.report(0, 2, true)
	w.wantOut(1)
	h.leave()
	w.report(0, 100, true)
	w.wantOut(0)
	w.report(1, 5, true)
	w.wantOut(1)
	h.join()
	w.report(0, 5, true) // one of three is out already
	w.wantOut(1)
	w.all[1].health.leave()
	w.report(0, 1, true) // after five that found one ejected
	w.wantOut(1)
}

func TestEjectionEnds(t *testing.T) {
	w := newWard(t, 2, Ejection{Base: time.Second, Max: 2500 * time.Millisecond})
	w.report(0, 5, true)
	for _, lasts := range []time.Duration{time.Second, 2 * time.Second, 2500 * ms, 2500 * ms, 2500 * ms} {
		w.want(0, true, lasts)
		w.now = w.now.Add(lasts)
		if !w.all[0].health.try(w.now) {
			t.Errorf("got no call for trial after an ejection of %v, want one", lasts)
		}
		w.report(0, 1, true)
	}
	w.all[0].health.times = 1 << 40
	w.now = w.now.Add(time.Hour)
	w.report(0, 1, true)
	w.want(0, true, 2500*time.Millisecond)
}

// TestBadBackendGetsFewCalls counts the calls at one of four endpoints that fails all of
// them, at 500 a second for two minutes.
func TestBadBackendGetsFewCalls(t *testing.T) {
	for name, p := range policies() {
		w := newWard(t, 4, Ejection{})
		chosen := choice{candidates: w.all}
		again := func() { chosen = chooser{panic: 0.5}.choose(w.now, w.all, everyOne) }
		bad, early := 0, 0
		for i := range 60_000 {
			w.now = w.now.Add(2 * time.Millisecond)
			info := pickInfo{now: w.now, hash: mix(uint64(i)), hashed: true}
			e := trialOf(chosen.trials, &info)
			if e == nil {
				e = p.pick(chosen.candidates, info)
			}
			if e == w.all[0] {
				if bad++; i < 500 {
					early++
				}
			}
			e.load.begin()
			e.load.end(w.now, time.Millisecond)
			if e.health.report(w.now, e == w.all[0]) {
				again()
			}
		}
		if bad > 8 || early != 5 {
			t.Errorf("%s: got %d of 60000 calls at the bad endpoint, %d in the first second, want at most 8, and 5", name, bad, early)
		}
	}
}

func TestEjectionRules(t *testing.T) {
	got, err := Ejection{}.resolve()
	want := Ejection{Consecutive: 5, FailurePercent: 85, MinRequests: 50, Interval: 10 * time.Second,
		Base: 30 * time.Second, Max: 5 * time.Minute, MaxPercent: 50, MinHosts: 2}
	if got != want || err != nil {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if got, err := (Ejection{Base: time.Hour}).resolve(); got.Max != time.Hour || err != nil {
		t.Errorf("got %+v, %v, want no less for Max than for Base", got, err)
	}
	for _, bad := range []Ejection{
		{FailurePercent: 101}, {MaxPercent: 101}, {MaxPercent: -1}, {MinRequests: -1}, {MinHosts: -1},
		{Interval: -1}, {Base: -1}, {Base: time.Minute, Max: time.Second}, {Max: -1},
	} {
		if _, err := newEjector(bad); err == nil || !strings.Contains(err.Error(), "expected") {
			t.Errorf("%+v: got %v, want an error with what was expected", bad, err)
		}
	}
}

func TestHealthWithoutRule(t *testing.T) {
	var h health
	for range 100 {
		h.report(clock(), true)
	}
	h.abandon()
	h.leave()
	if out, _, _ := h.ejected(clock()); out || h.try(clock()) {
		t.Error("got an ejection without a rule, want none")
	}
}

// FuzzHealth checks the count of ejected endpoints and its bound for any sequence of
// events.
func FuzzHealth(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 64, 130, 200, 255, 7, 7, 7, 7, 7, 7})
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWard(t, 5, Ejection{Consecutive: 2, Interval: time.Second})
		left := make(map[int]bool)
		for _, b := range data[:min(len(data), 1000)] {
			i := int(b) % 5
			h := &w.all[i].health
			switch b / 32 {
			case 0, 1, 2:
				h.report(w.now, true)
			case 3:
				h.report(w.now, false)
			case 4:
				w.now = w.now.Add(time.Duration(b%32) * 5 * time.Second)
			case 5:
				if first := h.try(w.now); first && h.try(w.now) {
					t.Fatal("got two calls for trial at once")
				}
			case 6:
				h.abandon()
			case 7:
				if b == 255 {
					h.leave()
					left[i] = true
					w.rule.setHosts(5 - len(left))
				}
			}
			out := 0
			for i, e := range w.all {
				is, _, until := e.health.ejected(w.now)
				if is {
					out++
				}
				if is && (left[i] || until.Sub(w.now) > 5*time.Minute) {
					t.Fatalf("endpoint %d is ejected for %v, left %v", i, until.Sub(w.now), left[i])
				}
			}
			if out != w.rule.ejected || out > 2 {
				t.Fatalf("got %d ejected and a count of %d, want the same and at most 2", out, w.rule.ejected)
			}
		}
	})
}

// TestCountsBeginAnew has successes, which are counted without the lock, end one interval
// and begin the next: the percentage is of the calls since then.
func TestCountsBeginAnew(t *testing.T) {
	w := newWard(t, 2, Ejection{Consecutive: -1, FailurePercent: 50, MinRequests: 10, Interval: time.Second})
	w.report(0, 1000, false)
	w.now = w.now.Add(time.Second)
	w.report(0, 10, false)
	if n := w.report(0, 9, true); n != 0 {
		t.Errorf("got an ejection after 9 failures of 19 calls, want none below 50 %%")
	}
	if n := w.report(0, 1, true); n != 1 {
		t.Errorf("got %d changes by failure 10 of 20 calls, want an ejection", n)
	}
	if _, reason, _ := w.all[0].health.ejected(w.now); reason != "10 of 20 calls have failed" {
		t.Errorf("got reason %q, want the counts since the interval began", reason)
	}
}
