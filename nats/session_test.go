// SPDX-License-Identifier: Apache-2.0

// Sessions without a network: the frames that may come, and the sum of a window.

package natsrpc

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
)

const testWindow = 2 * openMax

// begun returns the sessions of a call whose OPEN and ACCEPT have come.
func begun() (client, server *session) {
	client, server = &session{window: testWindow}, &session{window: testWindow, server: true, credit: testWindow, peerWindow: testWindow}
	server.receive(frame{kind: frameOpen, seq: client.number()})
	client.receive(frame{kind: frameAccept, seq: server.number(), payload: packCount(testWindow)})
	return client, server
}

// A link carries the frames of one direction, in order.
type testLink struct {
	from, to *session
	frames   []frame
}

// inFlight returns the bytes of bodies, and those that WINDOWs announce.
func (l *testLink) inFlight() (body, windows int) {
	for _, f := range l.frames {
		if f.kind == frameWindow {
			n, _ := parseCount(f)
			windows += n
		} else if f.kind.hasBody() {
			body += len(f.payload)
		}
	}
	return body, windows
}

func (l *testLink) send(f frame) {
	f.seq = l.from.number()
	l.frames = append(l.frames, f)
}

// At each moment, the bytes of a window are free, in flight, unread, consumed, or announced by a
// WINDOW in flight. Their sum never changes, so that nothing is lost and nothing made up.
func TestWindowProperty(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		client, server := begun()
		there, back := &testLink{from: client, to: server}, &testLink{from: server, to: client}
		back.send(frame{kind: frameHead})
		moved := 0
		for step := range 400 {
			l, other := there, back
			if r.IntN(2) == 0 {
				l, other = back, there
			}
			switch r.IntN(4) {
			case 0: // a part of the body
				if n := l.from.take(r.IntN(maxFrame)); n > 0 {
					l.send(frame{kind: frameData, payload: make([]byte, n)})
				}
			case 1: // the receiver's program reads
				if n := r.IntN(l.to.unread + 1); n > 0 {
					if announce := l.to.read(n); announce > 0 {
						other.send(frame{kind: frameWindow, payload: packCount(announce)})
					}
				}
			case 2:
				l.send(frame{kind: framePing})
			default: // a frame arrives
				if len(l.frames) > 0 {
					f := l.frames[0]
					l.frames = l.frames[1:]
					moved++
					if v, violation := l.to.receive(f); violation != nil || v != deliver {
						t.Fatalf("seed %d, step %d: got %v and %v for a %v, want it delivered", seed, step, v, violation, f.kind)
					}
				}
			}
			for _, d := range []struct{ data, windows *testLink }{{there, back}, {back, there}} {
				body, _ := d.data.inFlight()
				_, windows := d.windows.inFlight()
				if d.data.from == server && !client.headed {
					continue
				}
				if sum := d.data.from.credit + body + d.data.to.unread + d.data.to.consumed + windows; sum != testWindow {
					t.Fatalf("seed %d, step %d: got a sum of %d bytes, want %d", seed, step, sum, testWindow)
				}
			}
		}
		if moved < 20 {
			t.Errorf("seed %d: got %d frames, want more", seed, moved)
		}
	}
}

