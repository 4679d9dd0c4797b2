// SPDX-License-Identifier: Apache-2.0

// Handlers that misbehave or linger, and trailers, as the peer sees them.

package h2_test

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// TestServerPanics checks that a panic ends one stream, and is logged unless it is
// http.ErrAbortHandler.
func TestServerPanics(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value any
		late  bool // the answer has begun
	}{{http.ErrAbortHandler, false}, {http.ErrAbortHandler, true}, {"the reason", false}, {"the reason", true}} {
		bubble(t, func(t *testing.T) {
			var logged bytes.Buffer
			s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Neighbour") != "" {
					answerOK(w, r)
					return
				}
				if c.late {
					_, _ = io.WriteString(w, "the beginning")
					_ = http.NewResponseController(w).Flush()
				}
				panic(c.value)
			}, func(s *http.Server, _ *h2.ServerConfig) { s.ErrorLog = log.New(&logged, "", 0) })
			p := dial(t, s)
			p.post(1, "x-neighbour", "yes")
			p.get(3)
			if c.late {
				p.await("HEADERS", func(f *frame) bool { return f.StreamID == 3 && f.Type == http2.FrameHeaders })
				p.await("DATA", func(f *frame) bool { return f.StreamID == 3 && f.Type == http2.FrameData && !f.ended() })
			}
			p.wantReset(3, http2.ErrCodeInternal)
			p.data(1, true, []byte("body"))
			p.wantAnswer(1, "200")
			if n := p.count(func(f *frame) bool { return f.StreamID == 3 }); n != 0 {
				t.Errorf("got %d more frames of the stream, want none: %s", n, p.story())
			}
			synctest.Wait()
			if quiet := c.value == http.ErrAbortHandler; quiet != (logged.Len() == 0) || !quiet && !strings.Contains(logged.String(), "the reason") {
				t.Errorf("panic with %v: got log %.200q", c.value, logged.String())
			}
		})
	}
}

// TestServerHeldThings uses what a handler was given after the handler has
// returned: nothing happens, whatever has become of the stream.
func TestServerHeldThings(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		type things struct {
			w http.ResponseWriter
			r *http.Request
		}
		held := make(chan things, 1)
		p := dial(t, startServer(t, func(w http.ResponseWriter, r *http.Request) { held <- things{w, r} }))
		p.post(1)
		p.data(1, false, []byte("body"))
		p.wantAnswer(1, "200")
		got := receive(t, "what a handler was given", held)
		synctest.Wait()
		if n, err := got.r.Body.Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("got %d bytes and %v from the body, want an error", n, err)
		}
		got.w.Header().Set("X-Late", "late")
		got.w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(got.w, "late")
		rc := http.NewResponseController(got.w)
		_ = rc.Flush()
		_ = rc.SetReadDeadline(time.Now())
		_ = rc.SetWriteDeadline(time.Now())
		if _, _, err := rc.Hijack(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("got %v from Hijack, want http.ErrNotSupported", err)
		}
		//lint:ignore SA1019 deprecated, and used
		if !receive(t, "that the stream is gone", got.w.(http.CloseNotifier).CloseNotify()) {
			t.Error("got false from CloseNotify")
		}
		_ = got.r.Body.Close()
		p.wantReset(1, http2.ErrCodeNo)
		p.wantAlive()
		if n := p.count(func(f *frame) bool { return f.StreamID == 1 }); n != 0 {
			t.Errorf("got %d more frames of the stream, want none: %s", n, p.story())
		}
	})
}

// TestServerTrailers sends trailers in both ways that net/http has.
func TestServerTrailers(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "body"} {
		bubble(t, func(t *testing.T) {
			p := dial(t, startServer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Trailer", "X-Declared, X-Unset")
				w.Header().Set("X-Header", "header")
				_, _ = io.WriteString(w, body)
				w.Header().Set("X-Declared", "one")
				w.Header().Set("X-Header", "changed")
				w.Header().Set(http.TrailerPrefix+"X-Late", "two")
			}))
			p.get(1)
			a := p.wantAnswer(1, "200")
			if got := field(a.header, "x-header"); body != "" && got != "header" {
				t.Errorf("got header %q, want it as it was when the body began", got)
			}
			for name, want := range map[string]string{"x-declared": "one", "x-late": "two", "x-unset": "", "x-header": ""} {
				if got := field(a.trailer, name); got != want {
					t.Errorf("body %q: got trailer %q of %q, want %q", body, got, name, want)
				}
			}
			if string(a.body) != body {
				t.Errorf("got body %q, want %q", a.body, body)
			}
		})
	}
}

