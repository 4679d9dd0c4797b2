// SPDX-License-Identifier: Apache-2.0

// Streams: their numbers, their states, and what may come late
// [RFC 9113, section 5.1].

package h2_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
)

// TestServerStreamNumbers sends frames on streams that no peer may use: each is
// an error of the connection, of type PROTOCOL_ERROR or, for a stream that is
// closed, STREAM_CLOSED [RFC 9113, section 5.1.1].
func TestServerStreamNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(p *rawPeer)
	}{
		{"HEADERS on an even stream", func(p *rawPeer) { p.get(2) }},
		{"HEADERS on stream 0", func(p *rawPeer) { p.get(0) }},
		{"HEADERS on a skipped stream", func(p *rawPeer) {
			p.wantWorks(9)
			p.get(7)
		}},
		{"HEADERS on a closed stream", func(p *rawPeer) {
			p.wantWorks(9)
			p.get(9)
		}},
		{"DATA on an idle stream", func(p *rawPeer) { p.data(11, false, []byte("x")) }},
		{"DATA on an even stream", func(p *rawPeer) {
			p.wantWorks(9)
			p.data(2, false, []byte("x"))
		}},
		{"DATA on stream 0", func(p *rawPeer) { p.data(0, false, []byte("x")) }},
		{"RST_STREAM on an idle stream", func(p *rawPeer) { p.reset(11, http2.ErrCodeCancel) }},
		{"RST_STREAM on an even stream", func(p *rawPeer) {
			p.wantWorks(9)
			p.reset(2, http2.ErrCodeCancel)
		}},
		{"WINDOW_UPDATE on an idle stream", func(p *rawPeer) { p.window(11, 1) }},
		{"WINDOW_UPDATE on an even stream", func(p *rawPeer) {
			p.wantWorks(9)
			p.window(2, 1)
		}},
		{"PRIORITY on stream 0", func(p *rawPeer) { p.priority(0, 1) }},
		{"CONTINUATION on an idle stream", func(p *rawPeer) { p.raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 11, "") }},
		{"SETTINGS on a stream", func(p *rawPeer) { p.raw(http2.FrameSettings, 0, 1, "") }},
		{"PING on a stream", func(p *rawPeer) { p.raw(http2.FramePing, 0, 1, "12345678") }},
		{"GOAWAY on a stream", func(p *rawPeer) { p.raw(http2.FrameGoAway, 0, 1, "12345678") }},
		{"PUSH_PROMISE on a stream", func(p *rawPeer) {
			p.post(11)
			p.raw(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 11, "\x00\x00\x00\x02"+string(p.encode(requestHead("GET")...)))
		}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, answerOK)
				p := dial(t, s)
				c.do(p)
				p.wantGoAway(http2.ErrCodeProtocol, http2.ErrCodeStreamClosed)
			})
		})
	}
}

// TestServerLastStreamNumber uses the highest number that there is.
func TestServerLastStreamNumber(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := dial(t, startServer(t, answerOK))
		p.wantWorks(1<<31 - 1)
		p.wantAlive()
		p.get(1)
		if f := p.wantGoAway(http2.ErrCodeProtocol, http2.ErrCodeStreamClosed); f.last != 1<<31-1 {
			t.Errorf("got last stream %d in GOAWAY, want %d", f.last, 1<<31-1)
		}
	})
}

// TestServerReservedBit checks that the bit before a stream's number is
// ignored [RFC 9113, section 4.1].
func TestServerReservedBit(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := dial(t, startServer(t, answerOK))
		p.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1|1<<31, string(p.encode(requestHead("POST")...)))
		p.raw(http2.FrameData, http2.FlagDataEndStream, 1|1<<31, "body")
		p.wantAnswer(1, "200")
	})
}

// TestServerStreamErrors sends frames that are an error of one stream, and of no
// other.
func TestServerStreamErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		code http2.ErrCode
		do   func(p *rawPeer)
	}{
		{"WINDOW_UPDATE of 0", http2.ErrCodeProtocol, func(p *rawPeer) {
			p.post(3)
			p.window(3, 0)
		}},
		{"WINDOW_UPDATE too large", http2.ErrCodeFlowControl, func(p *rawPeer) {
			p.post(3)
			p.window(3, 1<<31-1)
		}},
		{"DATA after END_STREAM", http2.ErrCodeStreamClosed, func(p *rawPeer) {
			p.get(3)
			p.data(3, false, []byte("x"))
		}},
		{"trailers after END_STREAM", http2.ErrCodeStreamClosed, func(p *rawPeer) {
			p.get(3)
			p.headers(3, true, "x-trailer", "yes")
		}},
		{"PRIORITY of four bytes", http2.ErrCodeFrameSize, func(p *rawPeer) {
			p.post(3)
			p.raw(http2.FramePriority, 0, 3, "1234")
		}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				held := newGate(t)
				s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("X-Neighbour") == "" {
						held.wait()
					}
					answerOK(w, r)
				})
				p := dial(t, s)
				p.post(1, "x-neighbour", "yes")
				c.do(p)
				p.wantReset(3, c.code)
				p.data(1, true, []byte("body"))
				p.wantAnswer(1, "200")
				p.wantAlive()
				if n := p.count(func(f *frame) bool { return f.StreamID == 3 }); n != 0 {
					t.Errorf("got %d frames after RST_STREAM, want none: %s", n, p.story())
				}
			})
		})
	}
}

