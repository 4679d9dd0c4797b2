// SPDX-License-Identifier: Apache-2.0

// Windows add up: whatever becomes of the streams of a connection, what their peer
// sent is given back when they have ended, and a long transfer goes through.

package h2_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

const transferSize = 4 << 20

// A windowPeer sends DATA and keeps count of the windows that it is granted.
type windowPeer struct {
	*rawPeer
	r       *rand.Rand
	conn    int            // left of the connection's window
	full    int            // what that was at first
	streams map[uint32]int // left of each stream's
	first   int            // of a new stream's
}

func newWindowPeer(p *rawPeer, r *rand.Rand, settings []http2.Setting) *windowPeer {
	w := &windowPeer{rawPeer: p, r: r, conn: 1<<16 - 1, streams: make(map[uint32]int), first: 1<<16 - 1}
	for _, s := range settings {
		if s.ID == http2.SettingInitialWindowSize {
			w.first = int(s.Val)
		}
	}
	settle()
	w.count()
	w.full = w.conn
	return w
}

// count takes the windows that have been given back.
func (w *windowPeer) count() {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := w.inbox[:0]
	for _, f := range w.inbox {
		switch {
		case f.Type == http2.FrameWindowUpdate && f.StreamID == 0:
			w.conn += int(f.increase)
		case f.Type == http2.FrameWindowUpdate:
			w.streams[f.StreamID] += int(f.increase)
		default:
			kept = append(kept, f)
		}
	}
	w.inbox = kept
}

// send sends DATA as far as the connection's window goes. It minds the stream's,
// unless it is to be exceeded.
func (w *windowPeer) send(id uint32, n int, end, excess bool) int {
	w.count()
	n = min(n, w.conn-256)
	if !excess {
		n = min(n, w.streams[id]-256)
	}
	if n = max(n, 0); n == 0 && !end {
		return 0
	}
	sent := n
	if w.r.IntN(4) == 0 && n > 0 && n < 16<<10-256 {
		padding := make([]byte, w.r.IntN(200))
		w.write(func(f *http2.Framer) error { return f.WriteDataPadded(id, end, zeros[:n], padding) })
		sent += 1 + len(padding)
	} else {
		w.data(id, end, zeros[:n])
	}
	w.conn -= sent
	w.streams[id] -= sent
	return n
}

// transfer sends a long body on a stream that is open.
func (w *windowPeer) transfer(id uint32) {
	for left := transferSize; left > 0; {
		n := w.send(id, min(left, 16<<10), false, false)
		left -= n
		if n == 0 {
			settle()
			before := w.conn
			if w.count(); w.conn == before && w.streams[id] <= 256 {
				w.t.Fatalf("the transfer is stopped with %d bytes to go: windows of %d and %d", left, w.conn, w.streams[id])
			}
		}
	}
	w.data(id, true, nil)
}

// wantWindow checks that the connection's window is open again.
func (w *windowPeer) wantWindow() {
	w.t.Helper()
	settle()
	if w.count(); w.conn <= w.full/2 || w.conn > w.full {
		w.t.Fatalf("all streams have ended: got a window of %d, want more than half of %d", w.conn, w.full)
	}
}

// TestServerWindowsAddUp runs random programs of requests whose bodies handlers read,
// ignore or close, and whose peer sends too much, late, or leaves.
func TestServerWindowsAddUp(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		bubble(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 11))
			s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
				var body io.Reader = r.Body
				switch r.Header.Get("X-Do") {
				case "ignore":
					<-r.Context().Done()
				case "some":
					_, _ = io.CopyN(io.Discard, body, 50_000)
					<-r.Context().Done()
				case "close":
					_ = r.Body.Close()
					<-r.Context().Done()
				case "answer":
				case "leave": // a goroutine behind that reads
					go func() { _, _ = io.Copy(io.Discard, body) }()
				default:
					n, _ := io.Copy(io.Discard, body)
					_, _ = fmt.Fprint(w, n)
				}
			}, func(s *http.Server, _ *h2.ServerConfig) {
				s.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerConnection: 256 << 10}
			})
			p := dial(t, s)
			w := newWindowPeer(p, r, p.greets)
			next := uint32(1)
			var open []uint32
			for range 2000 {
				if len(open) == 0 || len(open) < 60 && r.IntN(12) == 0 {
					fields := []string{"x-do", []string{"read", "ignore", "some", "close", "answer", "leave"}[r.IntN(6)]}
					if r.IntN(6) == 0 {
						fields = append(fields, "content-length", strconv.Itoa(r.IntN(100_000)))
					}
					w.post(next, fields...)
					w.streams[next] = w.first
					open = append(open, next)
					next += 2
				}
				i := r.IntN(len(open))
				id := open[i]
				switch r.IntN(16) {
				default:
					w.send(id, r.IntN(16<<10), false, r.IntN(30) == 0)
				case 0:
					w.send(id, r.IntN(1000), true, false) // perhaps not the last DATA
				case 1:
					w.reset(id, http2.ErrCodeCancel) // likewise
				case 2:
					open = append(open[:i], open[i+1:]...)
					w.reset(id, http2.ErrCodeCancel)
				case 3, 4:
					settle()
				}
				if !w.writable() {
					t.Fatalf("seed %d: the connection has ended: %s", seed, w.story())
				}
			}
			for _, id := range open {
				w.reset(id, http2.ErrCodeCancel)
			}
			w.wantWindow()
			w.post(next)
			w.streams[next] = w.first
			w.transfer(next)
			if a := w.wantAnswer(next, "200"); string(a.body) != strconv.Itoa(transferSize) {
				t.Errorf("seed %d: got %s bytes, want %d", seed, a.body, transferSize)
			}
		})
	}
}