// TestServerShortResponse answers with less than its Content-Length: the peer gets
// the bytes that there are, and then a reset.
func TestServerShortResponse(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "short"} {
		bubble(t, func(t *testing.T) {
			p := dial(t, startServer(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "10")
				w.Header().Set(http.TrailerPrefix+"X-Late", "late")
				_, _ = io.WriteString(w, body)
			}))
			p.get(1)
			p.await("the head", func(f *frame) bool {
				return f.StreamID == 1 && f.Type == http2.FrameHeaders && !f.ended()
			})
			if body != "" {
				f := p.await("the body", func(f *frame) bool { return f.StreamID == 1 && f.Type == http2.FrameData })
				if string(f.data) != body || f.ended() {
					t.Errorf("got %q, ended: %v, want the body without an end", f.data, f.ended())
				}
			}
			p.wantReset(1, http2.ErrCodeInternal)
			p.wantAlive()
			if n := p.count(func(f *frame) bool { return f.StreamID == 1 }); n != 0 {
				t.Errorf("got %d more frames of the stream, want none: %s", n, p.story())
			}
		})
	}
}

// TestServerConnectionCloseFirst answers "Connection: close": the GOAWAY is on its way before
// the answer, so that no client that has the answer begins another request.
func TestServerConnectionCloseFirst(t *testing.T) {
	t.Parallel()
	for _, flush := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			p := dial(t, startServer(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Connection", "close")
				_, _ = io.WriteString(w, "body")
				if flush {
					w.(http.Flusher).Flush()
				}
			}))
			p.get(1)
			f := p.await("GOAWAY or the head", func(f *frame) bool {
				return f.Type == http2.FrameGoAway || f.Type == http2.FrameHeaders
			})
			if f.Type != http2.FrameGoAway {
				t.Errorf("got the head ahead of GOAWAY")
			} else {
				p.wantAnswer(1, "200")
			}
			p.wantClosed()
		})
	}
}

// TestServerCloseNotify asks for the old way to learn that the client is gone.
func TestServerCloseNotify(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		gone := make(chan bool)
		p := dial(t, startServer(t, func(w http.ResponseWriter, r *http.Request) {
			notifier := w.(http.CloseNotifier) //lint:ignore SA1019 deprecated, and used
			first := notifier.CloseNotify()
			if notifier.CloseNotify() != first {
				t.Error("got another channel at the second time")
			}
			select {
			case <-first:
				t.Error("the client is gone, it says, before it is")
			case <-time.After(time.Minute):
			}
			gone <- <-first
		}))
		p.get(1)
		time.Sleep(2 * time.Minute)
		p.reset(1, http2.ErrCodeCancel)
		if !receive(t, "that the client is gone", gone) {
			t.Error("got false, want true")
		}
	})
}

