// SPDX-License-Identifier: Apache-2.0

// Which scripts may call, what they may send and read, and what is refused.

package cors_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/cors"
	"github.com/seed-b7c59c10/connect/inprocess"
	"github.com/seed-b7c59c10/connect/internal/direct"
)

const (
	allowOrigin = "Access-Control-Allow-Origin"
	allHeaders  = "connect-protocol-version,connect-timeout-ms,content-type,grpc-timeout,x-grpc-web,x-user-agent"
)

// TestOrigins asks for good and hostile origins, by a preflight and by a call.
func TestOrigins(t *testing.T) {
	named := cors.Origins(app, "http://localhost:5173", "https://*.wild.example:8443", "http://[::1]:3000", "capacitor://localhost")
	handlers := map[string]http.Handler{
		"named": cors.Handler(service(), named),
		"every": cors.Handler(service(), cors.Origins("*")),
		"asked": cors.Handler(service(), cors.OriginFunc(func(origin string) bool { return strings.HasSuffix(origin, "example.com") })),
		"both":  cors.Handler(service(), cors.OriginFunc(func(string) bool { return true }), named),
	}
	for _, c := range []struct{ origin, allowed string }{
		{app, "named every asked both"},
		{"http://localhost:5173", "named every both"},
		{"https://a.wild.example:8443", "named every both"},
		{"https://a.b-c.wild.example:8443", "named every both"},
		{"http://[::1]:3000", "named every both"},
		{"capacitor://localhost", "named every both"},
		{"null", "every"},
		{"", ""},
		{"https://app.example.com.evil.example", "every both"},
		{"https://evilapp.example.com", "every asked both"},
		{"https://app.example.com:443", "every both"},
		{"https://app.example.com:8443", "every both"},
		{"https://app.example.com/", "every both"},
		{"https://app.example.com.", "every both"},
		{"http://app.example.com", "every asked both"},
		{"HTTPS://APP.EXAMPLE.COM", "every both"},
		{"https://App.example.com", "every asked both"},
		{"app.example.com", "every asked both"},
		{"*", "every both"},
		{"https://wild.example:8443", "every both"},
		{"https://.wild.example:8443", "every both"},
		{"https://a..wild.example:8443", "every both"},
		{"https://a.wild.example", "every both"},
		{"https://evil.example/.wild.example:8443", "every both"},
		{"https://evil.example#.wild.example:8443", "every both"},
		{"https://user@a.wild.example:8443", "every both"},
		{"https://evilwild.example:8443", "every both"},
		{"http://localhost", "every both"},
		{"https://app.example.com https://evil.example", "every both"},
		{"https://" + strings.Repeat("a.", 30000) + "wild.example:8443", "every both"},
	} {
		for name, h := range handlers {
			want := ""
			if slices.Contains(strings.Fields(c.allowed), name) {
				want = c.origin
				if name == "every" {
					want = "*"
				}
			}
			if c.origin != "" {
				header := preflight(h, c.origin, "content-type")
				if got := header.Get(allowOrigin); got != want || (header.Get("Access-Control-Allow-Headers") != "") != (want != "") {
					t.Errorf("%s, preflight of %.60q: got the origin %.60q, want %.60q", name, c.origin, got, want)
				}
			}
			w := actual(h, c.origin, `"a"`)
			if got := w.Header().Get(allowOrigin); got != want {
				t.Errorf("%s, call of %.60q: got the origin %.60q, want %.60q", name, c.origin, got, want)
			}
			if w.Body.String() != `"a"` {
				t.Errorf("%s, call of %.60q: got the body %q, want that of the handler", name, c.origin, w.Body)
			}
			if got := strings.Join(w.Header().Values("Vary"), ", "); !strings.Contains(got, "Origin") {
				t.Errorf("%s, call of %.60q: got Vary: %q, want Origin in it", name, c.origin, got)
			}
		}
	}
}

