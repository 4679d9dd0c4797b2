// SPDX-License-Identifier: Apache-2.0

// Flow control: what the server grants and what of it comes back, whatever
// becomes of the streams; and that it keeps to what it is granted
// [RFC 9113, sections 5.2 and 6.9].

package h2_test

import (
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
)

const (
	unreadLimit  = 16 << 20  // bytes of a connection that no handler has read
	windowAtOnce = 256 << 10 // that a new stream has
)

// A sender keeps account of the windows that the server grants.
type sender struct {
	p       *rawPeer
	initial int
	conn    int
	streams map[uint32]int
	sent    int
}

func newSender(p *rawPeer) *sender {
	s := &sender{p: p, initial: 65_535, conn: 65_535, streams: make(map[uint32]int)}
	if size, ok := p.greeted(http2.SettingInitialWindowSize); ok {
		s.initial = int(size)
	}
	return s
}

// open begins a request with a body.
func (s *sender) open(id uint32, namesAndValues ...string) {
	s.p.post(id, namesAndValues...)
	s.streams[id] = s.initial
}

// settle lets the server do what it can, then adds what it has granted: to a
// stream, the connection, or by new settings to all streams.
func (s *sender) settle() {
	synctest.Wait()
	for {
		f := s.p.takeNew(func(f *frame) bool {
			return f.Type == http2.FrameWindowUpdate || f.Type == http2.FrameSettings && !f.Flags.Has(http2.FlagSettingsAck)
		})
		switch {
		case f == nil:
			return
		case f.Type == http2.FrameSettings:
			for _, setting := range f.settings {
				if setting.ID == http2.SettingInitialWindowSize {
					for id := range s.streams {
						s.streams[id] += int(setting.Val) - s.initial
					}
					s.initial = int(setting.Val)
				}
			}
		case f.StreamID == 0:
			s.conn += int(f.increase)
		default:
			s.streams[f.StreamID] += int(f.increase)
		}
	}
}

// send sends up to most bytes, as much as the windows let it, and returns how
// many.
func (s *sender) send(id uint32, most int) int {
	n := 0
	for n < most && s.p.writable() {
		s.settle()
		room := min(16<<10, s.conn, s.streams[id], most-n)
		if room <= 0 {
			break
		}
		s.p.data(id, false, make([]byte, room))
		s.conn -= room
		s.streams[id] -= room
		n += room
	}
	s.sent += n
	return n
}

// unreadUnlessEcho reads only requests that ask for it.
func unreadUnlessEcho(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Echo") == "" {
		<-r.Context().Done()
		return
	}
	buf := make([]byte, 32<<10)
	rc := http.NewResponseController(w)
	for {
		n, err := r.Body.Read(buf)
		if n > 0 {
			_, _ = w.Write(buf[:n])
			_ = rc.Flush()
		}
		if err != nil {
			return
		}
	}
}

// TestServerUnreadStream fills the window of a stream that is not read. The
// neighbour goes on, for much more than any window.
func TestServerUnreadStream(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := dial(t, startServer(t, unreadUnlessEcho), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		p.window(0, 1<<30)
		s := newSender(p)
		for id := uint32(1); id < 40; id += 2 {
			s.open(id)
			if n := s.send(id, unreadLimit); n != windowAtOnce {
				t.Fatalf("got %d bytes taken of a stream that nobody reads, want %d", n, windowAtOnce)
			}
		}
		s.open(101, "x-echo", "yes")
		const size = 20 << 20
		if n := s.send(101, size); n != size {
			t.Fatalf("got %d bytes taken of the neighbour, want %d", n, size)
		}
		p.data(101, true, nil)
		if n := len(p.wantAnswer(101, "200").body); n != size {
			t.Errorf("got %d bytes of answer, want %d", n, size)
		}
	})
}