// TestServerLeftBehind lets handlers return while a goroutine of theirs is in Write or
// Flush, some of them waiting for a window: none panics, none is left, and what other
// handlers answer at the same time, with the same memory, comes as they sent it.
func TestServerLeftBehind(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 16 << 10, 100 << 10} { // gathered, gathered whole, sent at once
		bubble(t, func(t *testing.T) {
			var left sync.WaitGroup
			p := dial(t, startServer(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Neighbour") != "" {
					for range 3 {
						_, _ = io.WriteString(w, strings.Repeat("n", 5000))
					}
					return
				}
				began := make(chan struct{})
				go func() {
					defer left.Done()
					piece := bytes.Repeat([]byte("l"), size)
					close(began)
					for range 50 {
						_, err := w.Write(piece)
						if flushed := http.NewResponseController(w).Flush(); err == nil {
							err = flushed
						}
						if err != nil {
							return
						}
					}
				}()
				<-began
				if r.Header.Get("X-Late") != "" {
					time.Sleep(time.Second) // until it waits, or is done
				}
			}), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 64 << 10})
			p.window(0, 1<<30)
			id := uint32(1)
			for i := range 50 {
				left.Add(1)
				if i%2 == 0 {
					p.get(id)
				} else {
					p.get(id, "x-late", "yes")
				}
				p.get(id+2, "x-neighbour", "yes")
				a := p.wantAnswer(id+2, "200")
				if got := strings.Trim(string(a.body), "n"); len(a.body) != 15000 || got != "" {
					t.Fatalf("got %d bytes of a neighbour, with %.20q among them", len(a.body), got)
				}
				id += 4
			}
			left.Wait()
			p.await("the last one's end", func(f *frame) bool {
				return f.StreamID == id-4 && (f.ended() || f.Type == http2.FrameRSTStream)
			})
			p.wantAlive()
		})
	}
}

// TestServerLargeFields answers with a header or trailers of exactly what the client
// takes, and of a byte more: that stream is reset, the log has the sizes, and others go
// on. An informational response that is too large is left out.
func TestServerLargeFields(t *testing.T) {
	t.Parallel()
	const limit = 1000
	for _, c := range []struct {
		name  string
		flush bool
		where string // of the field
	}{
		{"header", false, "header"},
		{"header, flushed", true, "header"},
		{"trailers", false, "trailers"},
		{"trailers, flushed", true, "trailers"},
		{"hint", false, "hint"},
	} {
		for _, excess := range []int{0, 1} {
			bubble(t, func(t *testing.T) {
				var logged bytes.Buffer
				var flushed error
				p := dial(t, startServer(t, func(w http.ResponseWriter, r *http.Request) {
					if got := w.(interface{ MaxHeaderListSize() int }).MaxHeaderListSize(); got != limit {
						t.Errorf("got a limit of %d, want %d", got, limit)
					}
					if r.Header.Get("X-Neighbour") != "" {
						return
					}
					size := limit + excess - len("x-large") - 32
					head := len(":status") + 3 + len("date") + len(http.TimeFormat) + 2*32
					w.Header()["Content-Type"] = nil
					w.Header()["Content-Length"] = nil
					switch c.where {
					case "header":
						w.Header().Set("X-Large", strings.Repeat("x", size-head))
					case "trailers":
						w.Header().Set(http.TrailerPrefix+"X-Large", strings.Repeat("x", size))
					case "hint":
						w.Header().Set("X-Large", strings.Repeat("x", size-len(":status")-3-32))
						w.WriteHeader(http.StatusEarlyHints)
						w.Header().Del("X-Large")
					}
					_, _ = io.WriteString(w, "body")
					if c.flush {
						flushed = http.NewResponseController(w).Flush()
					}
				}, func(s *http.Server, _ *h2.ServerConfig) { s.ErrorLog = log.New(&logged, "", 0) }),
					http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: limit})
				p.get(1)
				if excess > 0 && c.where != "hint" {
					p.wantReset(1, http2.ErrCodeInternal)
					synctest.Wait()
					if got := logged.String(); !strings.Contains(got, "1001") || !strings.Contains(got, "1000") {
						t.Errorf("%s: got log %q, want both sizes", c.name, got)
					}
					if c.where == "header" {
						if c.flush && flushed == nil {
							t.Errorf("%s: got no error from Flush", c.name)
						}
						if n := p.count(func(f *frame) bool { return f.StreamID == 1 }); n != 0 {
							t.Errorf("%s: got %d frames of the stream, want none: %s", c.name, n, p.story())
						}
					}
				} else {
					if c.where == "hint" && excess == 0 {
						p.await("the hint", func(f *frame) bool { return f.StreamID == 1 && field(f.fields, ":status") == "103" })
					}
					if a := p.wantAnswer(1, "200"); string(a.body) != "body" {
						t.Errorf("%s: got body %q", c.name, a.body)
					}
				}
				p.get(3, "x-neighbour", "yes")
				p.wantAnswer(3, "200")
			})
		}
	}
}
