// SPDX-License-Identifier: Apache-2.0

// Peers that do not read, or read as little as they can: what the server keeps
// for them, and for how long.

package h2_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

const (
	writePatience = 30 * time.Second // for the peer to take what is written
	streamBuffer  = 64 << 10         // what a stalled stream may hold
)

// TestServerDeafPeer floods a server with frames that want an answer, and reads
// none. What the server queues is bounded; it gives up after its write timeout.
func TestServerDeafPeer(t *testing.T) {
	const frames = 50_000
	filler := strings.Repeat("0123456789abcdef", 256) // 4 KiB
	for _, c := range []struct {
		name string
		send func(p *rawPeer, id uint32)
	}{
		{"PING", func(p *rawPeer, _ uint32) { p.ping([8]byte{}) }},
		{"SETTINGS", func(p *rawPeer, _ uint32) { p.settings() }},
		{"refused requests", func(p *rawPeer, id uint32) { p.get(id, "connection", "close") }},
		{"provoked resets", func(p *rawPeer, id uint32) {
			p.post(id)
			p.window(id, 0)
		}},
		{"requests", func(p *rawPeer, id uint32) {
			p.get(id)
			synctest.Wait() // for the handler to end: none is refused
		}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var n atomic.Int64
				s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					w.Header().Set("X-Filler", strconv.FormatInt(n.Add(1), 10)+filler) // never the same
					w.WriteHeader(http.StatusNoContent)
				})
				before := heap()
				p := connect(t, s, true)
				began := time.Now()
				p.preface()
				var most int64
				for n := range frames {
					if c.send(p, uint32(2*n+1)); !p.writable() {
						break
					}
					if n%500 == 0 {
						most = max(most, heap()-before)
					}
				}
				if p.writable() {
					t.Errorf("got %d frames taken, want the connection ended before", frames)
				}
				synctest.Wait()
				wantAtMost(t, "bytes of heap more than before", most, 16<<20)
				wantAtMost(t, "bytes taken", p.conn.taken(), 1<<20)
				wantAtMost(t, "handlers started", s.started.Load(), 2*controlBurst)
				if n := s.running.Load(); n != 0 {
					t.Errorf("got %d handlers after the end of the connection, want none", n)
				}
				within(t, "the connection's life", time.Since(began), 0, 2*writePatience)
			})
		})
	}
}

// stalled is what peers offer that want a body and do not let it come.
var stalled = http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}

// endless writes until that fails, and counts what was taken.
func endless(taken *atomic.Int64, failed chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		buf := make([]byte, 1<<10)
		for {
			n, err := w.Write(buf)
			taken.Add(int64(n))
			if err != nil {
				failed <- err
				return
			}
		}
	}
}

// TestServerStalledStreamsHoldLittle opens as many streams as it may, grants no
// window, and counts what the handlers could write.
func TestServerStalledStreamsHoldLittle(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		var taken atomic.Int64
		s := startServer(t, endless(&taken, make(chan error, handlerLimit)))
		p := dial(t, s, stalled)
		for id := uint32(1); id < 2*handlerLimit; id += 2 {
			p.get(id)
		}
		synctest.Wait()
		if n := s.running.Load(); n != handlerLimit {
			t.Fatalf("got %d handlers, want %d", n, handlerLimit)
		}
		wantAtMost(t, "bytes buffered by stalled streams", taken.Load(), handlerLimit*streamBuffer)
		p.wantAlive()
		if n := p.count(func(f *frame) bool { return f.Type == http2.FrameData && len(f.data) > 0 }); n != 0 {
			t.Errorf("got %d DATA frames without a window, want none", n)
		}
	})
}

