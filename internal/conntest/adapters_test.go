// SPDX-License-Identifier: Apache-2.0

// This file tests what adapters, middleware and transports of programs may do: leave fields of requests nil, change headers,
// answer without a look at the context.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

// A request of an adapter or a test may lack what servers always set: it gets an answer.
func TestNilRequestFields(t *testing.T) {
	_, service := conntestv1connect.NewTestServiceHandler(echo)
	options := []connect.HandlerOption{connect.WithIdempotency(connect.IdempotencyNoSideEffects), connect.WithErrorHook(
		func(_ context.Context, _ connect.Spec, err error) error { return err })}
	writer := connect.NewErrorWriter(options...)
	for name, handler := range map[string]http.Handler{
		"service":           service,
		"handler":           connect.NewUnaryHandler(conntestv1connect.TestServiceUnaryProcedure, echo.unary, options...),
		"unknown procedure": connect.NewUnknownProcedureHandler(options...),
		"ErrorWriter": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			writer.IsSupported(r)
			_ = writer.Write(w, r, errors.New("of a test"))
		}),
	} {
		for _, contentType := range []string{"application/proto", "application/json", "application/grpc", "application/grpc-web+proto", "text/plain"} {
			for field, spoil := range map[string]func(*http.Request){
				"URL":    func(r *http.Request) { r.URL = nil },
				"Header": func(r *http.Request) { r.Header = nil },
				"Body":   func(r *http.Request) { r.Body = nil },
				"all":    func(r *http.Request) { r.URL, r.Header, r.Body, r.ProtoMajor = nil, nil, nil, 0 },
			} {
				for _, method := range []string{http.MethodPost, http.MethodGet} {
					r := httptest.NewRequestWithContext(t.Context(), method, conntestv1connect.TestServiceUnaryProcedure+"?encoding=json&message={}", strings.NewReader("{}"))
					r.Header.Set("Content-Type", contentType)
					spoil(r)
					w := httptest.NewRecorder()
					handler.ServeHTTP(w, r)
					if w.Body.Len() == 0 && len(w.Result().Header) == 0 {
						t.Errorf("%s, %s %s without %s: got no answer", name, method, contentType, field)
					}
				}
			}
		}
	}
}

// A handler cannot change what middleware has said of the body, whatever it does to the map.
func TestMiddlewareHeadersStay(t *testing.T) {
	for name, change := range map[string]func(http.Header){
		"set":      func(h http.Header) { h.Set("Content-Encoding", "inner") },
		"deleted":  func(h http.Header) { h.Del("Content-Encoding") },
		"in place": func(h http.Header) { h["Content-Encoding"][0] = "inner" },
		"replaced": func(h http.Header) { h.Del("Content-Encoding"); h.Set("Grpc-Encoding", "inner") },
	} {
		_, handler := conntestv1connect.NewTestServiceHandler(handlers{unary: func(ctx context.Context, _ *request) (*response, error) {
			info, _ := connect.CallInfoForHandlerContext(ctx)
			change(info.ResponseHeader())
			return connect.NewResponse(new(conntestv1.Response)), nil
		}})
		for _, contentType := range []string{"application/json", "application/grpc-web+json"} {
			body := "{}"
			if contentType != "application/json" {
				body = whole(0, body)
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, conntestv1connect.TestServiceUnaryProcedure, strings.NewReader(body))
			r.Header.Set("Content-Type", contentType)
			w := httptest.NewRecorder()
			w.Header().Set("Content-Encoding", "outer")
			handler.ServeHTTP(w, r)
			wantValues(t, name+", "+contentType, w.Result().Header, "Content-Encoding", "outer")
			wantValues(t, name+", "+contentType, w.Result().Header, "Grpc-Encoding")
		}
	}
}

// Unary calls through http.TimeoutHandler, which cannot flush, keep their trailers behind a proxy that speaks HTTP/1.1.
func TestTimeoutHandlerBehindProxy(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		s := m.serve(t, echo, wrapped(func(next http.Handler) http.Handler { return http.TimeoutHandler(next, time.Hour, "") }))
		front := httptest.NewServer(&httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(parseURL(s.url)) },
			Transport: s.transport,
		})
		defer front.Close()
		client := (&site{mode: m, url: front.URL, transport: front.Client().Transport}).client()
		for _, k := range []kind{unary, get, clientStream} {
			wantNil(t, call(testContext(t), client, k, nil, text("x")).err)
		}
	}, overNetwork)
}

