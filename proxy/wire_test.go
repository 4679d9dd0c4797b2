// SPDX-License-Identifier: Apache-2.0

// This file looks at what the proxy without a schema passes on, refuses and adds.

package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"github.com/seed-b7c59c10/connect/proxy"
)

// post sends a request and returns its response with the whole body.
func post(t *testing.T, client *http.Client, method, url string, header http.Header, body []byte) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(testContext(t), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for key, values := range header {
		r.Header[key] = values
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return response, got
}

// The bytes of both bodies pass unchanged, in codecs and with fields that no side of the
// proxy knows, and so do status, headers and trailers.
func TestBytes(t *testing.T) {
	sent := []byte("\x00\x00\x00\x00\x03\xfa\x7f\x00\x01\x00\x00\x00\x01\xff")
	answer := []byte("\x83\x00\x00\x00\x02{}") // ends the body in any of the protocols
	var seen []byte
	target := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		w.Header().Set("Trailer", "Announced")
		w.Header()["Two"] = []string{"1", "2"}
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(answer)
		w.Header().Set("Announced", "a")
		w.Header().Set(http.TrailerPrefix+"Unannounced", "u")
	}), false)
	for _, e := range engines {
		url, client := e.start(t, forward(t, target))
		for _, contentType := range []string{"application/proto", "application/own", "application/connect+own", "application/grpc+own", "application/grpc-web+own"} {
			response, got := post(t, client, http.MethodPost, url+"/any.v1.Service/Any", http.Header{"Content-Type": {contentType}, "Te": {"trailers"}, "Connect-Protocol-Version": {"1"}}, sent)
			if !bytes.Equal(seen, sent) || !bytes.Equal(got, answer) {
				t.Errorf("%s/%s: the server got %q, want %q; the caller got %q, want %q", e.name, contentType, seen, sent, got, answer)
			}
			if response.Trailer.Get("Announced") != "a" || response.Trailer.Get("Unannounced") != "u" || !slices.Equal(response.Header["Two"], []string{"1", "2"}) {
				t.Errorf("%s/%s: got header %v and trailer %v", e.name, contentType, response.Header, response.Trailer)
			}
		}
	}
}

// Headers of a connection stay at it, and a caller cannot write the proxy's own.
func TestHeaders(t *testing.T) {
	seen := make(chan *http.Request, 1)
	target := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		w.Header()["Connection"] = []string{"Back-Secret"}
		w.Header().Set("Back-Secret", "x")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("Proxy-Authenticate", "Basic")
	}), false)
	url, client := engines[0].start(t, forward(t, target+"/prefix"))
	response, _ := post(t, client, http.MethodPost, url+"/a.S/M?q=1", http.Header{
		"Content-Type": {"application/json"}, "Connection": {"Secret, Upgrade"}, "Secret": {"x"}, "Upgrade": {"websocket"},
		"Proxy-Authorization": {"x"}, "Te": {"trailers, deflate"}, "Expect": {"100-continue"}, "Keep-Alive": {"1"}, "Via": {"1.1 first"},
		"X-Forwarded-For": {"6.6.6.6"}, "Forwarded": {"for=6.6.6.6"}, "Authorization": {"Bearer kept"}, "User-Agent": {"kept"},
	}, []byte("{}"))
	r := <-seen
	for _, key := range []string{"Secret", "Upgrade", "Proxy-Authorization", "Expect", "Keep-Alive", "Forwarded", "Connection"} {
		if values := r.Header.Values(key); len(values) > 0 {
			t.Errorf("the server got %s %q, want none", key, values)
		}
	}
	for key, want := range map[string]string{
		"Authorization": "Bearer kept", "User-Agent": "kept", "Te": "trailers", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http",
		"X-Forwarded-Host": strings.TrimPrefix(url, "http://"), "Via": "1.1 first, 1.1 connect", "Accept-Encoding": "gzip",
	} {
		if got := strings.Join(r.Header.Values(key), ", "); got != want {
			t.Errorf("the server got %s %q, want %q", key, got, want)
		}
	}
	if r.URL.String() != "/prefix/a.S/M?q=1" || r.Host != strings.TrimPrefix(target, "http://") {
		t.Errorf("the server got %s of %s", r.URL, r.Host)
	}
	for _, key := range []string{"Back-Secret", "Keep-Alive", "Proxy-Authenticate"} {
		if values := response.Header.Values(key); len(values) > 0 {
			t.Errorf("the caller got %s %q, want none", key, values)
		}
	}
}

