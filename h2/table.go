// SPDX-License-Identifier: Apache-2.0

// The table of streams of a connection.
//
// Invariants. A stream is in the table from its first frame until both halves are
// closed or it was reset. A stream that is not there is idle, if its number is above
// maxID, or closed; those up to late are neither, and their frames are ignored. [RFC 9113,
// sections 5.1, 5.1.1 and 6.8] resets has at most resetsMax numbers, of which the last ones
// are kept.

package h2

import (
	"slices"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

const (
	resetsMin = 128  // streams whose late frames are ignored, at least
	resetsMax = 4096 // and at most

	spared = 1 << 31 // with a number in the ring: its reset has cost the peer no token
)

// A table has the streams of a connection. conn.mu guards it.
type table struct {
	open    map[uint32]*stream
	waiting []*stream // their senders wait for window or for room in the write buffer
	maxID   uint32    // the highest number of a stream that was opened
	late    uint32    // the highest number of a stream that came after the final GOAWAY
	resets  []uint32  // a ring of the streams that this side reset last
	nresets int       // how many numbers the ring has overwritten
}

// idleLocked reports whether a stream was never opened. Only clients open streams, and
// their numbers are odd. [RFC 9113, section 5.1.1]
func (t *table) idleLocked(id uint32) bool { return id%2 == 0 || id > t.maxID }

// isLateLocked reports whether a stream came after the final GOAWAY, and was not opened.
func (t *table) isLateLocked(id uint32) bool { return id%2 == 1 && t.maxID < id && id <= t.late }

// noteResetLocked adds a stream to the ring, which has up to size numbers.
func (t *table) noteResetLocked(id uint32, size int) {
	if len(t.resets) < size {
		t.resets = append(t.resets, id)
		return
	}
	t.resets[t.nresets%len(t.resets)] = id
	t.nresets++
}

// recentlyResetLocked reports whether this side reset a stream so recently that the peer
// may have sent frames before it saw that.
func (t *table) recentlyResetLocked(id uint32) bool { return t.findResetLocked(id) >= 0 }

// findResetLocked returns the place of a stream in the ring, -1 if it is not there.
func (t *table) findResetLocked(id uint32) int {
	return slices.IndexFunc(t.resets, func(number uint32) bool { return number&^spared == id })
}

// spareLocked notes that the reset of a stream has cost the peer no token.
func (t *table) spareLocked(id uint32) {
	if i := t.findResetLocked(id); i >= 0 {
		t.resets[i] |= spared
	}
}

// wasSparedLocked reports whether the reset of a stream has cost the peer no token, and
// that only once.
func (t *table) wasSparedLocked(id uint32) bool {
	i := t.findResetLocked(id)
	if i < 0 || t.resets[i]&spared == 0 {
		return false
	}
	t.resets[i] = id
	return true
}

// abortLocked resets a stream that may be open. The caller flushes.
func (c *conn) abortLocked(s *stream, code ErrCode, cause error) {
	if c.err != nil || s.overLocked() {
		return
	}
	c.appendResetLocked(s.id, code)
	delete(c.table.open, s.id)
	s.stopLocked(StreamError{StreamID: s.id, Code: code, Cause: cause})
}

// appendResetLocked appends RST_STREAM, and has later frames of the stream ignored. [RFC
// 9113, sections 5.1 and 6.4]
func (c *conn) appendResetLocked(id uint32, code ErrCode) {
	c.mu.assertHeld()
	c.writer.out = wire.AppendRSTStream(c.outLocked(), id, code)
	c.table.noteResetLocked(id, min(max(resetsMin, int(c.limits.maxStreams)), resetsMax))
}

// forgetIfDoneLocked takes a stream out of the table if both halves are closed.
func (c *conn) forgetIfDoneLocked(s *stream) {
	if s.sentEnd && s.gotEnd {
		delete(c.table.open, s.id)
	}
}
