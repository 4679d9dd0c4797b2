// SPDX-License-Identifier: Apache-2.0

// The direct path, with calls that are let in and calls that are refused.

package overload_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/inprocess"
	"github.com/seed-b7c59c10/connect/internal/direct"
	"github.com/seed-b7c59c10/connect/overload"
)

// A watched handler counts the ways in which it is called.
type watched struct {
	http.Handler
	direct, plain atomic.Int64
}

func (h *watched) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.plain.Add(1)
	h.Handler.ServeHTTP(w, r)
}

func (h *watched) ServeDirect(self http.Handler, path string, w http.ResponseWriter) bool {
	if self != http.Handler(h) {
		return false
	}
	h.direct.Add(1)
	inner := h.Handler.(direct.Handler)
	return inner.ServeDirect(inner, path, w)
}

// TestDirect checks that calls keep their direct path, inside of the limiter and up to it,
// unless another type embeds the handler.
func TestDirect(t *testing.T) {
	limiter := overload.New(overload.Rate(0.001, 1, overload.ByField("x-key")))
	for name, around := range map[string]func(http.Handler) http.Handler{
		"alone": limiter.Handler,
		"before a mux": func(h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/test.v1.S/", h)
			return limiter.Handler(mux)
		},
		"exempt":   func(h http.Handler) http.Handler { return overload.Handler(h, overload.Exempt("/test.v1.S/")) },
		"embedded": func(h http.Handler) http.Handler { return struct{ http.Handler }{limiter.Handler(h)} },
	} {
		inner := &watched{Handler: new(service).handler()}
		outer := &watched{Handler: around(inner)}
		h := http.Handler(outer)
		want := name != "embedded"
		if !want {
			h = outer.Handler
		}
		c := newClient(inprocess.NewTransport(h), pathUnary)
		key := map[string]string{"X-Key": name}
		if err := callWith(t.Context(), c, pathUnary, key); err != nil {
			t.Errorf("%s: got %v, want an answer", name, err)
		}
		if name != "exempt" {
			wantRefused(t, name, callWith(t.Context(), c, pathUnary, key))
		}
		if got := inner.direct.Load() > 0; got != want || inner.direct.Load()+inner.plain.Load() != 1 {
			t.Errorf("%s: got %d direct calls inside and %d others, want one, direct %v", name, inner.direct.Load(), inner.plain.Load(), want)
		}
		if want && outer.plain.Load() != 0 {
			t.Errorf("%s: got %d calls up to the limiter that were not direct, want none", name, outer.plain.Load())
		}
	}
}

// TestAnswers compares the responses to calls that are refused on the direct path, the first
// and later ones, with those of net/http's path.
func TestAnswers(t *testing.T) {
	options := []overload.Option{overload.Rate(1e-6, 1, nil)}
	for _, contentType := range []string{"application/proto", "application/json", "application/connect+proto", "application/grpc", "application/grpc+json",
		"application/grpc-web", "application/grpc-web+proto", "APPLICATION/GRPC", "text/plain", "", strings.Repeat("x", 100)} {
		ask := func(h http.Handler) string {
			transport, end := ways["h2"](h)
			defer end()
			var all []string
			for range 3 {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://test.local"+pathUnary, strings.NewReader("x"))
				if err != nil {
					t.Fatal(err)
				}
				r.Header["Content-Type"] = []string{contentType}
				response, err := transport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				response.Header.Del("Date")
				all = append(all, fmt.Sprint(response.Status, response.Header, response.ContentLength, string(body), response.Trailer, err))
			}
			return strings.Join(all[1:], "\n") // the first one is let in
		}
		service := new(service).handler()
		direct := ask(overload.Handler(service, options...))
		plain := ask(struct{ http.Handler }{overload.Handler(service, options...)})
		if direct != plain || !strings.Contains(plain, "calls a second") {
			t.Errorf("%q: got on the direct path\n%s\nwant as on the other\n%s", contentType, direct, plain)
		}
	}
}

