// SPDX-License-Identifier: Apache-2.0

// From the endpoints that are known to those that a policy picks from.

package balance

import (
	"cmp"
	"slices"
)

// A chooser has the settings by which endpoints are preferred.
type chooser struct {
	zone  string  // "": no preference
	panic float64 // the part of the endpoints below which ejections are not heeded, 0 to 1
}

// A choice is which endpoints get calls, until the state of one changes. It is not
// written after it was made.
type choice struct {
	all        []*endpoint // that are known
	candidates []*endpoint // for the policy, in the order of all
	trials     []*endpoint // ejected ones, for trialOf
	panicked   bool        // candidates include ejected ones
}

// choose makes the choice from all known endpoints. ready reports whether an endpoint has
// a connection and no failed probe.
//
// Endpoints with the weight 0 get no calls. The others count by their weights.
//
//   - Priority: those of the first level (the lowest number) get the calls, and those of
//     the next levels too, as many levels as are needed until there is at least panic
//     times what the first level would have with all of its endpoints.
//   - Panic: if all levels have less than that, ejections are not heeded: few endpoints
//     would get the calls of all, and be ejected in their turn.
//   - Zone: endpoints of the client's zone get all calls while the zone has two thirds of
//     an even share: that of all known endpoints, divided by the number of zones.
func (c chooser) choose(now moment, all []*endpoint, ready func(*endpoint) bool) choice {
	const readyBit, ejectedBit = 1, 2
	state := make([]uint8, len(all))
	trials := []*endpoint(nil)
	var levels []int
	for i, e := range all {
		if e.Weight == 0 {
			continue
		}
		levels = append(levels, e.Priority)
		if !ready(e) {
			continue
		}
		state[i] = readyBit
		if out, _, _ := e.health.ejected(now); out {
			state[i] |= ejectedBit
			trials = append(trials, e)
		}
	}
	slices.Sort(levels)
	levels = slices.Compact(levels)

	// take returns the candidates of as many levels as are needed. usable is false for
	// those that are drained.
	take := func(usable func(i int) bool) (candidates []*endpoint, upTo int, enough bool) {
		var need, got float64
		for n, level := range levels {
			upTo = level
			for i, e := range all {
				if e.Weight == 0 || e.Priority != level {
					continue
				}
				if n == 0 {
					need += c.panic * float64(e.Weight)
				}
				if usable(i) {
					got += float64(e.Weight)
				}
			}
			if got > 0 && got >= need {
				enough = true
				break
			}
		}
		for i, e := range all {
			if e.Priority <= upTo && usable(i) {
				candidates = append(candidates, e)
			}
		}
		return candidates, upTo, enough
	}
	made := choice{all: all, trials: trials}
	var upTo int
	var enough bool
	made.candidates, upTo, enough = take(func(i int) bool { return state[i] == readyBit })
	if !enough && len(trials) > 0 {
		made.candidates, _, _ = take(func(i int) bool { return state[i]&readyBit != 0 })
		made.panicked = true
		return made
	}
	if c.zone != "" {
		made.candidates = c.prefer(made.candidates, all, upTo)
	}
	return made
}

// prefer returns the candidates of the client's zone, or all if the zone has too few.
func (c chooser) prefer(candidates, all []*endpoint, upTo int) []*endpoint {
	var known, local float64
	zones := make(map[string]bool)
	for _, e := range all {
		if e.Weight > 0 && e.Priority <= upTo {
			known += float64(e.Weight)
			zones[e.Zone] = true
		}
	}
	var locals []*endpoint
	for _, e := range candidates {
		if e.Zone == c.zone {
			local += float64(e.Weight)
			locals = append(locals, e)
		}
	}
	if len(locals) > 0 && local*3*float64(len(zones)) >= 2*known {
		return locals
	}
	return candidates
}

// subset returns n of the endpoints for a client, in their order: by rendezvous hashing,
// so that a client keeps its endpoints when others come and go, and clients differ. Each
// priority has its own n, and the client's zone has them beside the other zones: so there
// are endpoints to fall back to. Endpoints with the weight 0 are left out. If n is not
// positive, there is no limit.
func subset(endpoints []Endpoint, n int, client, zone string) []Endpoint {
	if n <= 0 {
		return endpoints
	}
	type group struct {
		priority int
		local    bool
	}
	type place struct {
		score uint64
		index int
	}
	own := hashKey(client)
	groups := make(map[group][]place)
	for i, e := range endpoints {
		if e.Weight == 0 {
			continue
		}
		g := group{e.Priority, zone != "" && e.Zone == zone}
		groups[g] = append(groups[g], place{mix(own ^ hashKey(e.Addr)), i})
	}
	var taken []int
	for _, places := range groups {
		slices.SortFunc(places, func(a, b place) int {
			return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(endpoints[a.index].Addr, endpoints[b.index].Addr))
		})
		for _, p := range places[:min(n, len(places))] {
			taken = append(taken, p.index)
		}
	}
	slices.Sort(taken)
	kept := make([]Endpoint, 0, len(taken))
	for _, i := range taken {
		kept = append(kept, endpoints[i])
	}
	return kept
}
