// SPDX-License-Identifier: Apache-2.0

// The direct path of the server: which requests take it, and that no other
// handler can find out that it is there.

package h2_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// A directCall is what a handler of direct calls gets.
type directCall interface {
	http.ResponseWriter
	DirectRequest() (ctx context.Context, fields [][2]string, body io.Reader, length int64, host, remoteAddr string)
	DirectField(name, value string)
	DirectTrailer(name, value string)
}

// A directHandler takes direct calls with a function, which reports whether it did,
// and all other requests with another.
type directHandler struct {
	direct func(path string, call directCall) bool
	http.HandlerFunc
}

func (h *directHandler) ServeDirect(self http.Handler, path string, w http.ResponseWriter) bool {
	call, ok := w.(directCall)
	return ok && self == http.Handler(h) && h.direct(path, call)
}

// sayWay answers which way a request took.
var sayWay = &directHandler{
	direct: func(path string, call directCall) bool {
		_, _ = io.WriteString(call, "direct "+path)
		return true
	},
	HandlerFunc: func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "http "+r.URL.Path) },
}

// overriding is a handler that embeds one which takes direct calls.
type overriding struct {
	*directHandler
	_ []int // not comparable
}

func (o overriding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "checked, ")
	o.directHandler.ServeHTTP(w, r)
}

// serving has a server use a handler as it is.
func serving(handler http.Handler) func(*http.Server, *h2.ServerConfig) {
	return func(s *http.Server, _ *h2.ServerConfig) { s.Handler = handler }
}

// mounted returns a mux with a handler at patterns.
func mounted(handler http.Handler, patterns ...string) *http.ServeMux {
	mux := http.NewServeMux()
	for _, pattern := range patterns {
		mux.Handle(pattern, handler)
	}
	return mux
}

const directPath = "/direct.test.v1.Service/"

var mountDefault = sync.OnceFunc(func() { http.Handle(directPath, sayWay) })

// TestDirectTaken lists requests, and the method that serves them with each handler.
func TestDirectTaken(t *testing.T) {
	mountDefault()
	head := func(method, path string, more ...string) []string {
		return slices.Concat([]string{":method", method, ":scheme", "http", ":path", path, ":authority", "server.test"}, more)
	}
	requests := map[string]struct {
		head   []string
		direct bool
	}{
		"plain":          {head("POST", directPath+"Call", "content-type", "x", "cookie", "a=b"), true},
		"no fields":      {head("POST", directPath+"Call"), true},
		"length":         {head("POST", directPath+"Call", "content-length", "4"), true},
		"GET":            {head("GET", directPath+"Call"), false},
		"PUT":            {head("PUT", directPath+"Call"), false},
		"own method":     {head("PoST", directPath+"Call"), false},
		"query":          {head("POST", directPath+"Call?a=b"), false},
		"empty query":    {head("POST", directPath+"Call?"), false},
		"encoded":        {head("POST", directPath+"C%61ll"), false},
		"not encoded":    {head("POST", directPath+"C~ll"), false},
		"expect":         {head("POST", directPath+"Call", "expect", "100-continue"), false},
		"other expect":   {head("POST", directPath+"Call", "expect", "wonders"), false},
		"trailer":        {head("POST", directPath+"Call", "trailer", "x-sum"), false},
		"host":           {head("POST", directPath+"Call", "host", "server.test"), false},
		"host alone":     {[]string{":method", "POST", ":scheme", "http", ":path", directPath + "Call", "host", "server.test"}, false},
		"nobody to name": {[]string{":method", "POST", ":scheme", "http", ":path", directPath + "Call"}, false},
	}
	byHost := mounted(sayWay, "server.test"+directPath)
	byHost.HandleFunc("/", sayWay.ServeHTTP)
	for name, server := range map[string]struct {
		handler http.Handler
		direct  bool
	}{
		"handler":             {sayWay, true},
		"mux":                 {mounted(sayWay, directPath), true},
		"default mux":         {nil, true},
		"method of the mux":   {mounted(sayWay, "POST "+directPath, directPath), true},
		"host of the mux":     {mounted(sayWay, "server.test"+directPath, "other.test/", directPath), true},
		"wildcard of the mux": {mounted(sayWay, "/{service}/{method}"), true},
		"function":            {http.HandlerFunc(sayWay.ServeHTTP), false},
		"function on a mux":   {mounted(http.HandlerFunc(sayWay.ServeHTTP), directPath), false},
		"mux on a mux":        {mounted(mounted(sayWay, directPath), directPath), false},
		"embedded mux":        {struct{ *http.ServeMux }{mounted(sayWay, directPath)}, false},
		"with a limit":        {http.MaxBytesHandler(sayWay, 100), false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := dial(t, startServer(t, nil, serving(server.handler)))
				id := uint32(1)
				for name, request := range requests {
					p.headers(id, false, request.head...)
					p.data(id, true, []byte("body"))
					want := "http " + directPath + "Call"
					switch {
					case name == "not encoded":
						want = "http " + directPath + "C~ll"
					case request.direct && server.direct:
						want = "direct " + directPath + "Call"
					}
					if got := string(p.answer(id).body); got != want {
						t.Errorf("%s: got %q, want %q", name, got, want)
					}
					id += 2
				}
			})
		})
	}
}

