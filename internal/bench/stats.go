// SPDX-License-Identifier: Apache-2.0

// The arithmetic of rounds.

package main

import (
	"math"
	"slices"
)

// median returns the middle of the values, or the mean of both middles; NaN if
// there are none.
func median(values []float64) float64 {
	return quantile(values, 0.5)
}

// quantile returns the value below which a share q of the values lies, between
// two of them in proportion; NaN if there are none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below == len(sorted)-1 {
		return sorted[below]
	}
	part := at - float64(below)
	return sorted[below]*(1-part) + sorted[below+1]*part
}

// percentile returns the smallest of the sorted values that at least p percent of
// them do not exceed, zero if there are none.
func percentile[T any](sorted []T, p float64) T {
	if len(sorted) == 0 {
		var zero T
		return zero
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// A ratio compares two contenders of one case: the median of the rounds' ratios,
// and the quarter of them that lies below and above. Within a round both ran
// shortly after each other, so a slow machine slows both.
type ratio struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// ratioOf returns over divided by under, round by round.
func ratioOf(over, under []float64) ratio {
	values := make([]float64, min(len(over), len(under)))
	for i := range values {
		values[i] = over[i] / under[i]
	}
	return ratio{median(values), quantile(values, 0.25), quantile(values, 0.75)}
}

// rotation returns the numbers below n in the order of a round: each round begins
// one later than the round before, and every second one runs backwards, so that
// no contender always follows the same one.
func rotation(n, round int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = (i + round) % n
	}
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}
