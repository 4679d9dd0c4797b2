// SPDX-License-Identifier: Apache-2.0

// What comes before the response: "100 Continue", other informational responses,
// and the hooks of a trace.

package h2_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// expecting returns a request whose body waits to be asked for.
func expecting(body io.Reader, trace *httptrace.ClientTrace) (*http.Request, *watchedBody) {
	ctx := context.Background()
	if trace != nil {
		ctx = httptrace.WithClientTrace(ctx, trace)
	}
	watched := watch(body)
	r := request(ctx, "POST", watched)
	r.Header.Set("Expect", "100-continue")
	return r, watched
}

// TestContinueAsked waits for the server to ask for the body.
func TestContinueAsked(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Second / 2)
		_, _ = io.Copy(w, r.Body) // which asks
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		start := time.Now()
		var asked, waited time.Duration
		r, body := expecting(strings.NewReader("body"), &httptrace.ClientTrace{
			Wait100Continue: func() { waited = 1 + time.Since(start) },
			Got100Continue:  func() { asked = time.Since(start) },
		})
		call(client.Transport, r).want(t, 200, "body")
		if waited == 0 || asked != time.Second/2 {
			t.Errorf("got the trace that %v passed until the body was asked for, want 500ms", asked)
		}
		body.wantClosed(t)
	})
}

// TestContinueRefused gets a final status instead: the body is not read.
func TestContinueRefused(t *testing.T) {
	handler := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusExpectationFailed)
		_, _ = io.WriteString(w, "no")
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		r, body := expecting(strings.NewReader("body"), nil)
		call(client.Transport, r).want(t, http.StatusExpectationFailed, "no")
		body.wantClosed(t)
		if n := body.reads.Load(); n > 0 {
			t.Errorf("got a body that was read %d times, want 0", n)
		}
	})
}

// TestContinueTimeout sends the body to a server that does not answer, after a
// second.
func TestContinueTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		r, body := expecting(strings.NewReader("body"), nil)
		start := time.Now()
		done := begin(client, r)
		p := s.accept()
		f := p.request()
		p.await("the body", func(f *frame) bool { return string(f.data) == "body" })
		within(t, "waiting for 100 Continue", time.Since(start), time.Second, time.Second)
		p.respond(f.StreamID, "200", "late")
		receive(t, "a response", done).want(t, 200, "late")
		body.wantClosed(t)
	})
}

// TestContinueGivenUp cancels a call that waits to be asked. The body is closed,
// and not read.
func TestContinueGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		r, body := expecting(strings.NewReader("body"), nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := begin(client, r.WithContext(ctx))
		p := s.accept()
		f := p.request()
		cancel()
		receive(t, "an error", done).wantError(t, context.Canceled)
		p.wantReset(f.StreamID, http2.ErrCodeCancel)
		body.wantClosed(t)
		if n := body.reads.Load(); n > 0 {
			t.Errorf("got a body that was read %d times, want 0", n)
		}
	})
}

// TestInformational has a trace see early hints.
func TestInformational(t *testing.T) {
	handler := func(w http.ResponseWriter, _ *http.Request) {
		for i := range 40 {
			w.Header().Set("Link", fmt.Sprint(i))
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "done")
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		var links []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				links = append(links, fmt.Sprint(code, header.Get("Link")))
				return nil
			},
		})
		call(client.Transport, get(ctx)).want(t, 200, "done")
		if len(links) != 40 || links[39] != "10339" {
			t.Errorf("got %d informational responses, the last %v, want 40", len(links), links[len(links)-1:])
		}
	})
}

// TestInformationalRefused ends a call because its trace returns an error.
func TestInformationalRefused(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusProcessing)
		<-r.Context().Done()
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		enough := errors.New("enough")
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(int, textproto.MIMEHeader) error { return enough },
		})
		call(client.Transport, get(ctx)).wantError(t, enough)
	})
}

// TestInformationalEndless meets a server that never comes to the point.
func TestInformationalEndless(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		done := begin(client, get(t.Context()))
		p := s.accept()
		f := p.request()
		for i := 0; i < 100 && p.count(func(got *frame) bool { return isReset(got, f.StreamID) }) == 0; i++ {
			p.headers(f.StreamID, false, ":status", "102")
			settle()
		}
		receive(t, "an error", done).wantText(t, "1xx")
		p.wantReset(f.StreamID, http2.ErrCodeEnhanceYourCalm)
		p.wantAlive()
	})
}

// A diary is what the hooks of a trace note.
type diary struct {
	mu    sync.Mutex
	notes []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

func (d *diary) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	notes := d.notes
	d.notes = nil
	return notes
}

// trace returns a trace with all hooks of a call on HTTP/2.
func (d *diary) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(address string) { d.note("GetConn %s", address) },
		GotConn: func(info httptrace.GotConnInfo) {
			d.note("GotConn reused %v idle %v %v", info.Reused, info.WasIdle, info.IdleTime)
		},
		TLSHandshakeStart:    func() { d.note("TLSHandshakeStart") },
		TLSHandshakeDone:     func(s tls.ConnectionState, _ error) { d.note("TLSHandshakeDone %s", s.NegotiatedProtocol) },
		WroteHeaderField:     func(key string, values []string) { d.note("field %s %v", key, values) },
		WroteHeaders:         func() { d.note("WroteHeaders") },
		Wait100Continue:      func() { d.note("Wait100Continue") },
		Got100Continue:       func() { d.note("Got100Continue") },
		Got1xxResponse:       func(code int, _ textproto.MIMEHeader) error { d.note("Got1xx %d", code); return nil },
		WroteRequest:         func(info httptrace.WroteRequestInfo) { d.note("WroteRequest %v", info.Err) },
		GotFirstResponseByte: func() { d.note("GotFirstResponseByte") },
	}
}

// TestTrace checks all hooks and their order, on a new connection and on one that
// was idle.
func TestTrace(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Second / 2) // or else the answer may be faster than the hooks
		_, _ = io.Copy(w, r.Body)
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		var d diary
		head := []string{
			"field :method [POST]", "field :authority [server.test]", "field :scheme [http]", "field :path [/]",
			"field expect [100-continue]", "field user-agent [Go-http-client/2.0]", "field accept-encoding [gzip]",
		}
		rest := []string{"WroteHeaders", "Wait100Continue", "GotFirstResponseByte", "Got100Continue", "Got1xx 100", "WroteRequest <nil>"}
		for i, conn := range []string{"GotConn reused false idle false 0s", "GotConn reused true idle true 3s"} {
			r, _ := expecting(strings.NewReader("body"), d.trace())
			call(client.Transport, r).want(t, 200, "body")
			settle()
			want := slices.Concat([]string{"GetConn server.test:80", conn}, head, rest)
			got := d.take()
			if !slices.Equal(got, want) {
				t.Errorf("call %d:\ngot  %q\nwant %q", i, got, want)
			}
			time.Sleep(3 * time.Second)
		}
	})
}

// TestTraceShortBody checks the order where head and body are one write.
func TestTraceShortBody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := startServer(t, answerOK)
		client := newClient(t, s.network, nil)
		var d diary
		trace := d.trace()
		trace.WroteHeaderField = nil
		ctx := httptrace.WithClientTrace(t.Context(), trace)
		call(client, request(ctx, "POST", strings.NewReader("body"))).want(t, 200, "ok")
		settle()
		want := []string{"GetConn server.test:80", "GotConn reused false idle false 0s", "WroteHeaders", "WroteRequest <nil>", "GotFirstResponseByte"}
		got := d.take()
		slices.Sort(got[2:]) // the response may be faster than the hooks of the request
		slices.Sort(want[2:])
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}
