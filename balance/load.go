// SPDX-License-Identifier: Apache-2.0

// The load of one endpoint: calls in flight, and an average of latencies in which peaks
// count at once.

package balance

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// latencyDecay is the time in which an average without new calls falls to 1/e. An
	// endpoint that was slow and gets no calls is therefore tried again: after about 40 s
	// if it was 50 times as slow as the others.
	latencyDecay = 10 * time.Second

	// latencyOf is the number of calls after which a peak has fallen to 1/e, if they take
	// less than latencyDecay. A pause of the process or of the network is a peak of every
	// endpoint with calls in flight: a busy endpoint loses it within a second, and not for
	// 10 s its share of calls to an endpoint that is always slow.
	latencyOf = 256

	// latencyFloor is where an average stops to fall. Without a floor, averages of
	// endpoints that only serve streams would differ for ever by the time of their last
	// unary call. Endpoints below it compare by their calls in flight.
	latencyFloor = 100 * time.Microsecond

	// latencyUnknown is what an endpoint costs whose first call has no answer yet, so
	// that it gets one call and not all of them. It falls with unknownDecay: an endpoint
	// whose first call is a stream is in use after some seconds.
	latencyUnknown = time.Second
	unknownDecay   = time.Second

	// faultsOf is the number of outcomes over which the share of failures is taken. It
	// falls with latencyDecay, too, or an endpoint without calls would keep it.
	faultsOf = 32

	// faultFactor is how many times as much an endpoint costs whose calls all fail.
	// Failures come sooner than answers, and often leave nothing in flight: without a
	// price they would draw calls to the endpoint, and ejection has bounds. One failure
	// in a hundred calls doubles the cost.
	faultFactor = 100
)

// epoch is the origin of times that are kept as numbers. Differences to it are those of
// the monotonic clock: a wall clock that jumps changes nothing.
var epoch = time.Now()

// clock returns the time for differences: unlike [time.Now] it reads only the monotonic
// clock, at half the price. Its wall clock is that of epoch plus what has passed since.
func clock() time.Time { return epoch.Add(time.Since(epoch)) }

// since returns the nanoseconds between epoch and now.
func since(now time.Time) int64 { return int64(now.Sub(epoch)) }

// A load counts the calls of an endpoint. The zero value is that of a new endpoint. Its
// methods are safe for concurrent use.
type load struct {
	calls   atomic.Int64  // in flight
	latency atomic.Uint64 // the average at the time of at, in ns as math.Float64bits; 0: not known yet
	at      atomic.Int64  // since epoch

	faults   atomic.Uint64 // the share of failures at the time of faultsAt, as math.Float64bits
	faultsAt atomic.Int64  // since epoch

	mu sync.Mutex // taken by those who change latency or faults
}

// begin counts a call that starts.
func (l *load) begin() { l.calls.Add(1) }

// end counts a call that has ended after the time took. A negative time does not count:
// that of a stream, or of a call that was cancelled.
func (l *load) end(now time.Time, took time.Duration) {
	l.calls.Add(-1)
	if took >= 0 {
		l.sample(now, took)
	}
}

// inflight returns the number of calls that have begun and not ended.
func (l *load) inflight() int { return int(max(l.calls.Load(), 0)) }

// sample adds a latency to the average: that of a call, or the time until the head of a
// stream's response. A latency above the average replaces it.
func (l *load) sample(now time.Time, took time.Duration) {
	latency, at := max(float64(took), 1), since(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	if average := math.Float64frombits(l.latency.Load()); average > latency {
		// Two calls that end together may come in either order: then no time has passed.
		kept := decay(at-l.at.Load(), latencyDecay)
		// An average that has fallen without calls stays low: a fast call does not raise it.
		latency += max(average*kept-latency, 0) * min(kept, 1-1.0/latencyOf)
	}
	l.at.Store(max(at, l.at.Load()))
	l.latency.Store(math.Float64bits(latency))
}

// outcome counts whether a call has failed because of the endpoint or the way to it.
// Calls of which this is not known do not count.
func (l *load) outcome(now time.Time, failed bool) {
	if !failed && l.faults.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	share := l.faulty(now) * (1 - 1.0/faultsOf)
	if failed {
		share += 1.0 / faultsOf
	}
	if share < 1e-3 {
		share = 0
	}
	l.faultsAt.Store(max(since(now), l.faultsAt.Load()))
	l.faults.Store(math.Float64bits(share))
}

// faulty returns the share of the last calls that have failed, 0 to 1.
func (l *load) faulty(now time.Time) float64 {
	share := math.Float64frombits(l.faults.Load())
	if share == 0 {
		return 0
	}
	return share * decay(since(now)-l.faultsAt.Load(), latencyDecay)
}

// peak returns the average now, in ns: 0 for an endpoint of which nothing is known.
func (l *load) peak(now time.Time) float64 {
	average, at := math.Float64frombits(l.latency.Load()), l.at.Load()
	if average > 0 {
		return max(average*decay(since(now)-at, latencyDecay), float64(latencyFloor))
	}
	if l.calls.Load() <= 0 && l.faults.Load() == 0 {
		return 0
	}
	if at == 0 {
		l.at.CompareAndSwap(0, since(now))
		return float64(latencyUnknown)
	}
	return max(float64(latencyUnknown)*decay(since(now)-at, unknownDecay), float64(latencyFloor))
}

// cost returns the time, in ns, that a further call would take if the endpoint served its
// calls one after the other, more if calls fail there: 0 for an endpoint that has had no
// calls.
func (l *load) cost(now time.Time) float64 {
	return l.peak(now) * float64(l.inflight()+1) * (1 + faultFactor*l.faulty(now))
}

// decay returns the part of a value that is left after passed nanoseconds.
func decay(passed int64, in time.Duration) float64 {
	if passed <= 0 {
		return 1
	}
	return math.Exp(-float64(passed) / float64(in))
}
