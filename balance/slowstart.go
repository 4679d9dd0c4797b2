// SPDX-License-Identifier: Apache-2.0

// Slow start: an endpoint that has just become ready gets few calls at first.

package balance

import "math/rand/v2"

// rampLeast is the share of an endpoint that has just become ready. It is not zero, so
// that the endpoint's caches begin to fill.
const rampLeast = 0.01

// ramp returns the share of calls that an endpoint gets, of those that it will get after
// its slow start: it rises from rampLeast to 1, in proportion to the time that the
// endpoint has been ready.
func (e *endpoint) ramp(now moment) float64 {
	if e.slowStart <= 0 {
		return 1
	}
	ready := e.readySince.Load()
	if ready == 0 {
		return 1
	}
	passed := now.Sub(moment(ready))
	if passed >= e.slowStart {
		return 1
	}
	return max(float64(passed)/float64(e.slowStart), rampLeast)
}

// admits reports whether an endpoint that a policy has drawn takes the call. In slow
// start it refuses at random. Refusals, unlike a factor in the load that is compared,
// give the endpoint its share with every policy, and when there are few calls, too.
func (e *endpoint) admits(now moment) bool {
	share := e.ramp(now)
	return share >= 1 || rand.Float64() < share
}
