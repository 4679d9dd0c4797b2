// SPDX-License-Identifier: Apache-2.0

// The receiving half of a stream, and the windows that it gives back. [RFC 9113,
// sections 5.2 and 6.9]
//
// Invariants. The windows of the stream and of the connection count every byte that
// arrives for a stream when its frame arrives (conn.data), and count it off once: when
// the byte was read or dropped (consume), or when the stream detaches and takes along
// all that lies unread. Readers leave the number of bytes they have read in consumed, an
// atomic, and take conn.mu only when these are worth a WINDOW_UPDATE.

package h2

import (
	"context"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// read reads from the body, and gives back what it read once that is worth a frame.
func (s *stream) read(ctx context.Context, p []byte) (int, error) {
	n, err := s.in.read(ctx, p)
	s.consume(n)
	return n, err
}

// discard ends the reading of a body: bytes that lie unread or arrive later are dropped
// and count as read. A read that waits returns err.
func (s *stream) discard(err error) { s.consume(s.in.abandon(err)) }

// consume counts n bytes that have left the inbox. Few calls take the lock: a stream is
// looked at when countAt bytes have gathered, or at once while the connection's window
// is scarce.
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

// countLocked moves what readers left in consumed to the windows.
//
// It must not miss a reader that adds just now and then finds that it need not lock:
// countAt may have grown between. A reader adds to consumed before it loads countAt;
// here countAt is stored before consumed is loaded again. So either the reader sees the
// new value, or the loop sees the reader's bytes.
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
		n = int(s.consumed.Load())
		again = n > 0 && n >= int(s.countAt.Load())
	}
}

// setCountAtLocked sets countAt to the number of bytes that are still to be read until
// half of the stream's window is unsent.
func (s *stream) setCountAtLocked() {
	worth := 0
	if !s.countEach {
		worth = max(1, (s.recvWindow.Size()+1)/2-s.recvWindow.Unsent())
	}
	s.countAt.Store(int64(worth))
}

// giveBackLocked appends WINDOW_UPDATEs for the stream and for the connection, each if
// half of its window is unsent. A stream that receives no more DATA gets none. If it
// reports true, the caller flushes.
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

// growLocked doubles the stream's window, up to limits.maxStreamWindow, if the window
// and not the reader limits the transfer: the reader took unsent bytes since the last
// WINDOW_UPDATE, at a speed at which the whole window lasts less than two round trips.
// Only this stream's window grows: a stream that is not read must not be able to hold
// more.
func (s *stream) growLocked(unsent int) {
	c := s.conn
	now := clock()
	before := s.lastGiveBack
	s.lastGiveBack = now
	size := s.recvWindow.Size()
	if before == 0 || c.rtt == 0 || (now-before)*int64(size) > int64(2*c.rtt)*int64(unsent) {
		return
	}
	if grown := min(2*size, c.limits.maxStreamWindow); grown > size {
		s.recvWindow.Grow(grown - size)
	}
}

// detachLocked counts all unread bytes of the stream off the connection's window; from
// then on reads of this stream count for no window. So a body that is never read to its
// end holds no window of others. If it reports true, the caller flushes.
func (s *stream) detachLocked() bool {
	if s.detached {
		return false
	}
	s.countLocked()
	s.detached = true
	s.conn.recvWindow.Consumed(s.recvWindow.Unread())
	return s.conn.giveBackLocked()
}

// countEachLocked makes every read count at once. A stream that has left the table is
// not found by conn.giveBackLocked, so its readers must not leave bytes in consumed.
func (s *stream) countEachLocked() {
	s.countEach = true
	s.setCountAtLocked()
	s.giveBackLocked()
}