// TestDirectOverridden: a handler that embeds one which takes direct calls is not
// passed over.
func TestDirectOverridden(t *testing.T) {
	outer := overriding{directHandler: sayWay}
	for name, handler := range map[string]http.Handler{
		"handler": outer, "pointer": &outer, "mux": mounted(outer, "/"), "pointer on a mux": mounted(&outer, "/"),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				client := newClient(t, startServer(t, nil, serving(handler)).network, nil)
				call(client, request(t.Context(), "POST", strings.NewReader("body"))).want(t, 200, "checked, http /")
			})
		})
	}
}

// ---- the requests that others get ----

// showWhole answers what is in a request, as far as a handler can see it.
func showWhole(w http.ResponseWriter, r *http.Request) {
	noBody := r.Body == http.NoBody
	body, err := io.ReadAll(r.Body)
	server, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	peer, _, _ := net.SplitHostPort(r.RemoteAddr)
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "%s %#v %q %s %d.%d\n", r.Method, *r.URL, r.RequestURI, r.Proto, r.ProtoMajor, r.ProtoMinor)
	fmt.Fprintf(w, "host %q, length %d, encoding %q, close %t, from %s\n", r.Host, r.ContentLength, r.TransferEncoding, r.Close, peer)
	fmt.Fprintf(w, "header %s, trailer %v\n", dump(r.Header), r.Trailer)
	fmt.Fprintf(w, "body %q, %v, none %t\n", body, err, noBody)
	fmt.Fprintf(w, "pattern %q, service %q, TLS %t, form %v, response %v\n", r.Pattern, r.PathValue("service"), r.TLS != nil, r.Form, r.Response)
	fmt.Fprintf(w, "server %t, address %t\n", server != nil && server.Handler != nil, local != nil && local.String() != "")
}

// refusing looks at direct calls and takes none of them.
var refusing = &directHandler{
	direct: func(_ string, call directCall) bool {
		_, fields, _, length, host, remoteAddr := call.DirectRequest()
		return fields == nil || length < -1 || host == "" || remoteAddr == ""
	},
	HandlerFunc: showWhole,
}

