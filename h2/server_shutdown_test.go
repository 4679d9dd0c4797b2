// SPDX-License-Identifier: Apache-2.0

// Graceful ends: no request is lost, none is answered by two servers
// [RFC 9113, section 6.8].

package h2_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/seed-b7c59c10/connect/h2"
)

// shutdown begins a graceful end and returns where its result will be.
func shutdown(s *testServer, ctx context.Context) <-chan error {
	result := make(chan error, 1)
	go func() { result <- s.Shutdown(ctx) }()
	return result
}

// TestServerShutdown stops a server that has one request open, gets one while the
// first GOAWAY is under way, and one after the last.
func TestServerShutdown(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		held := newGate(t)
		s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
			held.wait()
			answerOK(w, r)
		})
		p := dial(t, s)
		p.mute.Store(true) // answers the PING when the test wants it
		p.post(1)
		synctest.Wait()
		done := shutdown(s, t.Context())
		first := p.await("GOAWAY", isGoAway)
		if first.code != http2.ErrCodeNo || first.last != 1<<31-1 {
			t.Errorf("got GOAWAY with %v, last stream %d first, want NO_ERROR and all streams", first.code, first.last)
		}
		p.get(3) // the client has not seen it yet
		probe := p.await("PING", func(f *frame) bool { return f.Type == http2.FramePing })
		p.get(5)
		synctest.Wait()
		if n := p.count(isGoAway); n != 0 {
			t.Fatal("got a second GOAWAY before the PING was answered, want none")
		}
		p.write(func(w *http2.Framer) error { return w.WritePing(true, [8]byte(probe.data)) })
		second := p.await("GOAWAY", isGoAway)
		if second.code != http2.ErrCodeNo || second.last != 5 {
			t.Errorf("got GOAWAY with %v, last stream %d, want NO_ERROR and 5", second.code, second.last)
		}
		p.get(7) // too late: a new server will have it
		synctest.Wait()
		if n := s.started.Load(); n != 3 {
			t.Errorf("got %d handlers, want 3", n)
		}
		select {
		case err := <-done:
			t.Fatalf("got %v from Shutdown while streams are open, want it to wait", err)
		default:
		}
		held.open()
		p.data(1, true, []byte("body"))
		for _, id := range []uint32{1, 3, 5} {
			p.wantAnswer(id, "200")
		}
		p.wantClosed()
		if err := receive(t, "the end of Shutdown", done); err != nil {
			t.Errorf("got %v from Shutdown, want nil", err)
		}
		if n := p.count(func(f *frame) bool { return f.StreamID == 7 && f.Type != http2.FrameRSTStream }); n != 0 {
			t.Errorf("got an answer on stream 7, want none: %s", p.story())
		}
	})
}

// TestServerShutdownFirst begins the graceful end of a connection before the server has
// sent its SETTINGS: they come first all the same [RFC 9113, section 3.4].
func TestServerShutdownFirst(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		active := newGate(t)
		s := startServer(t, answerOK, func(s *http.Server, _ *h2.ServerConfig) {
			s.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateActive {
					active.wait()
				}
			}
		})
		p := connect(t, s, false)
		p.preface()
		synctest.Wait()
		done := shutdown(s, t.Context())
		synctest.Wait()
		active.open()
		first := p.await("a frame", func(*frame) bool { return true })
		if first.Type != http2.FrameSettings {
			t.Errorf("got a first frame of type %v, want SETTINGS: %s", first.Type, p.story())
		}
		if f := p.await("GOAWAY", isGoAway); f.last != 1<<31-1 {
			t.Errorf("got GOAWAY with last stream %d, want the highest", f.last)
		}
		p.wantClosed()
		if err := receive(t, "the end of Shutdown", done); err != nil {
			t.Errorf("got %v from Shutdown, want nil", err)
		}
	})
}

// TestServerShutdownSilentPeer does not answer the PING: the server waits a
// second for it.
func TestServerShutdownSilentPeer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, answerOK)
		p := dial(t, s)
		p.mute.Store(true)
		p.post(1)
		synctest.Wait()
		began := time.Now()
		done := shutdown(s, t.Context())
		for _, want := range []uint32{1<<31 - 1, 1} {
			if f := p.await("GOAWAY", isGoAway); f.last != want || f.code != http2.ErrCodeNo {
				t.Errorf("got GOAWAY with %v, last stream %d, want %d", f.code, f.last, want)
			}
		}
		within(t, "the wait for the PING", time.Since(began), 0, time.Second)
		p.data(1, true, []byte("body"))
		p.wantAnswer(1, "200")
		p.wantClosed()
		if err := receive(t, "the end of Shutdown", done); err != nil {
			t.Errorf("got %v from Shutdown, want nil", err)
		}
	})
}

