// SPDX-License-Identifier: Apache-2.0

// Policies: which of the endpoints that may be used gets a call.

package balance

import (
	"fmt"
	"math/rand/v2"
)

// A Policy decides which endpoint gets a call, of those that are ready, healthy and
// preferred. It is an [Option], which balancers
// may share without an effect on each other: [PeakEWMA], which is the default,
// [LeastRequest], [RoundRobin], [Weighted], [Random], [HashHeader] or [HashKey].
//
// Endpoints where an attempt at the call has failed are passed over as long as there are
// others. Endpoints in slow start get a smaller share with every policy but HashHeader and
// HashKey, for which the same endpoint matters more.
type Policy interface {
	Option

	// instance returns the policy for one set of endpoints: it shares nothing that changes
	// with other instances. Each balancer, and each part of one with endpoints of its own,
	// has its own.
	instance() Policy

	// pick returns one of the candidates, and nil only if there are none. It allocates
	// nothing and is safe for concurrent use. Slices that have been handed to it are not
	// written again.
	pick(candidates []*endpoint, call pickInfo) *endpoint
}

// pickInfo is what a policy is given about a call.
type pickInfo struct {
	now    moment
	hash   uint64               // of the call's key
	hashed bool                 // the call has a key
	tried  func(*endpoint) bool // if not nil, whether an attempt at the call has failed there
}

// redraws bounds how often a policy draws again if an endpoint refuses. When all
// endpoints are in slow start, one of them takes the call after that.
const redraws = 8

// A draw takes endpoints at random, of those that have not been tried if there are any.
type draw struct {
	from  []*endpoint
	tried func(*endpoint) bool // nil: all of from
	n     int                  // endpoints to draw from
}

func newDraw(candidates []*endpoint, call *pickInfo) draw {
	d := draw{from: candidates, n: len(candidates)}
	if call.tried != nil {
		d.passOver(call.tried)
	}
	return d
}

// passOver takes the endpoints that were tried out of the draw, unless all were.
func (d *draw) passOver(tried func(*endpoint) bool) {
	n := 0
	for _, e := range d.from {
		if !tried(e) {
			n++
		}
	}
	if n > 0 && n < d.n {
		d.tried, d.n = tried, n
	}
}

// at returns endpoint i of the n.
func (d *draw) at(i int) *endpoint {
	if d.tried == nil {
		return d.from[i]
	}
	var last *endpoint
	for _, e := range d.from {
		if d.tried(e) {
			continue
		}
		if last = e; i == 0 {
			return e
		}
		i--
	}
	if last == nil { // another attempt has failed meanwhile
		return d.from[0]
	}
	return last
}

// one draws an endpoint.
func (d *draw) one(now moment) (i int, e *endpoint) {
	for range redraws {
		i = rand.IntN(d.n)
		if e = d.at(i); e.admits(now) {
			break
		}
	}
	return i, e
}

// check panics for values of options that make no sense.
func check(ok bool, format string, args ...any) {
	if !ok {
		panic("balance: " + fmt.Sprintf(format, args...))
	}
}
