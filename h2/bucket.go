// SPDX-License-Identifier: Apache-2.0

// Token buckets: how often a peer may do what costs it less than it costs this side.
//
// Invariants. A bucket has between 0 and burst tokens. It has no lock: the goroutine
// that owns it, or holds conn.mu for [shared].resets and serverConn.unseen, calls its
// methods. The buckets of a connection have the burst and the rate of its limits, or a
// multiple, and do not keep them.

package h2

import "time"

// A bucket holds tokens for one kind of event and refills with time. With nothing spent
// it is full.
type bucket struct {
	spent int
	last  time.Time // when spent was last reduced by time
}

// take spends a token and reports whether there was one, in a bucket that has burst
// tokens when it is full, and gains rate of them a second.
func (b *bucket) take(now time.Time, burst, rate int) bool {
	if b.spent == 0 {
		b.last = now
	} else if back := int(now.Sub(b.last).Seconds() * float64(rate)); back > 0 {
		b.last = now
		b.spent = max(0, b.spent-back)
	}
	if b.spent >= burst {
		return false
	}
	b.spent++
	return true
}

// giveBack puts a token back.
func (b *bucket) giveBack() { b.spent = max(0, b.spent-1) }

// buckets are those of one connection's reading goroutine, one for each kind of frame
// that is free for its sender. [RFC 9113, section 10.5]
type buckets struct {
	pings    bucket
	settings bucket
	empty    bucket // DATA frames without data
	priority bucket
	windows  bucket // WINDOW_UPDATE frames
}
