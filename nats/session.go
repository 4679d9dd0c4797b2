// SPDX-License-Identifier: Apache-2.0

// The state of one side of a call, without I/O and without locks: which frames may come
// next, and how many bytes each side may send. [PROTOCOL.md, sections 4 and 5]

package natsrpc

import (
	"fmt"

	"github.com/seed-b7c59c10/connect"
)

// A session is one side's view of a call. Its owner holds a lock while it uses the session,
// and sends frames in the order of their numbers.
//
// Of the bytes of a window, each is in one of four states: free, which the sender counts as
// credit; in flight; unread, in the receiver's buffer; consumed, which the program has read, and
// the receiver has not announced yet. Their sum is the window.
type session struct {
	server bool // this is the server's side

	sendSeq, recvSeq uint64 // of the next frame

	credit     int // bytes of a body that may be sent
	peerWindow int // the peer's window, the most that credit can be; 0: not announced
	window     int // this side's
	unread     int // received bytes that the program has not read
	consumed   int // bytes that the program has read, and for which no WINDOW was sent

	opened   bool // server: OPEN has come
	accepted bool // client: ACCEPT or HEAD has come
	headed   bool // client: HEAD has come
	inEnd    bool // the peer's body is complete
	outEnd   bool // this side's body is complete
}

// A verdict is what to do with a frame.
type verdict int

const (
	deliver   verdict = iota // use it
	duplicate                // drop it: it has come before
)

// A violation is the error for a frame that ends the call.
type violation struct {
	code connect.Code
	err  error
}

func (v *violation) Error() string { return v.err.Error() }

func violated(code connect.Code, format string, args ...any) *violation {
	return &violation{code, fmt.Errorf(format, args...)}
}

// number returns the sequence number of the next frame to send.
func (s *session) number() uint64 {
	n := s.sendSeq
	s.sendSeq++
	return n
}

// take takes up to n bytes of credit, and returns how many it has taken.
func (s *session) take(n int) int {
	n = min(n, s.credit)
	s.credit -= n
	return n
}

// receive takes a frame of the peer. Each frame but a RESET has the next number of its
// direction: a number that was there before is a duplicate, and a higher one proves that
// frames are lost.
func (s *session) receive(f frame) (verdict, *violation) {
	if f.kind == frameReset {
		return deliver, nil
	}
	switch {
	case f.seq < s.recvSeq:
		return duplicate, nil
	case f.seq > s.recvSeq:
		return 0, violated(connect.CodeUnavailable, "got frame %d, want %d: messages were lost between the peers", f.seq, s.recvSeq)
	}
	s.recvSeq++
	if v := s.inOrder(f.kind); v != nil {
		return 0, v
	}
	switch f.kind {
	case frameAccept:
		n, err := parseCount(f)
		if err != nil {
			return 0, violated(connect.CodeInternal, "%w", err)
		}
		if v := s.announce(n); v != nil {
			return 0, v
		}
	case frameWindow:
		n, err := parseCount(f)
		switch {
		case err != nil:
			return 0, violated(connect.CodeInternal, "%w", err)
		case n > s.peerWindow-s.credit:
			return 0, violated(connect.CodeInternal, "got a WINDOW of %d bytes, want at most the %d that were sent of a window of %d", n, s.peerWindow-s.credit, s.peerWindow)
		}
		s.credit += n
	case frameOpen, frameHead, frameData:
		if n := len(f.payload); n > s.window-s.unread-s.consumed {
			return 0, violated(connect.CodeResourceExhausted, "got %d bytes in a frame, want at most the %d that are free of a window of %d", n, s.window-s.unread-s.consumed, s.window)
		}
		s.unread += len(f.payload)
		s.inEnd = f.end
	}
	return deliver, nil
}

// inOrder checks that a frame may come now, and notes that it has come.
func (s *session) inOrder(kind frameType) *violation {
	ok := true
	switch kind {
	case frameOpen:
		ok = s.server && !s.opened
		s.opened = true
	case frameAccept:
		ok = !s.server && !s.accepted
		s.accepted = true
	case frameHead:
		ok = !s.server && !s.headed
		s.headed, s.accepted = true, true
	case frameData:
		ok = !s.inEnd && (s.server && s.opened || s.headed)
	default: // WINDOW, PING, PONG: once the call has begun
		ok = s.server && s.opened || s.accepted
	}
	if !ok {
		return violated(connect.CodeInternal, "got %v, which may not come now", kind)
	}
	return nil
}

// announce notes the peer's window. What an OPEN has sent already counts.
func (s *session) announce(window int) *violation {
	sent := -s.credit // before a window is known, credit is negative by the bytes of OPEN
	if window < openMax {
		return violated(connect.CodeInternal, "got a window of %d bytes, want at least %d", window, openMax)
	}
	s.peerWindow, s.credit = window, window-sent
	return nil
}

// read notes that the program has read n bytes. It returns how many bytes to announce in a
// WINDOW, 0 for none: half of a window at once, so that a stream of small messages costs few
// frames.
func (s *session) read(n int) (announce int) {
	s.unread -= n
	s.consumed += n
	if s.inEnd || s.consumed < s.window/2 {
		return 0
	}
	announce, s.consumed = s.consumed, 0
	return announce
}