// TestServerShutdownLateStream sends a whole request after the final GOAWAY, as a client
// does that has not read it yet, and gives it up when it has. Nothing of that is a fault:
// the streams that were accepted run to their end, and DATA gives the window back.
func TestServerShutdownLateStream(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, answerOK)
		p := dial(t, s)
		p.post(1)
		synctest.Wait()
		done := shutdown(s, t.Context())
		for _, want := range []uint32{1<<31 - 1, 1} {
			if f := p.await("GOAWAY", isGoAway); f.last != want {
				t.Errorf("got GOAWAY with last stream %d, want %d", f.last, want)
			}
		}
		p.post(3)
		for range 9 << 20 / (16 << 10) { // more than the connection's window
			p.data(3, false, make([]byte, 16<<10))
			if !p.writable() {
				break
			}
			synctest.Wait()
		}
		p.window(3, 1)
		p.headers(3, true, "x", "trailer")
		p.reset(3, http2.ErrCodeCancel)
		p.wantAlive()
		p.data(1, true, []byte("body"))
		p.wantAnswer(1, "200")
		p.wantClosed()
		if err := receive(t, "the end of Shutdown", done); err != nil {
			t.Errorf("got %v from Shutdown, want nil", err)
		}
		if n := s.started.Load(); n != 1 {
			t.Errorf("got %d handlers, want 1", n)
		}
	})
}

// TestServerShutdownIdle ends connections that have nothing open, or never had.
func TestServerShutdownIdle(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			s := startServer(t, answerOK)
			p := dial(t, s)
			if before {
				p.wantWorks(1)
			}
			done := shutdown(s, t.Context())
			if f := p.await("GOAWAY", isGoAway); f.code != http2.ErrCodeNo {
				t.Errorf("got GOAWAY with %v, want NO_ERROR", f.code)
			}
			p.wantClosed()
			if err := receive(t, "the end of Shutdown", done); err != nil {
				t.Errorf("got %v from Shutdown, want nil", err)
			}
		})
	}
}

// TestServerShutdownContext ends the wait, not the streams; Close ends them.
func TestServerShutdownContext(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, untilGone)
		p := dial(t, s)
		p.get(1)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := receive(t, "the end of Shutdown", shutdown(s, ctx)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v from Shutdown, want context.DeadlineExceeded", err)
		}
		if n := s.running.Load(); n != 1 {
			t.Fatalf("got %d handlers after Shutdown gave up, want 1", n)
		}
		_ = s.Close()
		p.wantClosed()
		synctest.Wait()
		if n := s.running.Load(); n != 0 {
			t.Errorf("got %d handlers after Close, want none", n)
		}
	})
}

// TestServerShutdownLosesNothing stops a server under load. Every request whose
// stream the last GOAWAY covers is answered; no other has been handled.
func TestServerShutdownLosesNothing(t *testing.T) {
	t.Parallel()
	for _, stopAfter := range []int{0, 1, 10, 50, 200} {
		bubble(t, func(t *testing.T) {
			var mu sync.Mutex
			handled := make(map[string]bool)
			s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				handled[r.Header.Get("X-Stream")] = true
				mu.Unlock()
				time.Sleep(time.Millisecond)
				answerOK(w, r)
			})
			p := dial(t, s)
			var done <-chan error
			var sent []uint32
			id := uint32(1)
			for n := 0; p.writable() && n < 1000; n++ {
				if n == stopAfter {
					done = shutdown(s, t.Context())
				}
				p.get(id, "x-stream", strconv.Itoa(int(id)))
				sent = append(sent, id)
				id += 2
				if n%10 == 9 {
					time.Sleep(time.Millisecond)
				}
			}
			p.wantClosed()
			if err := receive(t, "the end of Shutdown", done); err != nil {
				t.Errorf("got %v from Shutdown, want nil", err)
			}
			last := uint32(1<<31 - 1)
			for {
				f, _ := p.take(isGoAway)
				if f == nil {
					break
				}
				if f.code != http2.ErrCodeNo || f.last > last {
					t.Errorf("got GOAWAY with %v, last stream %d after %d, want NO_ERROR, and no more streams than before", f.code, f.last, last)
				}
				last = f.last
			}
			answered := 0
			for _, id := range sent {
				ended := p.count(func(f *frame) bool { return f.StreamID == id && f.ended() }) == 1
				refused := p.count(func(f *frame) bool { return isReset(f, id) && f.code == http2.ErrCodeRefusedStream }) == 1
				was := handled[strconv.Itoa(int(id))]
				switch {
				case ended != was:
					t.Errorf("stream %d, last is %d: answered %t, handled %t", id, last, ended, was)
				case id <= last && !ended && !refused:
					t.Errorf("stream %d, last is %d: got neither an answer nor a refusal", id, last)
				}
				if ended {
					answered++
				}
			}
			if answered < stopAfter {
				t.Errorf("got %d answers, want those of the %d requests before the end at least", answered, stopAfter)
			}
		})
	}
}
