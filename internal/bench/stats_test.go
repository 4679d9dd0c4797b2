// SPDX-License-Identifier: Apache-2.0

// Tests of the arithmetic.

package main

import (
	"math"
	"slices"
	"testing"
)

func TestQuantile(t *testing.T) {
	for _, test := range []struct {
		values []float64
		q      float64
		want   float64
	}{
		{[]float64{7}, 0.5, 7},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{4, 1, 3, 2}, 0, 1},
		{[]float64{4, 1, 3, 2}, 1, 4},
		{[]float64{10, 20, 30, 40, 50}, 0.25, 20},
		{[]float64{10, 20, 30, 40, 50}, 0.3, 22},
	} {
		before := slices.Clone(test.values)
		if got := quantile(test.values, test.q); got != test.want {
			t.Errorf("quantile %v of %v: got %v, want %v", test.q, test.values, got, test.want)
		}
		if !slices.Equal(before, test.values) {
			t.Errorf("got values changed to %v, want %v", test.values, before)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing: got %v, want NaN", got)
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	for _, test := range []struct {
		sorted []int
		p      float64
		want   int
	}{
		{nil, 50, 0},
		{[]int{5}, 50, 5},
		{[]int{5}, 99, 5},
		{[]int{1, 2}, 50, 1},
		{[]int{1, 2, 3}, 50, 2},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 99.5, 100},
		{hundred, 100, 100},
		{hundred, 0, 1},
	} {
		if got := percentile(test.sorted, test.p); got != test.want {
			t.Errorf("percentile %v of %d values: got %d, want %d", test.p, len(test.sorted), got, test.want)
		}
	}
}

// A ratio is of rounds, not of medians: here the machine got twice as slow in
// the course of the rounds.
func TestRatioOf(t *testing.T) {
	got := ratioOf([]float64{30, 60, 90}, []float64{10, 20, 45})
	if want := (ratio{Median: 3, Low: 2.5, High: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := ratioOf([]float64{8, 6}, []float64{2}); got.Median != 4 {
		t.Errorf("rounds without a partner: got %+v, want 4", got)
	}
}

func TestRotation(t *testing.T) {
	const n = 5
	var firsts []int
	followers := make(map[[2]int]bool)
	for round := range 2 * n {
		order := rotation(n, round)
		firsts = append(firsts, order[0])
		for i := 1; i < n; i++ {
			followers[[2]int{order[i-1], order[i]}] = true
		}
		slices.Sort(order)
		if want := []int{0, 1, 2, 3, 4}; !slices.Equal(order, want) {
			t.Errorf("round %d: got %v, want each of %v once", round, order, want)
		}
	}
	slices.Sort(firsts)
	if got := len(slices.Compact(firsts)); got != n {
		t.Errorf("got %d different beginnings, want %d", got, n)
	}
	for i := range n {
		for _, next := range []int{(i + 1) % n, (i + n - 1) % n} {
			if !followers[[2]int{i, next}] {
				t.Errorf("%d never comes right after %d", next, i)
			}
		}
	}
}
