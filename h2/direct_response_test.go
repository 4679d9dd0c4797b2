// SPDX-License-Identifier: Apache-2.0

// Responses to direct calls: what a handler sets with DirectField and DirectTrailer
// comes to what it comes to with Header.

package h2_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An answerer is a response in the making, of a direct call or of another.
type answerer interface {
	http.ResponseWriter
	DirectField(name, value string)
	DirectTrailer(name, value string)
}

// byHeader sets with Header what others set with DirectField and DirectTrailer.
type byHeader struct{ http.ResponseWriter }

func (w byHeader) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w byHeader) DirectField(name, value string) { w.Header().Add(name, value) }

func (w byHeader) DirectTrailer(name, value string) {
	w.Header().Add(http.TrailerPrefix+http.CanonicalHeaderKey(name), value)
}

// bothWays makes two handlers of a function: one that answers direct calls, and one
// that answers others.
func bothWays(f func(answerer)) (direct, plain http.Handler) {
	direct = &directHandler{direct: func(_ string, call directCall) bool {
		f(call)
		return true
	}}
	return direct, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { f(byHeader{w}) })
}

// TestDirectResponses answers with and without the direct path.
func TestDirectResponses(t *testing.T) {
	say := func(w io.Writer, text string) {
		if _, err := io.WriteString(w, text); err != nil {
			panic(err)
		}
	}
	large := digits(100_000)
	for name, answer := range map[string]func(answerer){
		"nothing": func(answerer) {},
		"body":    func(w answerer) { say(w, "body") },
		"fields": func(w answerer) {
			w.DirectField("x", "1")
			w.DirectField("y", "2")
			w.DirectField("x", "3")
			w.DirectField("z", "")
			say(w, "body")
		},
		"field beside Header": func(w answerer) {
			w.Header().Set("A", "1")
			w.DirectField("b", "2")
			w.Header()["C"] = []string{"3", "4"}
			say(w, "body")
		},
		"field without body": func(w answerer) { w.DirectField("x", "1") },
		"any case": func(w answerer) {
			w.DirectField("X-Upper", "1")
			w.DirectField("CONTENT-TYPE", "text/css")
			w.DirectTrailer("X-SUM", "4")
			say(w, "body")
		},
		"of HTTP/1.1": func(w answerer) {
			for _, name := range []string{"Connection", "keep-alive", "Proxy-Connection", "Transfer-Encoding", "upgrade"} {
				w.DirectField(name, "chunked")
				w.DirectTrailer(name, "chunked")
			}
			say(w, "body")
		},
		"no names": func(w answerer) {
			for _, name := range []string{"", "a b", "ä", "a:b", ":status", "a\r\nb", "a\x00"} {
				w.DirectField(name, "1")
				w.DirectTrailer(name, "1")
			}
			say(w, "body")
		},
		"no values": func(w answerer) {
			for _, value := range []string{"a\r\nb", "a\x00", "\x7f", "a\nb: c"} {
				w.DirectField("x", value)
				w.DirectTrailer("y", value)
			}
			w.DirectField("z", "ä\xff\t ")
			say(w, "body")
		},
		"type":             func(w answerer) { w.DirectField("content-type", "text/css"); say(w, "<html>") },
		"encoding":         func(w answerer) { w.DirectField("Content-Encoding", "br"); say(w, "<html>") },
		"no type":          func(w answerer) { w.DirectField("x", "y"); say(w, "<html>") },
		"date":             func(w answerer) { w.DirectField("date", "today"); say(w, "body") },
		"length":           func(w answerer) { w.DirectField("content-length", "4"); say(w, "body") },
		"length, in parts": func(w answerer) { w.DirectField("content-length", "4"); say(w, "bo"); flushed(w); say(w, "dy") },
		"too long": func(w answerer) {
			w.DirectField("Content-Length", "3")
			_, err := io.WriteString(w, "body")
			w.DirectTrailer("x-error", fmt.Sprint(err))
			say(w, "bod")
		},
		"too short":          func(w answerer) { w.DirectField("content-length", "5"); say(w, "body") },
		"too short, flushed": func(w answerer) { w.DirectField("content-length", "5"); say(w, "body"); flushed(w) },
		"no length":          func(w answerer) { w.DirectField("content-length", "four"); say(w, "body") },
		"length below zero":  func(w answerer) { w.DirectField("content-length", "-4"); say(w, "body") },
		"length of nothing":  func(w answerer) { w.DirectField("content-length", "0") },
		"status":             func(w answerer) { w.DirectField("x", "1"); w.WriteHeader(418); say(w, "body") },
		"204": func(w answerer) {
			w.DirectField("x", "1")
			w.WriteHeader(204)
			_, err := io.WriteString(w, "body")
			w.DirectTrailer("x-error", fmt.Sprint(err))
		},
		"304 with length": func(w answerer) { w.DirectField("content-length", "4"); w.WriteHeader(304) },
		"103 before":      func(w answerer) { w.WriteHeader(103); w.DirectField("x", "1"); say(w, "body") },
		"two statuses":    func(w answerer) { w.WriteHeader(404); w.DirectField("x", "1"); w.WriteHeader(500) },
		"field too late": func(w answerer) {
			say(w, "body")
			w.DirectField("x", "1")
			w.Header().Set("Y", "2")
			flushed(w)
			w.DirectField("x", "1")
		},
		"field after status": func(w answerer) { w.WriteHeader(200); w.DirectField("x", "1"); w.DirectField("content-length", "1") },
		"trailers": func(w answerer) {
			w.DirectTrailer("x-sum", "4")
			say(w, "body")
			w.DirectTrailer("y-sum", "5")
			w.DirectTrailer("x-sum", "6")
		},
		"trailers without body": func(w answerer) { w.DirectTrailer("x-sum", "0") },
		"trailers after flush":  func(w answerer) { flushed(w); w.DirectTrailer("x-sum", "0") },
		"trailers and length":   func(w answerer) { w.DirectField("content-length", "4"); say(w, "body"); w.DirectTrailer("x-sum", "4") },
		"trailers, 204":         func(w answerer) { w.WriteHeader(204); w.DirectTrailer("x-sum", "0") },
		"trailers, refused": func(w answerer) {
			w.DirectTrailer("Content-Length", "4")
			w.DirectTrailer("trailer", "x")
			say(w, "body")
		},
		"trailers, empty": func(w answerer) { w.DirectTrailer("x-sum", "") },
		"trailers, some announced": func(w answerer) {
			w.Header().Set("Trailer", "A")
			say(w, "body")
			w.Header().Set("A", "1")
			w.DirectTrailer("b", "2")
		},
		"trailers as fields before": func(w answerer) { w.DirectField("x-sum", "1"); w.DirectTrailer("x-sum", "2"); say(w, "body") },
		"large":                     func(w answerer) { w.DirectField("x", "1"); say(w, large); w.DirectTrailer("x-sum", "1") },
		"large, in parts": func(w answerer) {
			w.DirectField("content-length", "400000")
			for range 4 {
				say(w, large)
			}
		},
		"many fields": func(w answerer) {
			for i := range 2000 {
				w.DirectField(fmt.Sprintf("x-%d", i), large[:50])
				w.DirectTrailer(fmt.Sprintf("y-%d", i), large[:50])
			}
		},
		"panic":               func(w answerer) { w.DirectField("x", "1"); panic("of a test") },
		"panic after flush":   func(w answerer) { w.DirectField("x", "1"); flushed(w); panic("of a test") },
		"abort":               func(w answerer) { w.DirectTrailer("x", "1"); say(w, "body"); panic(http.ErrAbortHandler) },
		"goroutine ends":      func(w answerer) { say(w, "body"); runtime.Goexit() },
		"hangs up afterwards": func(w answerer) { w.DirectField("connection", "close"); say(w, "body") },
	} {
		t.Run(name, func(t *testing.T) {
			direct, plain := bothWays(answer)
			got, want := answered(t, direct), answered(t, plain)
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// flushed flushes a response.
func flushed(w http.ResponseWriter) {
	if err := http.NewResponseController(w).Flush(); err != nil {
		panic(err)
	}
}

// answered shows all that a server sends on a stream, and of the end of the
// connection.
func answered(t *testing.T, handler http.Handler) (shown string) {
	bubble(t, func(t *testing.T) {
		p := dial(t, startServer(t, nil, serving(handler)), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		p.window(0, 1<<20)
		p.headers(1, true, requestHead("POST")...)
		settle()
		var b strings.Builder
		size := 0
		for {
			f, _ := p.take(func(f *frame) bool { return f.StreamID == 1 })
			if f == nil {
				break
			}
			size += len(f.data)
			if f.Type == http2.FrameData && !f.ended() {
				continue // where a body is parted is nobody's concern
			}
			fields := f.fields
			for i := range fields {
				if fields[i].Name == "date" && dates.MatchString(fields[i].Value) {
					fields[i].Value = "a date"
				}
			}
			slices.SortStableFunc(fields, func(a, b hpack.HeaderField) int { return cmp.Compare(a.Name, b.Name) })
			fmt.Fprintf(&b, "%v, %d bytes before, ended %t, code %v, %v\n", f.Type, size, f.ended(), f.code, fields)
		}
		shown = fmt.Sprintf("%sended %t, GOAWAY %d", &b, p.over(), p.count(isGoAway))
	})
	return shown
}

// TestDirectFlush sends the head while the handler goes on.
func TestDirectFlush(t *testing.T) {
	bubble(t, func(t *testing.T) {
		gate := newGate(t)
		direct, _ := bothWays(func(w answerer) {
			w.DirectField("x", "1")
			flushed(w)
			gate.wait()
			_, _ = io.WriteString(w, "body")
			w.DirectTrailer("y", "2")
		})
		p := dial(t, startServer(t, nil, serving(direct)))
		p.post(1)
		head := p.await("the head", func(f *frame) bool { return f.Type == http2.FrameHeaders })
		if got := field(head.fields, "x"); got != "1" || head.ended() {
			t.Errorf("got x %q and the end %t, want 1 and false", got, head.ended())
		}
		gate.open()
		if data := p.await("the body", func(f *frame) bool { return f.Type == http2.FrameData }); string(data.data) != "body" {
			t.Errorf("got body %q, want %q", data.data, "body")
		}
		end := p.await("the trailers", func(f *frame) bool { return f.Type == http2.FrameHeaders })
		if got := field(end.fields, "y"); got != "2" || !end.ended() {
			t.Errorf("got trailer %q and the end %t, want 2 and true", got, end.ended())
		}
	})
}

// TestDirectTooLate uses a response whose handler has returned: it is
// neither in that response nor in one of the next.
func TestDirectTooLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		calls := make(chan directCall, 10)
		handler := &directHandler{direct: func(_ string, call directCall) bool {
			calls <- call
			call.DirectField("x", "1")
			call.DirectTrailer("y", "2")
			return true
		}}
		p := dial(t, startServer(t, nil, serving(handler)))
		for id := uint32(1); id < 20; id += 2 {
			p.post(id)
			p.data(id, true, nil)
			a := p.wantAnswer(id, "200")
			if len(a.header) != 3 || len(a.trailer) != 1 { // with :status and date
				t.Errorf("stream %d: got %v and %v, want x and y", id, a.header, a.trailer)
			}
			settle()
			late := receive(t, "a call", calls)
			late.DirectField("late", "1")
			late.DirectTrailer("late", "2")
			late.WriteHeader(http.StatusTeapot)
			if n, err := late.Write([]byte("late")); n != 0 || err == nil {
				t.Errorf("got %d bytes written and error %v, want none and one", n, err)
			}
		}
	})
}

// TestDirectDeadlines sets deadlines of direct calls.
func TestDirectDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		done := make(chan error, 1)
		handler := &directHandler{direct: func(_ string, call directCall) bool {
			control := http.NewResponseController(call)
			ctx, _, body, _, _, _ := call.DirectRequest()
			if err := control.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				t.Error(err)
			}
			_, err := io.ReadAll(body)
			done <- err
			if err := control.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
				t.Error(err)
			}
			<-ctx.Done()
			_, err = call.Write(make([]byte, 100_000))
			done <- err
			return true
		}}
		p := dial(t, startServer(t, nil, serving(handler)))
		start := time.Now()
		p.post(1)
		if err := receive(t, "the end of the reading", done); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v from the body, want %v", err, os.ErrDeadlineExceeded)
		}
		p.wantReset(1, http2.ErrCodeInternal)
		if err := receive(t, "the end of the writing", done); err == nil {
			t.Error("got no error from Write, want one")
		}
		within(t, "both deadlines", time.Since(start), 2*time.Second, 2*time.Second)
	})
}
