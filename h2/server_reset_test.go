// SPDX-License-Identifier: Apache-2.0

// Streams that end early, many times: by the peer's RST_STREAM (rapid reset,
// CVE-2023-44487), or by ours that the peer provokes (MadeYouReset,
// CVE-2025-8671).

package h2_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

const (
	controlBurst = 1000 // early ends, and control frames of each kind, without a pause
	controlRate  = 100  // and more of them each second
	handlerLimit = 250  // handlers of one connection at a time
)

func TestServerRapidReset(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"before the answer": untilGone,
		"after the header": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"answered at once": answerOK, // the reset may be late: the bucket may not notice, the handlers stay bounded
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, handler)
				p := dial(t, s)
				for id := uint32(1); id < 10*controlBurst && p.writable(); id += 2 {
					p.post(id)
					p.reset(id, http2.ErrCodeCancel)
				}
				f := p.wantGoAway(http2.ErrCodeEnhanceYourCalm)
				most := int64(controlBurst + 1) // the handler of the stream that exceeds the bucket may have begun
				if name == "after the header" { // a response that has begun before the reset spares the token
					most += int64(p.count(func(f *frame) bool { return f.Type == http2.FrameHeaders }))
				}
				wantAtMost(t, "handlers started", s.started.Load(), most)
				wantAtMost(t, "handlers at a time", s.peak.Load(), handlerLimit)
				if int64(f.last) < 2*s.started.Load()-1 {
					t.Errorf("got last stream %d in GOAWAY, want that of the last of %d handlers", f.last, s.started.Load())
				}
			})
		})
	}
}

// TestServerResetBudget spends the budget to its last token, waits, and spends
// what has come back.
func TestServerResetBudget(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, untilGone)
		p := dial(t, s)
		id := uint32(1)
		spend := func(n int) {
			for range n {
				p.post(id)
				p.reset(id, http2.ErrCodeCancel)
				id += 2
				synctest.Wait() // for the handler to end: no stream is to be refused
			}
		}
		spend(controlBurst)
		p.wantAlive()
		time.Sleep(2 * time.Second)
		spend(2 * controlRate)
		p.wantAlive()
		spend(2)
		p.wantGoAway(http2.ErrCodeEnhanceYourCalm)
		wantAtMost(t, "handlers started", s.started.Load(), controlBurst+2*controlRate+1)
	})
}

// TestServerResetBudgetConfigured checks that the two numbers can be set.
func TestServerResetBudgetConfigured(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, untilGone, func(_ *http.Server, c *h2.ServerConfig) {
			c.ControlBurst, c.ControlRate = 5, 1
		})
		p := dial(t, s)
		id := uint32(1)
		spend := func(n int) {
			for range n {
				p.post(id)
				p.reset(id, http2.ErrCodeCancel)
				id += 2
			}
			synctest.Wait()
		}
		spend(5)
		p.wantAlive()
		time.Sleep(3 * time.Second)
		spend(3)
		p.wantAlive()
		spend(2)
		p.wantGoAway(http2.ErrCodeEnhanceYourCalm)
	})
}

// TestServerResetsGoAwayLast checks that the GOAWAY of a server which ends a connection
// for its resets has the last stream that the server had accepted.
func TestServerResetsGoAwayLast(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, untilGone)
		p := dial(t, s)
		p.get(1)
		p.get(3)
		id := uint32(5)
		for ; id < 10*controlBurst && p.writable(); id += 2 {
			p.post(id)
			p.reset(id, http2.ErrCodeCancel)
		}
		f := p.wantGoAway(http2.ErrCodeEnhanceYourCalm)
		if int64(f.last) < 2*s.started.Load()-1 || f.last >= id {
			t.Errorf("got last stream %d in GOAWAY after %d handlers, want the highest accepted one below %d",
				f.last, s.started.Load(), id)
		}
		synctest.Wait()
		if n := s.running.Load(); n != 0 {
			t.Errorf("got %d handlers that run after the end of their connection, want none", n)
		}
	})
}

// A provocation makes the server reset a stream.
type provocation struct {
	name    string
	handled bool // the handler has started by then
	do      func(p *rawPeer, id uint32)
}

