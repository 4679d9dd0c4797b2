// SPDX-License-Identifier: Apache-2.0

// Direct calls that fail, or are made again: as those of RoundTrip.

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

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// TestDirectFails has a peer answer badly.
func TestDirectFails(t *testing.T) {
	for name, answer := range map[string]func(p *rawPeer, id uint32){
		"reset":       func(p *rawPeer, id uint32) { p.reset(id, http2.ErrCodeCancel) },
		"calm":        func(p *rawPeer, id uint32) { p.reset(id, http2.ErrCodeEnhanceYourCalm) },
		"reset later": func(p *rawPeer, id uint32) { p.headers(id, false, ":status", "200"); p.reset(id, http2.ErrCodeCancel) },
		"refused later": func(p *rawPeer, id uint32) {
			p.headers(id, false, ":status", "200")
			p.reset(id, http2.ErrCodeRefusedStream)
		},
		"reset in body": func(p *rawPeer, id uint32) {
			p.headers(id, false, ":status", "200")
			p.data(id, false, []byte("some"))
			p.reset(id, http2.ErrCodeInternal)
		},
		"hung up":            func(p *rawPeer, _ uint32) { settle(); _ = p.conn.Close() },
		"GOAWAY, hung up":    func(p *rawPeer, id uint32) { p.goAway(id, http2.ErrCodeNo); settle(); _ = p.conn.Close() },
		"GOAWAY, answered":   func(p *rawPeer, id uint32) { p.goAway(id, http2.ErrCodeNo); p.respond(id, "200", "body") },
		"GOAWAY for a fault": func(p *rawPeer, id uint32) { p.goAway(id, http2.ErrCodeProtocol); settle(); _ = p.conn.Close() },
		"ends at once":       func(p *rawPeer, id uint32) { p.data(id, true, nil) },
		"body at once":       func(p *rawPeer, id uint32) { p.data(id, true, []byte("body")) },
		"no status":          func(p *rawPeer, id uint32) { p.headers(id, true, "x", "1") },
		"bad status":         func(p *rawPeer, id uint32) { p.headers(id, true, ":status", "2x0") },
		"101":                func(p *rawPeer, id uint32) { p.headers(id, false, ":status", "101") },
		"1xx that ends":      func(p *rawPeer, id uint32) { p.headers(id, true, ":status", "103") },
		"of HTTP/1.1":        func(p *rawPeer, id uint32) { p.headers(id, true, ":status", "200", "connection", "close") },
		"too large":          func(p *rawPeer, id uint32) { p.headers(id, true, ":status", "200", "x", digits(100_000)) },
		"shorter": func(p *rawPeer, id uint32) {
			p.headers(id, false, ":status", "200", "content-length", "5")
			p.data(id, true, []byte("body"))
		},
		"longer": func(p *rawPeer, id uint32) {
			p.headers(id, false, ":status", "200", "content-length", "3")
			p.data(id, true, []byte("body"))
		},
		"length, no body": func(p *rawPeer, id uint32) { p.headers(id, true, ":status", "200", "content-length", "3") },
		"length, 204":     func(p *rawPeer, id uint32) { p.headers(id, true, ":status", "204", "content-length", "3") },
		"204 with a body": func(p *rawPeer, id uint32) { p.respond(id, "204", "body") },
		"shorter, trailers": func(p *rawPeer, id uint32) {
			p.headers(id, false, ":status", "200", "content-length", "5")
			p.data(id, false, []byte("body"))
			p.headers(id, true, "x-sum", "4")
		},
		"bad trailers": func(p *rawPeer, id uint32) {
			p.headers(id, false, ":status", "200")
			p.headers(id, true, ":status", "200")
		},
		"three heads": func(p *rawPeer, id uint32) {
			p.headers(id, false, ":status", "200")
			p.headers(id, false, "x", "1")
		},
		"empty trailers": func(p *rawPeer, id uint32) {
			p.headers(id, false, ":status", "200")
			p.headers(id, true)
		},
		"cookies": func(p *rawPeer, id uint32) {
			p.headers(id, true, ":status", "200", "set-cookie", "a", "set-cookie", "b")
		},
		"trailers": func(p *rawPeer, id uint32) {
			p.headers(id, false, ":status", "200")
			p.data(id, false, []byte("body"))
			p.headers(id, true, "x-sum", "4", "x-sum", "5", "content-length", "6")
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothClients(t, func(t *testing.T, s *fakeServer, client http.RoundTripper, _ *h2.Transport) string {
				done := begin(client, directRequest(t.Context(), "body"))
				p := s.accept()
				f := p.request()
				p.await("the body", (*frame).ended)
				answer(p, f.StreamID)
				o := receive(t, "an outcome", done)
				settle()
				return fmt.Sprint(o, "; requests: ", p.count(func(f *frame) bool { return f.Type == http2.FrameHeaders }),
					", resets: ", p.count(func(f *frame) bool { return f.Type == http2.FrameRSTStream }))
			})
		})
	}
}

