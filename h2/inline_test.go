// SPDX-License-Identifier: Apache-2.0

// Handlers that the reading goroutine runs: those that are quick, and what becomes
// of the connection when one is not.

package h2_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

const (
	inlineBy   = 40                   // requests, one after the other: by then they run inline
	inlineWait = 3 * time.Millisecond // by then another goroutine reads
	restAtOnce = 1000                 // requests on workers after the first handler that blocks
)

// readsFrames reports whether the reading goroutine has called this.
func readsFrames() bool {
	var callers [64]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, ".(*conn).readFrames") {
			return true
		}
		if !more {
			return false
		}
	}
}

// tellsInline makes a handler tell in "x-inline" where it ran, and answer at once
// unless the request has "x-do".
func tellsInline(do http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if readsFrames() {
			w.Header().Set("X-Inline", "yes")
		}
		if r.Header.Get("X-Do") != "" {
			do(w, r)
			return
		}
		answerOK(w, r)
	}
}

// An inlinePeer is on a connection whose requests run inline.
type inlinePeer struct {
	*rawPeer
	server *testServer
	next   uint32 // stream
}

// startInline starts a server and makes quick requests until they run inline. Those
// with "x-do" are for the handler.
func startInline(t *testing.T, do http.HandlerFunc, configure ...func(*http.Server, *h2.ServerConfig)) *inlinePeer {
	t.Helper()
	s := startServer(t, tellsInline(do), configure...)
	p := &inlinePeer{dial(t, s), s, 1}
	if n := p.untilInline(inlineBy); n < 16 {
		t.Fatalf("got request %d inline, want some on workers first", n)
	}
	return p
}

// request makes a request and reports whether it ran inline.
func (p *inlinePeer) request() bool {
	p.t.Helper()
	p.get(p.next)
	a := p.wantAnswer(p.next, "200")
	p.next += 2
	return field(a.header, "x-inline") == "yes"
}

// untilInline makes requests until one runs inline, and returns how many did not.
func (p *inlinePeer) untilInline(most int) int {
	p.t.Helper()
	for n := range most {
		if p.request() {
			return n
		}
	}
	p.t.Fatalf("got %d requests on workers, want one inline by then", most)
	return most
}

// batch sends requests in one piece, with the values of "x-do". It returns their
// streams.
func (p *inlinePeer) batch(dos ...string) []uint32 {
	var b bytes.Buffer
	ids := p.requests(http2.NewFramer(&b, nil), dos...)
	p.bytes(b.String())
	return ids
}

// requests writes what batch sends.
func (p *inlinePeer) requests(w *http2.Framer, dos ...string) (ids []uint32) {
	for _, do := range dos {
		_ = w.WriteHeaders(http2.HeadersFrameParam{
			StreamID: p.next, EndStream: true, EndHeaders: true,
			BlockFragment: p.encode(append(requestHead("GET"), "x-do", do)...),
		})
		ids = append(ids, p.next)
		p.next += 2
	}
	return ids
}

// TestInlineBatch expects the answers of a batch in one write, whatever the bodies of
// its requests.
func TestInlineBatch(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := startInline(t, nil)
		synctest.Wait()
		before := p.conn.arrivals()
		for _, id := range p.batch("", "", "", "", "") {
			if a := p.wantAnswer(id, "200"); field(a.header, "x-inline") == "" || string(a.body) != "ok" {
				t.Errorf("stream %d: got body %q from a worker, want \"ok\" inline", id, a.body)
			}
		}
		synctest.Wait()
		if n := p.conn.arrivals() - before; n != 1 {
			t.Errorf("got %d writes for the answers of a batch, want 1", n)
		}
	})
}

// TestInlineWhich makes requests that are not for the reading goroutine.
func TestInlineWhich(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := startInline(t, nil)
		p.post(p.next)
		synctest.Wait()
		p.data(p.next, true, []byte("late"))
		if a := p.wantAnswer(p.next, "200"); field(a.header, "x-inline") != "" {
			t.Error("got a request inline whose body was still to come, want it on a worker")
		}
		p.next += 2
		var large []string
		for range 10 {
			large = append(large, "x-large", strings.Repeat("x", 7<<10))
		}
		p.get(p.next, large...)
		p.wantAnswer(p.next, "431")
		p.next += 2
		if !p.request() {
			t.Error("got the next request on a worker, want it inline")
		}
	})
}