// TestDirectLeaves: a handler that takes no direct calls, or not this one, gets the
// request that it would get if there were no direct path.
func TestDirectLeaves(t *testing.T) {
	requests := map[string]func(*http.Request){
		"body":             func(*http.Request) {},
		"unknown length":   func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(onlyReader("body")), -1 },
		"empty body":       func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(onlyReader("")), -1 },
		"no body":          func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 },
		"header":           func(r *http.Request) { r.Header["X"] = []string{"1", "", "2"} },
		"odd names":        func(r *http.Request) { r.Header = http.Header{"x_y~z": {"1"}, "TE": {"trailers"}, "Etag": {"x"}} },
		"cookies":          func(r *http.Request) { r.Header["Cookie"] = []string{"a=b", "c=d"} },
		"other host":       func(r *http.Request) { r.Host = "other.test:99" },
		"trailer":          func(r *http.Request) { r.Trailer = http.Header{"X-Sum": {"4"}} },
		"unknown path":     func(r *http.Request) { r.URL.Path = "/nowhere" },
		"path to clean":    func(r *http.Request) { r.URL.Path = "/direct.test.v1.Service/./Call" },
		"path of a tree":   func(r *http.Request) { r.URL.Path = "/tree" },
		"other method":     func(r *http.Request) { r.Method = "PUT" },
		"path to decode":   func(r *http.Request) { r.URL.Path += " x" },
		"method to refuse": func(r *http.Request) { r.URL.Path = "/get" },
	}
	outcomes := func(t *testing.T, handler http.Handler, how way) map[string]string {
		s := startSocketServer(t, how, nil, func(s *http.Server) { s.Handler = handler })
		client, url := s.client(t, how)
		all := make(map[string]string)
		for name, change := range requests {
			r, err := http.NewRequestWithContext(t.Context(), "POST", url+directPath+"Call", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			change(r)
			o := call(client.Transport, r)
			if o.err != nil {
				t.Fatalf("%s: %v", name, o.err)
			}
			all[name] = fmt.Sprintf("%d %s\n%s", o.StatusCode, dump(o.Header), strings.ReplaceAll(o.body, s.addr, "server"))
		}
		return all
	}
	patterns := []string{"POST /{service}/{method}", "/{service}/{method}", "other.test/", "/tree/{$}", "GET /get"}
	show := http.HandlerFunc(showWhole)
	overSockets(t, func(t *testing.T, how way) {
		for _, c := range []struct {
			name          string
			handler, bare http.Handler // what may be direct, and the same that is not
		}{
			{"refused", refusing, show},
			{"refused on a mux", mounted(refusing, patterns...), http.HandlerFunc(mounted(show, patterns...).ServeHTTP)},
			{"other on a mux", mounted(show, patterns...), http.HandlerFunc(mounted(show, patterns...).ServeHTTP)},
		} {
			got, want := outcomes(t, c.handler, how), outcomes(t, c.bare, how)
			for name := range requests {
				if got[name] != want[name] {
					t.Errorf("%s, %s: got\n%s\nwant\n%s", c.name, name, got[name], want[name])
				}
			}
		}
	})
}

// TestDirectPatterns: a mux answers direct calls with redirects and refusals as it
// answers others, and with the handlers that it got in the meantime.
func TestDirectPatterns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		mux := mounted(sayWay, "/tree/", "POST /post", "GET /get", "/a/b")
		direct := newClient(t, startServer(t, nil, serving(mux)).network, nil)
		plain := newClient(t, startServer(t, mux.ServeHTTP).network, nil)
		ask := func(client http.RoundTripper, path string) string {
			r := request(t.Context(), "POST", strings.NewReader("body"))
			r.URL.Path = path
			o := call(client, r)
			if o.err != nil {
				t.Fatal(o.err)
			}
			return fmt.Sprintf("%d %s %q", o.StatusCode, dump(o.Header), o.body)
		}
		for _, path := range []string{"/tree", "/tree/", "/tree/x/y", "/post", "/post/", "/get", "/a/./b", "/a//b", "/a/../a/b", "/a/b", "/a/b/", "/none", "/"} {
			got, want := ask(direct, path), ask(plain, path)
			want = strings.ReplaceAll(want, "http /", "direct /")
			want = strings.ReplaceAll(want, `"Content-Length":["`+fmt.Sprint(len("http "+path))+`"]`, `"Content-Length":["`+fmt.Sprint(len("direct "+path))+`"]`)
			if got != want {
				t.Errorf("%s: got %s, want %s", path, got, want)
			}
		}
		mux.Handle("/tree/leaf", http.NotFoundHandler())
		mux.Handle("/none", sayWay)
		if got := ask(direct, "/tree/leaf"); !strings.HasPrefix(got, "404 ") {
			t.Errorf("a pattern that came later: got %s, want status 404", got)
		}
		if got := ask(direct, "/none"); !strings.Contains(got, "direct /none") {
			t.Errorf("another that came later: got %s, want the direct path", got)
		}
	})
}

// ---- what DirectRequest returns ----

