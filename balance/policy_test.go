// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"slices"
	"sync"
	"testing"
	"time"
)

func TestRoundRobinIsExact(t *testing.T) {
	all := endpointsFor(7)
	for e, n := range calls(RoundRobin(), all, 7000, clock()) {
		if n != 1000 {
			t.Errorf("got %d calls at %s, want 1000", n, e.Addr)
		}
	}
}

func TestRoundRobinBeginsAnywhere(t *testing.T) {
	all := endpointsFor(10)
	firsts := make(map[*endpoint]bool)
	for range 200 {
		firsts[RoundRobin().pick(all, pickInfo{now: clock()})] = true
	}
	if len(firsts) < 8 {
		t.Errorf("got %d of 10 endpoints as the first of 200 clients, want nearly all", len(firsts))
	}
}

// TestWeightedIsEven checks shares, and that no endpoint's calls come in bursts: over any
// stretch its count differs from its share by a few at most.
func TestWeightedIsEven(t *testing.T) {
	for _, weights := range [][]uint32{{1, 1, 1}, {1, 2, 3, 4}, {1, 1000}, {5, 4294967295}, {100, 1, 1, 1, 50}} {
		all, total := endpointsFor(len(weights), weights...), uint64(0)
		for _, w := range weights {
			total += uint64(w)
		}
		p, got := Weighted(), make(map[*endpoint]int)
		const n = 20_000
		for i := range n {
			got[p.pick(all, pickInfo{now: clock()})]++
			for _, e := range all {
				want := float64(i+1) * float64(e.Weight) / float64(total)
				if d := float64(got[e]) - want; d > 6 || d < -6 {
					t.Fatalf("weights %v: got %d calls of %d at weight %d, want %.1f ± 6", weights, got[e], i+1, e.Weight, want)
				}
			}
		}
	}
}

func TestWeightedFollowsTheSet(t *testing.T) {
	p, now := Weighted(), clock()
	one, two := endpointsFor(3, 1, 2, 3), endpointsFor(3, 9, 1, 1)
	for range 3 {
		for _, all := range [][]*endpoint{one, two} {
			for e, n := range calls(p, all, 1100, now) {
				if !slices.Contains(all, e) {
					t.Fatalf("got %s, which is no candidate", e.Addr)
				}
				if e == two[0] {
					between(t, "calls at weight 9 of 11", float64(n), 895, 905)
				}
			}
		}
	}
}

// TestInstancesShareNothing checks that turns are even for each of two sets whose calls
// alternate.
func TestInstancesShareNothing(t *testing.T) {
	for name, option := range map[string]Policy{"RoundRobin": RoundRobin(), "Weighted": Weighted()} {
		p, q := option.instance(), option.instance()
		all, other := endpointsFor(2), endpointsFor(2)
		counts := make(map[*endpoint]int)
		for range 1000 {
			counts[p.pick(all, pickInfo{now: clock()})]++
			q.pick(other, pickInfo{now: clock()})
		}
		between(t, name+": calls at the first of two", float64(counts[all[0]]), 494, 506)
	}
}

func TestRandomIsEven(t *testing.T) {
	for e, n := range calls(Random(), endpointsFor(4), 40_000, clock()) {
		between(t, "calls at "+e.Addr, float64(n), 9000, 11_000) // 11 standard deviations
	}
}

func TestLeastRequestTakesTheLeast(t *testing.T) {
	all := endpointsFor(8)
	for i, e := range all {
		for range 8 - i {
			e.load.begin()
		}
	}
	for e, n := range calls(LeastRequest(8), all, 1000, clock()) {
		if e != all[7] || n != 1000 {
			t.Errorf("got %d calls at %s, want all at %s", n, e.Addr, all[7].Addr)
		}
	}
	// Of two different ones the worst is never the better.
	if n := calls(LeastRequest(2), all, 10_000, clock())[all[0]]; n != 0 {
		t.Errorf("got %d calls at the endpoint with the most calls in flight, want 0", n)
	}
}

func TestLeastRequestHeedsWeights(t *testing.T) {
	all := endpointsFor(2, 1, 3)
	p := LeastRequest(2)
	for range 4000 {
		p.pick(all, pickInfo{now: clock()}).load.begin()
	}
	between(t, "calls in flight at weight 1", float64(all[0].load.inflight()), 995, 1005)
}

// TestInsertOther checks that draws are different and even.
func TestInsertOther(t *testing.T) {
	var counts [5]int
	for range 50_000 {
		var drawn [mostChoices]int
		drawn[0] = 3
		for n := 1; n < 4; n++ {
			insertOther(&drawn, n, 5)
			if !slices.IsSorted(drawn[:n+1]) || len(slices.Compact(slices.Clone(drawn[:n+1]))) != n+1 {
				t.Fatalf("got %v, want different numbers in ascending order", drawn[:n+1])
			}
		}
		for _, i := range drawn[:4] {
			counts[i]++
		}
	}
	for i, n := range counts {
		want := 37_500.0 // 3 of the other 4
		if i == 3 {
			want = 50_000
		}
		between(t, "draws", float64(n), want-1000, want+1000)
	}
}

