// SPDX-License-Identifier: Apache-2.0

// This file tests calls through a proxy that changes the version of HTTP.

package conntest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// The end of a call survives a proxy from HTTP/1.1 to any version: a gRPC response over
// HTTP/2 has no Content-Length, which would leave no room for trailers.
func TestThroughReverseProxy(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		s := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			if x.header.Get("Fail") == "at once" {
				return connect.NewError(connect.CodeAborted, errors.New("as asked"))
			}
			merge(x.trailer, metadata("Trailing"))
			if err := x.send(&conntestv1.Response{Count: int32(len(requests))}); err != nil {
				return err
			}
			if x.header.Get("Fail") == "late" {
				return connect.NewError(connect.CodeAborted, errors.New("as asked"))
			}
			return nil
		}))
		lengths := make(chan int64, 1)
		proxy := &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(parseURL(s.url)) },
			Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
				response, err := s.transport.RoundTrip(r)
				if err == nil {
					lengths <- response.ContentLength
				}
				return response, err
			}),
		}
		front := httptest.NewServer(proxy)
		defer front.Close()
		through := &site{mode: m, url: front.URL, transport: front.Client().Transport}
		client := through.client()
		for _, k := range []kind{unary, get, serverStream, clientStream} {
			t.Run(string(k), func(t *testing.T) {
				fails := []string{"at once"}
				if k == serverStream {
					fails = append(fails, "late")
				}
				for _, fail := range fails {
					o := call(testContext(t), client, k, http.Header{"Fail": {fail}}, text("x"))
					wantLength(t, m, <-lengths)
					wantCode(t, o.err, connect.CodeAborted)
				}
				o := call(testContext(t), client, k, nil, text("x"))
				wantLength(t, m, <-lengths)
				wantNil(t, o.err)
				wantMetadata(t, "response trailer", o.trailer, "Trailing")
			})
		}
	})
}

// wantLength fails the test if a response that has trailers has a Content-Length.
func wantLength(t *testing.T, m mode, length int64) {
	t.Helper()
	if m.protocol == "grpc" && length >= 0 {
		t.Errorf("got a Content-Length of %d, want none", length)
	}
}

// roundTripFunc is a transport.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
