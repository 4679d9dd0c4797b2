// SPDX-License-Identifier: Apache-2.0

// Requests as HTTP/2 carries them: which are malformed, and what the handler is
// given of the others [RFC 9113, section 8].

package h2_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// TestServerMalformedRequests sends heads that no handler may see: an error of
// the stream, of type PROTOCOL_ERROR, or an answer with 400
// [RFC 9113, section 8.1.1].
func TestServerMalformedRequests(t *testing.T) {
	t.Parallel()
	get := func(more ...string) []string { return append(requestHead("GET"), more...) }
	type malformed struct {
		name string
		head []string
	}
	cases := []malformed{
		// Section 8.2: names and values.
		{"empty name", get("", "x")},
		{"name in capitals", get("X-Name", "x")},
		{"name with a colon", get("x:name", "x")},
		{"value with NUL", get("x-name", "a\x00b")},
		{"value with CR", get("x-name", "a\rb")},
		{"value with LF", get("x-name", "a\nb")},
		{"path with LF", []string{":method", "GET", ":scheme", "http", ":path", "/\n", ":authority", "server.test"}},
		// Section 8.2.2: fields of HTTP/1.1 connections.
		{"connection", get("connection", "keep-alive")},
		{"proxy-connection", get("proxy-connection", "keep-alive")},
		{"keep-alive", get("keep-alive", "timeout=5")},
		{"transfer-encoding", get("transfer-encoding", "chunked")},
		{"upgrade", get("upgrade", "h2c")},
		{"te", get("te", "trailers, deflate")},
		{"te of gzip", get("te", "gzip")},
		// Section 8.3: pseudo-header fields.
		{"pseudo-header field after others", []string{":method", "GET", ":scheme", "http", "x-name", "x", ":path", "/", ":authority", "server.test"}},
		{"unknown pseudo-header field", append([]string{":unknown", "x"}, get()...)},
		{"pseudo-header field of responses", append([]string{":status", "200"}, get()...)},
		{"method twice", append([]string{":method", "GET"}, get()...)},
		{"scheme twice", append([]string{":scheme", "http"}, get()...)},
		{"path twice", append([]string{":path", "/"}, get()...)},
		{"authority twice", append([]string{":authority", "server.test"}, get()...)},
		{"authority with a user", []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "user@server.test"}},
		{"authority with a user and a password", []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "user:password@server.test"}},
		{"authority with an empty user", []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "@server.test"}},
		{"host with a user", []string{":method", "GET", ":scheme", "http", ":path", "/", "host", "user@server.test"}},
		{"CONNECT to a user", []string{":method", "CONNECT", ":authority", "user@server.test:443"}},
		{"no method", []string{":scheme", "http", ":path", "/", ":authority", "server.test"}},
		{"no scheme", []string{":method", "GET", ":path", "/", ":authority", "server.test"}},
		{"no path", []string{":method", "GET", ":scheme", "http", ":authority", "server.test"}},
		{"empty method", []string{":method", "", ":scheme", "http", ":path", "/", ":authority", "server.test"}},
		{"empty path", []string{":method", "GET", ":scheme", "http", ":path", "", ":authority", "server.test"}},
		{"path without a slash", []string{":method", "GET", ":scheme", "http", ":path", "index", ":authority", "server.test"}},
		{"method with a space", []string{":method", "GE T", ":scheme", "http", ":path", "/", ":authority", "server.test"}},
		{"extended CONNECT, not offered", []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/", ":authority", "server.test"}},
		// Section 8.5: CONNECT.
		{"CONNECT with a path", []string{":method", "CONNECT", ":path", "/", ":authority", "server.test:443"}},
		{"CONNECT with a scheme", []string{":method", "CONNECT", ":scheme", "http", ":authority", "server.test:443"}},
		{"CONNECT without authority", []string{":method", "CONNECT"}},
		// Section 8.1.1: the length.
		{"content-length without a body", get("content-length", "1")},
		{"content-length that is no number", get("content-length", "one")},
		{"negative content-length", get("content-length", "-1")},
		{"content-length with a sign", get("content-length", "+0")},
		{"huge content-length", get("content-length", "99999999999999999999999")},
		{"two content-lengths", get("content-length", "0", "content-length", "1")},
	}
	for b := range 256 {
		if b <= ' ' || b >= 'A' && b <= 'Z' || b >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, rune(b)) {
			cases = append(cases, malformed{"a name's byte of " + string("0123456789abcdef"[b/16]) + string("0123456789abcdef"[b%16]), get("x-"+string([]byte{byte(b)}), "x")})
		}
	}
	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, answerOK)
				p := dial(t, s)
				p.headers(1, true, c.head...)
				f := p.await("an error", func(f *frame) bool { return f.StreamID == 1 || isGoAway(f) })
				switch {
				case f.Type == http2.FrameRSTStream && f.code == http2.ErrCodeProtocol:
				case f.Type == http2.FrameHeaders && field(f.fields, ":status") == "400":
				default:
					t.Errorf("got %v with %v and %q, want RST_STREAM with %v, or 400", f, f.code, f.fields, http2.ErrCodeProtocol)
				}
				p.wantAlive()
				if n := s.started.Load(); n != 0 {
					t.Errorf("got %d handlers, want none", n)
				}
			})
		})
	}
}

