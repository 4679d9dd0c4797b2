// SPDX-License-Identifier: Apache-2.0

// A stream: its state, and the sending of its DATA under flow control.
//
// Invariants. A stream is in one of the states of [RFC 9113, section 5.1]: sentEnd and
// gotEnd are its two halves, and err is set if it ended before both were closed. While a
// goroutine waits in sending, the stream is in table.waiting, so that any change of a
// window, of the room in the write buffer or of the stream itself wakes it through room.

package h2

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/seed-b7c59c10/connect/h2/internal/flow"
	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// A stream is one request and its response, as both ends see it.
type stream struct {
	conn *conn
	user streamUser
	in   inbox
	id   uint32

	// Of the reading goroutine.
	queued   bool  // in reader.toWake
	trailing bool  // the next field section is the trailers
	declared int64 // Content-Length of what is received; negative: unknown
	received int64 // bytes of DATA, without padding

	consumed atomic.Int64 // bytes read that the windows have not counted off yet
	countAt  atomic.Int64 // consumed from which on a reader takes the lock

	// Guarded by conn.mu.
	sendWindow      flow.Send     // granted by the peer
	recvWindow      flow.Receive  // granted to the peer
	detached        bool          // recvWindow counts no more; see detachLocked
	countEach       bool          // every read takes the lock
	err             error         // why the stream ended before both halves were closed
	lastGiveBack    int64         // clock at the last WINDOW_UPDATE; 0: none
	room            chan struct{} // has room for one; made when first needed
	sentEnd, gotEnd bool          // END_STREAM was sent, was received
	waiting         bool          // in table.waiting
	noWait          bool          // sending fails instead of waiting; see setNoWait
}

// A streamUser is the half of a stream that differs between client and server.
type streamUser interface {
	// stoppedLocked runs when the stream has ended early, because of err.
	stoppedLocked(err error)
	// peerEndedLocked runs when the peer has closed its half.
	peerEndedLocked()
	// resetByPeerLocked runs when the peer resets the stream, and reports whether that is
	// premature and costs a token.
	resetByPeerLocked() bool
	// leaveReading is called before a goroutine waits for the peer. If it is the
	// reading goroutine, another one reads from now on.
	leaveReading()
}

// openLocked makes s an open stream of c.
//
// Its receive window is at least the initial 65,535 bytes until the peer acknowledges
// our SETTINGS: before, the peer may not have applied a smaller one. [RFC 9113, section
// 6.9.2]
func (c *conn) openLocked(s *stream, id uint32, user streamUser) {
	c.mu.assertHeld()
	s.conn, s.id, s.user = c, id, user
	s.declared = -1
	s.sendWindow.Open(c.peerWindow)
	size, left := c.limits.streamWindow, c.limits.streamWindow
	if !c.settingsSent.IsZero() {
		left = max(size, flow.Start)
	}
	s.recvWindow.Open(size, left, 0)
	s.setCountAtLocked()
	c.table.open[id] = s
}

// overLocked reports whether the stream has ended: both halves are closed, or it was
// reset, or the connection ended.
func (s *stream) overLocked() bool { return s.err != nil || s.sentEnd && s.gotEnd }

// stopLocked ends the stream early and wakes all that wait for it. Received bytes stay
// readable; err follows them.
func (s *stream) stopLocked(err error) {
	s.conn.mu.assertHeld()
	if s.err == nil {
		s.err = err
	}
	s.in.end(err)
	s.user.stoppedLocked(err)
	s.in.signal()
	if s.room != nil {
		s.conn.dequeueLocked(s)
		signal(s.room)
	}
}

// signal puts a value into a channel that has room for one, unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// ---- sending ----

// sendableLocked returns how many of n bytes the windows of the stream and of the
// connection and the peer's SETTINGS_MAX_FRAME_SIZE allow in the next frame. [RFC 9113,
// sections 4.2 and 6.9.1]
func (s *stream) sendableLocked(n int) int {
	return int(min(int64(n), s.sendWindow.Left(), s.conn.sendWindow.Left(), int64(s.conn.peerFrame)))
}

// sendRelocking appends p as DATA, with END_STREAM if end is set, and returns how much
// of p it appended. It waits for windows and for room in the write buffer until ctx is
// done. It may flush; the caller flushes the last frames.
func (s *stream) sendRelocking(ctx context.Context, p []byte, end bool) (int, error) {
	done := 0
	for {
		n, err := s.appendDataRelocking(p[done:], end)
		done += n
		if err != nil || done == len(p) {
			return done, err
		}
		if err := s.waitRelocking(ctx); err != nil {
			return done, err
		}
	}
}

