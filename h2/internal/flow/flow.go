// SPDX-License-Identifier: Apache-2.0

// Package flow has the windows of HTTP/2 flow control as plain arithmetic: no lock,
// no connection, no frames. [RFC 9113, sections 5.2 and 6.9]
//
// The receiver of DATA owns the invariant. For every window, of a stream or of a
// connection, at any moment
//
//	size = left + held + owed
//
// left is what the peer may still send, held is what arrived and lies unread, and owed
// is what was read and is not yet given back. Only left and held are stored and owed
// follows from them, so no operation can lose a byte as long as each byte that arrived
// is consumed once: read, dropped, or taken along by a stream that ends.
package flow

const (
	// Start is the window of every connection and stream before SETTINGS and
	// WINDOW_UPDATE change it. [RFC 9113, section 6.9.2]
	Start = 1<<16 - 1
	// Max is the largest window. [RFC 9113, section 6.9.1]
	Max = 1<<31 - 1
)

// A Send is a window that the peer grants: how many bytes of DATA may leave.
type Send struct{ left int64 }

// Open sets the window of a new stream or connection.
func (s *Send) Open(size int64) { s.left = size }

// Left returns how many bytes may be sent. It is negative after the peer has reduced
// SETTINGS_INITIAL_WINDOW_SIZE below what was sent. [RFC 9113, section 6.9.2]
func (s *Send) Left() int64 { return s.left }

// Spend counts n bytes that were sent, at most Left.
func (s *Send) Spend(n int) { s.left -= int64(n) }

// Add changes the window by n, negative for reduced settings. It reports false,
// and changes nothing, if the window would exceed [Max].
func (s *Send) Add(n int64) bool {
	if s.left+n > Max {
		return false
	}
	s.left += n
	return true
}

// A Receive is a window that this side grants to the peer.
type Receive struct {
	size   int // what the peer may send before any of it is read
	ahead  int // so much may lie unread and is given back all the same
	left   int // what the peer may still send
	unread int // what lies unread
}

// Open sets the window. left is what the peer takes it for: [Start] for a connection,
// and for streams until the peer has acknowledged another size. ahead is how many
// unread bytes are given back as if they were read, so that a stream that is not read
// does not stop the others of its connection. The peer can make this side hold
// size + ahead bytes.
func (r *Receive) Open(size, left, ahead int) { *r = Receive{size: size, left: left, ahead: ahead} }

// Size returns the size of the window.
func (r *Receive) Size() int { return r.size }

// Left returns how many bytes the peer may still send.
func (r *Receive) Left() int { return r.left }

// Held returns how many bytes lie unread.
func (r *Receive) Unread() int { return r.unread }

// Owed returns how many bytes were read and are not given back.
func (r *Receive) Unsent() int { return r.size - r.left - max(0, r.unread-r.ahead) }

// Arrived counts n bytes that the peer has sent. It reports false, and counts
// nothing, if the peer was not allowed to.
func (r *Receive) Arrived(n int) bool {
	if n > r.left {
		return false
	}
	r.left -= n
	r.unread += n
	return true
}

// Consumed counts n bytes that are not held any more: they were read or dropped.
func (r *Receive) Consumed(n int) { r.unread -= n }

// Waits reports whether so much lies unread that the peer may run out of window.
func (r *Receive) Scarce() bool { return r.unread > r.ahead }

// Due reports whether enough is owed to be worth a WINDOW_UPDATE: half of the window.
func (r *Receive) Due() bool { return r.Unsent() >= (r.size+1)/2 }

// Grow makes the window larger by n bytes, which the peer learns with what it is
// given back next.
func (r *Receive) Grow(n int) { r.size += n }

// GiveBack returns what is owed, for a WINDOW_UPDATE that the caller sends. It returns
// 0 if the peer sends that much only later: see Open.
func (r *Receive) GiveBack() int {
	n := max(0, r.Unsent())
	r.left += n
	return n
}