// TestServerMalformedTrailers sends trailers that are malformed: the handler's
// body ends in an error.
func TestServerMalformedTrailers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		trailer []string
	}{
		{"pseudo-header field", []string{":path", "/"}},
		{"name in capitals", []string{"X-Trailer", "x"}},
		{"value with LF", []string{"x-trailer", "a\nb"}},
		{"connection", []string{"connection", "close"}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				read := make(chan error, 1)
				p := dial(t, startServer(t, func(_ http.ResponseWriter, r *http.Request) {
					_, err := io.Copy(io.Discard, r.Body)
					read <- err
				}))
				p.post(1)
				p.data(1, false, []byte("body"))
				p.headers(1, true, c.trailer...)
				p.wantReset(1, http2.ErrCodeProtocol)
				if err := receive(t, "the end of the body", read); err == nil {
					t.Error("got a body that is whole, want an error")
				}
				p.wantAlive()
			})
		})
	}
}

// TestServerContentLength sends bodies of another length than they say: each is
// an error of the stream, and of the body.
func TestServerContentLength(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, length string
		send         func(p *rawPeer)
		whole        bool
	}{
		{"as it says", "4", func(p *rawPeer) { p.data(1, true, []byte("body")) }, true},
		{"as it says, twice", "4, 4", func(p *rawPeer) { p.data(1, true, []byte("body")) }, true},
		{"empty", "0", func(p *rawPeer) { p.data(1, true, nil) }, true},
		{"too short", "5", func(p *rawPeer) { p.data(1, true, []byte("body")) }, false},
		{"too long", "3", func(p *rawPeer) { p.data(1, true, []byte("body")) }, false},
		{"too long, not ended", "3", func(p *rawPeer) { p.data(1, false, []byte("body")) }, false},
		{"too short, with trailers", "5", func(p *rawPeer) {
			p.data(1, false, []byte("body"))
			p.headers(1, true, "x-trailer", "yes")
		}, false},
		{"nothing but trailers", "5", func(p *rawPeer) { p.headers(1, true, "x-trailer", "yes") }, false},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				read := make(chan error, 1)
				s := startServer(t, func(_ http.ResponseWriter, r *http.Request) {
					_, err := io.Copy(io.Discard, r.Body)
					read <- err
				})
				p := dial(t, s)
				p.post(1, "content-length", c.length)
				c.send(p)
				if c.length == "4, 4" {
					// A list of equal values may be refused as well.
					f := p.await("an answer", func(f *frame) bool { return f.StreamID == 1 })
					if f.Type == http2.FrameRSTStream && f.code != http2.ErrCodeProtocol {
						t.Errorf("got %v, want %v", f.code, http2.ErrCodeProtocol)
					}
					return
				}
				if c.whole {
					p.wantAnswer(1, "200")
				} else {
					p.wantReset(1, http2.ErrCodeProtocol)
				}
				if err := receive(t, "the end of the body", read); (err == nil) != c.whole {
					t.Errorf("got %v from the body, want an error: %t", err, !c.whole)
				}
				p.wantAlive()
			})
		})
	}
}