// appendDataRelocking appends as much of p as goes without waiting, cut into frames. It
// returns how much that is, without an error if windows or room have run out.
//
// Both windows are spent when a frame is appended and not when it is written: a frame
// that was appended is always written, unless the connection ends. Long pieces are
// written from p itself, which releases the lock; so the state of the stream is checked
// again for every frame. END_STREAM goes with the last byte, or alone with no bytes: a
// frame without payload needs no window. [RFC 9113, sections 6.1 and 6.9.1]
func (s *stream) appendDataRelocking(p []byte, end bool) (int, error) {
	c := s.conn
	c.mu.assertHeld()
	done := 0
	for {
		switch {
		case s.err != nil:
			return done, s.err
		case c.err != nil:
			return done, c.err
		case s.sentEnd:
			return done, errStreamOver
		}
		rest := p[done:]
		n := s.sendableLocked(len(rest))
		if len(rest) > 0 && (n <= 0 || c.writer.fullLocked()) {
			return done, nil
		}
		last := end && n == len(rest)
		var flags uint8
		if last {
			flags = wire.FlagEndStream
			s.sentEnd = true
		}
		if n > 0 || last {
			c.writer.out = wire.AppendFrame(c.outLocked(), wire.FrameData, flags, s.id, n)
			c.addCreditLocked(n)
			s.sendWindow.Spend(n)
			c.sendWindow.Spend(n)
			done += n
			if c.writer.canWriteThroughLocked(n) {
				c.writeThroughRelocking(rest[:n])
			} else {
				c.writer.out = append(c.writer.out, rest[:n]...)
			}
		}
		if done == len(p) {
			if last {
				c.forgetIfDoneLocked(s)
			}
			return done, nil
		}
		if len(c.writer.out) >= outFull/2 {
			c.flushRelocking()
		}
	}
}

// waitRelocking releases the lock until there may be window or room, or until ctx is
// done. It flushes first: the peer gives window back for DATA that has arrived.
func (s *stream) waitRelocking(ctx context.Context) error {
	c := s.conn
	if s.noWait {
		return errHandlerGone
	}
	c.flushRelocking() // the peer gives window for what it has seen
	if s.err != nil || c.err != nil || s.sendableLocked(1) > 0 && !c.writer.fullLocked() {
		return nil // changed while flushing had released the lock
	}
	s.enqueueLocked()
	s.user.leaveReading()
	c.mu.Unlock()
	var err error
	select {
	case <-s.room:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.mu.Lock()
	if err != nil {
		c.dequeueLocked(s)
	}
	if s.err != nil || s.sentEnd {
		signal(s.room) // another goroutine may wait too, which callers must not do
	}
	return err
}

// waitForRoomRelocking waits while the write buffer is full, before the caller appends a
// field section: no window bounds these. It returns when the stream ends.
func (s *stream) waitForRoomRelocking() {
	c := s.conn
	for c.writer.fullLocked() && !s.overLocked() && c.err == nil && !s.noWait {
		s.enqueueLocked()
		s.user.leaveReading()
		c.mu.Unlock()
		<-s.room
		c.mu.Lock()
	}
}

// setNoWait decides whether sending fails with errHandlerGone instead of waiting.
func (s *stream) setNoWait(noWait bool) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.noWait = noWait
	if s.room != nil {
		signal(s.room)
	}
}

// enqueueLocked adds the stream to table.waiting.
func (s *stream) enqueueLocked() {
	if s.room == nil {
		s.room = make(chan struct{}, 1)
	}
	if !s.waiting {
		s.waiting = true
		s.conn.table.waiting = append(s.conn.table.waiting, s)
	}
}

// dequeueLocked takes a stream out of table.waiting.
func (c *conn) dequeueLocked(s *stream) {
	if s.waiting {
		s.waiting = false
		c.table.waiting = slices.DeleteFunc(c.table.waiting, func(other *stream) bool { return other == s })
	}
}

// wakeSendersLocked wakes all streams of table.waiting; each looks for window and room
// itself.
func (c *conn) wakeSendersLocked() {
	for i, s := range c.table.waiting {
		c.table.waiting[i] = nil
		s.waiting = false
		signal(s.room)
	}
	c.table.waiting = c.table.waiting[:0]
}