// TestDirectRetry refuses calls: they are made again, with the same fields and body,
// as often as RoundTrip does it.
func TestDirectRetry(t *testing.T) {
	for _, times := range []int{1, 3, 6} {
		bothClients(t, func(t *testing.T, s *fakeServer, client http.RoundTripper, _ *h2.Transport) string {
			start := time.Now()
			done := begin(client, directRequest(t.Context(), "body"))
			p := s.accept()
			attempt := func() uint32 {
				f := p.request()
				body := p.await("the body", func(f *frame) bool { return f.Type == http2.FrameData })
				if got := field(f.fields, "content-type") + " " + field(f.fields, "user-agent") + " " + string(body.data); got != "x test body" {
					t.Errorf("got %q, want the fields and the body", got)
				}
				return f.StreamID
			}
			for range times {
				p.reset(attempt(), http2.ErrCodeRefusedStream)
			}
			if times < 6 {
				p.respond(attempt(), "200", "at last")
			}
			o := receive(t, "an outcome", done)
			settle()
			return fmt.Sprint(o, " after ", time.Since(start), p.count(func(f *frame) bool { return f.Type == http2.FrameHeaders }))
		})
	}
}

// TestDirectRetryPart refuses a call of whose body a part was sent.
func TestDirectRetryPart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		text := digits(60_000) + "end"
		warm := begin(client, get(t.Context()))
		p := s.accept(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10_000})
		p.respond(p.request().StreamID, "200", "")
		receive(t, "a response", warm).want(t, 200, "")
		done := begin(directClient{client}, directRequest(t.Context(), text))
		p.reset(p.request().StreamID, http2.ErrCodeRefusedStream)
		f := p.request()
		p.window(0, 100_000)
		p.window(f.StreamID, 100_000)
		got := ""
		for end := false; !end; {
			d := p.await("a piece of the body", func(d *frame) bool { return d.Type == http2.FrameData && d.StreamID == f.StreamID })
			got, end = got+string(d.data), d.ended()
		}
		p.respond(f.StreamID, "200", "done")
		receive(t, "a response", done).want(t, 200, "done")
		if got != text {
			t.Errorf("got %d bytes on the second attempt, want those %d of the first", len(got), len(text))
		}
	})
}

// TestDirectRetryAfterGoAway disowns a call: it goes to another connection.
func TestDirectRetryAfterGoAway(t *testing.T) {
	bothClients(t, func(t *testing.T, s *fakeServer, client http.RoundTripper, _ *h2.Transport) string {
		done := begin(client, directRequest(t.Context(), "body"))
		p := s.accept()
		p.await("the body", (*frame).ended)
		p.goAway(0, http2.ErrCodeNo)
		q := s.accept()
		f := q.request()
		if body := q.await("the body", (*frame).ended); string(body.data) != "body" {
			t.Errorf("got body %q, want %q", body.data, "body")
		}
		q.respond(f.StreamID, "200", "2")
		return receive(t, "a response", done).String()
	})
}

// TestDirectRetryGivenUp ends the context of a call that is about to be made again.
func TestDirectRetryGivenUp(t *testing.T) {
	bothClients(t, func(t *testing.T, s *fakeServer, client http.RoundTripper, _ *h2.Transport) string {
		ctx, cancel := context.WithCancelCause(t.Context())
		done := begin(client, directRequest(ctx, "body"))
		p := s.accept()
		for range 2 {
			p.reset(p.request().StreamID, http2.ErrCodeRefusedStream)
			settle() // the third attempt waits for a moment
		}
		cancel(errors.New("given up"))
		return receive(t, "an error", done).String()
	})
}

