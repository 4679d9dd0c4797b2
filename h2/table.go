// SPDX-License-Identifier: Apache-2.0

// The table of streams of a connection.
//
// Invariants. A stream is in the table from its first frame until both halves are
// closed or it was reset. A stream that is not there is idle, if its number is above
// maxID, or closed. [RFC 9113, section 5.1] mu guards the table.

package h2

import (
	"slices"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

const (
	resetsMin = 128 // streams whose late frames are ignored, at least
	resetsMax = 4096
)

// A table has the streams of a connection.
type table struct {
	open    map[uint32]*stream
	waiting []*stream // their DATA waits for a window or for room in the write buffer
	maxID   uint32    // the highest number of a stream
	resets  []uint32  // the streams that we reset last, in a ring
	nresets int       // how many the ring has given up
}

// idle reports whether a stream was never opened. Only clients open streams: their
// numbers are odd.
func (t *table) idleLocked(id uint32) bool { return id%2 == 0 || id > t.maxID }

// noteReset remembers that frames of a stream may be under way. size is that of the
// ring.
func (t *table) noteResetLocked(id uint32, size int) {
	if len(t.resets) < size {
		t.resets = append(t.resets, id)
		return
	}
	t.resets[t.nresets%len(t.resets)] = id
	t.nresets++
}

// recentlyReset reports whether frames of a stream may have been under way when it
// was reset.
func (t *table) recentlyResetLocked(id uint32) bool { return slices.Contains(t.resets, id) }

// abortLocked resets a stream that may be open. The caller flushes.
func (c *conn) abortLocked(s *stream, code ErrCode, cause error) {
	if c.err != nil || s.overLocked() {
		return
	}
	c.appendResetLocked(s.id, code)
	delete(c.table.open, s.id)
	s.stopLocked(StreamError{StreamID: s.id, Code: code, Cause: cause})
}

// appendResetLocked appends RST_STREAM and remembers that frames of the stream that
// are under way are to be ignored.
func (c *conn) appendResetLocked(id uint32, code ErrCode) {
	c.mu.assertHeld()
	c.writer.out = wire.AppendRSTStream(c.outLocked(), id, code)
	c.table.noteResetLocked(id, min(max(resetsMin, int(c.limits.maxStreams)), resetsMax))
}

// forgetIfDoneLocked forgets a stream whose both halves are closed.
func (c *conn) forgetIfDoneLocked(s *stream) {
	if s.sentEnd && s.gotEnd {
		delete(c.table.open, s.id)
	}
}