func TestTriedEndpointsArePassedOver(t *testing.T) {
	all := endpointsFor(4)
	tried := make(map[*endpoint]bool)
	info := pickInfo{now: clock(), hash: 7, hashed: true, tried: func(e *endpoint) bool { return tried[e] }}
	for name, p := range policies() {
		clear(tried)
		for range all {
			for range 100 {
				if e := p.pick(all, info); tried[e] {
					t.Fatalf("%s: got an endpoint that was tried, with %d of 4 tried", name, len(tried))
				}
			}
			tried[p.pick(all, info)] = true
		}
		if len(tried) != 4 {
			t.Errorf("%s: got %d endpoints in four attempts, want 4", name, len(tried))
		}
		if e := p.pick(all, info); e == nil {
			t.Errorf("%s: got no endpoint when all were tried, want any", name)
		}
	}
}

// TestAttemptsThatFailMeanwhile has more and more endpoints become tried during a pick.
func TestAttemptsThatFailMeanwhile(t *testing.T) {
	all := endpointsFor(4)
	for name, p := range policies() {
		for after := range 100 {
			n := 0
			info := pickInfo{now: clock(), hash: uint64(after), hashed: after%2 == 0, tried: func(*endpoint) bool { n++; return n == 1 || n > after/2 }}
			if p.pick(all, info) == nil {
				t.Fatalf("%s: got no endpoint when all count as tried after %d checks, want any", name, after/2)
			}
		}
	}
}

func TestNoCandidates(t *testing.T) {
	for name, p := range policies() {
		for _, hashed := range []bool{false, true} {
			if e := p.pick(nil, pickInfo{now: clock(), hashed: hashed}); e != nil {
				t.Errorf("%s: got %s of no candidates, want nil", name, e.Addr)
			}
		}
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	all := endpointsFor(20, 1, 2, 3)
	for _, e := range all {
		e.slowStart = time.Hour
		e.readySince.Store(int64(clock()))
		for range 5 {
			e.load.begin()
		}
	}
	tried := func(e *endpoint) bool { return e == all[0] }
	for name, p := range policies() {
		for _, info := range []pickInfo{{now: clock()}, {now: clock(), hash: 1, hashed: true}, {now: clock(), tried: tried}} {
			n := testing.AllocsPerRun(200, func() {
				e := p.pick(all, info)
				e.load.begin()
				e.load.end(info.now, time.Millisecond)
				e.load.outcome(info.now, e == all[1])
				e.health.report(info.now, false)
			})
			if n != 0 {
				t.Errorf("%s: got %v allocations a pick, want 0", name, n)
			}
		}
	}
}

func TestPickConcurrently(t *testing.T) {
	rule, _ := newEjector(Ejection{Consecutive: 50})
	sets := [][]*endpoint{endpointsFor(5, 1, 2), endpointsFor(3)}
	for _, set := range sets {
		for _, e := range set {
			e.health.ejector = rule
		}
	}
	rule.setHosts(8)
	for _, p := range policies() {
		var running sync.WaitGroup
		for g := range 4 {
			running.Go(func() {
				for i := range 500 {
					set := sets[(i/50+g)%2]
					now := clock()
					e := p.pick(set, pickInfo{now: now, hash: uint64(i), hashed: i%2 == 0})
					e.load.begin()
					e.load.cost(now)
					e.load.end(now, time.Duration(i%7-1)*time.Millisecond)
					e.load.outcome(now, g == 0)
					e.health.report(now, g == 0)
					e.health.ejected(now)
				}
			})
		}
		running.Wait()
	}
	for _, set := range sets {
		for _, e := range set {
			if n := e.load.inflight(); n != 0 {
				t.Errorf("got %d calls in flight at the end, want 0", n)
			}
		}
	}
}

func TestBadArgumentsPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"LeastRequest(1)": func() { LeastRequest(1) }, "LeastRequest(9)": func() { LeastRequest(9) },
		"HashHeader": func() { HashHeader("") }, "HashKey": func() { HashKey(nil) },
		"Every": func() { Every(time.Millisecond) }, "NetResolver": func() { NetResolver(nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: got no panic, want one", name)
				}
			}()
			f()
		}()
	}
}

func BenchmarkPick(b *testing.B) {
	for name, p := range policies() {
		b.Run(name, func(b *testing.B) {
			all := endpointsFor(20)
			info := pickInfo{now: clock(), hash: 1, hashed: true}
			for b.Loop() {
				info.hash++
				e := p.pick(all, info)
				e.load.begin()
				e.load.end(info.now, time.Millisecond)
			}
		})
	}
}