// TestDirectContext ends contexts at all times.
func TestDirectContext(t *testing.T) {
	cause := errors.New("of a test")
	for name, c := range map[string]func(t *testing.T, s *fakeServer, client http.RoundTripper) string{
		"before": func(t *testing.T, _ *fakeServer, client http.RoundTripper) string {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(cause)
			return call(client, directRequest(ctx, "body")).String()
		},
		"while dialing": func(t *testing.T, _ *fakeServer, client http.RoundTripper) string {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return call(client, directRequest(ctx, "body")).String()
		},
		"before the head": func(t *testing.T, s *fakeServer, client http.RoundTripper) string {
			ctx, cancel := context.WithCancelCause(t.Context())
			done := begin(client, directRequest(ctx, "body"))
			p := s.accept()
			f := p.request()
			settle()
			cancel(cause)
			p.wantReset(f.StreamID, http2.ErrCodeCancel)
			return receive(t, "an error", done).String()
		},
		"before the head, deadline": func(t *testing.T, s *fakeServer, client http.RoundTripper) string {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			done := begin(client, directRequest(ctx, "body"))
			p := s.accept()
			p.wantReset(p.request().StreamID, http2.ErrCodeCancel)
			return receive(t, "an error", done).String()
		},
		"in the body": func(t *testing.T, s *fakeServer, client http.RoundTripper) string {
			ctx, cancel := context.WithCancelCause(t.Context())
			done := begin(client, directRequest(ctx, "body"))
			p := s.accept()
			f := p.request()
			p.headers(f.StreamID, false, ":status", "200")
			p.data(f.StreamID, false, []byte("some"))
			settle()
			cancel(cause)
			p.wantReset(f.StreamID, http2.ErrCodeCancel)
			return receive(t, "an error", done).String()
		},
		"body not read": func(t *testing.T, s *fakeServer, client http.RoundTripper) string {
			ctx, cancel := context.WithCancelCause(t.Context())
			got := make(chan *http.Response, 1)
			go func() {
				res, err := client.RoundTrip(directRequest(ctx, "body"))
				if err != nil {
					t.Error(err)
				}
				got <- res
			}()
			p := s.accept()
			f := p.request()
			p.headers(f.StreamID, false, ":status", "200")
			res := receive(t, "a response", got)
			cancel(cause)
			p.wantReset(f.StreamID, http2.ErrCodeCancel)
			body, err := io.ReadAll(res.Body)
			return fmt.Sprintf("%q %v %v", body, err, res.Body.Close())
		},
		"after the end": func(t *testing.T, s *fakeServer, client http.RoundTripper) string {
			ctx, cancel := context.WithCancelCause(t.Context())
			done := begin(client, directRequest(ctx, "body"))
			p := s.accept()
			f := p.request()
			p.respond(f.StreamID, "200", "body")
			o := receive(t, "a response", done)
			cancel(cause)
			p.wantAlive()
			return fmt.Sprint(o, p.count(func(f *frame) bool { return f.Type == http2.FrameRSTStream }))
		},
		"body closed": func(t *testing.T, s *fakeServer, client http.RoundTripper) string {
			got := make(chan *http.Response, 1)
			go func() {
				res, err := client.RoundTrip(directRequest(t.Context(), "body"))
				if err != nil {
					t.Error(err)
				}
				got <- res
			}()
			p := s.accept()
			f := p.request()
			p.headers(f.StreamID, false, ":status", "200")
			res := receive(t, "a response", got)
			first, second := res.Body.Close(), res.Body.Close()
			p.wantReset(f.StreamID, http2.ErrCodeCancel)
			_, err := res.Body.Read(make([]byte, 1))
			return fmt.Sprint(first, second, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothClients(t, func(t *testing.T, s *fakeServer, client http.RoundTripper, _ *h2.Transport) string {
				return c(t, s, client)
			})
		})
	}
}

// TestDirectClosed closes the transport before a call, and during one.
func TestDirectClosed(t *testing.T) {
	bothClients(t, func(t *testing.T, s *fakeServer, client http.RoundTripper, transport *h2.Transport) string {
		done := begin(client, directRequest(t.Context(), "body"))
		s.accept().request()
		settle()
		_ = transport.Close()
		return fmt.Sprint(receive(t, "an error", done), "; then ", call(client, directRequest(t.Context(), "body")))
	})
}

// TestDirectRefuses lists requests that are not sent.
func TestDirectRefuses(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"empty name":  func(r *http.Request) { r.Header = http.Header{"": {"1"}} },
		"space":       func(r *http.Request) { r.Header = http.Header{"a b": {"1"}} },
		"colon":       func(r *http.Request) { r.Header = http.Header{":path": {"1"}} },
		"line end":    func(r *http.Request) { r.Header = http.Header{"x": {"a\r\nb: c"}} },
		"zero":        func(r *http.Request) { r.Header = http.Header{"A": {"1"}, "x": {"1", "\x00"}} },
		"no URL":      func(r *http.Request) { r.URL = nil },
		"no scheme":   func(r *http.Request) { r.URL.Scheme = "" },
		"scheme":      func(r *http.Request) { r.URL.Scheme = "ftp" },
		"no host":     func(r *http.Request) { r.URL.Host = "" },
		"host":        func(r *http.Request) { r.URL.Host = "a b" },
		"path":        func(r *http.Request) { r.URL.Path = "no slash" },
		"opaque":      func(r *http.Request) { r.URL.Opaque = "a b" },
		"empty query": func(r *http.Request) { r.URL.RawQuery = "a b" },
	} {
		t.Run(name, func(t *testing.T) {
			bothClients(t, func(t *testing.T, s *fakeServer, client http.RoundTripper, _ *h2.Transport) string {
				go func() { // most do not get here
					for {
						nc, err := s.network.Accept()
						if err != nil {
							return
						}
						t.Cleanup(func() { _ = nc.Close() })
					}
				}()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				r := directRequest(ctx, "body")
				change(r)
				if r.URL != nil {
					r.Host = r.URL.Host
				}
				o := call(client, r)
				if o.err == nil || errors.Is(o.err, context.DeadlineExceeded) {
					t.Errorf("got %v, want a refusal", o)
				}
				return o.String()
			})
		})
	}
}