// TestServerUnreadStreamsBounded fills the windows of all streams. The connection
// stops the sender at its bound, and goes on when handlers end.
func TestServerUnreadStreamsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		before := heap()
		p := dial(t, startServer(t, unreadUnlessEcho), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		p.window(0, 1<<30)
		s := newSender(p)
		id := uint32(1)
		for range handlerLimit - 1 {
			s.open(id)
			s.send(id, unreadLimit)
			id += 2
		}
		wantAtMost(t, "bytes sent that nobody reads", int64(s.sent), unreadLimit+1<<20)
		if s.sent < unreadLimit/2 {
			t.Errorf("got %d bytes sent, want about %d", s.sent, unreadLimit)
		}
		wantAtMost(t, "bytes of heap more than before", heap()-before, unreadLimit+unreadLimit/2)
		for reset := uint32(1); reset < id; reset += 2 {
			p.reset(reset, http2.ErrCodeCancel)
		}
		s.open(id, "x-echo", "yes")
		const size = 4 << 20
		if n := s.send(id, size); n != size {
			t.Errorf("got %d bytes taken after the others were reset, want %d", n, size)
		}
	})
}

// TestServerWindowComesBack sends data that no handler reads, many times the
// window of the connection, each time in one way that ends a stream.
func TestServerWindowComesBack(t *testing.T) {
	t.Parallel()
	const piece = 64 << 10
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		after   func(s *sender, id uint32)
	}{
		{"reset by the peer", untilGone, func(s *sender, id uint32) { s.p.reset(id, http2.ErrCodeCancel) }},
		{"reset by the server", untilGone, func(s *sender, id uint32) {
			s.p.window(id, 0)
			s.settle()
			s.late(id, piece)
		}},
		{"answered early", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, func(s *sender, id uint32) {
			s.late(id, piece)
		}},
		{"handler panics", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, func(s *sender, id uint32) {
			s.late(id, piece)
		}},
		{"ended by the peer", untilOneByte, func(s *sender, id uint32) { s.p.data(id, true, nil) }},
		{"body closed", func(_ http.ResponseWriter, r *http.Request) {
			_ = r.Body.Close()
			<-r.Context().Done()
		}, func(s *sender, id uint32) {
			s.late(id, piece)
			s.p.reset(id, http2.ErrCodeCancel)
		}},
		{"only padding", untilGone, func(s *sender, id uint32) {
			s.p.raw(http2.FrameData, http2.FlagDataPadded, id, "\xff"+strings.Repeat("\x00", 255)) // and no data
			s.conn -= 256
			s.p.reset(id, http2.ErrCodeCancel)
		}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := dial(t, startServer(t, c.handler))
				s := newSender(p)
				s.settle()
				all := s.conn
				id := uint32(1)
				for ; s.sent < 2*all && id < 1800; id += 2 {
					s.open(id)
					if n := s.send(id, piece); n == 0 && s.conn < piece {
						t.Fatalf("got no more window after %d bytes, want it given back: %s", s.sent, p.story())
					}
					c.after(s, id)
				}
				p.wantAlive()
				s.settle()
				if s.conn < all/2 {
					t.Errorf("got a window of %d after all streams ended, want about %d", s.conn, all)
				}
			})
		})
	}
}

// late sends what was under way when the server ended a stream: it counts for
// the connection.
func (s *sender) late(id uint32, n int) {
	for ; n > 0 && s.conn >= 16<<10; n -= 16 << 10 {
		s.p.data(id, false, make([]byte, 16<<10))
		s.conn -= 16 << 10
		s.sent += 16 << 10
		s.settle()
	}
}

// untilOneByte reads one byte of the body and ends.
func untilOneByte(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.ReadFull(r.Body, make([]byte, 1))
}

// TestServerWindowExceeded sends more than was granted: on a stream an error of
// the stream or the connection, on the connection one of the connection.
func TestServerWindowExceeded(t *testing.T) {
	t.Parallel()
	t.Run("stream", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			p := dial(t, startServer(t, untilGone))
			s := newSender(p)
			s.open(1)
			s.send(1, unreadLimit)
			p.data(1, false, []byte("x"))
			f := p.await("an error", func(f *frame) bool { return isReset(f, 1) || isGoAway(f) })
			if f.code != http2.ErrCodeFlowControl {
				t.Errorf("got %v, want %v", f.code, http2.ErrCodeFlowControl)
			}
		})
	})
	t.Run("connection", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			p := dial(t, startServer(t, untilGone))
			s := newSender(p)
			id := uint32(1)
			for s.settle(); s.conn > 0; id += 2 {
				s.open(id)
				if s.send(id, unreadLimit) == 0 {
					break
				}
			}
			s.open(id + 2)
			p.data(id+2, false, make([]byte, s.conn+1))
			p.wantGoAway(http2.ErrCodeFlowControl)
		})
	})
}

