// SPDX-License-Identifier: Apache-2.0

// Handlers on the reading goroutine, and the end: of the handler's goroutine, of the
// connection, and of the server.

package h2_test

import (
	"bytes"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// TestInlineGone has handlers that do not return as they should. The neighbours are
// answered.
func TestInlineGone(t *testing.T) {
	t.Parallel()
	for what, leave := range map[string]func(){
		"panic":           func() { panic("the reason") },
		"ErrAbortHandler": func() { panic(http.ErrAbortHandler) },
		"Goexit":          runtime.Goexit,
	} {
		bubble(t, func(t *testing.T) {
			inline := false
			p := startInline(t, func(http.ResponseWriter, *http.Request) {
				inline = readsFrames()
				leave()
			})
			began := time.Now()
			ids := p.batch("", "leave", "")
			p.wantAnswer(ids[0], "200")
			p.wantReset(ids[1], http2.ErrCodeInternal)
			p.wantAnswer(ids[2], "200")
			p.wantAlive()
			within(t, what+": the time for all", time.Since(began), 0, 0)
			if !inline {
				t.Errorf("%s: got it on a worker, want it inline", what)
			}
			p.untilInline(restAtOnce + inlineBy)
			p.batch("leave") // the connection ends with the test
		})
	}
}

// TestInlineHookPanics has ConnState panic on the reading goroutine: that ends the
// connection, as on the goroutine of net/http.
func TestInlineHookPanics(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		var bad atomic.Bool
		var logged bytes.Buffer
		p := startInline(t, nil, func(s *http.Server, _ *h2.ServerConfig) {
			s.ErrorLog = log.New(&logged, "", 0)
			s.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateIdle && bad.Load() {
					panic("the reason")
				}
			}
		})
		bad.Store(true)
		p.batch("")
		p.wantClosed()
		synctest.Wait()
		if !strings.Contains(logged.String(), "the reason") {
			t.Errorf("got log %.200q, want the panic", logged.String())
		}
	})
}

// TestInlineClosed ends the connection while a handler blocks inline: its context
// ends, and net/http has its goroutine back even if the handler does not care.
func TestInlineClosed(t *testing.T) {
	t.Parallel()
	for _, byPeer := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			held := newGate(t)
			var done, closed atomic.Bool
			p := startInline(t, func(_ http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				done.Store(true)
				held.wait()
			}, func(s *http.Server, _ *h2.ServerConfig) {
				s.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateClosed {
						closed.Store(true)
					}
				}
			})
			p.batch("block", "", "block")
			synctest.Wait()
			if n := p.server.running.Load(); n != 1 {
				t.Errorf("got %d handlers, want 1: the others wait for a tick", n)
			}
			if byPeer {
				_ = p.conn.Close()
			} else {
				_ = p.server.Close()
			}
			time.Sleep(inlineWait)
			synctest.Wait()
			if !done.Load() || !closed.Load() {
				t.Errorf("closed by the peer %t: got context done %t, connection over %t, want both", byPeer, done.Load(), closed.Load())
			}
			held.open()
			synctest.Wait()
			if n := p.server.running.Load(); n != 0 {
				t.Errorf("got %d handlers, want none", n)
			}
		})
	}
}

// TestInlineShutdown ends the server gracefully while a handler blocks inline.
func TestInlineShutdown(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		held := newGate(t)
		p := startInline(t, func(w http.ResponseWriter, r *http.Request) {
			held.wait()
			answerOK(w, r)
		})
		id := p.batch("block")[0]
		synctest.Wait()
		done := shutdown(p.server, t.Context())
		for _, last := range []uint32{1<<31 - 1, id} {
			if f := p.await("GOAWAY", isGoAway); f.code != http2.ErrCodeNo || f.last != last {
				t.Errorf("got GOAWAY with %v, last stream %d, want NO_ERROR and %d", f.code, f.last, last)
			}
		}
		held.open()
		p.wantAnswer(id, "200")
		p.wantClosed()
		if err := receive(t, "the end of Shutdown", done); err != nil {
			t.Errorf("got %v from Shutdown, want nil", err)
		}
	})
}

// TestInlineLast has the last GOAWAY sent while a handler runs inline, which is the
// last of the connection: its answer comes before the end.
func TestInlineLast(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := startInline(t, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(100 * time.Microsecond) // less than a tick
			answerOK(w, r)
		})
		p.mute.Store(true)
		done := shutdown(p.server, t.Context())
		p.await("GOAWAY", isGoAway)
		probe := p.await("PING", func(f *frame) bool { return f.Type == http2.FramePing })
		var b bytes.Buffer
		w := http2.NewFramer(&b, nil)
		_ = w.WritePing(true, [8]byte(probe.data))
		id := p.requests(w, "sleep")[0]
		p.bytes(b.String())
		if a := p.wantAnswer(id, "200"); field(a.header, "x-inline") == "" {
			t.Error("got the last request on a worker, want it inline")
		}
		p.wantClosed()
		if err := receive(t, "the end of Shutdown", done); err != nil {
			t.Errorf("got %v from Shutdown, want nil", err)
		}
	})
}
