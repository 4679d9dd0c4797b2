// SPDX-License-Identifier: Apache-2.0

// Pure functions of the client, and the tables that it keeps.

package h2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect/h2/internal/flow"
	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

func TestASCIIHost(t *testing.T) {
	for host, want := range map[string]string{
		"example.com":      "example.com",
		"example.com:8080": "example.com:8080",
		"[::1]:80":         "[::1]:80",
		"bücher.example":   "xn--bcher-kva.example",
		"ドメイン.テスト:99":      "xn--eckwd4c7c.xn--zckzah:99",
		"a b":              "",
		"a/b":              "",
		"user@host":        "",
		"a\r\nb":           "",
	} {
		if got, err := asciiHost(host); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q and error %v, want %q", host, got, err, want)
		}
	}
}

func TestWithPort(t *testing.T) {
	for authority, want := range map[string]string{
		"a": "a:443", "a:1": "a:1", "a:": "a:443", "[::1]": "[::1]:443", "[::1]:8": "[::1]:8",
	} {
		if got := withPort("https", authority); got != want {
			t.Errorf("%q: got %q, want %q", authority, got, want)
		}
	}
}

func TestHeadOf(t *testing.T) {
	for _, c := range []struct {
		method, url, host string
		want              string // authority and path; empty: an error
	}{
		{"GET", "http://a", "", "a /"},
		{"", "http://a/b/c", "", "a /b/c"},
		{"GET", "http://a/b?c=d", "e", "e /b?c=d"},
		{"GET", "http://a//b", "", "a //b"},
		{"GET", "http://a/%2f%zz", "", ""},
		{"GET", "http://a/ü", "", "a /%C3%BC"},
		{"OPTIONS", "http://a/*", "", "a /*"},
		{"CONNECT", "http://a:1", "b:2", "b:2 "},
	} {
		u, err := url.Parse(c.url)
		got := ""
		if err == nil {
			var head requestHead
			head, err = headOf(c.method, c.host, u)
			got = head.authority + " " + head.path
		}
		if c.want == "" && err == nil || c.want != "" && (err != nil || got != c.want) {
			t.Errorf("%s %s: got %q and error %v, want %q", c.method, c.url, got, err, c.want)
		}
	}
	for opaque, want := range map[string]string{"//a/b": "/b", "/c": "/c", "*": "*", "d": "", "/x y": ""} {
		head, err := headOf("", "", &url.URL{Scheme: "http", Host: "a", Opaque: opaque})
		if (err == nil) != (want != "") || err == nil && head.path != want {
			t.Errorf("opaque %q: got %q and error %v, want %q", opaque, head.path, err, want)
		}
	}
	if head, err := headOf("", "", &url.URL{Scheme: "http", Host: "a", Path: "*"}); err != nil || head.path != "*" {
		t.Errorf("got %q and error %v, want an asterisk", head.path, err)
	}
}

// A saysInMemory reports that reading it does not wait.
type saysInMemory struct{ io.Reader }

func (r *saysInMemory) InMemory(self io.Reader) bool { return self == io.Reader(r) }