// TestServerWindowOverflow grants the connection more than 2^31-1 bytes: an error
// of the connection [RFC 9113, section 6.9.1].
func TestServerWindowOverflow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := dial(t, startServer(t, untilGone))
		p.get(1)
		p.window(0, 1<<31-1-65_535)
		p.wantAlive()
		p.window(0, 1)
		p.wantGoAway(http2.ErrCodeFlowControl)
	})
}

// TestServerPaddingIsRead checks that padding counts, and is given back though no
// handler reads it [RFC 9113, section 6.1].
func TestServerPaddingIsRead(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := dial(t, startServer(t, func(w http.ResponseWriter, r *http.Request) { unreadUnlessEcho(w, r) }))
		s := newSender(p)
		s.open(1, "x-echo", "yes")
		payload := "\xff" + "x" + strings.Repeat("\x00", 255)
		const frames = 20_000 // of 257 bytes: 5 MiB, far beyond the window
		for n := range frames {
			s.settle()
			if s.conn < len(payload) || s.streams[1] < len(payload) {
				t.Fatalf("got windows of %d and %d after %d frames, want padding given back", s.conn, s.streams[1], n)
			}
			p.raw(http2.FrameData, http2.FlagDataPadded, 1, payload)
			s.conn -= len(payload)
			s.streams[1] -= len(payload)
		}
		p.data(1, true, nil)
		if n := len(p.wantAnswer(1, "200").body); n != frames {
			t.Errorf("got %d bytes of data, want %d", n, frames)
		}
	})
}

// TestServerKeepsToWindows grants windows at random, of streams, of the
// connection, and by settings, negative ones as well: the server never sends
// more, and in the end everything.
func TestServerKeepsToWindows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		bubble(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			const streams, size = 5, 200_000
			s := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
				for left := size; left > 0; {
					n := min(left, 1+left/7)
					if _, err := w.Write(make([]byte, n)); err != nil {
						return
					}
					left -= n
				}
			})
			initial := r.IntN(1000)
			p := dial(t, s, http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(initial)})
			conn := 65_535
			window, got := map[uint32]int{}, map[uint32]int{}
			for id := uint32(1); id < 2*streams; id += 2 {
				p.get(id)
				window[id] = initial
			}
			for step, total := 0, 0; total < streams*size; step++ {
				synctest.Wait()
				for {
					f, _ := p.take(func(f *frame) bool { return f.Type == http2.FrameData || f.Type == http2.FrameRSTStream || isGoAway(f) })
					if f == nil {
						break
					}
					if f.Type != http2.FrameData {
						t.Fatalf("seed %d: got %v with %v, want DATA", seed, f, f.code)
					}
					n := int(f.Length)
					conn, window[f.StreamID] = conn-n, window[f.StreamID]-n
					got[f.StreamID] += n
					total += n
					if n > 0 && (conn < 0 || window[f.StreamID] < 0) {
						t.Fatalf("seed %d: got windows of %d and %d after %d bytes, want none exceeded",
							seed, conn, window[f.StreamID], n)
					}
				}
				id := uint32(1 + 2*r.IntN(streams))
				more := 1 + r.IntN(20_000)
				switch {
				case step > 400: // enough: let the rest come
					p.window(0, size)
					conn += size
					for id := range window {
						p.window(id, size)
						window[id] += size
					}
				case r.IntN(10) == 0:
					next := r.IntN(30_000)
					p.settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(next)})
					p.wantSettingsAck() // nothing was under way: the server had sent all that it could
					for id := range window {
						window[id] += next - initial
					}
					initial = next
				case r.IntN(3) == 0:
					p.window(0, uint32(more))
					conn += more
				default:
					if got[id] < size {
						p.window(id, uint32(more))
						window[id] += more
					}
				}
			}
			for id, n := range got {
				if n != size {
					t.Errorf("seed %d, stream %d: got %d bytes, want %d", seed, id, n, size)
				}
			}
		})
	}
}
