// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"math"
	"sync"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestLoad(t *testing.T) {
	start := clock()
	var l load
	cost := func(after time.Duration, want float64) {
		t.Helper()
		if got := l.cost(start.Add(after)) / float64(ms); math.Abs(got-want) > want/1000 {
			t.Errorf("after %v: got a cost of %.4f ms, want %.4f", after, got, want)
		}
	}
	cost(0, 0) // nothing is known: it comes first
	l.begin()
	cost(0, 2000) // its first call has no answer yet
	cost(time.Second, 2000/math.E)
	cost(time.Minute, 0.2)
	l.end(start, 10*ms)
	cost(0, 10)
	l.begin()
	l.begin()
	cost(0, 30)
	l.end(start, 100*ms) // a peak counts at once
	cost(0, 200)
	l.end(start.Add(10*time.Second), 10*ms) // other latencies draw the average down
	const drawn = 10 + (100/math.E-10)/math.E
	cost(10*time.Second, drawn)
	cost(20*time.Second, drawn/math.E)
	cost(5*time.Second, drawn) // a time before the last one changes nothing
	cost(24*time.Hour, 0.1)
	l.begin()
	l.end(start.Add(time.Hour), -1) // a stream has no latency
	cost(10*time.Second, drawn)
	l.begin()
	l.end(start.Add(time.Minute), 0) // in virtual time calls may take none
	if l.peak(start.Add(time.Minute)) <= 0 {
		t.Error("got no latency after a call of 0 ns, want one")
	}
}

func TestLoadOfOutOfOrderEnds(t *testing.T) {
	start := clock()
	var l load
	l.sample(start.Add(time.Minute), 50*ms)
	l.sample(start, 1*ms)
	if got, want := l.peak(start.Add(time.Minute))/float64(ms), 50-49.0/latencyOf; math.Abs(got-want) > 1e-6 {
		t.Errorf("got %v ms after a sample from the past, want that it counts as one of %d: %v", got, latencyOf, want)
	}
}

// TestLoadForgetsAPause: a peak falls with the calls after it, not only with time.
func TestLoadForgetsAPause(t *testing.T) {
	now := clock()
	var l load
	l.sample(now, 50*ms)
	for range 4 * latencyOf { // a second of calls
		now = now.Add(ms)
		l.sample(now, ms)
	}
	between(t, "average after a pause of 50 ms and a second of quick calls, in ms", l.peak(now)/float64(ms), 1, 2)
}

func TestFaults(t *testing.T) {
	now := clock()
	var l load
	for range 1000 {
		l.outcome(now, false)
	}
	if l.faulty(now) != 0 || l.cost(now) != 0 {
		t.Errorf("got a share of %v and a cost of %v without failures, want 0", l.faulty(now), l.cost(now))
	}
	l.outcome(now, true)
	if l.cost(now) < float64(latencyUnknown) {
		t.Errorf("got a cost of %v after a failure and nothing else, want that of the unknown", time.Duration(l.cost(now)))
	}
	for i := range 20_000 {
		l.outcome(now, i%100 == 0)
	}
	l.sample(now, ms)
	between(t, "share of one of a hundred", l.faulty(now), 0.001, 0.032)
	for range 200 {
		l.outcome(now, true)
	}
	between(t, "share of all", l.faulty(now), 0.99, 1)
	between(t, "cost of an endpoint that fails", l.cost(now)/float64(ms), 100, 101)
	between(t, "share after 10 s", l.faulty(now.Add(10*time.Second)), 0.36, 0.37)
	for range 300 {
		l.outcome(now, false)
	}
	if l.faults.Load() != 0 {
		t.Errorf("got the share %v after 300 successes, want 0", l.faulty(now))
	}
}

// TestFastFailuresDrawNoCalls has one of three endpoints fail all calls in 0.1 ms, with no
// ejection: the others take 1 ms. By latencies and calls in flight alone, two of three
// calls would fail.
func TestFastFailuresDrawNoCalls(t *testing.T) {
	for name, most := range map[string]float64{"PeakEWMA": 1, "LeastRequest(2)": 2} {
		p := policies()[name]
		for _, before := range []int{0, 1000} { // successes
			all := endpointsFor(3)
			now, failed := clock(), 0
			var open []*endpoint
			for i := range 20_000 {
				now = now.Add(ms / 2) // two calls in flight
				e := p.pick(all, pickInfo{now: now})
				e.load.begin()
				if e == all[0] && i >= before {
					failed++
					e.load.end(now.Add(ms/10), -1)
					e.load.outcome(now.Add(ms/10), true)
				} else {
					open = append(open, e)
				}
				if len(open) > 2 {
					open[0].load.end(now, ms)
					open[0].load.outcome(now, false)
					open = open[1:]
				}
			}
			between(t, name+": calls that fail, in percent", float64(failed)/200, 0, most)
		}
	}
}