// TestClientWindowsAddUp runs random programs of calls whose callers read, close and
// cancel, and whose server sends too much, late, or resets.
func TestClientWindowsAddUp(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		bubble(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 12))
			s, client := newFake(t, &h2.TransportConfig{
				MaxConnsPerHost: 1,
				HTTP2:           &http.HTTP2Config{MaxReceiveBufferPerConnection: 256 << 10},
			})
			type aCall struct {
				id     uint32
				cancel context.CancelFunc
				res    chan *http.Response
			}
			var w *windowPeer
			begin := func() *aCall {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				c := &aCall{cancel: cancel, res: make(chan *http.Response, 1)}
				go func() {
					res, err := client.RoundTrip(get(ctx))
					if err != nil {
						cancel()
						close(c.res)
						return
					}
					c.res <- res
				}()
				if w == nil {
					p := s.accept()
					f := p.await("SETTINGS", func(f *frame) bool { return f.Type == http2.FrameSettings })
					w = newWindowPeer(p, r, f.settings)
				}
				c.id = w.request().StreamID
				w.streams[c.id] = w.first
				return c
			}
			var open []*aCall
			for range 2000 {
				if len(open) == 0 || len(open) < 40 && r.IntN(12) == 0 {
					c := begin()
					if r.IntN(8) > 0 {
						fields := []string{":status", "200"}
						if r.IntN(6) == 0 {
							fields = append(fields, "content-length", strconv.Itoa(r.IntN(100_000)))
						}
						w.headers(c.id, false, fields...)
					}
					settle()
					open = append(open, c)
				}
				i := r.IntN(len(open))
				c := open[i]
				switch r.IntN(16) {
				default:
					w.send(c.id, r.IntN(16<<10), false, r.IntN(30) == 0)
				case 0:
					w.send(c.id, r.IntN(1000), true, false) // perhaps not the last DATA
				case 1:
					w.reset(c.id, http2.ErrCodeInternal) // likewise
				case 2, 3:
					select {
					case res := <-c.res:
						if res == nil {
							break
						}
						switch r.IntN(4) {
						case 0: // left unread
						case 1:
							_ = res.Body.Close()
						case 2:
							_, _ = io.CopyN(io.Discard, res.Body, 10)
							c.cancel()
						case 3:
							go func() { _, _ = io.Copy(io.Discard, res.Body) }()
						}
					default:
					}
				case 4:
					c.cancel()
				case 5:
					open = append(open[:i], open[i+1:]...)
					c.cancel()
				case 6, 7:
					settle()
				}
				if !w.writable() {
					t.Fatalf("seed %d: the connection has ended: %s", seed, w.story())
				}
			}
			for _, c := range open {
				c.cancel()
			}
			w.wantWindow()
			c := begin()
			defer c.cancel()
			w.headers(c.id, false, ":status", "200")
			got := make(chan int64, 1)
			go func() {
				n, _ := io.Copy(io.Discard, (<-c.res).Body)
				got <- n
			}()
			w.transfer(c.id)
			if n := receive(t, "the transfer", got); n != transferSize {
				t.Errorf("seed %d: got %d bytes, want %d", seed, n, transferSize)
			}
		})
	}
}