// TestInlineCold makes requests that come seldom: nothing has to look after them.
func TestInlineCold(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := &inlinePeer{dial(t, startServer(t, tellsInline(nil))), nil, 1}
		for range 3 * inlineBy {
			if p.request() {
				t.Fatal("got a request inline, want all on workers")
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
}

// TestInlineSlow has a handler that always takes a while.
func TestInlineSlow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := &inlinePeer{dial(t, startServer(t, tellsInline(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(300 * time.Microsecond)
			answerOK(w, r)
		}))), nil, 1}
		for range 3 * inlineBy {
			for _, id := range p.batch("sleep") {
				if a := p.wantAnswer(id, "200"); field(a.header, "x-inline") != "" {
					t.Fatal("got a slow request inline, want all on workers")
				}
			}
		}
	})
}

// TestInlineBlocks has a handler that was always quick block: its neighbours and the
// connection go on, and it may take its time.
func TestInlineBlocks(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		held := newGate(t)
		p := startInline(t, func(w http.ResponseWriter, r *http.Request) {
			held.wait()
			answerOK(w, r)
		})
		rest := restAtOnce
		for range 2 {
			began := time.Now()
			ids := p.batch("", "block", "", "block")
			p.wantAnswer(ids[0], "200")
			p.wantAnswer(ids[2], "200")
			p.wantAlive()
			within(t, "the time until another goroutine reads", time.Since(began), 0, inlineWait)
			if p.request() {
				t.Error("got a request inline right after one that blocked, want it on a worker")
			}
			held.pass()
			held.pass()
			p.wantAnswer(ids[1], "200")
			p.wantAnswer(ids[3], "200")
			if n := p.untilInline(rest + inlineBy); n < rest-4 {
				t.Errorf("got %d requests on workers after one that blocked, want %d", n, rest)
			}
			rest *= 2
		}
	})
}

// TestInlineGathered has the last handler of a batch block: the answers before it leave
// without it.
func TestInlineGathered(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		held := newGate(t)
		p := startInline(t, func(http.ResponseWriter, *http.Request) { held.wait() })
		began := time.Now()
		ids := p.batch("", "block")
		p.wantAnswer(ids[0], "200")
		within(t, "the time until the answer", time.Since(began), 0, inlineWait)
		held.open()
		p.wantAnswer(ids[1], "200")
	})
}

// TestInlineReaders has a handler block that came in one piece with DATA for another,
// which need not wait for it.
func TestInlineReaders(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		held := newGate(t)
		p := startInline(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Do") == "block" {
				held.wait()
				return
			}
			buf := make([]byte, 10)
			n, _ := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = http.NewResponseController(w).Flush()
		})
		reads := p.next
		p.next += 2
		p.post(reads, "x-do", "read")
		synctest.Wait()
		began := time.Now()
		var b bytes.Buffer
		w := http2.NewFramer(&b, nil)
		_ = w.WriteData(reads, false, []byte("body"))
		p.requests(w, "block")
		p.bytes(b.String())
		f := p.await("DATA", func(f *frame) bool { return f.StreamID == reads && f.Type == http2.FrameData })
		if string(f.data) != "body" {
			t.Errorf("got %q, want \"body\"", f.data)
		}
		within(t, "the time until the reader has its body", time.Since(began), 0, 0)
	})
}

// TestInlineRendezvous has two handlers of one batch wait for each other.
func TestInlineRendezvous(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		meet := make(chan string)
		p := startInline(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Do") == "say" {
				meet <- "hello"
			} else {
				_, _ = io.WriteString(w, <-meet)
			}
		})
		ids := p.batch("hear", "", "say")
		for i, want := range []string{"hello", "ok", ""} {
			if a := p.wantAnswer(ids[i], "200"); string(a.body) != want {
				t.Errorf("stream %d: got body %q, want %q", ids[i], a.body, want)
			}
		}
	})
}