// TestDirectPeerHeaderList does not send a header that the server's SETTINGS exclude.
func TestDirectPeerHeaderList(t *testing.T) {
	bothClients(t, func(t *testing.T, s *fakeServer, client http.RoundTripper, _ *h2.Transport) string {
		warm := begin(client, directRequest(t.Context(), ""))
		p := s.accept(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1000})
		p.respond(p.request().StreamID, "200", "")
		receive(t, "a response", warm).want(t, 200, "")
		large := directRequest(t.Context(), "body")
		large.Header.Set("Y", digits(1000))
		refused := call(client, large)
		refused.wantText(t, "larger than the peer accepts")
		small := directRequest(t.Context(), "body")
		small.Header.Set("Y", digits(400))
		done := begin(client, small)
		p.respond(p.request().StreamID, "200", "")
		return fmt.Sprint(refused, receive(t, "a response", done))
	})
}

// ---- traces ----

// A record has the calls of a trace's functions. The fields of a request are one entry: their
// order is that of a map.
type record struct {
	mu      sync.Mutex
	entries []string
	fields  []string
}

func (r *record) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, fmt.Sprintf(format, args...))
}

func (r *record) String() string {
	slices.Sort(r.fields)
	return strings.Join(r.entries, ", ") + "; fields " + strings.Join(r.fields, ", ")
}

// trace returns a trace that notes everything.
func (r *record) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn:              func(address string) { r.add("get %s", address) },
		GotConn:              func(info httptrace.GotConnInfo) { r.add("got %t %t %v", info.Reused, info.WasIdle, info.IdleTime) },
		PutIdleConn:          func(err error) { r.add("put %v", err) },
		GotFirstResponseByte: func() { r.add("first byte") },
		Got100Continue:       func() { r.add("continue") },
		Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
			r.add("informed %d %v", status, header)
			return nil
		},
		ConnectStart:      func(network, address string) { r.add("connect %s %s", network, address) },
		ConnectDone:       func(network, address string, err error) { r.add("connected %s %s %v", network, address, err) },
		TLSHandshakeStart: func() { r.add("handshake") },
		TLSHandshakeDone:  func(tls.ConnectionState, error) { r.add("shaken") },
		WroteHeaderField: func(key string, values []string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.fields = append(r.fields, fmt.Sprintf("%s %q", key, values))
			if n := len(r.entries); r.entries[n-1] != "fields" {
				r.entries = append(r.entries, "fields")
			}
		},
		WroteHeaders:    func() { r.add("head") },
		Wait100Continue: func() { r.add("wait") },
		WroteRequest:    func(info httptrace.WroteRequestInfo) { r.add("request %v", info.Err) },
	}
}

// TestDirectTrace traces calls: a first one, one that is refused once, one whose
// body does not go with its head, and one that fails.
func TestDirectTrace(t *testing.T) {
	bothClients(t, func(t *testing.T, s *fakeServer, client http.RoundTripper, _ *h2.Transport) string {
		r := new(record)
		ctx := httptrace.WithClientTrace(t.Context(), r.trace())
		var p *rawPeer
		next := func() uint32 {
			f := p.request()
			settle() // or else the response would be faster than the trace
			return f.StreamID
		}
		done := begin(client, directRequest(ctx, "first"))
		p = s.accept()
		id := next()
		p.headers(id, false, ":status", "103", "x", "1")
		p.headers(id, false, ":status", "100")
		p.respond(id, "200", "body")
		receive(t, "a response", done).want(t, 200, "body")

		time.Sleep(time.Second) // so that the connection was idle for a while
		done = begin(client, directRequest(ctx, ""))
		p.reset(next(), http2.ErrCodeRefusedStream)
		p.respond(next(), "200", "")
		receive(t, "a response", done).want(t, 200, "")

		done = begin(client, directRequest(ctx, digits(60_000)))
		p.respond(next(), "200", "early")
		receive(t, "a response", done).want(t, 200, "early")
		settle()

		done = begin(client, directRequest(ctx, "last"))
		p.reset(next(), http2.ErrCodeCancel)
		r.add("%v", receive(t, "an error", done))
		settle()
		return r.String()
	})
}
