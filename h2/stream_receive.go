// SPDX-License-Identifier: Apache-2.0

// The receiving half of a stream: what its reader takes, the peer may send again.
//
// Invariants. Every byte that arrives for a stream is counted by the windows of the
// stream and of the connection when its frame does (conn.data), and is counted off
// once: when it was read or dropped (consume), or when the stream detaches and takes
// along what is left. Readers leave what they have read in consumed, an atomic, and
// take the connection's mutex only when that is worth a frame.

package h2

import (
	"context"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// read reads the body. The peer may send as much again, once it is worth a frame.
func (s *stream) read(ctx context.Context, p []byte) (int, error) {
	n, err := s.in.read(ctx, p)
	s.consume(n)
	return n, err
}

// discard ends the reading of a body: what is there and what comes is dropped,
// and counts as read. A read that waits returns err.
func (s *stream) discard(err error) { s.consume(s.in.abandon(err)) }

// consume counts n bytes that have left the inbox.
func (s *stream) consume(n int) {
	if n == 0 || s.consumed.Add(int64(n)) < s.countAt.Load() && !s.conn.scarce.Load() {
		return
	}
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	s.giveBackLocked()
	c.flushRelocking()
}

// countLocked counts off what has left the inbox.
func (s *stream) countLocked() {
	s.conn.mu.assertHeld()
	for again := true; again; {
		n := int(s.consumed.Swap(0))
		if s.detached {
			return
		}
		s.recvWindow.Consumed(n)
		s.conn.recvWindow.Consumed(n)
		s.setCountAtLocked()
		// A reader adds to consumed before it looks at worth: one that has seen the
		// value of before is seen here.
		n = int(s.consumed.Load())
		again = n > 0 && n >= int(s.countAt.Load())
	}
}

// setWorthLocked sets how much has to be read until half of the window is owed.
func (s *stream) setCountAtLocked() {
	worth := 0
	if !s.countEach {
		worth = max(1, (s.recvWindow.Size()+1)/2-s.recvWindow.Unsent())
	}
	s.countAt.Store(int64(worth))
}

// giveBackLocked gives the windows of the stream and of the connection back, where
// half is owed. If it reports true, the caller flushes.
func (s *stream) giveBackLocked() bool {
	c := s.conn
	s.countLocked()
	appended := c.giveBackLocked()
	if !s.recvWindow.Due() || s.gotEnd || s.err != nil || c.err != nil {
		return appended
	}
	s.growLocked(s.recvWindow.Unsent())
	c.writer.out = wire.AppendWindowUpdate(c.outLocked(), s.id, s.recvWindow.GiveBack())
	s.setCountAtLocked()
	return true
}

// growLocked doubles the stream's window if it is read so fast that the window, and
// not the reader, is what limits it: all of it in less than two round trips, where
// owed bytes were read since the last WINDOW_UPDATE. Other streams keep theirs: those
// that are not read must not be able to hold more.
func (s *stream) growLocked(owed int) {
	c := s.conn
	now := time.Now().UnixNano()
	before := s.lastGiveBack
	s.lastGiveBack = now
	size := s.recvWindow.Size()
	if before == 0 || c.rtt == 0 || (now-before)*int64(size) > int64(2*c.rtt)*int64(owed) {
		return
	}
	if grown := min(2*size, c.limits.maxStreamWindow); grown > size {
		s.recvWindow.Grow(grown - size)
	}
}

// detachLocked takes the stream out of the connection's account: what lies unread
// does not hold the connection's window any more, and what is read later is not
// counted. If it reports true, the caller flushes.
func (s *stream) detachLocked() bool {
	if s.detached {
		return false
	}
	s.countLocked()
	s.detached = true
	s.conn.recvWindow.Consumed(s.recvWindow.Unread())
	return s.conn.giveBackLocked()
}

// countAtOnceLocked lets each read be counted when it happens, and not when the
// connection looks: it does not find the stream in its table any more.
func (s *stream) countEachLocked() {
	s.countEach = true
	s.setCountAtLocked()
	s.giveBackLocked()
}
