// SPDX-License-Identifier: Apache-2.0

// Frames that cost their sender nothing, in great numbers; and the peers that
// send as many of them for good reasons.

package h2_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// A flood is a kind of frame that has a budget. Stream 1 is open.
type flood struct {
	name string
	send func(p *rawPeer)
}

var floods = []flood{
	{"PING", func(p *rawPeer) { p.ping([8]byte{}) }},
	{"SETTINGS", func(p *rawPeer) { p.settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}) }},
	{"SETTINGS without values", func(p *rawPeer) { p.settings() }},
	{"DATA without data", func(p *rawPeer) { p.data(1, false, nil) }},
	{"DATA of padding", func(p *rawPeer) { p.raw(http2.FrameData, http2.FlagDataPadded, 1, "\x03\x00\x00\x00") }},
	{"PRIORITY", func(p *rawPeer) { p.priority(1, 3) }},
	{"PRIORITY of idle streams", func(p *rawPeer) { p.priority(1001, 3) }},
	{"WINDOW_UPDATE of the connection", func(p *rawPeer) { p.window(0, 1) }},
	{"WINDOW_UPDATE of a stream", func(p *rawPeer) { p.window(1, 1) }},
}

// TestServerControlFloods sends nearly as many frames of one kind as the budget
// has, waits for half of them to come back, and then sends too many.
func TestServerControlFloods(t *testing.T) {
	t.Parallel()
	for _, c := range floods {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, answerOK)
				p := dial(t, s)
				p.post(1)
				for range controlBurst - 10 {
					c.send(p)
				}
				p.wantWorks(3)
				time.Sleep(controlBurst / controlRate / 2 * time.Second)
				for range controlBurst/2 - 10 {
					c.send(p)
				}
				p.wantWorks(5)
				for range 100 {
					c.send(p)
				}
				if f := p.wantGoAway(http2.ErrCodeEnhanceYourCalm); f.last != 5 {
					t.Errorf("got last stream %d in GOAWAY, want 5", f.last)
				}
				synctest.Wait()
				if n := s.running.Load(); n != 0 {
					t.Errorf("got %d handlers after the end of the connection, want none", n)
				}
			})
		})
	}
}

// TestServerFloodsWithoutBudget sends frames that the server is to ignore. It may
// take them or have enough of them; it may not keep them.
func TestServerFloodsWithoutBudget(t *testing.T) {
	const frames = 100_000
	for _, c := range []flood{
		{"PING acknowledged", func(p *rawPeer) { p.write(func(w *http2.Framer) error { return w.WritePing(true, [8]byte{1}) }) }},
		{"SETTINGS acknowledged", func(p *rawPeer) { p.write((*http2.Framer).WriteSettingsAck) }},
		{"unknown", func(p *rawPeer) { p.raw(0x42, 0xff, 1, "unknown") }},
		{"GOAWAY", func(p *rawPeer) { p.goAway(0, http2.ErrCodeNo) }},
		{"RST_STREAM of a closed stream", func(p *rawPeer) { p.reset(1, http2.ErrCodeCancel) }},
		{"WINDOW_UPDATE of a closed stream", func(p *rawPeer) { p.window(1, 1) }},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := dial(t, startServer(t, answerOK))
				p.wantWorks(1)
				before := heap()
				n := 0
				for ; n < frames && p.writable(); n++ {
					c.send(p)
				}
				synctest.Wait()
				wantAtMost(t, "bytes of heap more than before", heap()-before, 1<<20)
				if !p.over() && p.count(isGoAway) == 0 {
					p.wantAlive()
				}
			})
		})
	}
}

// TestServerTakesReceiversWindows downloads as net/http's client does: it gives
// back every 4 KiB that it reads, on the stream and on the connection. What the
// server sends is worth these frames.
func TestServerTakesReceiversWindows(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		const size, piece = 16 << 20, 4 << 10
		s := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
			buf := make([]byte, 32<<10)
			for range size / len(buf) {
				if _, err := w.Write(buf); err != nil {
					return
				}
			}
		})
		p := dial(t, s)
		p.get(1)
		got, unannounced := 0, 0
		for {
			f := p.await("DATA", func(f *frame) bool { return f.Type == http2.FrameData || isGoAway(f) })
			if f.Type == http2.FrameGoAway {
				t.Fatalf("got GOAWAY with %v after %d bytes, want all of them", f.code, got)
			}
			got += len(f.data)
			if f.ended() {
				break
			}
			for unannounced += len(f.data); unannounced >= piece; unannounced -= piece {
				p.window(1, piece)
				p.window(0, piece)
			}
		}
		if got != size {
			t.Errorf("got %d bytes, want %d", got, size)
		}
		p.wantAlive()
	})
}

// TestServerTakesCallersFrames makes calls as gRPC clients do, more than any
// budget: each with a PING to measure the bandwidth, an empty DATA frame to end
// the request, and WINDOW_UPDATEs for a small answer.
func TestServerTakesCallersFrames(t *testing.T) {
	t.Parallel()
	const calls = 5 * controlBurst
	for _, c := range []struct {
		name string
		call func(p *rawPeer, id uint32)
	}{
		{"PING", func(p *rawPeer, id uint32) {
			p.ping([8]byte{byte(id), byte(id >> 8), 1})
			p.wantWorks(id)
		}},
		{"empty DATA at the end", func(p *rawPeer, id uint32) {
			p.post(id)
			p.data(id, false, []byte("body"))
			p.data(id, true, nil)
			p.wantAnswer(id, "200")
		}},
		{"WINDOW_UPDATE", func(p *rawPeer, id uint32) {
			p.post(id)
			p.window(id, 10)
			p.data(id, true, []byte("body"))
			p.wantAnswer(id, "200")
			p.window(0, 2)
		}},
		{"RST_STREAM after the end", func(p *rawPeer, id uint32) {
			p.wantWorks(id)
			p.reset(id, http2.ErrCodeNo)
		}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := dial(t, startServer(t, answerOK))
				for id := uint32(1); id < 2*calls; id += 2 {
					c.call(p, id)
					p.take(func(f *frame) bool { return f.Type == http2.FramePing })
					p.take(func(f *frame) bool { return f.Type == http2.FrameWindowUpdate })
				}
				p.wantAlive()
			})
		})
	}
}

// TestServerTakesStreamersPings holds one long stream of small messages, each of
// which is answered and comes with a PING.
func TestServerTakesStreamersPings(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			var buf [1]byte
			for {
				if _, err := io.ReadFull(r.Body, buf[:]); err != nil {
					return
				}
				_, _ = w.Write(buf[:])
				_ = rc.Flush()
			}
		})
		p := dial(t, s)
		p.post(1)
		for range 5 * controlBurst {
			p.ping([8]byte{})
			p.data(1, false, []byte("m"))
			f := p.await("DATA", func(f *frame) bool { return f.Type == http2.FrameData || isGoAway(f) })
			if f.Type == http2.FrameGoAway {
				t.Fatalf("got GOAWAY with %v (%s), want DATA", f.code, f.data)
			}
			p.take(func(f *frame) bool { return f.Type == http2.FramePing })
		}
		p.data(1, true, nil)
		p.answer(1)
	})
}
