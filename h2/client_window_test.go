// SPDX-License-Identifier: Apache-2.0

// Flow control of responses, and limits that a server declares.

package h2_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// pour writes until its client leaves.
func pour(w http.ResponseWriter, _ *http.Request) {
	for {
		if _, err := w.Write(zeros[:64<<10]); err != nil {
			return
		}
	}
}

// TestCloseEarly closes the bodies of many responses that have no end. The window
// of the connection is not lost with them: the next call works.
func TestCloseEarly(t *testing.T) {
	behaves(t, pour, func(t *testing.T, client *http.Client) {
		for range 100 {
			res, err := client.Transport.RoundTrip(get(timeout(t, time.Minute)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(res.Body, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			if err := res.Body.Close(); err != nil {
				t.Error(err)
			}
			if _, err := res.Body.Read(make([]byte, 1)); err == nil {
				t.Error("got no error from reading a closed body")
			}
			if err := res.Body.Close(); err != nil {
				t.Errorf("closing twice: %v", err)
			}
		}
	})
}

// TestCloseEarlyResets sends the server RST_STREAM for the rest.
func TestCloseEarlyResets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		var res *http.Response
		got := make(chan error, 1)
		go func() {
			var err error
			res, err = client.RoundTrip(get(t.Context()))
			got <- err
		}()
		p := s.accept()
		f := p.request()
		p.headers(f.StreamID, false, ":status", "200")
		p.data(f.StreamID, false, []byte("some"))
		if err := receive(t, "a response", got); err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		p.wantReset(f.StreamID, http2.ErrCodeCancel)
		for range 1000 { // what was under way is let pass, and its window given back
			p.data(f.StreamID, false, make([]byte, 16<<10))
			settle()
		}
		p.wantAlive()
	})
}

// TestUnreadNeighbour reads one response, while others of endless length are not
// read.
func TestUnreadNeighbour(t *testing.T) {
	const unread = 20
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			pour(w, r)
		}
		for range 256 {
			_, _ = w.Write(zeros[:64<<10])
		}
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		for range unread {
			res, err := client.Transport.RoundTrip(request(t.Context(), "POST", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
		}
		settle()
		if o := call(client.Transport, get(timeout(t, time.Minute))); o.err != nil || len(o.body) != 16<<20 {
			t.Errorf("got %d bytes and error %v, want 16 MiB", len(o.body), o.err)
		}
	})
}

// TestCloseWhileReading closes a body while another goroutine reads it.
func TestCloseWhileReading(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		for range 20 {
			res, err := client.Transport.RoundTrip(get(t.Context()))
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				_, err := io.ReadAll(res.Body)
				done <- err
			}()
			settle()
			_ = res.Body.Close()
			if err := receive(t, "the end of the reading", done); err == nil {
				t.Error("got no error from a body that was closed before its end")
			}
		}
	})
}

// TestPeerHeaderList does not send a header that the server's SETTINGS exclude.
func TestPeerHeaderList(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		warm := begin(client, get(t.Context()))
		p := s.accept(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1000})
		p.respond(p.request().StreamID, "200", "")
		receive(t, "a response", warm).want(t, 200, "")

		large := request(t.Context(), "POST", nil)
		body := watch(strings.NewReader("body"))
		large.Body = body
		large.Header.Set("X", strings.Repeat("y", 1000))
		call(client, large).wantText(t, "larger than the peer accepts")
		body.wantClosed(t)

		small := get(t.Context())
		small.Header.Set("X", strings.Repeat("y", 500))
		done := begin(client, small)
		p.respond(p.request().StreamID, "200", "")
		receive(t, "a response", done).want(t, 200, "")
	})
}

// TestResponseHeaderBytes bounds the head of responses as configured.
func TestResponseHeaderBytes(t *testing.T) {
	for _, c := range []struct {
		limit int64
		size  int
		fails bool
	}{{0, 50_000, false}, {1000, 500, false}, {1000, 1500, true}, {1 << 20, 500_000, false}} {
		bubble(t, func(t *testing.T) {
			s := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
				for n := c.size; n > 0; n -= 100 {
					w.Header().Add("X", strings.Repeat("y", min(n, 100)-33))
				}
			})
			client := newClient(t, s.network, &h2.TransportConfig{MaxResponseHeaderBytes: c.limit})
			o := call(client, get(t.Context()))
			if (o.err != nil) != c.fails {
				t.Errorf("limit %d, header of %d bytes: got error %v", c.limit, c.size, o.err)
			}
		})
	}
}

// TestNarrowWindows sends a body through windows of a few bytes.
func TestNarrowWindows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		text := strings.Repeat("0123456789", 10)
		warm := begin(client, get(t.Context()))
		p := s.accept(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		p.respond(p.request().StreamID, "200", "")
		receive(t, "a response", warm).want(t, 200, "")
		for _, memory := range []bool{true, false} {
			r := request(t.Context(), "POST", strings.NewReader(text))
			if !memory {
				r.Body = watch(r.Body)
			}
			done := begin(client, r)
			f := p.request()
			got := ""
			for i := 0; len(got) < len(text); i++ {
				p.window(f.StreamID, 7)
				d := p.await("a piece of the body", func(f *frame) bool { return f.Type == http2.FrameData })
				got += string(d.data)
			}
			if got != text {
				t.Errorf("got body %q, want %q", got, text)
			}
			p.respond(f.StreamID, "200", "")
			receive(t, "a response", done).want(t, 200, "")
		}
	})
}
