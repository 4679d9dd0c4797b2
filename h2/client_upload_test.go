// SPDX-License-Identifier: Apache-2.0

// Bodies of requests that go wrong, or are not wanted to the end.

package h2_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/net/http2"
)

// TestUploadLength sends bodies that are shorter or longer than ContentLength, in
// memory and read as they come. The call fails, and the stream is reset.
func TestUploadLength(t *testing.T) {
	for name, c := range map[string]struct {
		size   int
		length int64
		text   string
	}{
		"too short":       {5, 10, "ends before"},
		"too long":        {5, 3, "is longer"},
		"long, too short": {100 << 10, 100<<10 + 1, "ends before"},
		"long, too long":  {100 << 10, 100<<10 - 1, "is longer"},
	} {
		for _, memory := range []bool{true, false} {
			bubble(t, func(t *testing.T) {
				s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.Copy(io.Discard, r.Body); err == nil && r.Method == "POST" {
						t.Errorf("%s: the server got a whole body", name)
					}
				})
				client := newClient(t, s.network, nil)
				r := request(t.Context(), "POST", strings.NewReader(digits(c.size)))
				r.ContentLength = c.length
				if !memory {
					r.Body = watch(r.Body)
				}
				call(client, r).wantText(t, c.text)
				if b, ok := r.Body.(*watchedBody); ok {
					b.wantClosed(t)
				}
				call(client, get(t.Context())) // the connection goes on
			})
		}
	}
}

// TestUploadError has a body fail in the middle: the call fails with its error and
// the stream is reset.
func TestUploadError(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, size := range []int{0, 10, 200_000} {
		bubble(t, func(t *testing.T) {
			s, client := newFake(t, nil)
			body := watch(io.MultiReader(strings.NewReader(strings.Repeat("x", size)), iotest.ErrReader(broken)))
			done := begin(client, request(t.Context(), "POST", body))
			p := s.accept()
			f := p.request()
			p.window(0, 1<<20)
			p.window(f.StreamID, 1<<20)
			p.wantReset(f.StreamID, http2.ErrCodeCancel)
			receive(t, "an error", done).wantError(t, broken)
			body.wantClosed(t)
			p.wantAlive()
		})
	}
}

// TestUploadErrorAfterHead has a body fail when the head of the response is there:
// the error comes from reading.
func TestUploadErrorAfterHead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		broken := errors.New("disk on fire")
		in, out := io.Pipe()
		done := begin(client, request(t.Context(), "POST", in))
		p := s.accept()
		f := p.request()
		p.headers(f.StreamID, false, ":status", "200")
		settle()
		_ = out.CloseWithError(broken)
		receive(t, "an error", done).wantError(t, broken)
		p.wantReset(f.StreamID, http2.ErrCodeCancel)
	})
}

// TestUploadUnwanted has a server answer while the body is sent: the response is
// delivered, the body closed, and the stream reset without blame.
func TestUploadUnwanted(t *testing.T) {
	for name, newBody := range map[string]func() (io.Reader, *watchedBody){
		"waits for bytes": func() (io.Reader, *watchedBody) {
			b := newWaitingBody()
			return b, b.watchedBody
		},
		"waits for window": func() (io.Reader, *watchedBody) {
			b := watch(strings.NewReader(strings.Repeat("x", 1<<20)))
			return b, b
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, client := newFake(t, nil)
				body, watched := newBody()
				done := begin(client, request(t.Context(), "POST", body))
				p := s.accept()
				f := p.request()
				settle()
				p.respond(f.StreamID, "413", "enough")
				receive(t, "a response", done).want(t, 413, "enough")
				p.wantReset(f.StreamID, http2.ErrCodeNo)
				watched.wantClosed(t)
				p.wantAlive()
			})
		})
	}
}

// TestUploadUnwantedReset does the same as servers do it: the reset follows the
// response, and does not harm it.
func TestUploadUnwantedReset(t *testing.T) {
	handler := func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "enough", http.StatusRequestEntityTooLarge)
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		for range 20 {
			body := watch(strings.NewReader(strings.Repeat("x", 1<<20)))
			call(client.Transport, request(t.Context(), "POST", body)).want(t, 413, "enough\n")
			body.wantClosed(t)
		}
	})
}

// TestUploadFullDuplex gets the response's bytes while it sends its own.
func TestUploadFullDuplex(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		buf := make([]byte, 10)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = http.NewResponseController(w).Flush()
			if err != nil {
				return
			}
		}
	}
	behaves(t, echo, func(t *testing.T, client *http.Client) {
		in, out := io.Pipe()
		res, err := client.Transport.RoundTrip(request(t.Context(), "POST", in))
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			_, _ = io.WriteString(out, "ping")
			buf := make([]byte, 4)
			if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != "ping" {
				t.Fatalf("got %q and error %v, want ping", buf, err)
			}
		}
		_ = out.Close()
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
			t.Errorf("got %q and error %v at the end", rest, err)
		}
	})
}

// TestUploadStalled stops reading from the network: calls end with their contexts
// all the same, and the connection is given up after the time for writing.
func TestUploadStalled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		body := watch(strings.NewReader(strings.Repeat("x", 4<<20)))
		start := time.Now()
		done := begin(client, request(t.Context(), "POST", body))
		nc := s.silent()
		w := http2.NewFramer(nc, nil)
		_ = w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		_ = w.WriteWindowUpdate(0, 1<<30)
		settle()
		for range 10 { // all of which find the connection full
			o := call(client, get(timeout(t, time.Second/10)))
			o.wantError(t, errTimeout)
		}
		within(t, "calls with a deadline", time.Since(start), time.Second, time.Second)
		if o := receive(t, "an error", done); o.err == nil {
			t.Error("got a response from a server that is deaf")
		}
		within(t, "the end of a deaf connection", time.Since(start), 10*time.Second, 11*time.Second)
		body.wantClosed(t)
	})
}

// TestUploadTrailersTooLarge sends trailers that are larger than the server takes, behind a
// body and alone. That fails the call, and not the connection with its other calls.
func TestUploadTrailersTooLarge(t *testing.T) {
	for _, body := range []io.Reader{nil, strings.NewReader("body")} {
		bubble(t, func(t *testing.T) {
			s, client := newFake(t, nil)
			first := begin(client, get(t.Context()))
			p := s.accept(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1000})
			id := p.request().StreamID
			r := request(t.Context(), http.MethodPost, body)
			r.Trailer = http.Header{"X-Large": {strings.Repeat("x", 1000)}}
			done := begin(client, r)
			late := p.request().StreamID
			receive(t, "an error", done).wantText(t, "trailers of 1039 bytes are larger than the peer accepts")
			p.await("RST_STREAM", func(f *frame) bool { return isReset(f, late) })
			if n := p.count(func(f *frame) bool { return f.Type == http2.FrameHeaders }); n != 0 {
				t.Errorf("got %d more field sections, want no trailers", n)
			}
			p.respond(id, "200", "ok")
			receive(t, "a response", first).want(t, 200, "ok")
		})
	}
}
