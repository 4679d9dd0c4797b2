// SPDX-License-Identifier: Apache-2.0

// A stream: its state, and the sending of its DATA under flow control.

package h2

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

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

	credit atomic.Int64 // bytes read and not given back to the peer
	window atomic.Int64 // how much the peer may send before it is given back; see growWindow

	// Guarded by conn.mu.
	sendWindow int64
	recvLeft   int           // what the peer may still send
	err        error         // why the stream ended before both halves were closed
	returned   int64         // when the window was given back last: time.Now().UnixNano; 0: never
	room       chan struct{} // has room for one; made when first needed
	sent, got  bool          // our half is closed, theirs is
	waits      bool          // in conn.waiting
}

// A streamUser is who the stream is for: a handler's call or a client's.
type streamUser interface {
	// stopped says that the stream ended early. With conn.mu held.
	stoppedLocked(err error)
	// finished says that the peer has closed its half. With conn.mu held.
	finishedLocked()
}

// open makes s a stream of c. With c.mu held.
func (c *conn) openLocked(s *stream, id uint32, user streamUser) {
	s.conn, s.id, s.user = c, id, user
	s.declared = -1
	s.sendWindow = c.peerWindow
	s.recvLeft = c.limits.streamWindow
	s.window.Store(int64(c.limits.streamWindow))
	c.streams[id] = s
}

// over reports whether nothing may be sent any more. With conn.mu held.
func (s *stream) overLocked() bool { return s.err != nil || s.sent && s.got }

// stop ends the stream early: who waits for it learns why. What was received
// stays readable. With conn.mu held.
func (s *stream) stopLocked(err error) {
	if s.err == nil {
		s.err = err
	}
	s.in.end(err)
	s.user.stoppedLocked(err)
	s.in.signal()
	if s.room != nil {
		s.conn.waitNoMoreLocked(s)
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
	return int(min(int64(n), s.sendWindow, s.conn.sendWindow, int64(s.conn.peerFrame)))
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
	done := 0
	for {
		switch {
		case s.err != nil:
			return done, s.err
		case c.err != nil:
			return done, c.err
		case s.sent:
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
			s.sent = true
		}
		if n > 0 || last {
			c.writer.out = wire.AppendFrame(c.writer.out, wire.FrameData, flags, s.id, n)
			c.earnLocked(n)
			s.sendWindow -= int64(n)
			c.sendWindow -= int64(n)
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
	c.flushRelocking() // the peer gives window for what it has seen
	if s.err != nil || c.err != nil || s.sendableLocked(1) > 0 && !c.writer.fullLocked() {
		return nil // flushing gave the lock away
	}
	s.enqueueLocked()
	s.letRead()
	c.mu.Unlock()
	var err error
	select {
	case <-s.room:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.mu.Lock()
	if err != nil {
		c.waitNoMoreLocked(s)
	}
	return err
}

// waitForRoom waits while too much lies unsent, before what no window bounds is
// added. It waits no longer than the stream lives. With conn.mu held, which it gives
// away meanwhile.
func (s *stream) waitForRoomRelocking() {
	c := s.conn
	for c.writer.fullLocked() && s.err == nil && c.err == nil {
		s.enqueueLocked()
		s.letRead()
		c.mu.Unlock()
		<-s.room
		c.mu.Lock()
	}
}

// enqueue makes the stream one of those that wait. With conn.mu held.
func (s *stream) enqueueLocked() {
	if s.room == nil {
		s.room = make(chan struct{}, 1)
	}
	if !s.waits {
		s.waits = true
		s.conn.waiting = append(s.conn.waiting, s)
	}
}

// waitNoMore takes a stream out of those that wait. With mu held.
func (c *conn) waitNoMoreLocked(s *stream) {
	if s.waits {
		s.waits = false
		c.waiting = slices.DeleteFunc(c.waiting, func(other *stream) bool { return other == s })
	}
}

// wakeSenders lets all whose DATA waits look again. With mu held.
func (c *conn) wakeSendersLocked() {
	for i, s := range c.waiting {
		c.waiting[i] = nil
		s.waits = false
		signal(s.room)
	}
	c.waiting = c.waiting[:0]
}

// ---- receiving ----

// read reads the body. The peer may send as much again, once it is worth a frame.
func (s *stream) read(ctx context.Context, p []byte) (int, error) {
	n, err := s.in.read(ctx, p)
	if n > 0 {
		s.conn.unread.Add(int64(-n))
		s.taken(n)
	}
	return n, err
}

// discard ends the reading of a body: what is there and what comes is dropped,
// and counts as read.
func (s *stream) discard(err error) {
	if n := s.in.abandon(err); n > 0 {
		s.conn.unread.Add(int64(-n))
		s.taken(n)
	}
}

// taken counts n bytes as read, and gives them back to the peer when half of the
// window, or what the connection was waiting for, is reached.
func (s *stream) taken(n int) {
	c := s.conn
	credit := s.credit.Add(int64(n))
	if credit < s.window.Load()/2 && c.unread.Load()+int64(n) <= int64(c.limits.connWindow) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.repayLocked()
	if credit = s.credit.Load(); credit >= s.window.Load()/2 && !s.got && s.err == nil && c.err == nil {
		s.credit.Add(-credit)
		more := int(credit) + s.growWindowLocked(credit)
		s.recvLeft += more
		c.writer.out = wire.AppendWindowUpdate(c.writer.out, s.id, more)
	}
	c.flushRelocking()
}

// repay gives the connection's window back as soon as half of it is owed: on
// receipt, so that a stream that nobody reads never stops the others, as long as
// not too much lies unread in all. With mu held; if it reports true, the caller
// flushes.
func (c *conn) repayLocked() bool {
	if c.owed >= c.limits.connWindow/2 && c.unread.Load() <= int64(c.limits.connWindow) && c.err == nil {
		c.writer.out = wire.AppendWindowUpdate(c.writer.out, 0, c.owed)
		c.recvLeft += c.owed
		c.owed = 0
		return true
	}
	return false
}

// growWindow doubles the stream's receive window if it is read so fast that the
// window, and not the reader, is what limits it: all of it in less than two round
// trips. Other streams keep theirs: those that nobody reads must not be able to
// hold more. It returns by how much. With conn.mu held.
func (s *stream) growWindowLocked(credit int64) int {
	c := s.conn
	now := time.Now().UnixNano()
	before := s.returned
	s.returned = now
	window := s.window.Load()
	if before == 0 || c.rtt == 0 || (now-before)*window > int64(2*c.rtt)*credit {
		return 0
	}
	grown := min(2*window, int64(c.limits.maxStreamWindow))
	s.window.Store(grown)
	return int(grown - window)
}