// What is no call is not forwarded.
func TestNotCalls(t *testing.T) {
	var reached atomic.Int64
	target := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }), false)
	url, client := engines[0].start(t, forward(t, target))
	for _, c := range []struct{ method, path, contentType string }{
		{"GET", "/admin", ""}, {"GET", "/a.S/M?encoding=json", ""}, {"PUT", "/a.S/M", "application/proto"}, {"OPTIONS", "/a.S/M", ""},
		{"POST", "/login", "application/x-www-form-urlencoded"}, {"POST", "/a.S/M", ""}, {"DELETE", "/a.S/M", "application/json"},
	} {
		response, _ := post(t, client, c.method, url+c.path, http.Header{"Content-Type": {c.contentType}}, nil)
		if response.StatusCode != http.StatusNotFound || reached.Load() != 0 {
			t.Errorf("%s %s: got %d and %d forwarded, want 404 and none", c.method, c.path, response.StatusCode, reached.Load())
		}
	}
	response, _ := post(t, client, "GET", url+"/a.S/M?encoding=json&message=%7B%7D&connect=v1", nil, nil)
	if response.StatusCode != http.StatusOK || reached.Load() != 1 {
		t.Errorf("got %d and %d forwarded for a unary GET, want 200 and 1", response.StatusCode, reached.Load())
	}
}

func TestNewErrors(t *testing.T) {
	if _, err := proxy.New("http://a", nil); err == nil || err.Error() != "new proxy: an option is nil" {
		t.Errorf("got %v for a nil option, want an error", err)
	}
	for _, target := range []string{"", "localhost:8080", "ftp://a", "http://", "/a", "http://user:secret@a", "http://a?q=1", "http://a#b", "http://a\x00"} {
		p, err := proxy.New(target)
		if p != nil || err == nil || !strings.HasPrefix(err.Error(), "new proxy: ") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v and error %v, want an error", target, p, err)
		}
	}
}

// closedURL is the URL of a port at which nothing listens: a free port could become that
// of the next server.
const closedURL = "http://127.0.0.1:1"

// A server that cannot be reached is unavailable, in every protocol and for every kind.
// The text does not name it; the hook gets the reason.
func TestUnreachable(t *testing.T) {
	target := closedURL
	address := strings.TrimPrefix(target, "http://")
	var hooked atomic.Int64
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	for name, handler := range map[string]http.Handler{
		"forward": forward(t, target, proxy.WithFailureHook(func(_ context.Context, procedure string, err error) {
			hooked.Add(1)
			if !strings.HasPrefix(procedure, "/conntest.v1.TestService/") || !strings.Contains(err.Error(), address) {
				t.Errorf("the hook got %s and %v, want the address", procedure, err)
			}
		})),
		"translate": proxy.NewTranslator(testSchema(t), proxy.Backend{HTTPClient: &http.Client{Transport: ended(t, transport)}, BaseURL: target, Options: []connect.ClientOption{connect.WithGRPC()}}),
	} {
		for _, e := range engines {
			url, httpClient := e.start(t, handler)
			for protocol, option := range protocols {
				client := conntestv1connect.NewTestServiceClient(httpClient, url, option)
				for _, kind := range kinds {
					if kind == "Bidi" && e.name == "h1" {
						continue
					}
					t.Run(strings.Join([]string{name, e.name, protocol, kind}, "/"), func(t *testing.T) {
						o := call(testContext(t), client, kind, nil, &request{Text: "x"})
						wantError(t, o.err, connect.CodeUnavailable, "forward /conntest.v1.TestService/"+kind+": the server cannot be reached")
						if o.err != nil && strings.Contains(o.err.Error(), address) || !connect.IsWireError(o.err) {
							t.Errorf("got error %v, want one of the proxy without the address", o.err)
						}
					})
				}
			}
		}
	}
	if hooked.Load() < 40 {
		t.Errorf("the hook was called %d times, want once a call", hooked.Load())
	}
}