// TestErrors has an ErrorWriter of the program: its hooks see each refusal.
func TestErrors(t *testing.T) {
	var seen atomic.Int64
	writer := connect.NewErrorWriter(connect.WithErrorHook(func(_ context.Context, spec connect.Spec, err error) error {
		if spec.Procedure == pathUnary && connect.CodeOf(err) == connect.CodeResourceExhausted {
			seen.Add(1)
		}
		return nil
	}))
	c := newClient(inprocess.NewTransport(overload.Handler(new(service).handler(), overload.Errors(writer), overload.Rate(1e-6, 1, nil))), pathUnary)
	for range 4 {
		_ = call(t.Context(), c, pathUnary)
	}
	if seen.Load() != 3 {
		t.Errorf("got %d errors seen by the hook, want 3", seen.Load())
	}
}

// A nothing is a direct call whose response goes nowhere.
type nothing struct {
	fields [][2]string
	header http.Header
	status int
	bytes  int
}

func (n *nothing) Header() http.Header         { return n.header }
func (n *nothing) WriteHeader(status int)      { n.status = status }
func (n *nothing) Write(b []byte) (int, error) { n.bytes += len(b); return len(b), nil }
func (n *nothing) Flush()                      {}

func (n *nothing) DirectRequest() (context.Context, [][2]string, io.Reader, int64, string, string) {
	return context.Background(), n.fields, strings.NewReader(""), 0, "test.local", "192.0.2.1:1234"
}
func (n *nothing) DirectClientTLS() *tls.ConnectionState { return nil }
func (n *nothing) DirectField(string, string)            {}
func (n *nothing) DirectTrailer(string, string)          {}

// refuser returns a function that has a call refused, without a client.
func refuser(contentType string) func() *nothing {
	h := overload.Handler(new(service).handler(), overload.Rate(1e-9, 1, overload.ByPeer)).(direct.Handler)
	refuse := func() *nothing {
		n := &nothing{header: make(http.Header), fields: [][2]string{{"content-type", contentType}, {"user-agent", "test"}, {"grpc-timeout", "1S"}}}
		if !h.ServeDirect(h, pathUnary, n) {
			panic("got a call left to ServeHTTP, want it refused")
		}
		return n
	}
	refuse()
	return refuse
}

// BenchmarkRefusal is what the server does to refuse a call, without the connection.
func BenchmarkRefusal(b *testing.B) {
	for name, contentType := range map[string]string{"connect": "application/proto", "grpc": "application/grpc", "grpcweb": "application/grpc-web"} {
		b.Run(name, func(b *testing.B) {
			refuse := refuser(contentType)
			b.ReportAllocs()
			began := cpuTime()
			for b.Loop() {
				refuse()
			}
			b.ReportMetric(float64(cpuTime()-began)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkCall is a whole call over a connection, let in and refused: CPU time of both
// sides. A client has more to do with a refusal, of which it makes an error with metadata,
// than with an answer; BenchmarkServer leaves the client out.
func BenchmarkCall(b *testing.B) {
	for protocol, options := range protocols {
		for name, h := range map[string]http.Handler{
			"without":  new(service).handler(),
			"adaptive": overload.Handler(new(service).handler()),
			"fixed":    overload.Handler(new(service).handler(), overload.Fixed(100)),
			"refused":  overload.Handler(new(service).handler(), overload.Rate(1e-9, 1, nil)),
		} {
			b.Run(protocol+"/"+name, func(b *testing.B) {
				transport, end := ways["h2"](h)
				defer end()
				c := newClient(transport, pathUnary, options...)
				_ = call(b.Context(), c, pathUnary)
				b.ReportAllocs()
				began := cpuTime()
				for b.Loop() {
					if err := call(b.Context(), c, pathUnary); (err != nil) != (name == "refused") {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpuTime()-began)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// TestRateOnce has calls that go on from the direct path to ServeHTTP: each counts once.
func TestRateOnce(t *testing.T) {
	for name, rates := range map[string][]overload.Option{
		"one rate":  {overload.Rate(0.001, 3, nil)},
		"two rates": {overload.Rate(0.001, 3, nil), overload.Rate(0.001, 3, overload.ByField("x-key"))},
	} {
		limiter := overload.New(rates...)
		c := newClient(inprocess.NewTransport(limiter.Handler(new(service).handler())), "/test.v1.S/Missing")
		for i := range 4 {
			want := connect.CodeUnimplemented
			if i == 3 {
				want = connect.CodeResourceExhausted
			}
			if err := callWith(t.Context(), c, pathUnary, nil); connect.CodeOf(err) != want { // a unary one
				t.Errorf("%s: call %d: got %v, want %v", name, i+1, err, want)
			}
		}
	}
}
