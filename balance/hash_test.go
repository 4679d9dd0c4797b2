// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"context"
	"fmt"
	"math/bits"
	"testing"
)

// TestFNV1a has vectors of draft-eastlake-fnv, appendix C.
func TestFNV1a(t *testing.T) {
	for text, want := range map[string]uint64{"": 0xcbf29ce484222325, "a": 0xaf63dc4c8601ec8c, "foobar": 0x85944171f73967e8} {
		if got := fnv1a(text); got != want {
			t.Errorf("%q: got %#x, want %#x", text, got, want)
		}
	}
}

// TestHashesStay pins values that clients of different releases must agree on.
func TestHashesStay(t *testing.T) {
	for key, want := range map[string]uint64{"": 0x70a86edc104459c0, "user-1": 0x51f154a4300db801, "10.0.0.1:80": 0x21a4090d2d1b30b9} {
		if got := hashKey(key); got != want {
			t.Errorf("%q: got %#x, want %#x", key, got, want)
		}
	}
}

// TestMixDependsOnAllBits flips each bit of the input, and counts how often each bit of
// the output changes.
func TestMixDependsOnAllBits(t *testing.T) {
	const n = 4000
	for in := range 64 {
		var flips [64]int
		for i := range uint64(n) {
			for d := mix(i*golden) ^ mix(i*golden^1<<in); d != 0; d &= d - 1 {
				flips[bits.TrailingZeros64(d)]++
			}
		}
		for out, got := range flips {
			if got < n*2/5 || got > n*3/5 {
				t.Errorf("bit %d of the input changes bit %d of the output %d of %d times, want about half", in, out, got, n)
			}
		}
	}
}

func pickKey(p Policy, all []*endpoint, key string) *endpoint {
	return p.pick(all, pickInfo{now: clock(), hash: hashKey(key), hashed: true})
}

func TestHashIsSticky(t *testing.T) {
	const keys = 10_000
	all := endpointsFor(10)
	counts := make(map[*endpoint]int)
	before := make([]*endpoint, keys)
	for i := range before {
		before[i] = pickKey(HashHeader("x-user"), all, fmt.Sprint("user-", i))
		counts[before[i]]++
	}
	for e, n := range counts {
		between(t, "keys of "+e.Addr, float64(n), 700, 1300)
	}
	// The others in any order, in another client, and known under the same addresses only.
	var rest []*endpoint
	for _, e := range endpointsFor(10)[:9] {
		rest = append([]*endpoint{e}, rest...)
	}
	moved := 0
	for i, was := range before {
		is := pickKey(HashKey(func(context.Context) string { return "" }), rest, fmt.Sprint("user-", i))
		if was == all[9] {
			moved++
		} else if is.Addr != was.Addr {
			t.Fatalf("key %d: got %s, want %s as before", i, is.Addr, was.Addr)
		}
	}
	between(t, "keys that have moved, in percent", 100*float64(moved)/keys, 1, 11)
}

func TestHashHeedsWeights(t *testing.T) {
	all := endpointsFor(4, 1, 2, 3, 4)
	counts := make(map[*endpoint]int)
	for i := range 20_000 {
		counts[pickKey(HashHeader("x-user"), all, fmt.Sprint(i))]++
	}
	for _, e := range all {
		between(t, fmt.Sprint("keys at weight ", e.Weight), float64(counts[e]), 1850*float64(e.Weight), 2150*float64(e.Weight))
	}
	// A weight that grows takes keys, and moves none between the others.
	before := make(map[int]*endpoint)
	for i := range 2000 {
		before[i] = pickKey(HashHeader("x-user"), all, fmt.Sprint(i))
	}
	all[0].Weight = 5
	for i, was := range before {
		if is := pickKey(HashHeader("x-user"), all, fmt.Sprint(i)); is != was && is != all[0] {
			t.Errorf("key %d: got %s, want %s or the heavier one", i, is.Addr, was.Addr)
		}
	}
}

// TestHashBoundsLoad sends all calls with one key.
func TestHashBoundsLoad(t *testing.T) {
	for _, weights := range [][]uint32{{1}, {1, 2, 3, 4, 5}} {
		all := endpointsFor(10, weights...)
		p, total, weight := HashHeader("x-user"), 0.0, 0.0
		for _, e := range all {
			weight += float64(e.Weight)
		}
		first := pickKey(p, all, "hot")
		for range 2000 {
			e := pickKey(p, all, "hot")
			e.load.begin()
			total++
			if got, most := float64(e.load.inflight()), max(boundedLoad*total*float64(e.Weight)/weight+1, boundLeast); got > most {
				t.Fatalf("got %v calls in flight of %v at weight %d, want at most %.1f", got, total, e.Weight, most)
			}
		}
		if got, want := float64(first.load.inflight()), boundedLoad*total*float64(first.Weight)/weight; got < want-1 {
			t.Errorf("got %v calls in flight at the key's endpoint, want %v", got, want)
		}
	}
}

// TestFewCallsStay checks that calls that meet do not leave their endpoint while there
// are few.
func TestFewCallsStay(t *testing.T) {
	all := endpointsFor(30)
	first := pickKey(HashHeader("x-user"), all, "key")
	for i := range boundLeast {
		e := pickKey(HashHeader("x-user"), all, "key")
		if e != first {
			t.Fatalf("call %d: got %s, want %s", i, e.Addr, first.Addr)
		}
		e.load.begin()
	}
	second := pickKey(HashHeader("x-user"), all, "key")
	if second == first {
		t.Errorf("got a call beside %d at one of 30 endpoints, want it elsewhere", boundLeast)
	}
	for i := range boundLeast {
		e := pickKey(HashHeader("x-user"), all, "key")
		if e != second {
			t.Fatalf("call %d: got %s, want %s", boundLeast+i, e.Addr, second.Addr)
		}
		e.load.begin()
	}
}

func TestHashOfCall(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "from the context")
	field := func(name string) string { return map[string]string{"X-User": "from the header"}[name] }
	for _, test := range []struct {
		policy Policy
		want   string
	}{
		{HashHeader("x-user"), "from the header"}, {HashHeader("x-other"), ""},
		{HashKey(func(ctx context.Context) string { return ctx.Value(key{}).(string) }), "from the context"},
		{HashKey(func(context.Context) string { return "" }), ""},
	} {
		var got pickInfo
		test.policy.(*hashing).hash(ctx, field, &got)
		if got.hashed != (test.want != "") || got.hashed && got.hash != hashKey(test.want) {
			t.Errorf("got %+v, want the hash of %q", got, test.want)
		}
	}
	// Without a key calls go anywhere.
	for e, n := range calls(HashHeader("x"), endpointsFor(4), 4000, clock()) {
		between(t, "calls without a key at "+e.Addr, float64(n), 700, 1300)
	}
}