// A proxy that forwards to itself refuses the call after 16 rounds.
func TestLoop(t *testing.T) {
	for name, most := range map[string]int{"default": 0, "three": 3} {
		t.Run(name, func(t *testing.T) {
			var rounds atomic.Int64
			var front http.Handler
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rounds.Add(1)
				front.ServeHTTP(w, r)
			}))
			t.Cleanup(s.Close)
			front = forward(t, s.URL, proxy.WithMaxProxies(most))
			client := conntestv1connect.NewTestServiceClient(s.Client(), s.URL)
			o := call(testContext(t), client, "Unary", nil, &request{})
			if most == 0 {
				most = 16
			}
			wantError(t, o.err, connect.CodeFailedPrecondition, fmt.Sprintf("it has passed %d proxies, expected at most %d", most+1, most))
			if got := int(rounds.Load()); got != most+2 {
				t.Errorf("got %d rounds, want %d", got, most+2)
			}
		})
	}
	t.Run("translator", func(t *testing.T) {
		var front http.Handler
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { front.ServeHTTP(w, r) }))
		t.Cleanup(s.Close)
		front = proxy.NewTranslator(testSchema(t), proxy.Backend{HTTPClient: s.Client(), BaseURL: s.URL})
		o := call(testContext(t), conntestv1connect.NewTestServiceClient(s.Client(), s.URL), "Unary", nil, &request{})
		wantError(t, o.err, connect.CodeFailedPrecondition, "it has passed 17 proxies")
	})
}

// A rewrite may add credentials.
func TestRewrite(t *testing.T) {
	var seen string
	target := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Get("Authorization") }), false)
	url, client := engines[0].start(t, forward(t, target, proxy.WithRewrite(func(r *httputil.ProxyRequest) {
		r.Out.Header.Set("Authorization", "Bearer own")
	})))
	post(t, client, http.MethodPost, url+"/a.S/M", http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer caller"}}, nil)
	if seen != "Bearer own" {
		t.Errorf("the server got %q, want the proxy's credentials", seen)
	}
}

// A request that middleware limits is the caller's fault.
func TestTooLarge(t *testing.T) {
	target := start(t, backendHandler(), false)
	p := forward(t, target)
	for _, e := range engines {
		url, httpClient := e.start(t, http.MaxBytesHandler(p, 100_000))
		client := conntestv1connect.NewTestServiceClient(httpClient, url, connect.WithGRPC())
		o := call(testContext(t), client, "Unary", nil, &request{Data: make([]byte, 200_000)})
		wantError(t, o.err, connect.CodeResourceExhausted, "the request is larger than 100000 bytes")
	}
}

// Messages of 16 MiB pass both proxies.
func TestLargeMessages(t *testing.T) {
	limit := connect.WithReadMaxBytes(17 << 20)
	target, backendClient := engines[2].start(t, backendHandler(limit))
	for name, handler := range map[string]http.Handler{
		"forward":   forward(t, target),
		"translate": proxy.NewTranslator(testSchema(t), proxy.Backend{HTTPClient: backendClient, BaseURL: target, Options: []connect.ClientOption{connect.WithGRPC(), limit}}, limit),
	} {
		for i, protocol := range []string{"connect", "grpcweb", "grpc"} {
			url, httpClient := engines[i].start(t, handler)
			client := conntestv1connect.NewTestServiceClient(httpClient, url, protocols[protocol], limit)
			data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
			o := call(testContext(t), client, "ServerStream", nil, &request{Data: data, Count: 1})
			if o.err != nil || len(o.responses) != 1 || !bytes.Equal(o.responses[0].GetData(), data) {
				t.Errorf("%s/%s/%s: got %d responses and error %v, want 1", name, engines[i].name, protocol, len(o.responses), o.err)
			}
		}
	}
}

