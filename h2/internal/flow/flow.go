// SPDX-License-Identifier: Apache-2.0

// Package flow has the windows of HTTP/2 flow control as plain arithmetic: no lock,
// no connection, no frames. [RFC 9113, sections 5.2 and 6.9]
//
// Invariant. For every window that the receiver of DATA grants, of a stream or of a
// connection, at any moment
//
//	size = left + unread + unsent
//
// The peer may still send left bytes, unread bytes arrived and were not consumed, and
// unsent bytes were consumed and wait for a WINDOW_UPDATE. Only left and unread are
// stored and unsent follows from them, so no operation can lose a byte as long as each
// byte that arrived is consumed once: read, dropped, or taken along by a stream that
// ends. Where ahead is not zero, only unread bytes beyond it count: see [Receive.Open].
package flow

const (
	// Start is the window of every connection and stream before SETTINGS and
	// WINDOW_UPDATE change it. [RFC 9113, section 6.9.2]
	Start = 1<<16 - 1
	// Max is the largest window. [RFC 9113, section 6.9.1]
	Max = 1<<31 - 1
)

// A Send is a window that the peer grants: how many bytes of DATA this side may send.
type Send struct{ left int64 }

// Open sets the window of a new stream or connection.
func (s *Send) Open(size int64) { s.left = size }

// Left returns how many bytes may be sent. It is negative after the peer has reduced
// SETTINGS_INITIAL_WINDOW_SIZE below what was sent. [RFC 9113, section 6.9.2]
func (s *Send) Left() int64 { return s.left }

// Spend counts n bytes that are sent, at most Left.
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
	size   int // bytes that the peer may send before any is read
	ahead  int // unread bytes that are given back all the same
	left   int // bytes that the peer may still send
	unread int // what lies unread
}

// Open sets the window. left is its size in the peer's view: [Start] for a connection,
// and for streams until the peer has acknowledged another size. ahead is how many unread
// bytes are given back as if they were read, so that a stream that is not read does not
// stop the others of its connection. The peer can make this side hold size + ahead
// bytes.
func (r *Receive) Open(size, left, ahead int) { *r = Receive{size: size, left: left, ahead: ahead} }

// Size returns the size of the window.
func (r *Receive) Size() int { return r.size }

// Left returns how many bytes the peer may still send.
func (r *Receive) Left() int { return r.left }

// Unread returns how many bytes arrived and were not consumed.
func (r *Receive) Unread() int { return r.unread }

// Unsent returns how many bytes were consumed and wait for a WINDOW_UPDATE. It is
// negative if the peer takes the window for larger than it is: see Open.
func (r *Receive) Unsent() int { return r.size - r.left - max(0, r.unread-r.ahead) }

// Arrived counts n bytes that the peer has sent. It reports false, and counts nothing,
// if they exceed the window. [RFC 9113, section 6.9.1]
func (r *Receive) Arrived(n int) bool {
	if n > r.left {
		return false
	}
	r.left -= n
	r.unread += n
	return true
}

// Consumed counts n bytes as read or dropped.
func (r *Receive) Consumed(n int) { r.unread -= n }

// Scarce reports whether so many bytes lie unread that the peer may run out of window.
func (r *Receive) Scarce() bool { return r.unread > r.ahead }

// Due reports whether half of the window is unsent: fewer bytes are not worth a
// WINDOW_UPDATE.
func (r *Receive) Due() bool { return r.Unsent() >= (r.size+1)/2 }

// Grow makes the window larger by n bytes. The next GiveBack includes them.
func (r *Receive) Grow(n int) { r.size += n }

// GiveBack returns the increment of a WINDOW_UPDATE, which the caller sends, and counts
// it. Zero means that there is none to send.
func (r *Receive) GiveBack() int {
	n := max(0, r.Unsent())
	r.left += n
	return n
}
