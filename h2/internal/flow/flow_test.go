// SPDX-License-Identifier: Apache-2.0

// Conservation: a peer that obeys its window is never stopped for good, and one that
// does not is found out, after any sequence of operations.

package flow

import (
	"math/rand/v2"
	"testing"
)

// A peer is the other end of some windows: it counts only what WINDOW_UPDATEs give it.
type peer struct {
	conn    int // what it may send on the connection
	streams []*testStream
}

// A testStream is a stream with bytes that arrived and were not read.
type testStream struct {
	recv   Receive
	left   int // as the peer sees it
	unread int // as a reader would count it
}

// check compares the windows with what the peer and the readers count.
func check(t *testing.T, conn *Receive, p *peer, most int) {
	t.Helper()
	unread := 0
	for _, s := range p.streams {
		if s.recv.Left() != s.left || s.recv.Unread() != s.unread {
			t.Fatalf("stream: left %d and held %d, want %d and %d", s.recv.Left(), s.recv.Unread(), s.left, s.unread)
		}
		if got := s.recv.Left() + s.recv.Unread() + s.recv.Unsent(); got != s.recv.Size() {
			t.Fatalf("stream: left %d + unread %d + unsent %d = %d, want its size %d", s.recv.Left(), s.recv.Unread(), s.recv.Unsent(), got, s.recv.Size())
		}
		unread += s.unread
	}
	if conn.Left() != p.conn || conn.Unread() != unread {
		t.Fatalf("connection: left %d and held %d, want %d and %d", conn.Left(), conn.Unread(), p.conn, unread)
	}
	if conn.Unread() > most || conn.Left() > conn.Size() || conn.Unsent() < 0 {
		t.Fatalf("connection: %+v, want at most %d held, no more left than its size, and no debt", *conn, most)
	}
}

func TestConservation(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		size, ahead := 1+r.IntN(1000), r.IntN(1000)
		var conn Receive
		conn.Open(size, size, ahead)
		p := &peer{conn: size}
		giveBack := func(s *testStream) {
			if conn.Due() {
				p.conn += conn.GiveBack()
			}
			if s != nil && s.recv.Due() {
				if r.IntN(4) == 0 {
					s.recv.Grow(r.IntN(100))
				}
				s.left += s.recv.GiveBack()
			}
		}
		end := func(i int) { // the stream takes along what lies unread
			conn.Consumed(p.streams[i].recv.Unread())
			p.streams = append(p.streams[:i], p.streams[i+1:]...)
			giveBack(nil)
		}
		for range 2000 {
			if len(p.streams) == 0 || r.IntN(20) == 0 {
				s := &testStream{left: 1 + r.IntN(300)}
				s.recv.Open(s.left, s.left, 0)
				p.streams = append(p.streams, s)
			}
			i := r.IntN(len(p.streams))
			s := p.streams[i]
			n := r.IntN(100)
			switch r.IntN(10) {
			default: // DATA
				legal := n <= p.conn
				if got := conn.Arrived(n); got != legal {
					t.Fatalf("seed %d: DATA of %d bytes with a window of %d: got %v, want %v", seed, n, p.conn, got, legal)
				} else if !got {
					break // ends the connection; here the peer thinks better of it
				}
				p.conn -= n
				if !s.recv.Arrived(n) {
					if n <= s.left {
						t.Fatalf("seed %d: a stream refused %d bytes with a window of %d", seed, n, s.left)
					}
					conn.Consumed(n) // the stream is reset
					end(i)
					break
				}
				s.left -= n
				s.unread += n
				giveBack(s)
			case 0, 1, 2, 3: // a read
				n = min(n, s.unread)
				s.unread -= n
				s.recv.Consumed(n)
				conn.Consumed(n)
				giveBack(s)
			case 4:
				end(i)
			}
			check(t, &conn, p, size+ahead)
		}
		for len(p.streams) > 0 {
			end(0)
		}
		check(t, &conn, p, size+ahead)
		if conn.Unread() != 0 || p.conn < (size+1)/2 && conn.Due() {
			t.Fatalf("seed %d: all streams have ended: %+v", seed, conn)
		}
		if conn.GiveBack(); conn.Left() != size {
			t.Fatalf("seed %d: after all was given back the peer may send %d bytes, want %d", seed, conn.Left(), size)
		}
	}
}

// TestOpenLate: before the peer has acknowledged a smaller window, it may use the one
// that it knows, and nothing is given back until it has.
func TestOpenLate(t *testing.T) {
	var r Receive
	r.Open(1000, Start, 0)
	if !r.Arrived(Start) || r.Arrived(1) {
		t.Fatal("want the window that the peer knows to count, to the byte")
	}
	r.Consumed(Start)
	if got := r.GiveBack(); got != 1000 {
		t.Fatalf("got %d bytes given back, want the size of the window", got)
	}
}

func TestSend(t *testing.T) {
	var s Send
	s.Open(Start)
	s.Spend(Start)
	if !s.Add(-100) || s.Left() != -100 {
		t.Fatalf("got %d left, want a window that settings have made negative", s.Left())
	}
	if !s.Add(Max+100) || s.Left() != Max {
		t.Fatalf("got %d left, want the largest window", s.Left())
	}
	if s.Add(1) || s.Left() != Max {
		t.Fatal("want a window beyond the largest to be refused and to change nothing")
	}
}
