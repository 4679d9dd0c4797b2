// SPDX-License-Identifier: Apache-2.0

// A stream: its state, and the sending of its DATA under flow control.

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
	queued   bool  // in conn.woken
	trailing bool  // the next field section is the trailers
	declared int64 // Content-Length of what is received; negative: unknown
	received int64

	consumed atomic.Int64 // bytes read that the windows do not count off yet
	countAt  atomic.Int64 // how many of them are worth counting off

	// Guarded by conn.mu.
	sendWindow      flow.Send     // what may be sent
	recvWindow      flow.Receive  // what the peer may send
	detached        bool          // recv is not kept any more; see detachLocked
	countEach       bool          // each read is worth counting off
	err             error         // why the stream ended before both halves were closed
	lastGiveBack    int64         // when the window was given back last: time.Now().UnixNano; 0: never
	room            chan struct{} // has room for one; made when first needed
	sentEnd, gotEnd bool          // our half is closed, theirs is
	waiting         bool          // in conn.table.waiting
	noWait          bool          // sending does not wait; see hurry
}

// A streamUser is who the stream is for: a handler's call or a client's.
type streamUser interface {
	// stopped says that the stream ended early. With conn.mu held.
	stoppedLocked(err error)
	// finished says that the peer has closed its half. With conn.mu held.
	peerEndedLocked()
	// prematureLocked reports whether a reset by the peer, now, costs it a token.
	prematureLocked() bool
	// leaveReading is called before a goroutine waits for the peer. If it is the
	// reading goroutine, another one reads from now on.
	leaveReading()
}

// open makes s a stream of c. With c.mu held.
func (c *conn) openLocked(s *stream, id uint32, user streamUser) {
	c.mu.assertHeld()
	s.conn, s.id, s.user = c, id, user
	s.declared = -1
	s.sendWindow.Open(c.peerWindow)
	size, left := c.limits.streamWindow, c.limits.streamWindow
	if !c.settingsSent.IsZero() {
		left = max(size, flow.Start) // the peer may not have heard of a smaller one
	}
	s.recvWindow.Open(size, left, 0)
	s.setCountAtLocked()
	c.table.open[id] = s
}

// over reports whether nothing may be sent any more. With conn.mu held.
func (s *stream) overLocked() bool { return s.err != nil || s.sentEnd && s.gotEnd }

// stop ends the stream early: who waits for it learns why. What was received
// stays readable. With conn.mu held.
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

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// ---- sending ----

// sendable returns how many of n bytes may be sent now. With conn.mu held.
func (s *stream) sendableLocked(n int) int {
	return int(min(int64(n), s.sendWindow.Left(), s.conn.sendWindow.Left(), int64(s.conn.peerFrame)))
}

// send appends p as DATA, and closes our half if end is set. It waits for the
// peer's windows and for room, until ctx is done; it may flush, and returns with
// the last frames not flushed. With conn.mu held, which it gives away while it
// waits. It reports how much of p was appended.
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

// appendData is send as far as it goes without waiting.
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

// wait gives the lock away until there may be window or room. With conn.mu held.
func (s *stream) waitRelocking(ctx context.Context) error {
	c := s.conn
	if s.noWait {
		return errHandlerGone
	}
	c.flushRelocking() // the peer gives window for what it has seen
	if s.err != nil || c.err != nil || s.sendableLocked(1) > 0 && !c.writer.fullLocked() {
		return nil // flushing gave the lock away
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
		signal(s.room) // for another goroutine that waits, against the rules
	}
	return err
}

// waitForRoom waits while too much lies unsent, before what no window bounds is
// added. It waits no longer than the stream lives. With conn.mu held, which it gives
// away meanwhile.
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

// hurry says whether sending is to fail instead of waiting for windows and room.
func (s *stream) setNoWait(yes bool) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.noWait = yes
	if s.room != nil {
		signal(s.room)
	}
}

// enqueue makes the stream one of those that wait. With conn.mu held.
func (s *stream) enqueueLocked() {
	if s.room == nil {
		s.room = make(chan struct{}, 1)
	}
	if !s.waiting {
		s.waiting = true
		s.conn.table.waiting = append(s.conn.table.waiting, s)
	}
}

// waitNoMore takes a stream out of those that wait. With mu held.
func (c *conn) dequeueLocked(s *stream) {
	if s.waiting {
		s.waiting = false
		c.table.waiting = slices.DeleteFunc(c.table.waiting, func(other *stream) bool { return other == s })
	}
}

// wakeSenders lets all whose DATA waits look again. With mu held.
func (c *conn) wakeSendersLocked() {
	for i, s := range c.table.waiting {
		c.table.waiting[i] = nil
		s.waiting = false
		signal(s.room)
	}
	c.table.waiting = c.table.waiting[:0]
}