// The unknown procedures of a translator go to a proxy without a schema.
func TestTogether(t *testing.T) {
	target, backendClient := engines[1].start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/other.v1.Service/Any" {
			connect.NewUnaryHandlerSimple(r.URL.Path, func(context.Context, *conntestv1.Request) (*conntestv1.Response, error) {
				return nil, connect.NewError(connect.CodeDataLoss, errors.New("reached"))
			}).ServeHTTP(w, r)
			return
		}
		backendHandler().ServeHTTP(w, r)
	}))
	both := proxy.NewTranslator(testSchema(t), proxy.Backend{HTTPClient: backendClient, BaseURL: target, Options: []connect.ClientOption{connect.WithGRPC()}},
		connect.WithUnknownProcedureHandler(forward(t, target)))
	url, client := engines[2].start(t, both)
	other := connect.NewClient[conntestv1.Request, conntestv1.Response](client, url+"/other.v1.Service/Any")
	_, err := other.CallUnary(testContext(t), connect.NewRequest(&conntestv1.Request{}))
	wantError(t, err, connect.CodeDataLoss, "reached")
	if o := call(testContext(t), conntestv1connect.NewTestServiceClient(client, url), "Unary", nil, &request{Count: 1}); o.err != nil {
		t.Error(o.err)
	}
	alone, client := engines[2].start(t, proxy.NewTranslator(testSchema(t), proxy.Backend{HTTPClient: backendClient, BaseURL: target}))
	_, err = connect.NewClient[conntestv1.Request, conntestv1.Response](client, alone+"/other.v1.Service/Any").CallUnary(testContext(t), connect.NewRequest(&conntestv1.Request{}))
	wantError(t, err, connect.CodeUnimplemented, "/other.v1.Service/Any is not a procedure")
}

// A message of the caller that is no message of the schema is refused by the
// translator in JSON, and by the server in Protobuf.
func TestTranslateBadMessages(t *testing.T) {
	var reached atomic.Int64
	target, backendClient := engines[1].start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		backendHandler().ServeHTTP(w, r)
	}))
	url, client := engines[0].start(t, proxy.NewTranslator(testSchema(t), proxy.Backend{HTTPClient: backendClient, BaseURL: target, Options: []connect.ClientOption{connect.WithGRPC()}}))
	for i, c := range []struct{ contentType, body string }{{"application/json", `{"count":"x"}`}, {"application/json", ``}, {"application/proto", "\x0a\xff"}} {
		response, body := post(t, client, http.MethodPost, url+"/conntest.v1.TestService/Unary", http.Header{"Content-Type": {c.contentType}}, []byte(c.body))
		if response.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), `"invalid_argument"`) {
			t.Errorf("%s: got %d %s, want 400", c.contentType, response.StatusCode, body)
		}
		if want := int64(i / 2); reached.Load() != want {
			t.Errorf("%s %q: the server got %d calls, want %d", c.contentType, c.body, reached.Load(), want)
		}
	}
}

// TestDots has callers name paths outside of the target's: they are not forwarded.
func TestDots(t *testing.T) {
	p, err := proxy.New("http://server.test/prefix", proxy.WithTransport(refusing{t}))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/../admin/x", "/a/%2e%2e/x", "/./a", "/a/.."} {
		r := httptest.NewRequest(http.MethodPost, "http://proxy.test/", strings.NewReader("{}"))
		if r.URL, err = url.Parse(path); err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: got status %d, want 404", path, w.Code)
		}
	}
}

// refusing is a transport to which no request may come.
type refusing struct{ t *testing.T }

func (f refusing) RoundTrip(r *http.Request) (*http.Response, error) {
	f.t.Errorf("got a request to %v, want none", r.URL)
	return nil, errors.New("refused")
}
