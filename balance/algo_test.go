// SPDX-License-Identifier: Apache-2.0

// Parts of the tests of policies: endpoints, and calls in virtual time.

package balance

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// endpointOf returns an endpoint without connections.
func endpointOf(e Endpoint) *endpoint { return &endpoint{Endpoint: e, backend: &backend{addr: e.Addr}} }

// endpointsFor returns endpoints with the weights, or with 1 each.
func endpointsFor(n int, weights ...uint32) []*endpoint {
	all := make([]*endpoint, n)
	for i := range all {
		all[i] = endpointOf(Endpoint{Addr: fmt.Sprintf("10.0.0.%d:80", i), Weight: 1})
		if len(weights) > 0 {
			all[i].Weight = weights[i%len(weights)]
		}
	}
	return all
}

// calls makes n picks one after the other, and returns the number of each endpoint.
func calls(p Policy, all []*endpoint, n int, now moment) map[*endpoint]int {
	counts := make(map[*endpoint]int)
	for range n {
		counts[p.pick(all, pickInfo{now: now})]++
	}
	return counts
}

// A simulation is calls that arrive at random, at a mean rate, and each take the time of
// their endpoint. Its time is virtual.
type simulation struct {
	policy   Policy
	all      []*endpoint
	took     func(e int, now time.Duration) time.Duration
	rate     float64 // a second
	duration time.Duration
}

type simulated struct {
	counts   []int
	during   func(from, to time.Duration) []int
	mostOpen int
}

type event struct {
	at, took time.Duration
	endpoint int
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (s simulation) run() simulated {
	index := make(map[*endpoint]int)
	for i, e := range s.all {
		index[e] = i
	}
	random := rand.New(rand.NewPCG(1, 2))
	start := clock()
	var open events
	var arrivals []event
	result := simulated{counts: make([]int, len(s.all))}
	for at := time.Duration(0); at < s.duration; at += time.Duration(random.ExpFloat64() / s.rate * 1e9) {
		for len(open) > 0 && open[0].at <= at {
			e := heap.Pop(&open).(event)
			s.all[e.endpoint].load.end(start.Add(e.at), e.took)
		}
		e := s.policy.pick(s.all, pickInfo{now: start.Add(at)})
		e.load.begin()
		i := index[e]
		took := s.took(i, at)
		heap.Push(&open, event{at + took, took, i})
		arrivals = append(arrivals, event{at: at, endpoint: i})
		result.counts[i]++
		result.mostOpen = max(result.mostOpen, len(open))
	}
	result.during = func(from, to time.Duration) []int {
		counts := make([]int, len(s.all))
		for _, a := range arrivals {
			if from <= a.at && a.at < to {
				counts[a.endpoint]++
			}
		}
		return counts
	}
	return result
}

// share returns the part of the calls that endpoint i has got, in percent.
func share(counts []int, i int) float64 {
	all := 0
	for _, n := range counts {
		all += n
	}
	return 100 * float64(counts[i]) / float64(all)
}

// policies are all of them, with names.
func policies() map[string]Policy {
	return map[string]Policy{
		"PeakEWMA": PeakEWMA(), "LeastRequest(2)": LeastRequest(2), "LeastRequest(8)": LeastRequest(8),
		"RoundRobin": RoundRobin(), "Weighted": Weighted(), "Random": Random(), "HashHeader": HashHeader("x-user"),
	}
}

func between(t *testing.T, what string, got, least, most float64) {
	t.Helper()
	if !(got >= least && got <= most) {
		t.Errorf("%s: got %.2f, want %v to %v", what, got, least, most)
	}
}