// TestStreamsAreSpread checks that endpoints get the same number of streams, even if they
// have been in use at different times before, or not at all.
func TestStreamsAreSpread(t *testing.T) {
	all := endpointsFor(3)
	start := clock()
	all[0].load.sample(start, ms)
	all[1].load.sample(start.Add(20*time.Second), 2*ms)
	p := PeakEWMA()
	for i := range 3000 {
		p.pick(all, pickInfo{now: start.Add(time.Minute + time.Duration(i)*10*ms)}).load.begin()
	}
	for _, e := range all {
		between(t, "streams at "+e.Addr, float64(e.load.inflight()), 950, 1050)
	}
}

// slowOne is four endpoints of which the first takes 50 ms instead of 1 ms.
func slowOne(p Policy, slowUntil time.Duration) simulation {
	return simulation{policy: p, all: endpointsFor(4), rate: 1800, duration: 30 * time.Second,
		took: func(e int, now time.Duration) time.Duration {
			if e == 0 && now < slowUntil {
				return 50 * ms
			}
			return ms
		}}
}

// TestSlowEndpointGetsFewCalls is the measure of RoundRobin and PeakEWMA: if the slow
// endpoint gets less than one call of a hundred, the 99th percentile is that of the others.
func TestSlowEndpointGetsFewCalls(t *testing.T) {
	between(t, "share with RoundRobin", share(slowOne(RoundRobin(), time.Hour).run().counts, 0), 24.9, 25.1)
	between(t, "share with LeastRequest(2)", share(slowOne(LeastRequest(2), time.Hour).run().counts, 0), 1, 8)
	between(t, "share with PeakEWMA", share(slowOne(PeakEWMA(), time.Hour).run().counts, 0), 0, 0.9)
}

// TestRecoveredEndpointIsUsedAgain has the slow endpoint become as fast as the others
// after 10 s: with few calls and with many, it has its share when its average has fallen.
func TestRecoveredEndpointIsUsedAgain(t *testing.T) {
	for _, rate := range []float64{450, 1800} {
		s := slowOne(PeakEWMA(), 10*time.Second)
		s.rate, s.duration = rate, 80*time.Second
		r := s.run()
		between(t, "share while it is slow", share(r.during(5*time.Second, 10*time.Second), 0), 0, 0.5)
		between(t, "share after 50 s", share(r.during(60*time.Second, 80*time.Second), 0), 22, 28)
	}
}

// TestFastCallsLowerTheCost checks that no call below the average raises it, however long
// ago the one before was.
func TestFastCallsLowerTheCost(t *testing.T) {
	start := clock()
	for _, idle := range []time.Duration{0, time.Millisecond, time.Second, 10 * time.Second, 30 * time.Second, time.Hour} {
		var l load
		l.sample(start, 50*ms)
		now := start.Add(idle)
		before := l.peak(now)
		l.sample(now, ms)
		if after := l.peak(now); after > max(before, float64(ms)) {
			t.Errorf("after %v without calls: got %v by a call of 1ms, want at most %v", idle, time.Duration(after), time.Duration(before))
		}
	}
}

// TestNewEndpointGetsOneCallFirst checks that an endpoint does not get all calls until
// its first one is answered.
func TestNewEndpointGetsOneCallFirst(t *testing.T) {
	all := endpointsFor(4)
	now := clock()
	for _, e := range all[1:] {
		e.load.sample(now, ms)
	}
	p, n := PeakEWMA(), 0
	for range 1000 {
		if e := p.pick(all, pickInfo{now: now}); e == all[0] {
			e.load.begin()
			n++
		}
	}
	if n != 1 {
		t.Errorf("got %d calls at the new endpoint before its first answer, want 1", n)
	}
}