// TestTwoOrigins has more than one header, of which the first is good.
func TestTwoOrigins(t *testing.T) {
	h := cors.Handler(service(), cors.Origins(app), cors.OriginFunc(func(string) bool { return true }))
	for _, method := range []string{http.MethodOptions, http.MethodPost} {
		r := httptest.NewRequest(method, pathUnary, strings.NewReader(`"a"`))
		r.Header = http.Header{"Content-Type": {"application/json"}, "Origin": {app, "https://evil.example"}, "Access-Control-Request-Method": {"POST"}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Values(allowOrigin); len(got) != 0 {
			t.Errorf("%s: got the origins %q, want none", method, got)
		}
	}
}

// TestTwoFunctions has two options that ask a function.
func TestTwoFunctions(t *testing.T) {
	is := func(one string) cors.Option {
		return cors.OriginFunc(func(origin string) bool { return origin == one })
	}
	h := cors.Handler(service(), is(app), is("https://two.example"))
	for origin, want := range map[string]string{app: app, "https://two.example": "https://two.example", "https://evil.example": ""} {
		if got := preflight(h, origin, "").Get(allowOrigin); got != want {
			t.Errorf("%s: got the origin %q, want %q", origin, got, want)
		}
	}
}

// TestPreflight asks for methods and headers.
func TestPreflight(t *testing.T) {
	h := cors.Handler(service(), cors.Origins(app), cors.RequestHeaders("Authorization", "X-Own"))
	for _, c := range []struct {
		names string
		want  bool
	}{
		{"", true},
		{"content-type", true},
		{allHeaders, true},
		{"authorization,content-type,x-own", true},
		{"authorization, content-type, x-own", true},
		{"content-type,x-other", false},
		{"x-other", false},
		{"*", false},
		{strings.Repeat("content-type,", 10000) + "x-own", false},
		{strings.Repeat(",", 100000), false},
		{"content-type\x00", false},
	} {
		header := preflight(h, app, c.names)
		if got := header.Get(allowOrigin) == app; got != c.want {
			t.Errorf("%.60q: got allowed %v, want %v: %.200v", c.names, got, c.want, header)
		}
		if got := header.Get("Vary"); !strings.Contains(got, "Origin") || !strings.Contains(got, "Access-Control-Request-Headers") {
			t.Errorf("%.60q: got Vary: %q", c.names, got)
		}
		if !c.want {
			for name := range header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%.60q: got %s for what is refused, want nothing", c.names, name)
				}
			}
			continue
		}
		if got := header.Get("Access-Control-Max-Age"); got != "7200" {
			t.Errorf("%.60q: got the age %q, want 7200", c.names, got)
		}
		if got := header.Get("Access-Control-Allow-Headers"); got != c.names {
			t.Errorf("%.60q: got the headers %q, want all", c.names, got)
		}
		if got := header.Get("Access-Control-Allow-Credentials"); got != "" {
			t.Errorf("%.60q: got credentials %q, want none", c.names, got)
		}
	}
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "post", "CONNECT", ""} {
		r := httptest.NewRequest(http.MethodOptions, pathUnary, nil)
		r.Header.Set("Origin", app)
		r.Header.Set("Access-Control-Request-Method", method)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		want := ""
		if method == "GET" || method == "POST" {
			want = method
		}
		if got := w.Header().Get("Access-Control-Allow-Methods"); got != want {
			t.Errorf("%s: got the methods %q, want %q", method, got, want)
		}
	}
}

// TestOptions checks what options change.
func TestOptions(t *testing.T) {
	h := cors.Handler(service(), cors.Origins(app), cors.Origins("https://two.example"), cors.Credentials(), cors.MaxAge(0),
		cors.ResponseHeaders("x-head"), cors.Trailers("x-trail", "x-meta"))
	if got := preflight(h, "https://two.example", ""); got.Get("Access-Control-Max-Age") != "0" || got.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("got %v, want no age and credentials", got)
	}
	w := actual(h, app, `"a"`)
	exposed := strings.Split(w.Header().Get("Access-Control-Expose-Headers"), ", ")
	for _, name := range append(cors.ExposedHeaders(), "X-Head", "X-Trail", "Trailer-X-Trail", "X-Meta", "Trailer-X-Meta") {
		if !slices.Contains(exposed, name) {
			t.Errorf("got the exposed headers %q, want %s, too", exposed, name)
		}
	}
	for _, name := range []string{"X-Head", "Trailer-X-Trail"} {
		if w.Header().Get(name) == "" {
			t.Errorf("got no header %s from a call, want it", name)
		}
	}
	if got := preflight(cors.Handler(service(), cors.Origins(app), cors.MaxAge(time.Minute)), app, "").Get("Access-Control-Max-Age"); got != "60" {
		t.Errorf("got the age %q, want 60", got)
	}
}

