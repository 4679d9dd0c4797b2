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

// A load counts the calls of an endpoint. The zero value is that of a new endpoint. Its
// methods are safe for concurrent use. Each call writes the first two fields.
type load struct {
	calls   atomic.Int64  // in flight
	latency atomic.Uint64 // the average, as packAverage packs it; 0: not known yet

	faults    atomic.Uint64 // the share of failures at faultsAt, as math.Float64bits
	faultsAt  atomic.Int64  // a moment
	unknownAt atomic.Int64  // when a policy first asked for the latency that was not known; a moment

	mu sync.Mutex // taken by those who change faults
}

// begin counts a call that starts.
func (l *load) begin() { l.calls.Add(1) }

// end counts a call that has ended after the time took, and returns the number of calls
// that are left. A negative time does not count: that of a stream, or of a call that was
// cancelled.
func (l *load) end(now moment, took time.Duration) (left int64) {
	left = l.calls.Add(-1)
	if took >= 0 {
		l.sample(now, took)
	}
	return left
}

// inflight returns the number of calls that have begun and not ended.
func (l *load) inflight() int { return int(max(l.calls.Load(), 0)) }

// known reports whether there was a latency.
func (l *load) known() bool { return l.latency.Load() != 0 }

// sample adds a latency to the average: that of a call, or the time until the head of a
// stream's response. A latency above the average replaces it.
func (l *load) sample(now moment, took time.Duration) {
	for {
		// Two calls that end together may come in either order: then no time has passed.
		old := l.latency.Load()
		latency, at := max(float64(took), latencyLeast), ticksOf(now)
		if old != 0 {
			average, since := unpackAverage(old)
			passed := since.until(now)
			if average > latency {
				kept := decay(passed, latencyDecay)
				// An average that has fallen without calls stays low: a fast call does not raise it.
				latency += max(average*kept-latency, 0) * min(kept, 1-1.0/latencyOf)
			}
			if passed < 0 {
				at = since
			}
		}
		if l.latency.CompareAndSwap(old, packAverage(latency, at)) {
			return
		}
	}
}

// An average and the time of its last sample are in one word, so that a call changes both
// at once without a lock. The upper half is the latency in ns, a floating-point number
// from 1 to 2^64 with an exponent of 6 bits and a significand of 26, which is never zero
// from latencyLeast on. The lower half is the time.
func packAverage(latency float64, at ticks) uint64 {
	bits := math.Float64bits(latency) - math.Float64bits(1)
	return (bits+1<<25)>>26<<32 | uint64(at)
}

func unpackAverage(word uint64) (latency float64, at ticks) {
	return math.Float64frombits(word>>32<<26 + math.Float64bits(1)), ticks(word)
}

// latencyLeast is the least latency of an average, in ns.
const latencyLeast = 2

// ticks are a moment in units of about a millisecond. They return to zero every 50 days:
// the average of an endpoint without calls for so long may decay once more.
type ticks uint32

const (
	tickBits   = 20
	disordered = int32(time.Hour >> tickBits) // the most between calls that end out of order
)

func ticksOf(m moment) ticks { return ticks(m >> tickBits) }

// until returns the nanoseconds until a moment, negative if it is a little earlier.
func (t ticks) until(m moment) int64 {
	passed := int32(ticksOf(m) - t)
	if passed < -disordered {
		return math.MaxInt64 // it is later, by weeks
	}
	return int64(passed) << tickBits
}

// outcome counts whether a call has failed because of the endpoint or the way to it.
// Calls of which this is not known do not count.
func (l *load) outcome(now moment, failed bool) {
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
	l.faultsAt.Store(max(int64(now), l.faultsAt.Load()))
	l.faults.Store(math.Float64bits(share))
}

// faulty returns the share of the last calls that have failed, 0 to 1.
func (l *load) faulty(now moment) float64 {
	share := math.Float64frombits(l.faults.Load())
	if share == 0 {
		return 0
	}
	return share * decay(int64(now)-l.faultsAt.Load(), latencyDecay)
}

// peak returns the average now, in ns: 0 for an endpoint of which nothing is known.
func (l *load) peak(now moment) float64 {
	if word := l.latency.Load(); word != 0 {
		average, at := unpackAverage(word)
		return max(average*decay(at.until(now), latencyDecay), float64(latencyFloor))
	}
	if l.calls.Load() <= 0 && l.faults.Load() == 0 {
		return 0
	}
	at := l.unknownAt.Load()
	if at == 0 {
		l.unknownAt.CompareAndSwap(0, int64(now))
		return float64(latencyUnknown)
	}
	return max(float64(latencyUnknown)*decay(int64(now)-at, unknownDecay), float64(latencyFloor))
}

// cost returns the time, in ns, that a further call would take if the endpoint served its
// calls one after the other, more if calls fail there: 0 for an endpoint that has had no
// calls.
func (l *load) cost(now moment) float64 {
	return l.peak(now) * float64(l.inflight()+1) * (1 + faultFactor*l.faulty(now))
}

// decay returns the part of a value that is left after passed nanoseconds.
func decay(passed int64, in time.Duration) float64 {
	if passed <= 0 {
		return 1
	}
	return math.Exp(-float64(passed) / float64(in))
}
