// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func everyOne(*endpoint) bool { return true }

// setOf returns endpoints by a text: each field is a name, a priority, a zone, a weight if
// it is not 1, then "-" if the endpoint is not ready, "!" if it is ejected.
func setOf(t *testing.T, text string) (all []*endpoint, ready func(*endpoint) bool) {
	t.Helper()
	down := make(map[*endpoint]bool)
	for _, field := range strings.Fields(text) {
		e := endpointOf(Endpoint{Weight: 1})
		bare := strings.TrimRight(field, "-!")
		marks := field[len(bare):]
		parts := strings.Split(bare, "/")
		e.Addr = parts[0]
		if len(parts) > 1 {
			fmt.Sscan(parts[1], &e.Priority)
		}
		if len(parts) > 2 {
			e.Zone = parts[2]
		}
		if len(parts) > 3 {
			fmt.Sscan(parts[3], &e.Weight)
		}
		down[e] = strings.Contains(marks, "-")
		e.health.out = strings.Contains(marks, "!")
		all = append(all, e)
	}
	return all, func(e *endpoint) bool { return !down[e] }
}

func names(all []*endpoint) string {
	var s []string
	for _, e := range all {
		s = append(s, e.Addr)
	}
	return strings.Join(s, " ")
}

func TestChoose(t *testing.T) {
	const half = 0.5
	for _, test := range []struct {
		name, set, zone string
		panic           float64
		want, trials    string
		panicked        bool
	}{
		{"all", "a b c", "", half, "a b c", "", false},
		{"none known", "", "", half, "", "", false},
		{"none ready", "a- b-", "", half, "", "", false},
		{"not ready", "a- b c", "", half, "b c", "", false},
		{"few ready", "a- b- c", "", half, "c", "", false},
		{"ejected", "a! b c", "", half, "b c", "a", false},
		{"half ejected", "a! b", "", half, "b", "a", false},
		{"panic", "a! b- c", "", half, "a c", "a", true},
		{"no panic by option", "a! b- c", "", 0, "c", "a", false},
		{"last one ejected", "a!", "", 0, "a", "a", true},
		{"ejected and not ready", "a!- b c", "", half, "b c", "", false},
		{"drained", "a b/0/z/0 c", "", half, "a c", "", false},
		{"drained in panic", "a! b! c/0/z/0!", "", half, "a b", "a b", true},
		{"drained do not count", "a b/0/z/0 c/0/z/0", "", half, "a", "", false},

		{"priority", "a/1 b/0 c/0 d/2", "", half, "b c", "", false},
		{"priority at half", "a/0- b/0 c/1", "", half, "b", "", false},
		{"priority spills", "a/0- b/0- c/0 d/1 e/2", "", half, "c d", "", false},
		{"priority fails over", "a/0- b/0- c/1 d/2", "", half, "c", "", false},
		{"priority skips", "a/0- b/1- c/2", "", half, "c", "", false},
		{"negative priority", "a/0 b/-1", "", half, "b", "", false},
		{"weights count", "a/0/z/9- b/0 c/1", "", half, "b c", "", false},
		{"next level before panic", "a/0! b/0! c/0 d/1", "", half, "c d", "a b", false},
		{"panic in the first level that is ready", "a/0! b/0! c/0- d/1-", "", half, "a b", "a b", true},
		{"no option: any of the first level", "a/0- b/0- c/0 d/1", "", 0, "c", "", false},

		{"zone", "a/0/x b/0/y c/0/x d/0/y", "x", half, "a c", "", false},
		{"zone without endpoints", "a/0/x b/0/y", "z", half, "a b", "", false},
		{"no zones", "a b", "x", half, "a b", "", false},
		{"zone at two thirds", "a/0/x- b/0/x c/0/x d/0/y e/0/y f/0/y", "x", half, "b c", "", false},
		{"zone below", "a/0/x- b/0/x- c/0/x d/0/y e/0/y f/0/y", "x", half, "c d e f", "", false},
		{"small zone", "a/0/x b/0/y c/0/y d/0/y", "x", half, "a b c d", "", false},
		{"small zone with weight", "a/0/x/3 b/0/y c/0/y d/0/y", "x", half, "a", "", false},
		{"zone of a level", "a/0/x b/0/y c/1/x", "x", half, "a", "", false},
		{"zone with the next level", "a/0/y- b/0/y- c/1/x d/1/y", "x", half, "c d", "", false},
		{"zone in panic", "a/0/x! b/0/y!", "x", half, "a b", "a b", true},
	} {
		all, ready := setOf(t, test.set)
		got := chooser{test.zone, test.panic}.choose(clock(), all, ready)
		if names(got.candidates) != test.want || names(got.trials) != test.trials || got.panicked != test.panicked {
			t.Errorf("%s: %s: got %q, trials %q, panic %v, want %q, %q, %v", test.name, test.set,
				names(got.candidates), names(got.trials), got.panicked, test.want, test.trials, test.panicked)
		}
	}
}

func serversFor(n int) []Endpoint {
	all := make([]Endpoint, n)
	for i := range all {
		all[i] = Endpoint{Addr: fmt.Sprintf("10.0.%d.%d:80", i/256, i%256), Weight: 1}
	}
	return all
}

func addresses(endpoints []Endpoint) []string {
	var s []string
	for _, e := range endpoints {
		s = append(s, e.Addr)
	}
	return s
}