// TestErrors has the metadata of errors where scripts may read it, in both protocols.
func TestErrors(t *testing.T) {
	h := cors.Handler(service(), cors.Origins(app), cors.Trailers("X-Meta"))
	for name, c := range map[string]struct {
		contentType, path, body string
		headers                 []string
	}{
		"Connect":         {"application/json", pathUnary, `"fail"`, []string{"X-Meta"}},
		"gRPC-Web":        {"application/grpc-web+json", pathUnary, "\x00\x00\x00\x00\x06\"fail\"", []string{"X-Meta", "Grpc-Status", "Grpc-Message"}},
		"gRPC-Web stream": {"application/grpc-web+json", pathStream, "\x00\x00\x00\x00\x06\"fail\"", []string{"X-Meta", "Grpc-Status", "Grpc-Message"}},
	} {
		r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(c.body))
		r.Header = http.Header{"Content-Type": {c.contentType}, "Origin": {app}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		exposed := strings.Split(w.Header().Get("Access-Control-Expose-Headers"), ", ")
		for _, header := range c.headers {
			if inBody := strings.Contains(strings.ToLower(w.Body.String()), strings.ToLower(header)+":"); !slices.Contains(exposed, header) || w.Header().Get(header) == "" && !inBody {
				t.Errorf("%s: got %q in %v and the body %q, want it readable", name, w.Header().Get(header), exposed, w.Body)
			}
		}
	}
}

// TestGet calls by GET, which needs no preflight. A cache keeps origins and encodings apart.
func TestGet(t *testing.T) {
	h := cors.Handler(service(), cors.Origins(app))
	r := httptest.NewRequest(http.MethodGet, pathUnary+`?connect=v1&encoding=json&message=%22a%22`, nil)
	r.Header.Set("Origin", app)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	vary := strings.Join(w.Header().Values("Vary"), ", ")
	if w.Code != 200 || w.Header().Get(allowOrigin) != app || !strings.Contains(vary, "Origin") || !strings.Contains(vary, "Accept-Encoding") {
		t.Errorf("got %d, %v, want 200, the origin, and Vary with Origin and Accept-Encoding", w.Code, w.Header())
	}
}

// TestForms posts as a form of another page may, without a preflight: the handler refuses.
func TestForms(t *testing.T) {
	h := cors.Handler(service(), cors.Origins(app))
	for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""} {
		r := httptest.NewRequest(http.MethodPost, pathUnary, strings.NewReader(`"a"`))
		r.Header = http.Header{"Content-Type": {contentType}, "Origin": {"https://evil.example"}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusUnsupportedMediaType || w.Header().Get(allowOrigin) != "" {
			t.Errorf("%q: got %d, %v, want %d", contentType, w.Code, w.Header(), http.StatusUnsupportedMediaType)
		}
	}
}

// watched counts direct calls.
type watched struct {
	http.Handler
	direct atomic.Int64
}

func (h *watched) ServeDirect(self http.Handler, path string, w http.ResponseWriter) bool {
	inner := h.Handler.(direct.Handler)
	h.direct.Add(1)
	return self == http.Handler(h) && inner.ServeDirect(inner, path, w)
}

