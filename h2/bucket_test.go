// SPDX-License-Identifier: Apache-2.0

// The token bucket by itself.

package h2

import (
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	var b bucket
	now := time.Unix(0, 0)
	take := func(want int) {
		t.Helper()
		got := 0
		for range want + 5 {
			if b.take(now, 10, 2) {
				got++
			}
		}
		if got != want {
			t.Errorf("at %v: got %d tokens, want %d", now, got, want)
		}
	}
	take(10)
	now = now.Add(400 * time.Millisecond) // not a whole token yet
	take(0)
	now = now.Add(600 * time.Millisecond)
	take(2)
	now = now.Add(time.Hour)
	take(10)
}