// TestInlineWindow has a handler wait for the peer's window. Its goroutine must not be the
// reading one meanwhile, or no goroutine would read the WINDOW_UPDATE. That takes no tick.
func TestInlineWindow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		const size = 100_000
		p := startInline(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, size))
		})
		began := time.Now()
		ids := p.batch("", "large", "")
		p.wantAnswer(ids[0], "200")
		p.wantAlive()
		p.window(0, size)
		p.window(ids[1], size)
		if a := p.wantAnswer(ids[1], "200"); len(a.body) != size || field(a.header, "x-inline") == "" {
			t.Errorf("got %d bytes, inline %q, want %d inline", len(a.body), field(a.header, "x-inline"), size)
		}
		p.wantAnswer(ids[2], "200")
		within(t, "the time for all", time.Since(began), 0, 0)
	})
}

// TestInlineFlush expects what a handler flushes while it runs.
func TestInlineFlush(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		held := newGate(t)
		p := startInline(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			held.wait()
			_, _ = io.WriteString(w, "last")
		})
		began := time.Now()
		id := p.batch("flush")[0]
		f := p.await("DATA", func(f *frame) bool { return f.StreamID == id && f.Type == http2.FrameData })
		within(t, "the time until the flush is seen", time.Since(began), 0, 0)
		if string(f.data) != "first" || f.ended() {
			t.Errorf("got %q, want \"first\" and the stream open", f.data)
		}
		held.open()
		if a := p.answer(id); string(a.body) != "last" {
			t.Errorf("got %q after the flush, want \"last\"", a.body)
		}
	})
}

// TestInlinePaths makes requests for more paths than are kept.
func TestInlinePaths(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		const kept = 64
		p := dial(t, startServer(t, tellsInline(nil)))
		id, inline := uint32(1), 0
		for n := range kept + 10 {
			was := ""
			for range inlineBy {
				p.headers(id, true, ":method", "GET", ":scheme", "http", ":path", "/"+strconv.Itoa(n), ":authority", "server.test")
				was = field(p.wantAnswer(id, "200").header, "x-inline")
				id += 2
			}
			if was != "" {
				inline++
			}
		}
		if inline != kept {
			t.Errorf("got requests for %d paths inline, want %d", inline, kept)
		}
	})
}

// TestInlineSockets has callers over sockets, whose requests block now and then.
func TestInlineSockets(t *testing.T) {
	overSockets(t, func(t *testing.T, how way) {
		var inline atomic.Int64
		s := startSocketServer(t, how, func(w http.ResponseWriter, r *http.Request) {
			if readsFrames() {
				inline.Add(1)
			}
			if r.Header.Get("X-Do") != "" {
				time.Sleep(5 * time.Millisecond)
			}
			_, _ = io.WriteString(w, r.Header.Get("X-Say"))
		}, nil)
		client, url := s.client(t, how)
		call := func(n int, do string) error {
			body := fmt.Sprint("body ", n)
			request, err := http.NewRequest("GET", url, nil) // net/http sends bodies after the head
			if err != nil {
				return err
			}
			request.Header.Set("X-Say", body)
			if do != "" {
				request.Header.Set("X-Do", do)
			}
			res, err := client.Do(request)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			got, err := io.ReadAll(res.Body)
			if err == nil && string(got) != body {
				return fmt.Errorf("got body %q, want %q", got, body)
			}
			return err
		}
		var calls sync.WaitGroup
		for caller := range 8 {
			calls.Go(func() {
				for n := range 500 {
					do := ""
					if n == 250 && caller < 2 {
						do = "block"
					}
					if err := call(n, do); err != nil {
						t.Errorf("caller %d, request %d: %v", caller, n, err)
						return
					}
				}
			})
		}
		calls.Wait()
		t.Logf("%d of %d requests ran inline", inline.Load(), s.started.Load()) // as quick as the machine is
	})
}