// TestDirect keeps the direct path for calls that are no script's, alone and before a mux.
func TestDirect(t *testing.T) {
	for name, before := range map[string]func(http.Handler) http.Handler{
		"alone": func(h http.Handler) http.Handler { return h },
		"a mux": func(h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/test.v1.S/", h)
			return mux
		},
	} {
		inner := &watched{Handler: service()}
		client := connect.NewClient[message, message](&http.Client{Transport: inprocess.NewTransport(cors.Handler(before(inner), cors.Origins(app)))}, "http://test.local"+pathUnary)
		for _, origin := range []string{"", app} {
			request := connect.NewRequest(wrapperspb.String("a"))
			want := int64(1)
			if origin != "" {
				request.Header().Set("Origin", origin)
				want = 0
			}
			inner.direct.Store(0)
			response, err := client.CallUnary(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			if got := response.Header().Get(allowOrigin); got != origin {
				t.Errorf("%s: got the origin %q, want %q", name, got, origin)
			}
			if got := inner.direct.Load(); got != want {
				t.Errorf("%s, origin %q: got %d direct calls, want %d", name, origin, got, want)
			}
		}
	}
}

// TestPanics has mistakes of programs. The panic names the function.
func TestPanics(t *testing.T) {
	for _, origin := range []string{
		"", "null", "app.example.com", "app.example.com:443", "//app.example.com", "https://", "https://app.example.com/", "https://app.example.com/path",
		"https://app.example.com?q", "https://user@app.example.com", "HTTPS://app.example.com", "https://App.example.com", "https://app.example.com:443",
		"http://app.example.com:80", "https://app.example.com:", "https://app.example.com:port", "https://*", "https://*.com", "https://*.*.example.com",
		"https://app*.example.com", "https://example.*", "*.example.com", "https://a b", "https://bücher.example", "https://a..b", "https://.a", "**",
		"https://app.example.com:65536", "http://localhost:80800", "http://localhost:05173", "https://*.example.com:0443",
		"http://[0:0:0:0:0:0:0:1]:5173", "http://[::0001]", "http://[fe80::1%25eth0]", "http://[::ffff:1.2.3.4]", "http://[::1", "http://[app]",
	} {
		wantPanic(t, fmt.Sprintf("Origins(%q)", origin), func() { cors.Origins(origin) })
	}
	cors.Origins("http://[::ffff:102:304]", "http://[2001:db8::1]:8080", "http://127.0.0.1:65535", "http://localhost:0")
	wantPanic(t, "Handler", func() { cors.Handler(nil, cors.Origins(app)) })
	wantPanic(t, "an option is nil", func() { cors.Handler(http.NotFoundHandler(), cors.Origins(app), nil) })
	wantPanic(t, "no origin", func() { cors.Handler(service()) })
	wantPanic(t, "no origin", func() { cors.Handler(service(), cors.Origins()) })
	wantPanic(t, "Credentials", func() { cors.Handler(service(), cors.Origins("*"), cors.Credentials()) })
	wantPanic(t, "OriginFunc", func() { cors.OriginFunc(nil) })
	wantPanic(t, "MaxAge", func() { cors.MaxAge(-time.Second) })
	wantPanic(t, "MaxAge", func() { cors.MaxAge(time.Millisecond) })
	for _, name := range []string{"", "*", "a b", "a,b", "a:", "ä", "a\n"} {
		wantPanic(t, "RequestHeaders", func() { cors.RequestHeaders("X-Good", name) })
		wantPanic(t, "ResponseHeaders", func() { cors.ResponseHeaders(name) })
		wantPanic(t, "Trailers", func() { cors.Trailers(name) })
	}
}

func wantPanic(t *testing.T, with string, f func()) {
	t.Helper()
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, with) {
			t.Errorf("got the panic %q, want one with %q", got, with)
		}
	}()
	f()
}

// FuzzOrigin has origins of any kind in requests: allowed is what was named, and nothing else.
func FuzzOrigin(f *testing.F) {
	f.Add(app)
	f.Add("https://a.wild.example")
	f.Add("https://evil/.wild.example")
	h := cors.Handler(service(), cors.Origins(app, "https://*.wild.example"))
	f.Fuzz(func(t *testing.T, origin string) {
		got := preflight(h, origin, "content-type").Get(allowOrigin)
		if got == "" || got == app && origin == app {
			return
		}
		rest, ok := strings.CutSuffix(origin, ".wild.example")
		if label, ok2 := strings.CutPrefix(rest, "https://"); got != origin || !ok || !ok2 || strings.ContainsAny(label, "/:@?#\\ *%") {
			t.Errorf("got %q allowed, want only what was named", origin)
		}
	})
}