// TestSubsetIsEven counts the clients of each endpoint: the standard deviation of 200
// clients with 20 of 100 endpoints is 5.7.
func TestSubsetIsEven(t *testing.T) {
	all := serversFor(100)
	clients := make(map[string]int)
	for c := range 200 {
		got := subset(all, 20, fmt.Sprint("client-", c), "")
		if len(got) != 20 || len(slices.Compact(slices.Sorted(slices.Values(addresses(got))))) != 20 {
			t.Fatalf("got %d endpoints, want 20 different ones", len(got))
		}
		for _, e := range got {
			clients[e.Addr]++
		}
	}
	for _, e := range all {
		between(t, "clients of "+e.Addr, float64(clients[e.Addr]), 17, 63)
	}
}

func TestSubsetIsStable(t *testing.T) {
	all := serversFor(100)
	shuffled := slices.Clone(all)
	slices.Reverse(shuffled)
	for c := range 50 {
		client := fmt.Sprint("client-", c)
		was := addresses(subset(all, 10, client, ""))
		again := addresses(subset(shuffled, 10, client, ""))
		slices.Reverse(again)
		if !slices.Equal(was, again) {
			t.Fatalf("got %v for another order, want %v", again, was)
		}
		is := addresses(subset(all[:99], 10, client, "")) // without the last
		kept := 0
		for _, a := range was {
			if slices.Contains(is, a) {
				kept++
			}
		}
		want := 10
		if slices.Contains(was, all[99].Addr) {
			want = 9
		}
		if kept != want || len(is) != 10 {
			t.Errorf("%s: got %d of its endpoints without another one, want %d", client, kept, want)
		}
	}
}

func TestSubsetKeepsFallbacks(t *testing.T) {
	all := serversFor(60)
	for i := range all {
		all[i].Zone = string('x' + rune(i%3))
		all[i].Priority = i % 2
	}
	all[0].Weight = 0
	counts := make(map[string]int)
	for _, e := range subset(all, 5, "client", "x") {
		counts[fmt.Sprintf("%d %v", e.Priority, e.Zone == "x")]++
		if e.Weight == 0 {
			t.Error("got an endpoint that is drained")
		}
	}
	for _, group := range []string{"0 true", "0 false", "1 true", "1 false"} {
		if counts[group] != 5 {
			t.Errorf("got %d endpoints of %s, want 5", counts[group], group)
		}
	}
	for n, want := range map[int]int{0: 60, -1: 60, 1000: 59} {
		if got := subset(all, n, "client", "x"); len(got) != want {
			t.Errorf("Subset(%d): got %d endpoints, want %d", n, len(got), want)
		}
	}
}

// FuzzChoosePick checks that a call has an endpoint whenever one is ready, and never one
// that is not.
func FuzzChoosePick(f *testing.F) {
	f.Add([]byte{1, 2, 3}, "x", uint8(50), uint64(0))
	f.Add([]byte{0, 255, 128, 64, 32, 16, 8, 4}, "", uint8(0), uint64(5))
	f.Add([]byte{0x11, 0x31, 0x51, 0x91}, "y", uint8(100), uint64(1))
	f.Fuzz(func(t *testing.T, data []byte, zone string, share uint8, hash uint64) {
		data = data[:min(len(data), 64)]
		now := clock()
		up, out, seen := make(map[*endpoint]bool), make(map[*endpoint]bool), make(map[*endpoint]bool)
		var all []*endpoint
		usable := 0
		for i, b := range data {
			e := endpointOf(Endpoint{Addr: fmt.Sprint(i), Weight: uint32(b & 3), Priority: int(b >> 2 & 3), Zone: string('x' + rune(b>>4&1))})
			up[e] = b>>5&3 != 0
			e.health.out = b>>7 != 0
			out[e] = e.health.out
			if b&8 != 0 {
				e.slowStart = time.Hour
				e.readySince.Store(int64(now))
			}
			if b&1 != 0 {
				e.load.begin()
			}
			seen[e] = b>>3&1 != 0
			if e.Weight > 0 && up[e] {
				usable++
			}
			all = append(all, e)
		}
		got := chooser{zone, float64(share%101) / 100}.choose(now, all, func(e *endpoint) bool { return up[e] })
		if (usable > 0) != (len(got.candidates) > 0) {
			t.Fatalf("got %d candidates, with %d endpoints that could serve", len(got.candidates), usable)
		}
		allTried := true
		for i, e := range got.candidates {
			if !up[e] || e.Weight == 0 || out[e] && !got.panicked || slices.Contains(got.candidates[:i], e) {
				t.Fatalf("got the candidate %+v: ready %v, ejected %v, panic %v", e.Endpoint, up[e], out[e], got.panicked)
			}
			allTried = allTried && seen[e]
		}
		for _, e := range got.trials {
			if !up[e] || e.Weight == 0 || !out[e] {
				t.Fatalf("got %+v for trial: ready %v, ejected %v", e.Endpoint, up[e], out[e])
			}
		}
		for name, p := range policies() {
			for _, info := range []pickInfo{{now: now}, {now: now, hash: hash, hashed: true}, {now: now, hash: hash, hashed: true, tried: func(e *endpoint) bool { return seen[e] }}, {now: now, tried: func(e *endpoint) bool { return seen[e] }}} {
				e := p.pick(got.candidates, info)
				if (e == nil) != (len(got.candidates) == 0) || e != nil && !slices.Contains(got.candidates, e) {
					t.Fatalf("%s: got %v of %d candidates", name, e, len(got.candidates))
				}
				if e != nil && info.tried != nil && seen[e] && !allTried {
					t.Fatalf("%s: got an endpoint that was tried", name)
				}
			}
		}
	})
}

func BenchmarkChoose(b *testing.B) {
	all := endpointsFor(1000)
	for i, e := range all {
		e.Zone = string('x' + rune(i%3))
	}
	for b.Loop() {
		chooser{"x", 0.5}.choose(clock(), all, everyOne)
	}
}