// TestServerRequest checks what a handler is given.
func TestServerRequest(t *testing.T) {
	t.Parallel()
	type seen struct {
		method, host, uri, proto string
		header                   http.Header
		trailer                  http.Header
		length                   int64
		body                     string
	}
	for _, c := range []struct {
		name  string
		head  []string
		body  []string // DATA frames; trailers follow if there are
		after []string
		want  seen
	}{
		{"plain", requestHead("GET"), nil, nil, seen{method: "GET", host: "server.test", uri: "/", header: http.Header{}}},
		{"query", []string{":method", "PUT", ":scheme", "http", ":path", "/a%20b?c=d&e", ":authority", "server.test:8080"}, []string{"body"}, nil,
			seen{method: "PUT", host: "server.test:8080", uri: "/a%20b?c=d&e", header: http.Header{}, length: -1, body: "body"}},
		{"any method", []string{":method", "m-search!", ":scheme", "http", ":path", "/", ":authority", "server.test"}, nil, nil,
			seen{method: "m-search!", host: "server.test", uri: "/", header: http.Header{}}},
		{"asterisk", []string{":method", "OPTIONS", ":scheme", "http", ":path", "*", ":authority", "server.test"}, nil, nil,
			seen{method: "OPTIONS", host: "server.test", uri: "*", header: http.Header{}}},
		{"host instead of authority", []string{":method", "GET", ":scheme", "http", ":path", "/", "host", "other.test"}, nil, nil,
			seen{method: "GET", host: "other.test", uri: "/", header: http.Header{}}},
		// Section 8.3.1: :authority counts, not Host.
		{"host beside authority", append(requestHead("GET"), "host", "server.test"), nil, nil,
			seen{method: "GET", host: "server.test", uri: "/", header: http.Header{}}},
		// Section 8.2.3.
		{"cookies", append(requestHead("GET"), "cookie", "a=b", "cookie", "c=d", "x-name", "x", "cookie", "e=f"), nil, nil,
			seen{method: "GET", host: "server.test", uri: "/", header: http.Header{"Cookie": {"a=b; c=d; e=f"}, "X-Name": {"x"}}}},
		{"fields", append(requestHead("GET"), "x-name", "one", "x-name", "", "te", "trailers", "x-name", "two, three"), nil, nil,
			seen{method: "GET", host: "server.test", uri: "/", header: http.Header{"X-Name": {"one", "", "two, three"}, "Te": {"trailers"}}}},
		{"values of any byte", append(requestHead("GET"), "x-name", "a\tb \u00e4\xff\x7e"), nil, nil,
			seen{method: "GET", host: "server.test", uri: "/", header: http.Header{"X-Name": {"a\tb \u00e4\xff\x7e"}}}},
		// Section 8.2.1 has them malformed; net/http's peers send them, so they are
		// taken off instead.
		{"spaces around values", append(requestHead("GET"), "x-name", " a", "x-name", "\tb \t", "x-name", " \t", "x-name", "c d "), nil, nil,
			seen{method: "GET", host: "server.test", uri: "/", header: http.Header{"X-Name": {"a", "b", "", "c d"}}}},
		{"length", append(requestHead("POST"), "content-length", "8"), []string{"one ", "", "more"}, nil,
			seen{method: "POST", host: "server.test", uri: "/", header: http.Header{"Content-Length": {"8"}}, length: 8, body: "one more"}},
		{"trailers", append(requestHead("POST"), "trailer", "x-one, x-three"), []string{"body"}, []string{"x-one", "1", "x-two", "2", "x-one", "3"},
			seen{method: "POST", host: "server.test", uri: "/", header: http.Header{}, length: -1, body: "body",
				trailer: http.Header{"X-One": {"1", "3"}, "X-Three": nil}}},
		{"CONNECT", []string{":method", "CONNECT", ":authority", "server.test:443"}, []string{"body"}, nil,
			seen{method: "CONNECT", host: "server.test:443", uri: "server.test:443", header: http.Header{}, length: -1, body: "body"}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				given := make(chan seen, 1)
				p := dial(t, startServer(t, func(_ http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err != nil {
						t.Errorf("got %v from the body, want none", err)
					}
					given <- seen{r.Method, r.Host, r.RequestURI, r.Proto, r.Header, r.Trailer, r.ContentLength, string(body)}
				}, func(s *http.Server, _ *h2.ServerConfig) { s.DisableGeneralOptionsHandler = true }))
				p.headers(1, len(c.body) == 0, c.head...)
				for i, b := range c.body {
					p.data(1, i == len(c.body)-1 && c.after == nil, []byte(b))
				}
				if c.after != nil {
					p.headers(1, true, c.after...)
				}
				p.wantAnswer(1, "200")
				got := receive(t, "a request", given)
				if got.proto != "HTTP/2.0" {
					t.Errorf("got protocol %q, want HTTP/2.0", got.proto)
				}
				if got.method != c.want.method || got.host != c.want.host || got.uri != c.want.uri ||
					got.length != c.want.length || got.body != c.want.body {
					t.Errorf("got  %+v,\nwant %+v", got, c.want)
				}
				wantHeader(t, "header", got.header, c.want.header)
				wantHeader(t, "trailer", got.trailer, c.want.trailer)
			})
		})
	}
}