// TestDirectRequest looks at all that DirectRequest returns.
func TestDirectRequest(t *testing.T) {
	for _, c := range []struct {
		name   string
		fields []string // of the request
		parts  []string // of its body; nil for none
		length int64
	}{
		{"body", []string{"content-length", "4", "x", "1", "cookie", "a=b", "x", "2", "cookie", "c=d"}, []string{"bo", "dy"}, 4},
		{"unknown length", []string{"te", "trailers"}, []string{"body"}, -1},
		{"empty body", nil, []string{""}, -1},
		{"no body", []string{"content-length", "0"}, nil, 0},
		{"nothing", nil, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				done := make(chan context.Context, 1)
				handler := &directHandler{direct: func(path string, call directCall) bool {
					ctx, fields, body, length, host, remoteAddr := call.DirectRequest()
					got, err := io.ReadAll(body)
					var flat []string
					for _, f := range fields {
						flat = append(flat, f[0], f[1])
					}
					if !slices.Equal(flat, c.fields) || length != c.length || string(got) != strings.Join(c.parts, "") || err != nil {
						t.Errorf("got %q, length %d, body %q and error %v, want %q, %d, %q and none", flat, length, got, err, c.fields, c.length, c.parts)
					}
					if path != "/" || host != "server.test" || remoteAddr != "client.test:443" {
						t.Errorf("got path %q, host %q, address %q", path, host, remoteAddr)
					}
					if ctx.Value(http.ServerContextKey) == nil || ctx.Value(http.LocalAddrContextKey) == nil || ctx.Err() != nil {
						t.Errorf("got context %v, want one with the server and its address", ctx)
					}
					done <- ctx
					return true
				}}
				p := dial(t, startServer(t, nil, serving(handler)))
				p.headers(1, c.parts == nil, slices.Concat(requestHead("POST"), c.fields)...)
				for i, part := range c.parts {
					p.data(1, i == len(c.parts)-1, []byte(part))
				}
				p.wantAnswer(1, "200")
				settle()
				if ctx := receive(t, "a context", done); ctx.Err() != context.Canceled {
					t.Errorf("after the call: got %v of its context, want it canceled", ctx.Err())
				}
			})
		})
	}
}

// TestDirectBodyCut gives a body up in the middle: its reader, and the context, hear
// of it.
func TestDirectBodyCut(t *testing.T) {
	for name, cut := range map[string]func(*rawPeer){
		"reset":      func(p *rawPeer) { p.reset(1, http2.ErrCodeCancel) },
		"hung up":    func(p *rawPeer) { _ = p.conn.Close() },
		"too short":  func(p *rawPeer) { p.data(1, true, nil) },
		"too long":   func(p *rawPeer) { p.data(1, false, make([]byte, 20)) },
		"bad end":    func(p *rawPeer) { p.headers(1, true, "connection", "close") },
		"end, short": func(p *rawPeer) { p.headers(1, true, "x-sum", "4") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				read, done := make(chan struct{}), make(chan error, 2)
				handler := &directHandler{direct: func(_ string, call directCall) bool {
					ctx, _, body, _, _, _ := call.DirectRequest()
					_, _ = io.ReadFull(body, make([]byte, 4))
					close(read)
					_, err := io.ReadAll(body)
					done <- err
					<-ctx.Done()
					done <- ctx.Err()
					return true
				}}
				p := dial(t, startServer(t, nil, serving(handler)))
				p.post(1, "content-length", "10")
				p.data(1, false, []byte("body"))
				receive(t, "the first bytes", read)
				cut(p)
				if err := receive(t, "the end of the reading", done); err == nil {
					t.Error("got no error from the body, want one")
				}
				if err := receive(t, "the end of the context", done); err != context.Canceled {
					t.Errorf("got %v of the context, want %v", err, context.Canceled)
				}
			})
		})
	}
}

// TestDirectTrailersOfRequest sends trailers that were not announced: the body ends in
// order, and an http.Request does not show them either.
func TestDirectTrailersOfRequest(t *testing.T) {
	for name, handler := range map[string]http.Handler{"taken": &directHandler{direct: func(_ string, call directCall) bool {
		_, _, body, _, _, _ := call.DirectRequest()
		text, err := io.ReadAll(body)
		fmt.Fprintf(call, "%s %v map[]", text, err)
		return true
	}}, "refused": &directHandler{
		direct: func(string, directCall) bool { return false },
		HandlerFunc: func(w http.ResponseWriter, r *http.Request) {
			text, err := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %v %v", text, err, r.Trailer)
		},
	}} {
		bubble(t, func(t *testing.T) {
			p := dial(t, startServer(t, nil, serving(handler)))
			p.post(1)
			p.data(1, false, []byte("body"))
			p.headers(1, true, "x-sum", "4")
			if got, want := string(p.wantAnswer(1, "200").body), "body <nil> map[]"; got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		})
	}
}
