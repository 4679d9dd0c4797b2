// SPDX-License-Identifier: Apache-2.0

// Token buckets: how often a peer may do what costs it less than it costs us.

package h2

import "time"

// A bucket holds tokens for one kind of event. It refills with time. The zero
// bucket with limits set is full.
type bucket struct {
	burst, rate int // tokens when full, tokens per second
	spent       int
	last        time.Time // when spent was last reduced by time
}

// take spends a token and reports whether there was one.
func (b *bucket) take(now time.Time) bool {
	if b.spent == 0 {
		b.last = now
	} else if back := int(now.Sub(b.last).Seconds() * float64(b.rate)); back > 0 {
		b.last = now
		b.spent = max(0, b.spent-back)
	}
	if b.spent >= b.burst {
		return false
	}
	b.spent++
	return true
}

// giveBack puts a token back.
func (b *bucket) giveBack() { b.spent = max(0, b.spent-1) }

// The buckets of one connection's reading goroutine. Each guards one kind of frame
// that is free for the sender.
type buckets struct {
	pings    bucket
	settings bucket
	empty    bucket // DATA frames without data
	priority bucket
	windows  bucket // WINDOW_UPDATE frames
}

func newBuckets(burst, rate int) buckets {
	b := bucket{burst: burst, rate: rate}
	return buckets{b, b, b, b, b}
}
