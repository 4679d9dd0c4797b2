// SPDX-License-Identifier: Apache-2.0

// This file tests that calls take the direct path between engine and library where
// they should, and that the path changes no result of a call.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// isDirect reports whether the goroutine's stack has a method of the direct path.
func isDirect(method string) bool { return strings.Contains(string(debug.Stack()), ")."+method+"(") }

// The rows with "direct" in their names take the direct path on both sides, the
// others on none.
func TestDirectRows(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		want := strings.Contains(m.engine.name, "direct")
		served := make(chan bool, 1)
		for _, options := range [][]siteOption{nil, {alone}} {
			client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
				served <- isDirect("ServeDirect")
				if _, err := x.receiveAll(); err != nil {
					return err
				}
				return x.send(new(conntestv1.Response))
			}), options...).client()
			forKinds(t, m, func(t *testing.T, k kind) {
				var asked, direct atomic.Int32
				ctx := httptrace.WithClientTrace(testContext(t), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
					asked.Add(1)
					if isDirect("RoundTripDirect") {
						direct.Add(1)
					}
				}})
				wantNil(t, call(ctx, client, k, nil, text("x")).err)
				wantEqual(t, "direct on the server's side", <-served, want)
				if traced := asked.Load() > 0; traced == m.engine.untraced {
					t.Fatalf("got a connection in the trace: %v, want %v", traced, !m.engine.untraced)
				}
				wantEqual(t, "direct on the client's side", direct.Load() > 0, want && (k == unary || k == get))
			})
		}
	}, overNetwork) // see TestInprocessRows
}

// forDirect runs a test over every protocol with the direct path.
func forDirect(t *testing.T, test func(*testing.T, mode)) {
	t.Helper()
	runFew(t, test, func(m mode) bool { return strings.Contains(m.engine.name, "direct") })
}

// directHandler is what NewServiceHandler returns, for an engine.
type directHandler interface {
	http.Handler
	ServeDirect(self http.Handler, path string, w http.ResponseWriter) bool
}

// guarded is a handler that embeds the library's and asks for a password.
type guarded struct{ directHandler }

func (g guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	g.directHandler.ServeHTTP(w, r)
}

// A preparing transport is one that makes direct calls: the engine's, or a balancer.
type preparing interface {
	http.RoundTripper
	PrepareDirect(self http.RoundTripper, u *url.URL, shared [][2]string) (interface {
		RoundTripDirect(ctx context.Context, own [][2]string, body []byte) (io.ReadCloser, error)
	}, error)
}

// signing is a transport that embeds such a one and adds a field to requests.
type signing struct {
	preparing
	calls *atomic.Int32
}

func (s signing) RoundTrip(r *http.Request) (*http.Response, error) {
	s.calls.Add(1)
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "secret")
	return s.preparing.RoundTrip(r)
}

// The direct path does not bypass a type that embeds a handler or a transport.
func TestDirectEmbedded(t *testing.T) {
	forDirect(t, func(t *testing.T, m mode) {
		handler := connect.NewUnaryHandler(unary.procedure(), func(_ context.Context, r *request) (*response, error) {
			return connect.NewResponse(&conntestv1.Response{Text: r.Msg.GetText()}), nil
		}, m.handlerOptions()...)
		service, ok := connect.NewServiceHandler([]*connect.Handler{handler}).(directHandler)
		if !ok {
			t.Fatal("got a service without ServeDirect")
		}
		if _, ok := http.Handler(handler).(directHandler); ok {
			t.Fatal("got ServeDirect in the API of Handler")
		}
		mux := http.NewServeMux()
		mux.Handle(unary.procedure(), guarded{service})
		for where, handler := range map[string]http.Handler{"alone": guarded{service}, "pointer": &guarded{service}, "mux": mux} {
			site := m.serveHTTP(t, handler, alone)
			_, err := site.client().Unary(testContext(t), requestOf("x"))
			if connect.CodeOf(err) != connect.CodeUnauthenticated {
				t.Fatalf("%s: got %v, want %v", where, err, connect.CodeUnauthenticated)
			}
			engine, ok := site.transport.(preparing)
			if !ok {
				t.Fatalf("got a %T, want a transport that makes direct calls", site.transport)
			}
			var calls atomic.Int32
			client := site.clientOn(&http.Client{Transport: signing{engine, &calls}})
			answer, err := client.Unary(testContext(t), requestOf("x"))
			wantNil(t, err)
			wantEqual(t, where+": text", answer.Msg.GetText(), "x")
			wantEqual(t, where+": calls", calls.Load(), 1)
		}
	})
}

// Handlers, gates and interceptors see the same headers with and without the direct
// path, and so do clients.
func TestDirectMetadata(t *testing.T) {
	forDirect(t, func(t *testing.T, m mode) {
		for name, header := range metadataHeaders() {
			for _, fails := range []bool{false, true} {
				forKinds(t, m, func(t *testing.T, k kind) {
					got, want := metadataSeen(t, m, k, header, fails), ""
					for _, e := range engines {
						if e.name == strings.Replace(strings.TrimSuffix(m.engine.name, "-balance"), "direct", "engine", 1) {
							other := m
							other.engine = e
							want = metadataSeen(t, other, k, header, fails)
						}
					}
					if got != want {
						t.Errorf("%s, fails %t: got\n%s\nwant\n%s", name, fails, got, want)
					}
				})
			}
		}
	})
}

