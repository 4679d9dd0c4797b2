// SPDX-License-Identifier: Apache-2.0

// What clients and handlers are made of: URLs, procedures, settings.

package connect

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/emptypb"
)

func TestProcedurePath(t *testing.T) {
	for in, want := range map[string]string{
		"/acme.foo.v1.Foo/Bar":          "/acme.foo.v1.Foo/Bar",
		"acme.foo.v1.Foo/Bar":           "/acme.foo.v1.Foo/Bar",
		"/prefix/acme.foo.v1.Foo/Bar":   "/acme.foo.v1.Foo/Bar",
		"/a/b/c/acme.foo.v1.Foo/Bar":    "/acme.foo.v1.Foo/Bar",
		"/acme.foo.v1.Foo/Bar/":         "/Bar",
		"//prefix//acme.foo.v1.Foo/Bar": "/acme.foo.v1.Foo/Bar",
		"/Bar":                          "/",
		"Bar":                           "/Bar",
		"/":                             "/",
		"":                              "/",
		"///":                           "/",
	} {
		if got := procedurePath(in); got != want {
			t.Errorf("procedurePath(%q): got %q, want %q", in, got, want)
		}
	}
}

func TestClientURLs(t *testing.T) {
	for _, c := range []struct {
		url       string
		procedure string // "" is an error
		host      string
	}{
		{"http://host/a.B/C", "/a.B/C", "host"},
		{"https://host:8443/prefix/a.B/C", "/a.B/C", "host:8443"},
		{"http://[::1]:80/a.B/C", "/a.B/C", "[::1]:80"},
		{"http://host/a.B/C?key=v", "/a.B/C", "host"},
		{"host/a.B/C", "", ""},
		{"", "", ""},
		{"http://host:port/a.B/C", "", ""},
		{"http://ho st/a.B/C", "", ""},
	} {
		client := NewClient[emptypb.Empty, emptypb.Empty](http.DefaultClient, c.url)
		if (client.err == nil) != (c.procedure != "") {
			t.Errorf("%q: got error %v, want one: %t", c.url, client.err, c.procedure == "")
		}
		if client.err != nil {
			if _, err := client.CallUnary(context.Background(), NewRequest(&emptypb.Empty{})); err != client.err {
				t.Errorf("%q: a call says %v, want %v", c.url, err, client.err)
			}
			if CodeOf(client.err) != CodeUnavailable {
				t.Errorf("%q: got %v, want %v", c.url, client.err, CodeUnavailable)
			}
			continue
		}
		if got := client.config; got.spec.Procedure != c.procedure || got.peer.Addr != c.host || !got.spec.IsClient {
			t.Errorf("%q: got %+v, %+v, want %q at %q", c.url, got.spec, got.peer, c.procedure, c.host)
		}
	}
	client := NewClient[emptypb.Empty, emptypb.Empty](http.DefaultClient, "localhost:8080/a.B/C")
	if client.err == nil || !strings.Contains(client.err.Error(), "http://") {
		t.Errorf("no scheme: got %v, want the fix", client.err)
	}
}

func TestClientSettings(t *testing.T) {
	none := func() Decompressor { return nil }
	for _, c := range []struct {
		name   string
		client HTTPClient
		option ClientOption
		want   string // in the error, "" for none
	}{
		{"default", http.DefaultClient, WithClientOptions(), ""},
		{"no HTTP client", nil, WithClientOptions(), "HTTP client is nil"},
		{"unknown compression", http.DefaultClient, WithSendCompression("br"), `"br"`},
		{"removed compression", http.DefaultClient, WithClientOptions(WithAcceptCompression("gzip", nil, nil), WithSendGzip()), `"gzip"`},
		{"identity", http.DefaultClient, WithSendCompression("identity"), ""},
		{"no compressor", http.DefaultClient, WithClientOptions(WithAcceptCompression("x", none, nil), WithSendCompression("x")), `"x"`},
	} {
		client := NewClient[emptypb.Empty, emptypb.Empty](c.client, "http://host/a.B/C", c.option)
		if (client.err == nil) != (c.want == "") || client.err != nil && !strings.Contains(client.err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, client.err, c.want)
		}
	}
	if !panics(func() { WithRequestGate(nil) }) {
		t.Error("nil gate: got no panic")
	}
}

