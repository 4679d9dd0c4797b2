// SPDX-License-Identifier: Apache-2.0

// Policies that draw some endpoints and compare their loads.

package balance

import "math/rand/v2"

// mostChoices bounds the endpoints that a policy compares for a call.
const mostChoices = 8

// PeakEWMA draws two endpoints and takes the one where the call is expected to be
// answered first: by the endpoint's average latency, times its calls in flight. A latency
// above the average replaces it at once, and smaller ones draw it down: a peak falls to
// 1/e after 256 calls, or in 10 s. It also falls to 1/e in 10 s without calls, so that an
// endpoint that was slow is tried again. A weight divides the expected time, and failures
// multiply it: by two if one call of a hundred fails, by a hundred if all do. It is the
// default.
func PeakEWMA() Policy { return &least{choices: 2, load: expectedTime} }

// LeastRequest draws n different endpoints, 2 to 8, and takes the one with the fewest
// calls in flight for its weight. Up to 16 calls are added for endpoints where calls fail,
// one for each sixteenth of them. It panics if n is out of range.
func LeastRequest(n int) Policy {
	check(n >= 2 && n <= mostChoices, "LeastRequest(%d): expected 2 to %d endpoints to compare", n, mostChoices)
	return &least{choices: n, load: callsInFlight}
}

type least struct {
	choices int
	load    func(*endpoint, moment) float64
}

func (p *least) apply(c *config) error { c.policy = p; return nil }

func (p *least) instance() Policy { return p }

func expectedTime(e *endpoint, now moment) float64 {
	return e.load.cost(now) / float64(max(e.Weight, 1))
}

// callsInFlight does not count the call to come: so endpoints without calls are equal
// whatever their weights are.
func callsInFlight(e *endpoint, now moment) float64 {
	added := int(16 * e.load.faulty(now))
	return float64(e.load.inflight()+added) / float64(max(e.Weight, 1))
}

func (p *least) pick(candidates []*endpoint, call pickInfo) *endpoint {
	if len(candidates) == 0 {
		return nil
	}
	d := newDraw(candidates, &call)
	if d.n == 1 {
		return d.at(0)
	}
	// An endpoint in slow start decides once whether it takes the call, so that its
	// share is not that of several tries.
	var best *endpoint
	var load float64
	var drawn [mostChoices]int // ascending
	for n := range min(p.choices, d.n) {
		e := d.at(insertOther(&drawn, n, d.n))
		if !e.admits(call.now) {
			continue
		}
		if other := p.load(e, call.now); best == nil || other < load {
			best, load = e, other
		}
	}
	if best == nil {
		_, best = d.one(call.now)
	}
	return best
}

// insertOther draws a number below n that is not among the first count of drawn, which
// are in ascending order, and puts it there. Each such number is equally likely.
func insertOther(drawn *[mostChoices]int, count, n int) int {
	i, place := rand.IntN(n-count), 0
	for ; place < count && i >= drawn[place]; place++ {
		i++
	}
	copy(drawn[place+1:], drawn[place:count])
	drawn[place] = i
	return i
}