// TestServerPriorityAnywhere sends PRIORITY in every state of a stream
// [RFC 9113, section 5.1].
func TestServerPriorityAnywhere(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := dial(t, startServer(t, answerOK))
		p.priority(1, 0)
		p.priority(2, 0)
		p.priority(99, 7)
		p.post(1)
		p.priority(1, 99)
		p.data(1, true, []byte("body"))
		p.priority(1, 0)
		p.wantAnswer(1, "200")
		p.priority(1, 0)
		p.get(3)
		p.reset(3, http2.ErrCodeCancel)
		p.priority(3, 0)
		p.wantAlive()
		p.wantWorks(5)
	})
}

// TestServerFramesAfterEnd sends on closed streams what may have been under way
// when they were closed: it is ignored [RFC 9113, section 5.1].
func TestServerFramesAfterEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		end     func(p *rawPeer)
		late    bool // DATA and trailers may be late as well
	}{
		{"answered", answerOK, func(p *rawPeer) { p.wantWorks(1) }, false},
		{"answered early", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, func(p *rawPeer) {
			p.post(1)
			p.wantAnswer(1, "403")
			p.wantReset(1, http2.ErrCodeNo)
		}, true},
		{"aborted", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, func(p *rawPeer) {
			p.post(1)
			f := p.await("RST_STREAM", func(f *frame) bool { return f.StreamID == 1 })
			if f.Type != http2.FrameRSTStream || f.code == http2.ErrCodeNo {
				p.t.Errorf("got %v with %v, want RST_STREAM with an error", f, f.code)
			}
		}, true},
		{"provoked", untilGone, func(p *rawPeer) {
			p.post(1)
			p.window(1, 0)
			p.wantReset(1, http2.ErrCodeProtocol)
		}, true},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				handler := func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("X-After") != "" {
						answerOK(w, r)
						return
					}
					c.handler(w, r)
				}
				p := dial(t, startServer(t, handler))
				c.end(p)
				if c.late {
					p.data(1, false, []byte("late"))
					p.window(1, 100)
					p.window(1, 0)
					p.priority(1, 0)
					p.headers(1, true, "x-trailer", "late")
				}
				p.window(1, 100)
				p.reset(1, http2.ErrCodeCancel)
				p.reset(1, http2.ErrCodeCancel)
				p.get(3, "x-after", "yes")
				p.wantAnswer(3, "200")
				p.wantAlive()
				if n := p.count(func(f *frame) bool { return f.StreamID == 1 }); n != 0 {
					t.Errorf("got %d frames on the closed stream, want none: %s", n, p.story())
				}
			})
		})
	}
}

// TestServerEarlyAnswer answers before the request has ended: the whole answer,
// then RST_STREAM with NO_ERROR to say that the rest is not needed
// [RFC 9113, section 8.1].
func TestServerEarlyAnswer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			_, _ = io.WriteString(w, "too large")
		})
		p := dial(t, s)
		p.post(1)
		p.data(1, false, make([]byte, 10_000))
		if a := p.wantAnswer(1, "413"); string(a.body) != "too large" {
			t.Errorf("got body %q, want all of it", a.body)
		}
		p.wantReset(1, http2.ErrCodeNo)
		p.wantWorksWith(3, "413")
	})
}

// TestServerLateFramesOfManyStreams answers as many requests early as there may
// be, while their bodies are under way. What is late is ignored, on all of them.
func TestServerLateFramesOfManyStreams(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		held := newGate(t)
		p := dial(t, startServer(t, func(w http.ResponseWriter, _ *http.Request) {
			held.wait()
			w.WriteHeader(http.StatusForbidden)
		}))
		for id := uint32(1); id < 2*handlerLimit; id += 2 {
			p.post(id)
		}
		p.wantAlive()
		held.open()
		for id := uint32(1); id < 2*handlerLimit; id += 2 {
			p.wantAnswer(id, "403")
			p.wantReset(id, http2.ErrCodeNo)
		}
		for id := uint32(1); id < 2*handlerLimit; id += 2 {
			p.data(id, false, []byte("late"))
			p.headers(id, true, "x-trailer", "late")
		}
		p.wantAlive()
		if n := p.count(func(f *frame) bool { return f.StreamID > 0 }); n != 0 {
			t.Errorf("got %d frames on streams that were reset, want none: %s", n, p.story())
		}
	})
}

// wantWorksWith is wantWorks with another status.
func (p *rawPeer) wantWorksWith(id uint32, status string) {
	p.t.Helper()
	p.get(id)
	p.wantAnswer(id, status)
}

// TestServerPeerGoesAway has the client say GOAWAY: it will take no streams from
// the server, which opens none anyway. What it has asked for is answered.
func TestServerPeerGoesAway(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		held := newGate(t)
		p := dial(t, startServer(t, func(w http.ResponseWriter, r *http.Request) {
			held.wait()
			answerOK(w, r)
		}))
		p.get(1)
		p.post(3)
		p.goAway(0, http2.ErrCodeNo)
		synctest.Wait()
		held.open()
		p.data(3, true, []byte("body"))
		p.wantAnswer(1, "200")
		p.wantAnswer(3, "200")
	})
}

// TestServerRequestsAtOnce sends many requests in one write, in the order of
// their numbers, and expects every answer.
func TestServerRequestsAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := dial(t, startServer(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("X-Number")) }))
		numbers := make(map[uint32]string)
		for id := uint32(1); id < 2*200; id += 2 {
			numbers[id] = strings.Repeat("n", int(id))
			p.get(id, "x-number", numbers[id])
		}
		for id, want := range numbers {
			if a := p.wantAnswer(id, "200"); string(a.body) != want {
				t.Errorf("stream %d: got %q, want %q", id, a.body, want)
			}
		}
	})
}