// TestConnectGoBehavior holds the limits that the option sets, and that an option
// after it changes them and one before it does not.
func TestConnectGoBehavior(t *testing.T) {
	for _, c := range []struct {
		name    string
		options []Option
		want    [2]int // readMax and compressMin
	}{
		{"alone", []Option{WithConnectGoBehavior()}, [2]int{0, 0}},
		{"before others", []Option{WithConnectGoBehavior(), WithReadMaxBytes(5), WithCompressMinBytes(6)}, [2]int{5, 6}},
		{"after others", []Option{WithReadMaxBytes(5), WithCompressMinBytes(6), WithConnectGoBehavior()}, [2]int{0, 0}},
		{"twice", []Option{WithConnectGoBehavior(), WithReadMaxBytes(5), WithConnectGoBehavior()}, [2]int{0, 0}},
	} {
		all := WithOptions(c.options...)
		handler := newHandlerConfig("/a.B/C", StreamTypeUnary, []HandlerOption{all})
		client, err := newClientConfig(http.DefaultClient, "http://host/a.B/C", []ClientOption{all})
		if err != nil {
			t.Fatal(err)
		}
		for side, config := range map[string]*config{"handler": handler, "client": client} {
			if got := [2]int{config.readMax, config.compressMin}; got != c.want || !config.connectGo {
				t.Errorf("%s, %s: got %v, connectGo %v, want %v, true", c.name, side, got, config.connectGo, c.want)
			}
		}
	}
	if c := newHandlerConfig("/a.B/C", StreamTypeUnary, nil); c.connectGo || c.readMax != defaultReadMax || c.compressMin != defaultCompressMin {
		t.Errorf("default: got %v, %d, %d", c.connectGo, c.readMax, c.compressMin)
	}
}

func panics(f func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	f()
	return false
}

func echoEmpty(context.Context, *Request[emptypb.Empty]) (*Response[emptypb.Empty], error) {
	return NewResponse(&emptypb.Empty{}), nil
}

// TestRequestHeaders holds the headers of requests, by protocol.
// [checklist 8, 12, 13, 23, 73]
func TestRequestHeaders(t *testing.T) {
	for _, c := range []struct {
		name   string
		stream bool
		option ClientOption
		want   map[string]string // "" is absent
	}{
		{"connect unary", false, WithClientOptions(), map[string]string{
			"Content-Type": "application/proto", "Accept-Encoding": "gzip", "Connect-Protocol-Version": "1", "Te": "",
			"Content-Encoding": "", "Connect-Accept-Encoding": "", "Grpc-Accept-Encoding": "",
		}},
		{"connect unary, gzip", false, WithSendGzip(), map[string]string{"Content-Encoding": ""}}, // set where a message is compressed
		{"connect unary, no compression", false, WithAcceptCompression("gzip", nil, nil), map[string]string{"Accept-Encoding": "identity"}},
		{"connect stream", true, WithClientOptions(WithProtoJSON(), WithSendGzip()), map[string]string{
			"Content-Type": "application/connect+json", "Accept-Encoding": "identity", "Connect-Protocol-Version": "1",
			"Content-Encoding": "", "Connect-Content-Encoding": "gzip", "Connect-Accept-Encoding": "gzip",
		}},
		{"grpc", true, WithClientOptions(WithGRPC(), WithSendGzip()), map[string]string{
			"Content-Type": "application/grpc", "Accept-Encoding": "identity", "Te": "trailers", "Grpc-Encoding": "gzip",
			"Grpc-Accept-Encoding": "gzip", "Connect-Protocol-Version": "", "X-User-Agent": "",
		}},
		{"grpc unary, json", false, WithClientOptions(WithGRPC(), WithProtoJSON()), map[string]string{
			"Content-Type": "application/grpc+json", "Te": "trailers", "Grpc-Encoding": "",
		}},
		{"grpc-web", false, WithGRPCWeb(), map[string]string{
			"Content-Type": "application/grpc-web+proto", "Accept-Encoding": "identity", "Te": "", "Grpc-Accept-Encoding": "gzip",
		}},
	} {
		client := NewClient[emptypb.Empty, emptypb.Empty](http.DefaultClient, "http://host/a.B/C", c.option)
		if client.err != nil {
			t.Fatal(client.err)
		}
		h := client.config.header
		if c.stream {
			h = client.config.streamHead
		}
		for key, want := range c.want {
			if got := h.Get(key); got != want {
				t.Errorf("%s: %s: got %q, want %q", c.name, key, got, want)
			}
		}
		agent := h.Get("User-Agent")
		if agent == "" || c.name == "grpc-web" && h.Get("X-User-Agent") != agent {
			t.Errorf("%s: got User-Agent %q, X-User-Agent %q", c.name, agent, h.Get("X-User-Agent"))
		}
	}
}