func TestPeakEWMAHeedsWeights(t *testing.T) {
	s := simulation{policy: PeakEWMA(), all: endpointsFor(2, 1, 4), rate: 20_000, duration: 2 * time.Second,
		took: func(int, time.Duration) time.Duration { return 10 * ms }}
	between(t, "share of weight 1 of 5", share(s.run().counts, 0), 17, 23)
}

func TestSlowStart(t *testing.T) {
	const window = 10 * time.Second
	for name, p := range policies() {
		if name == "HashHeader" {
			p = HashHeader("x") // without a key
		}
		s := simulation{policy: p, all: endpointsFor(2), rate: 2000, duration: 2 * window,
			took: func(int, time.Duration) time.Duration { return ms }}
		s.all[1].slowStart = window
		s.all[1].readySince.Store(int64(clock()))
		r := s.run()
		between(t, name+": share in the first tenth", share(r.during(0, window/10), 1), 0.2, 10)
		half := share(r.during(window*4/10, window*6/10), 1)
		between(t, name+": share around the half", half, 15, 45)
		between(t, name+": share after the window", share(r.during(window*3/2, 2*window), 1), 40, 60)
	}
}

// TestSlowStartOfAll checks that endpoints that have become ready together share the calls.
func TestSlowStartOfAll(t *testing.T) {
	now := clock()
	for name, p := range policies() {
		all := endpointsFor(4)
		for _, e := range all {
			e.slowStart = time.Minute
			e.readySince.Store(int64(now))
		}
		counts := calls(p, all, 20_000, now)
		for _, e := range all {
			between(t, name+": calls", float64(counts[e]), 4000, 6000)
		}
	}
}

func TestRamp(t *testing.T) {
	now := clock()
	e := endpointsFor(1)[0]
	for _, test := range []struct {
		window, ready time.Duration
		want          float64
	}{
		{0, 0, 1}, {time.Minute, 0, rampLeast}, {time.Minute, 6 * time.Second, 0.1}, {time.Minute, 30 * time.Second, 0.5},
		{time.Minute, time.Minute, 1}, {time.Minute, time.Hour, 1}, {time.Minute, -time.Second, rampLeast},
	} {
		e.slowStart = test.window
		e.readySince.Store(int64(now.Add(-test.ready)))
		if got := e.ramp(now); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("window %v, ready for %v: got %v, want %v", test.window, test.ready, got, test.want)
		}
	}
	e.slowStart = time.Minute
	e.readySince.Store(0)
	if got := e.ramp(now); got != 1 {
		t.Errorf("got %v without a time of readiness, want 1", got)
	}
}

// TestAverageInOneWord checks that the word of an average has it to eight digits, and its
// time to a tick, for as long as ticks do not come round.
func TestAverageInOneWord(t *testing.T) {
	now := clock()
	for _, latency := range []float64{latencyLeast, 3, 999, float64(ms), 1.000000119 * float64(time.Second), float64(time.Hour), math.MaxInt64} {
		for _, passed := range []time.Duration{-time.Minute, 0, ms, time.Second, time.Hour, 20 * 24 * time.Hour} {
			word := packAverage(latency, ticksOf(now))
			got, at := unpackAverage(word)
			if word == 0 || math.Abs(got-latency) > latency*1e-8 {
				t.Errorf("got the word %#x with %v ns, want %v", word, got, latency)
			}
			if late := at.until(now.Add(passed)) - int64(passed); late < -1<<tickBits || late > 1<<tickBits {
				t.Errorf("got %v after %v, want the same", time.Duration(at.until(now.Add(passed))), passed)
			}
		}
	}
	if got := ticksOf(now).until(now.Add(40 * 24 * time.Hour)); got != math.MaxInt64 {
		t.Errorf("got %v after 40 days, want a time in which any average falls to nothing", time.Duration(got))
	}
}

// TestSamplesAtOnce has peaks and quick calls end at the same time: no peak is lost.
func TestSamplesAtOnce(t *testing.T) {
	now := clock()
	for range 100 {
		var l load
		var ending sync.WaitGroup
		for i := range 4 {
			ending.Go(func() {
				for n := range 50 {
					l.sample(now, time.Duration(1+i*50+n)*ms)
				}
			})
		}
		ending.Wait()
		// After the greatest sample come at most 150 others.
		if got, least := l.peak(now)/float64(ms), 200*math.Exp(-151.0/latencyOf); got < least || got > 200.001 {
			t.Fatalf("got an average of %v ms, want %v to 200", got, least)
		}
	}
}