// TestInMemory lists the bodies that are read without waiting.
func TestInMemory(t *testing.T) {
	type own struct{ *bytes.Reader }
	says := saysInMemory{strings.NewReader("")}
	type promoted struct{ *saysInMemory }
	for name, c := range map[string]struct {
		body io.Reader
		want bool
	}{
		"bytes.Reader":     {io.NopCloser(bytes.NewReader(nil)), true},
		"bytes.Buffer":     {io.NopCloser(new(bytes.Buffer)), true},
		"strings.Reader":   {io.NopCloser(strings.NewReader("")), true},
		"twice":            {io.NopCloser(io.NopCloser(strings.NewReader(""))), true},
		"limited":          {io.NopCloser(io.LimitReader(strings.NewReader(""), 1)), false},
		"file":             {os.Stdin, false},
		"file, not closed": {io.NopCloser(os.Stdin), false},
		"embedded":         {own{bytes.NewReader(nil)}, false}, // may have methods of its own
		"says so":          {&says, true},
		"says so, wrapped": {io.NopCloser(&says), true},
		"promoted":         {promoted{&says}, false}, // the method of what it embeds
		"nothing":          {io.NopCloser(nil), false},
	} {
		if got := inMemory(c.body); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// TestHostsForgotten looks thousands of hosts up that cannot be reached: the table
// stays small.
func TestHostsForgotten(t *testing.T) {
	transport := NewTransport(&TransportConfig{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody there") },
	})
	for i := range 5000 {
		r, _ := http.NewRequest("GET", fmt.Sprintf("http://host%d.test", i), nil)
		if _, err := transport.RoundTrip(r); err == nil {
			t.Fatal("got a response from nobody")
		}
	}
	if n, m := len(transport.hosts), len(transport.byURL); n > hostsKept || m > hostsKept {
		t.Errorf("got %d and %d hosts that are kept, want at most %d", n, m, hostsKept)
	}
	if err := transport.Close(); err != nil {
		t.Error(err)
	}
}

// TestStreamNumbersEnd uses up the stream numbers of a connection: the next call
// opens another.
func TestStreamNumbersEnd(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RemoteAddr)
	}))
	if err := ConfigureServer(server.Config, nil); err != nil {
		t.Fatal(err)
	}
	server.Start()
	defer server.Close()
	client := NewTransport(nil)
	defer client.Close()
	get := func() string {
		t.Helper()
		r, err := http.NewRequest("GET", server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	first := get()
	for _, c := range client.list() {
		c.mu.Lock()
		c.nextID = wire.StreamIDMax - 2 // odd
		c.mu.Unlock()
	}
	for range 2 { // the last two of the connection
		if got := get(); got != first {
			t.Fatalf("got a call from %s, want it from %s", got, first)
		}
	}
	if got := get(); got == first {
		t.Errorf("got a call from %s, which has no stream numbers left", got)
	}
}

// TestHeedsContext finds the method on a type that embeds a transport: that type's own
// RoundTrip promises nothing.
func TestHeedsContext(t *testing.T) {
	transport := NewTransport(nil)
	defer transport.Close()
	if !transport.HeedsContext(transport) {
		t.Error("got false for a transport itself, want true")
	}
	embeds := struct{ *Transport }{transport}
	if embeds.HeedsContext(embeds) {
		t.Error("got true for a type that embeds a transport, want false")
	}
}

// TestLimitsFitTheWire asks for limits beyond those that HTTP/2 has: the largest that it has
// apply, and not what the lower bits say.
func TestLimitsFitTheWire(t *testing.T) {
	if strconv.IntSize < 64 {
		t.Skip("an int holds no such limit")
	}
	for _, n := range []int{math.MaxInt>>32 + 1, math.MaxInt>>31 + 1, math.MaxInt} { // 1<<31, 1<<32

		l := limitsOf(&http.HTTP2Config{MaxReceiveBufferPerConnection: n, MaxReceiveBufferPerStream: n}, n)
		if l.connWindow != flow.Max || l.maxStreamWindow != flow.Max || l.maxHeaderList != headerBytesMost {
			t.Errorf("%d: got windows of %d and %d bytes and sections of %d, want %d, %[5]d and %d",
				n, l.connWindow, l.maxStreamWindow, l.maxHeaderList, flow.Max, headerBytesMost)
		}
		client, server := net.Pipe()
		e := &engine{}
		c := e.newServerConn(&http.Server{HTTP2: &http.HTTP2Config{MaxConcurrentStreams: n}}, server, http.NotFoundHandler())
		if c.limits.maxStreams != wire.StreamIDMax {
			t.Errorf("%d: got %d streams, want %d", n, c.limits.maxStreams, wire.StreamIDMax)
		}
		_ = client.Close()
		_ = server.Close()
	}
}