// TestRefusals checks the answers of a handler to requests that are not calls of its
// procedure.
// [checklist 2, 3, 5, 9, 55, 59]
func TestRefusals(t *testing.T) {
	unary := NewUnaryHandler("/a.B/C", echoEmpty)
	idempotent := NewUnaryHandler("/a.B/C", echoEmpty, WithIdempotency(IdempotencyNoSideEffects))
	stream := NewClientStreamHandler("/a.B/C", func(context.Context, *ClientStream[emptypb.Empty]) (*Response[emptypb.Empty], error) {
		return NewResponse(&emptypb.Empty{}), nil
	}, WithIdempotency(IdempotencyNoSideEffects))
	bidi := NewBidiStreamHandler("/a.B/C", func(context.Context, *BidiStream[emptypb.Empty, emptypb.Empty]) error { return nil })
	for _, c := range []struct {
		name, method, target, contentType, body string
		handler                                 http.Handler
		status                                  int
		header, value                           string
	}{
		{"PUT", "PUT", "/a.B/C", "application/json", "{}", unary, 405, "Allow", "POST"},
		{"GET", "GET", "/a.B/C?encoding=json&message={}", "", "", unary, 405, "Allow", "POST"},
		{"DELETE", "DELETE", "/a.B/C", "", "", idempotent, 405, "Allow", "GET, POST"},
		{"HEAD", "HEAD", "/a.B/C?encoding=json&message={}", "", "", idempotent, 405, "Allow", "GET, POST"},
		{"GET of a stream", "GET", "/a.B/C?encoding=json&message={}", "", "", stream, 405, "Allow", "POST"},
		{"GET", "GET", "/a.B/C?encoding=json&message={}", "", "", idempotent, 200, "Content-Type", "application/json"},
		{"GET, no codec", "GET", "/a.B/C?message={}", "", "", idempotent, 415, "", ""},
		{"GET, unknown codec", "GET", "/a.B/C?encoding=thrift&message={}", "", "", idempotent, 415, "", ""},
		{"GET with a body", "GET", "/a.B/C?encoding=json&message={}", "application/json", "{}", idempotent, 415, "", ""},
		{"no content type", "POST", "/a.B/C", "", "{}", unary, 415, "Accept-Post", unary.routes.String()},
		{"unknown content type", "POST", "/a.B/C", "text/plain", "{}", unary, 415, "Accept-Post", unary.routes.String()},
		{"unary type to a stream", "POST", "/a.B/C", "application/json", "{}", stream, 415, "Accept-Post", stream.routes.String()},
		{"stream type to unary", "POST", "/a.B/C", "application/connect+json", "", unary, 415, "Accept-Post", unary.routes.String()},
		{"bidi over HTTP/1.1", "POST", "/a.B/C", "application/connect+json", "", bidi, 505, "Connection", "close"},
	} {
		r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
		if c.body == "" {
			r.Body, r.ContentLength = http.NoBody, 0
		}
		if c.contentType != "" {
			r.Header.Set("Content-Type", c.contentType)
		}
		w := httptest.NewRecorder()
		c.handler.ServeHTTP(w, r)
		got := w.Result()
		if got.StatusCode != c.status || c.header != "" && got.Header.Get(c.header) != c.value {
			t.Errorf("%s: got %d, %v, want %d, %s: %s", c.name, got.StatusCode, got.Header, c.status, c.header, c.value)
		}
		if c.status == 200 {
			continue
		}
		if body, _ := io.ReadAll(got.Body); !strings.HasPrefix(string(body), "/a.B/C ") || strings.IndexByte(string(body), '\n') != len(body)-1 {
			t.Errorf("%s: got body %q, want a line on the procedure", c.name, body)
		}
		if contentType := got.Header.Get("Content-Type"); contentType != "text/plain; charset=utf-8" {
			t.Errorf("%s: got content type %q, want text", c.name, contentType)
		}
	}
}
