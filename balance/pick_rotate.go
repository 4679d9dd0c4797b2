// SPDX-License-Identifier: Apache-2.0

// Policies that do not look at loads: in turn, in proportion to weights, at random.

package balance

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync/atomic"
)

// RoundRobin takes the endpoints in turn, beginning with any of them. It does not heed
// weights.
func RoundRobin() Policy { return new(roundRobin).instance() }

type roundRobin struct{ turns }

// turns counts the calls of a policy that takes endpoints in turn.
type turns struct{ calls atomic.Uint64 }

// next returns the number of the next turn.
func (t *turns) next() uint64 { return t.calls.Add(1) }

// giveBack undoes a next, for a call that is made anew.
func (t *turns) giveBack() { t.calls.Add(^uint64(0)) }

func (p *roundRobin) apply(c *config) error { c.policy = p; return nil }

func (*roundRobin) instance() Policy {
	p := new(roundRobin)
	p.calls.Store(rand.Uint64())
	return p
}

func (p *roundRobin) pick(candidates []*endpoint, call pickInfo) *endpoint {
	if len(candidates) == 0 {
		return nil
	}
	d := newDraw(candidates, &call)
	var e *endpoint
	for range redraws {
		e = d.at(int(p.next() % uint64(d.n)))
		if e.admits(call.now) {
			break
		}
	}
	return e
}

// Random draws one endpoint. It does not heed weights.
func Random() Policy { return random{} }

type random struct{}

func (p random) apply(c *config) error { c.policy = p; return nil }

func (p random) instance() Policy { return p }

func (random) pick(candidates []*endpoint, call pickInfo) *endpoint {
	if len(candidates) == 0 {
		return nil
	}
	d := newDraw(candidates, &call)
	_, e := d.one(call.now)
	return e
}

// Weighted takes the endpoints in turn, each as often as its weight asks, and the calls
// of one endpoint as far apart as possible.
func Weighted() Policy { return new(weighted).instance() }

type weighted struct {
	turns
	wheel atomic.Pointer[wheel]
}

// A wheel has a section for each candidate, as long as its weight.
type wheel struct {
	candidates []*endpoint
	ends       []uint64
}

func (p *weighted) apply(c *config) error { c.policy = p; return nil }

func (*weighted) instance() Policy {
	p := new(weighted)
	p.calls.Store(rand.Uint64())
	return p
}

// golden is 2^64 divided by the golden ratio. Multiples of it, modulo 2^64, fill the
// range more evenly than those of any other step, however many there are.
const golden = 0x9e3779b97f4a7c15

func (p *weighted) pick(candidates []*endpoint, call pickInfo) *endpoint {
	if len(candidates) == 0 {
		return nil
	}
	w := p.wheelOf(candidates)
	total := w.ends[len(w.ends)-1]
	var i int
	for range redraws {
		at, _ := bits.Mul64(p.next()*golden, total)
		i, _ = slices.BinarySearch(w.ends, at+1)
		if e := candidates[i]; (call.tried == nil || !call.tried(e)) && e.admits(call.now) {
			return e
		}
	}
	d := newDraw(candidates, &call)
	if d.tried == nil {
		return candidates[i]
	}
	_, e := d.one(call.now)
	return e
}

// wheelOf returns the wheel of the candidates. It is made once for each set of them: a
// set is not written after it was handed over, so the address of its first element
// identifies it for as long as the wheel refers to it.
func (p *weighted) wheelOf(candidates []*endpoint) *wheel {
	w := p.wheel.Load()
	if w != nil && len(w.candidates) == len(candidates) && &w.candidates[0] == &candidates[0] {
		return w
	}
	w = &wheel{candidates: candidates, ends: make([]uint64, len(candidates))}
	var end uint64
	for i, e := range candidates {
		end += uint64(max(e.Weight, 1))
		w.ends[i] = end
	}
	p.wheel.Store(w)
	return w
}