// metadataHeaders are headers of requests: plain ones and difficult ones.
func metadataHeaders() map[string]http.Header {
	header := http.Header{
		"X": {"1", "", "2"}, "Cookie": {"a=b", "c=d"}, "Data-Bin": {connect.EncodeBinaryHeader([]byte{0, 255}), "AA"},
		"User-Agent": {"test/1", "test/2"}, "Authorization": {"secret"}, "Content-Length": {"99"}, "Te": {"gzip"},
		"Proxy-Connection": {"close"}, "Trailer": {"X"}, "Expect": {"nothing"},
	}
	noExpect := header.Clone()
	delete(noExpect, "Expect")
	noExpect.Del("Proxy-Connection")
	lower := http.Header{"x-lower": {"1"}, "content-length": {"99"}, "connection": {"close"}}
	host := http.Header{"Host": {"other.test"}}
	return map[string]http.Header{"none": nil, "all": header, "plain": noExpect, "lower case": lower, "host": host}
}

// metadataSeen makes a call and returns the headers that handler, gate, interceptors and
// client see.
func metadataSeen(t *testing.T, m mode, k kind, header http.Header, fails bool) string {
	var seen strings.Builder
	var server *url.URL
	add := func(who string, h http.Header) {
		h = h.Clone()
		if len(h["Date"]) == 1 {
			h["Date"] = []string{"now"}
		}
		if host := h["Host"]; len(host) == 1 && host[0] == server.Host {
			h["Host"] = []string{"server"}
		}
		fmt.Fprintf(&seen, "%s: %q\n", who, h)
	}
	site := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
		info, ok := connect.CallInfoForHandlerContext(ctx)
		if !ok {
			return errors.New("no CallInfo in the handler's context")
		}
		add("handler", x.header)
		add("info", info.RequestHeader())
		fmt.Fprintln(&seen, info.HTTPMethod(), x.peer.Protocol, x.peer.Query)
		if _, err := x.receiveAll(); err != nil {
			return err
		}
		merge(x.answer, http.Header{"Y": {"1", "", "2"}, "Cookie": {"a=b", "c=d"}, "Set-Cookie": {"e=f", "g=h"}, "Data-Bin": {"AA"}, "Content-Length": {"3"}})
		x.answer["y-lower"] = []string{"1"}
		info.ResponseHeader().Set("From-Info", "1")
		merge(x.trailer, http.Header{"Z": {"1", "2"}, "Sum-Bin": {"AA"}, "Empty": {""}})
		if err := x.send(new(conntestv1.Response)); err != nil {
			return err
		}
		info.ResponseTrailer().Set("From-Info", "2")
		if fails {
			err := connect.NewError(connect.CodeAborted, io.ErrUnexpectedEOF)
			err.Meta().Set("Meta", "3")
			return err
		}
		return nil
	}), alone, handlerOptions(
		connect.WithRequestGate(func(ctx context.Context, _ connect.Spec, peer connect.Peer, h http.Header) (context.Context, error) {
			add("gate", h)
			h.Set("From-Gate", "1")
			return ctx, nil
		}),
		connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
				add("interceptor", r.Header())
				return next(ctx, r)
			}
		})),
	))
	server = parseURL(site.url)
	client := site.client(connect.WithInterceptors(raw(header)))
	o := call(testContext(t), client, k, nil, text("x"))
	add("header", o.header)
	add("trailer", o.trailer)
	var e *connect.Error
	if errors.As(o.err, &e) {
		add("meta", e.Meta())
	}
	fmt.Fprintf(&seen, "%d messages, error %v", len(o.messages), o.err)
	site.close()
	return seen.String()
}

// raw is an interceptor that puts a header into requests, with keys as they are.
type raw http.Header

func (h raw) put(into http.Header) {
	for key, values := range h {
		into[key] = values
	}
}

func (h raw) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		h.put(r.Header())
		return next(ctx, r)
	}
}

func (h raw) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		h.put(conn.RequestHeader())
		return conn
	}
}

func (h raw) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// Goroutines of a handler, and of a client, may read headers at the same time.
func TestHeadersReadConcurrently(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		reads := func(headers ...func() http.Header) {
			var all sync.WaitGroup
			for range 4 {
				for _, header := range headers {
					all.Go(func() { _ = header().Get("X-Set") })
				}
			}
			all.Wait()
		}
		client := m.serve(t, handlers{unary: func(_ context.Context, r *request) (*response, error) {
			reads(r.Header)
			if got := r.Header().Get("X-Set"); got != "a" {
				t.Errorf("request header: got %q, want %q", got, "a")
			}
			res := connect.NewResponse(new(conntestv1.Response))
			res.Header().Set("X-Set", "b")
			res.Trailer().Set("X-Set", "c")
			return res, nil
		}}).client()
		r := requestOf("x")
		r.Header().Set("X-Set", "a")
		res, err := client.Unary(testContext(t), r)
		wantNil(t, err)
		reads(res.Header, res.Trailer)
		wantEqual(t, "response header", res.Header().Get("X-Set"), "b")
		wantEqual(t, "response trailer", res.Trailer().Get("X-Set"), "c")
	})
}