// TestServerStalledHandlers expects a handler to be freed that waits for a window, each
// in one of the ways that there are to end its wait.
func TestServerStalledHandlers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		deadline time.Duration // of the handler, by its ResponseController
		timeout  time.Duration // of the server
		free     func(t *testing.T, p *rawPeer)
		alive    bool // the connection goes on
		is       error
	}{
		{name: "the peer resets the stream", free: func(_ *testing.T, p *rawPeer) { p.reset(1, http2.ErrCodeCancel) }, alive: true},
		{name: "the peer resets another one", free: func(t *testing.T, p *rawPeer) {
			p.get(3)
			synctest.Wait()
			p.reset(1, http2.ErrCodeCancel)
		}, alive: true},
		{name: "the write deadline passes", deadline: time.Second, alive: true, is: os.ErrDeadlineExceeded},
		{name: "the server's write timeout passes", timeout: time.Second, alive: true},
		{name: "the peer closes the connection", free: func(_ *testing.T, p *rawPeer) { _ = p.conn.Close() }},
		{name: "the peer breaks a rule", free: func(_ *testing.T, p *rawPeer) { p.window(0, 0) }},
		{name: "the window of the stream overflows", free: func(_ *testing.T, p *rawPeer) {
			p.window(1, 1<<31-1)
			p.window(1, 1<<31-1)
		}, alive: true},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				failed := make(chan error, 2)
				s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
					if c.deadline > 0 {
						if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(c.deadline)); err != nil {
							failed <- err
							return
						}
					}
					endless(new(atomic.Int64), failed)(w, r)
				}, func(s *http.Server, _ *h2.ServerConfig) { s.WriteTimeout = c.timeout })
				p := dial(t, s, stalled)
				p.get(1)
				synctest.Wait()
				if s.running.Load() != 1 {
					t.Fatal("got a handler that ended, want one that waits for its window")
				}
				began := time.Now()
				if c.free != nil {
					c.free(t, p)
				}
				err := receive(t, "the end of the handler's wait", failed)
				within(t, "the handler's wait", time.Since(began), 0, c.deadline+c.timeout)
				if c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("got error %v, want %v", err, c.is)
				}
				if c.alive {
					p.wantAlive()
				}
			})
		})
	}
}

// TestServerDeafPeerFreesHandlers stops reading in the middle of answers. The
// handlers are held no longer than two write timeouts: in the first the network has
// taken some.
func TestServerDeafPeerFreesHandlers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		failed := make(chan error, 10)
		var taken atomic.Int64
		s := startServer(t, endless(&taken, failed))
		p := connect(t, s, true)
		p.preface(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		p.window(0, 1<<30)
		for id := uint32(1); id < 20; id += 2 {
			p.get(id)
		}
		synctest.Wait()
		if n := s.running.Load(); n != 10 {
			t.Fatalf("got %d handlers, want 10 that wait for the peer to read", n)
		}
		wantAtMost(t, "bytes buffered", taken.Load(), socketBuffer+10*streamBuffer+1<<20)
		began := time.Now()
		for range 10 {
			receive(t, "the end of a handler's wait", failed)
		}
		within(t, "the handlers' wait", time.Since(began), writePatience/2, 2*writePatience+time.Second)
	})
}

// TestServerSlowReader reads one window at a time, more slowly than any write
// timeout: a peer that takes something now and then is not deaf.
func TestServerSlowReader(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		const size, piece = 20_000, 1000
		s := startServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, size)) })
		p := dial(t, s, stalled)
		p.get(1)
		got := 0
		for done := false; !done; {
			p.window(1, piece)
			for granted := piece; granted > 0 && !done; {
				f := p.await("DATA", func(f *frame) bool { return f.Type == http2.FrameData || isReset(f, 1) || isGoAway(f) })
				if f.Type != http2.FrameData {
					t.Fatalf("got %v with %v after %d bytes, want DATA", f, f.code, got)
				}
				got += len(f.data)
				granted -= len(f.data)
				if done = f.ended() || got == size; granted < 0 {
					t.Fatalf("got %d bytes more than the window, want none", -granted)
				}
			}
			time.Sleep(writePatience - time.Second)
		}
		if got != size {
			t.Errorf("got %d bytes, want %d", got, size)
		}
	})
}