// deafBody is a body that has no more bytes, and does not look at the context.
type deafBody struct{ closed chan struct{} }

func (b *deafBody) Read([]byte) (int, error) {
	<-b.closed
	return 0, errors.New("body is closed")
}

func (b *deafBody) Close() error {
	select {
	case <-b.closed:
	default:
		close(b.closed)
	}
	return nil
}

type doFunc func(*http.Request) (*http.Response, error)

func (f doFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

// A transport of the program may return a response whose body waits for ever. All calls end with their context.
func TestDeafBody(t *testing.T) {
	answer := func(r *http.Request) (*http.Response, error) {
		go func() { _, _ = io.Copy(io.Discard, r.Body) }()
		return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 2, Header: http.Header{"Content-Type": r.Header["Content-Type"]}, Body: &deafBody{make(chan struct{})}}, nil
	}
	for name, client := range map[string]connect.HTTPClient{
		"HTTPClient":          doFunc(answer),
		"transport":           &http.Client{Transport: roundTripFunc(answer)},
		"client with timeout": &http.Client{Transport: roundTripFunc(answer), Timeout: time.Hour},
	} {
		for protocol, options := range map[string][]connect.ClientOption{
			"connect": nil, "grpc": {connect.WithGRPC()}, "grpcweb": {connect.WithGRPCWeb()},
		} {
			for _, k := range []kind{unary, clientStream, serverStream, bidi} {
				t.Run(fmt.Sprintf("%s/%s/%s", name, protocol, k), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
						defer cancel()
						client := conntestv1connect.NewTestServiceClient(client, "http://host", options...)
						wantCode(t, call(ctx, client, k, nil, text("x")).err, connect.CodeDeadlineExceeded)
					})
				})
			}
		}
	}
}

// An error does not hold the secret parts of URLs: those of the client, of its proxy, of the request that a transport makes.
func TestErrorsDoNotHoldSecrets(t *testing.T) {
	const secret = "S3CRET"
	again := roundTripFunc(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.RequestURI = ""
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			err = fmt.Errorf("middleware: %w", err)
		}
		return response, err
	})
	invalid := fmt.Sprintf("http://u:%s@host:x/?t=%[1]s", secret)
	proxied := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(invalid) }}
	const closed = "http://127.0.0.1:1"
	for _, c := range []struct {
		transport http.RoundTripper
		base      string
	}{
		{nil, closed + "?token=" + secret},
		{nil, "http://u:" + secret + "@127.0.0.1:1"},
		{nil, "http://u:" + secret + "@127.0.0.1:x/?token=" + secret},
		{nil, "http://127.0.0.1:1/\x7f?token=" + secret},
		{nil, "127.0.0.1:1/?token=" + secret},
		{nil, "localhost:1/?token=" + secret},
		{nil, "u:" + secret + "@localhost:1/#" + secret},
		{nil, "foo://localhost:1/?token=" + secret},
		{again, closed + "?token=" + secret},
		{again, closed + "/\"?token=" + secret},
		{proxied, closed},
	} {
		for _, options := range [][]connect.ClientOption{nil, {connect.WithHTTPGet()}, {connect.WithGRPC()}} {
			options = append(options, connect.WithIdempotency(connect.IdempotencyNoSideEffects), connect.WithProtoJSON())
			client := connect.NewClient[conntestv1.Request, conntestv1.Response](&http.Client{Transport: c.transport}, c.base, options...)
			_, err := client.CallUnary(testContext(t), requestOf(secret))
			stream := client.CallBidiStream(testContext(t))
			_ = stream.Send(text(secret))
			_, streamErr := stream.Receive()
			_ = stream.CloseResponse()
			for _, err := range []error{err, streamErr} {
				if err == nil || strings.Contains(err.Error(), secret) {
					t.Errorf("%q: got %v, want an error without secrets", c.base, err)
				}
			}
		}
	}
}