var provocations = []provocation{
	{"WINDOW_UPDATE of 0", true, func(p *rawPeer, id uint32) {
		p.post(id)
		p.window(id, 0)
	}},
	{"WINDOW_UPDATE beyond 2^31-1", true, func(p *rawPeer, id uint32) {
		p.post(id)
		p.window(id, 1<<31-1)
	}},
	{"DATA after END_STREAM", true, func(p *rawPeer, id uint32) {
		p.get(id)
		p.data(id, false, []byte("more"))
	}},
	{"HEADERS after END_STREAM", true, func(p *rawPeer, id uint32) {
		p.get(id)
		p.headers(id, true, "x-more", "yes")
	}},
	{"more DATA than content-length", true, func(p *rawPeer, id uint32) {
		p.post(id, "content-length", "1")
		p.data(id, false, []byte("more"))
	}},
	{"less DATA than content-length", true, func(p *rawPeer, id uint32) {
		p.post(id, "content-length", "10")
		p.data(id, true, []byte("less"))
	}},
	{"trailers with a pseudo-header field", true, func(p *rawPeer, id uint32) {
		p.post(id)
		p.headers(id, true, ":path", "/")
	}},
	{"trailers without END_STREAM", true, func(p *rawPeer, id uint32) {
		p.post(id)
		p.headers(id, false, "x-trailer", "yes")
	}},
	{"PRIORITY on itself", true, func(p *rawPeer, id uint32) {
		p.post(id)
		p.priority(id, id)
	}},
	{"PRIORITY of four bytes", true, func(p *rawPeer, id uint32) {
		p.post(id)
		p.raw(http2.FramePriority, 0, id, "\x00\x00\x00\x00")
	}},
	{"HEADERS that depends on itself", false, func(p *rawPeer, id uint32) {
		p.write(func(w *http2.Framer) error {
			return w.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: true,
				BlockFragment: p.encode(requestHead("GET")...), Priority: http2.PriorityParam{StreamDep: id}})
		})
	}},
	{"a name in capitals", false, func(p *rawPeer, id uint32) { p.get(id, "X-Capital", "yes") }},
	{"no :path", false, func(p *rawPeer, id uint32) { p.headers(id, true, ":method", "GET", ":scheme", "http") }},
	{"connection: close", false, func(p *rawPeer, id uint32) { p.get(id, "connection", "close") }},
}

// TestServerMadeYouReset provokes one reset after the other. Each is an error of
// its stream; together they end the connection before they have started more
// handlers than the budget has tokens.
func TestServerMadeYouReset(t *testing.T) {
	t.Parallel()
	for _, c := range provocations {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, untilGone)
				p := dial(t, s)
				sent := 0
				for id := uint32(1); id < 10*controlBurst && p.writable(); id += 2 {
					c.do(p, id)
					sent++
				}
				f := p.await("GOAWAY", isGoAway)
				p.wantClosed()
				resets := p.count(func(f *frame) bool { return f.Type == http2.FrameRSTStream })
				if f.code != http2.ErrCodeEnhanceYourCalm || resets == 0 {
					t.Errorf("got GOAWAY with %v (%s) after %d offences and %d resets, want %v",
						f.code, f.data, sent, resets, http2.ErrCodeEnhanceYourCalm)
				}
				wantAtMost(t, "resets", int64(resets), controlBurst+1)
				wantAtMost(t, "handlers started", s.started.Load(), controlBurst+1)
				wantAtMost(t, "handlers at a time", s.peak.Load(), handlerLimit)
				if !c.handled && s.started.Load() > 0 {
					t.Errorf("got %d handlers of malformed requests, want none", s.started.Load())
				}
				synctest.Wait()
				if n := s.running.Load(); n != 0 {
					t.Errorf("got %d handlers that run after the end of their connection, want none", n)
				}
			})
		})
	}
}

// TestServerMadeYouResetNeighbours checks that one provoked reset is a stream's
// affair: its handler learns of it, its neighbour does not.
func TestServerMadeYouResetNeighbours(t *testing.T) {
	t.Parallel()
	for _, c := range provocations {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				gone := make(chan string, 2)
				s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("X-Neighbour") != "" {
						answerOK(w, r)
						return
					}
					<-r.Context().Done()
					gone <- r.Method
				})
				p := dial(t, s)
				p.post(1, "x-neighbour", "yes")
				c.do(p, 3)
				f := p.await("RST_STREAM", func(f *frame) bool { return isReset(f, 3) || isGoAway(f) })
				if f.Type == http2.FrameGoAway {
					t.Fatalf("got GOAWAY with %v (%s), want RST_STREAM", f.code, f.data)
				}
				if c.handled {
					receive(t, "the end of the request's context", gone)
				}
				p.data(1, true, []byte("body"))
				p.wantAnswer(1, "200")
				p.wantAlive()
			})
		})
	}
}