func wantHeader(t *testing.T, what string, got, want http.Header) {
	t.Helper()
	equal := len(got) == len(want)
	for key, values := range want {
		equal = equal && slices.Equal(got[key], values)
	}
	if !equal {
		t.Errorf("got %s %q, want %q", what, got, want)
	}
}

// TestServerResponses checks what becomes of answers that may have no body, and
// of fields that HTTP/2 does not carry [RFC 9113, sections 8.1 and 8.2.2].
func TestServerResponses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		method  string
		handler http.HandlerFunc
		status  string
		body    string
	}{
		{"HEAD", "HEAD", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "body") }, "200", ""},
		{"HEAD of much", "HEAD", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }, "200", ""},
		{"204", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
			_, _ = io.WriteString(w, "body")
		}, "204", ""},
		{"304", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotModified)
			_, _ = io.WriteString(w, "body")
		}, "304", ""},
		{"fields of HTTP/1.1", "GET", func(w http.ResponseWriter, _ *http.Request) {
			for _, name := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade"} {
				w.Header().Set(name, "keep-alive")
			}
			_, _ = io.WriteString(w, "body")
		}, "200", "body"},
		{"fields that are invalid", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["X Space"] = []string{"x"}
			w.Header()[""] = []string{"x"}
			w.Header()[":status"] = []string{"500"}
			w.Header()["X-Line"] = []string{"a\r\nb: c"}
			_, _ = io.WriteString(w, "body")
		}, "200", "body"},
		{"nothing", "GET", func(http.ResponseWriter, *http.Request) {}, "200", ""},
		{"early hints", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "body")
		}, "200", "body"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := dial(t, startServer(t, c.handler))
				p.headers(1, true, requestHead(c.method)...)
				a := p.wantAnswer(1, c.status)
				if string(a.body) != c.body {
					t.Errorf("got body %q, want %q", a.body, c.body)
				}
				for _, f := range a.header {
					// The reading Framer has checked names and values already.
					switch f.Name {
					case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
						t.Errorf("got field %v, want none of HTTP/1.1", f)
					case "x-line":
						if strings.ContainsAny(f.Value, "\r\n") {
							t.Errorf("got value %q, want no line breaks", f.Value)
						}
					}
				}
				p.wantAlive()
			})
		})
	}
}

// TestServerConnectionClose checks that a handler which asks for the end of its
// connection gets a graceful one, as with net/http.
func TestServerConnectionClose(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := dial(t, startServer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Last") != "" {
				w.Header().Set("Connection", "close")
			}
			answerOK(w, r)
		}))
		p.post(1)
		p.get(3, "x-last", "yes")
		p.wantAnswer(3, "200")
		p.data(1, true, []byte("body"))
		p.wantAnswer(1, "200")
		last := uint32(0)
		for range 2 {
			f := p.await("GOAWAY", isGoAway)
			if last = f.last; f.code != http2.ErrCodeNo || last == 3 {
				break
			}
		}
		if last != 3 {
			t.Errorf("got last stream %d in GOAWAY, want 3", last)
		}
		p.wantClosed()
	})
}

// TestServerContinue checks that 100 is sent when the handler reads, and only
// then [RFC 9110, section 10.1.1].
func TestServerContinue(t *testing.T) {
	t.Parallel()
	for _, read := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			p := dial(t, startServer(t, func(w http.ResponseWriter, r *http.Request) {
				if read {
					_, _ = io.Copy(w, r.Body)
				} else {
					w.WriteHeader(http.StatusExpectationFailed)
				}
			}))
			p.post(1, "expect", "100-continue")
			f := p.await("HEADERS", func(f *frame) bool { return f.Type == http2.FrameHeaders })
			if !read {
				if got := field(f.fields, ":status"); got != "417" {
					t.Errorf("got status %q of a handler that does not read, want 417", got)
				}
				return
			}
			if got := field(f.fields, ":status"); got != "100" || f.ended() {
				t.Errorf("got status %q, ended %t, want 100 and more", got, f.ended())
			}
			p.data(1, true, []byte("body"))
			if a := p.wantAnswer(1, "200"); string(a.body) != "body" {
				t.Errorf("got %q, want %q", a.body, "body")
			}
		})
	}
}