// A frame that may not come ends the call, with a code and a reason.
func TestViolations(t *testing.T) {
	type side int
	const toClient, toServer, toNewClient, toNewServer side = 0, 1, 2, 3
	data := func(seq uint64, n int) frame { return frame{kind: frameData, seq: seq, payload: make([]byte, n)} }
	for _, test := range []struct {
		name   string
		side   side
		frames []frame
		code   connect.Code
		want   string
	}{
		{"a frame is missing", toServer, []frame{data(2, 1)}, connect.CodeUnavailable, "got frame 2, want 1"},
		{"two frames changed places", toServer, []frame{data(2, 1), data(1, 1)}, connect.CodeUnavailable, "got frame 2, want 1"},
		{"a ping shows a loss", toServer, []frame{{kind: framePing, seq: 3}}, connect.CodeUnavailable, "got frame 3, want 1"},
		{"more than the window", toServer, []frame{data(1, testWindow), data(2, 1)}, connect.CodeResourceExhausted, "got 1 bytes in a frame, want at most the 0"},
		{"an OPEN larger than the window", toNewServer, []frame{{kind: frameOpen, payload: make([]byte, testWindow+1)}}, connect.CodeResourceExhausted, "want at most the"},
		{"a WINDOW that nothing was sent for", toServer, []frame{{kind: frameWindow, seq: 1, payload: packCount(1)}}, connect.CodeInternal, "want at most the 0"},
		{"a WINDOW without a count", toServer, []frame{{kind: frameWindow, seq: 1}}, connect.CodeInternal, "the count of a WINDOW"},
		{"a WINDOW of nothing", toServer, []frame{{kind: frameWindow, seq: 1, payload: []byte{0}}}, connect.CodeInternal, "got 0 bytes"},
		{"a second OPEN", toServer, []frame{{kind: frameOpen, seq: 1}}, connect.CodeInternal, "OPEN, which may not come now"},
		{"an OPEN from a server", toClient, []frame{{kind: frameOpen, seq: 1}}, connect.CodeInternal, "may not come now"},
		{"a HEAD from a client", toServer, []frame{{kind: frameHead, seq: 1}}, connect.CodeInternal, "may not come now"},
		{"an ACCEPT from a client", toServer, []frame{{kind: frameAccept, seq: 1, payload: packCount(openMax)}}, connect.CodeInternal, "may not come now"},
		{"a second ACCEPT", toClient, []frame{{kind: frameAccept, seq: 1, payload: packCount(openMax)}}, connect.CodeInternal, "may not come now"},
		{"an ACCEPT of a small window", toNewClient, []frame{{kind: frameAccept, payload: packCount(openMax - 1)}}, connect.CodeInternal, "want at least 65536"},
		{"DATA before the HEAD", toClient, []frame{data(1, 1)}, connect.CodeInternal, "DATA, which may not come now"},
		{"DATA before the OPEN", toNewServer, []frame{data(0, 1)}, connect.CodeInternal, "may not come now"},
		{"a PING before the ACCEPT", toNewClient, []frame{{kind: framePing}}, connect.CodeInternal, "may not come now"},
		{"a second HEAD", toClient, []frame{{kind: frameHead, seq: 1}, {kind: frameHead, seq: 2}}, connect.CodeInternal, "may not come now"},
		{"DATA after the end", toServer, []frame{{kind: frameData, seq: 1, end: true}, data(2, 1)}, connect.CodeInternal, "may not come now"},
	} {
		client, server := begun()
		s := []*session{client, server, {window: testWindow}, {window: testWindow, server: true}}[test.side]
		var got *violation
		for _, f := range test.frames {
			if _, got = s.receive(f); got != nil {
				break
			}
		}
		if got == nil || got.code != test.code || !strings.Contains(got.Error(), test.want) {
			t.Errorf("%s: got %v, want %v with %q", test.name, got, test.code, test.want)
		}
	}
}

// A frame that comes again changes nothing.
func TestDuplicates(t *testing.T) {
	_, server := begun()
	f := frame{kind: frameData, seq: 1, payload: make([]byte, 10)}
	for i, want := range []verdict{deliver, duplicate, duplicate} {
		if got, v := server.receive(f); got != want || v != nil {
			t.Errorf("time %d: got %v and %v, want %v", i, got, v, want)
		}
	}
	if server.unread != 10 || server.recvSeq != 2 {
		t.Errorf("got %d unread bytes and next frame %d, want 10 and 2", server.unread, server.recvSeq)
	}
}

// What an OPEN has sent counts against the window that the ACCEPT announces.
func TestOpenCounts(t *testing.T) {
	client := &session{window: testWindow, credit: -100}
	if _, v := client.receive(frame{kind: frameAccept, payload: packCount(openMax)}); v != nil || client.credit != openMax-100 {
		t.Errorf("got %v and credit %d, want %d", v, client.credit, openMax-100)
	}
}

// No frames, in whatever order, make a session panic or take more than its window.
func FuzzSession(f *testing.F) {
	f.Add([]byte("\x02\x00\x80\x80\x10|\x03\x01|\x84\x02abc"), false)
	f.Add([]byte("\x01\x00|\x04\x01abc|\x05\x02\x01|\x06\x03"), true)
	f.Fuzz(func(t *testing.T, input []byte, isServer bool) {
		s := &session{window: openMax, server: isServer}
		if isServer {
			s.credit, s.peerWindow = openMax, openMax
		}
		for _, b := range strings.Split(string(input), "|") {
			one, err := parseFrame([]byte(b))
			if err != nil {
				return
			}
			if _, v := s.receive(one); v != nil {
				return
			}
			if s.unread+s.consumed > s.window || s.credit > max(s.peerWindow, 0) || s.unread < 0 {
				t.Fatalf("got %+v, want no more than the windows", s)
			}
			if s.unread > 1 {
				s.read(s.unread / 2)
			}
		}
	})
}