// TestServerNoResetForReset checks that the server does not answer a RST_STREAM
// with one [RFC 9113, section 5.4.2].
func TestServerNoResetForReset(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		for _, body := range []bool{false, true} {
			s := startServer(t, untilGone)
			p := dial(t, s)
			if body {
				p.post(1)
				p.data(1, false, []byte("body"))
			} else {
				p.get(1)
			}
			synctest.Wait()
			p.reset(1, http2.ErrCodeCancel)
			p.reset(1, http2.ErrCodeCancel)
			p.wantAlive()
			synctest.Wait()
			if n := p.count(func(f *frame) bool { return isReset(f, 1) }); n != 0 {
				t.Errorf("body %t: got %d RST_STREAM, want none", body, n)
			}
			if n := s.running.Load(); n != 0 {
				t.Errorf("body %t: got %d handlers after the reset, want none", body, n)
			}
		}
	})
}

// TestServerHandlerLimit fills a connection with handlers that do not heed their
// context, resets their streams, and finds the limit unmoved until one returns. The
// refusals cost the client no tokens, because its own count of streams is within the limit.
func TestServerHandlerLimit(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		held := newGate(t)
		s := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
			held.wait()
			_, _ = fmt.Fprint(w, "done")
		})
		p := dial(t, s)
		if i := slices.IndexFunc(p.greets, func(s http2.Setting) bool { return s.ID == http2.SettingMaxConcurrentStreams }); i < 0 || p.greets[i].Val != handlerLimit {
			t.Fatalf("got settings %v, want SETTINGS_MAX_CONCURRENT_STREAMS of %d", p.greets, handlerLimit)
		}
		id := uint32(1)
		for range handlerLimit {
			p.get(id)
			id += 2
		}
		p.wantAlive()
		synctest.Wait() // for all handlers to run
		p.get(id)
		p.wantReset(id, http2.ErrCodeRefusedStream)
		id += 2
		time.Sleep(time.Second) // callers' deadlines pass
		for reset := uint32(1); reset < 2*handlerLimit; reset += 2 {
			p.reset(reset, http2.ErrCodeCancel)
		}
		for range 2 * controlBurst {
			p.get(id)
			p.wantReset(id, http2.ErrCodeRefusedStream)
			id += 2
		}
		if n := s.started.Load(); n != handlerLimit {
			t.Fatalf("got %d handlers, want %d", n, handlerLimit)
		}
		held.pass()
		synctest.Wait()
		p.get(id)
		p.wantAlive()
		synctest.Wait()
		if n := s.started.Load(); n != handlerLimit+1 {
			t.Errorf("got %d handlers after one had returned, want %d", n, handlerLimit+1)
		}
		held.open()
		p.wantAnswer(id, "200")
		p.wantWorks(id + 2)
		wantAtMost(t, "handlers at a time", s.peak.Load(), handlerLimit)
	})
}

// TestServerUnseenHandlers has a connection full of handlers whose callers have given up,
// and then attacks it. Streams that the client opens and resets cost tokens although the
// server has refused them. Streams that it only opens have a bucket ten times as large.
func TestServerUnseenHandlers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		resets bool
		most   int // refusals
	}{
		"open and reset": {true, controlBurst},
		"open":           {false, 10 * controlBurst},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newGate(t)
				s := startServer(t, func(http.ResponseWriter, *http.Request) { g.wait() })
				p := dial(t, s)
				id := uint32(1)
				for range handlerLimit {
					p.get(id)
					id += 2
				}
				time.Sleep(time.Second)
				for reset := uint32(1); reset < id; reset += 2 {
					p.reset(reset, http2.ErrCodeCancel)
				}
				for range c.most + 1 {
					p.get(id)
					if c.resets {
						p.reset(id, http2.ErrCodeCancel)
					}
					if id += 2; id == uint32(2*(handlerLimit+c.most))+1 {
						p.wantAlive()
					}
				}
				p.wantGoAway(http2.ErrCodeEnhanceYourCalm)
				wantAtMost(t, "handlers started", s.started.Load(), handlerLimit)
				g.open()
			})
		})
	}
}

// TestServerHandlerLimitExceeded opens more streams than the limit, again and again: each
// costs a token.
func TestServerHandlerLimitExceeded(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := dial(t, startServer(t, untilGone))
		id := uint32(1)
		for range handlerLimit + controlBurst {
			p.get(id)
			id += 2
		}
		p.wantAlive()
		p.get(id)
		p.wantGoAway(http2.ErrCodeEnhanceYourCalm)
	})
}
