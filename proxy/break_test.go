// SPDX-License-Identifier: Apache-2.0

// This file breaks the connection to the server in the middle of responses.

package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"github.com/seed-b7c59c10/connect/proxy"
)

// A server that goes away between two messages makes the call unavailable, with a
// whole response in the caller's protocol. In the middle of a message, no protocol but
// gRPC has a place for the error: the response is cut off.
func TestBroken(t *testing.T) {
	message, err := proto.Marshal(&response{Text: "whole"})
	if err != nil {
		t.Fatal(err)
	}
	frame := append([]byte{0, 0, 0, 0, byte(len(message))}, message...)
	for name, written := range map[string][]byte{"between": bytes.Repeat(frame, 2), "in a message": frame[:len(frame)-1], "in a prefix": append(bytes.Clone(frame), 0, 0)} {
		behind := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			_, _ = w.Write(written)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		for _, back := range engines {
			var hooked atomic.Int64
			target, backClient := back.start(t, behind)
			p := forward(t, target, proxy.WithTransport(backClient.Transport), proxy.WithFailureHook(func(context.Context, string, error) { hooked.Add(1) }))
			for _, e := range engines {
				url, httpClient := e.start(t, p)
				for protocol, option := range protocols {
					t.Run(strings.Join([]string{name, back.name, e.name, protocol}, "/"), func(t *testing.T) {
						hooked.Store(0)
						o := call(testContext(t), conntestv1connect.NewTestServiceClient(httpClient, url, option), "ServerStream", nil, &request{})
						if o.err == nil {
							t.Fatalf("got success with %d responses", len(o.responses))
						}
						if name == "between" && len(o.responses) != 2 {
							t.Errorf("got %d responses, want those before the end", len(o.responses))
						}
						if name == "between" || protocol == "grpc" {
							wantError(t, o.err, connect.CodeUnavailable, "or has ended the connection")
							if !connect.IsWireError(o.err) {
								t.Errorf("got error %v of the client, want one of the proxy", o.err)
							}
						}
						if got := hooked.Load(); got != 1 {
							t.Errorf("the hook was called %d times, want once", got)
						}
					})
				}
			}
		}
	}
}

// A body that ends without its last frame is no success either.
func TestWithoutEnd(t *testing.T) {
	target := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		_, _ = w.Write([]byte{0, 0, 0, 0, 0})
	}), false)
	url, httpClient := engines[1].start(t, forward(t, target))
	for _, protocol := range []string{"connect", "grpcweb"} {
		o := call(testContext(t), conntestv1connect.NewTestServiceClient(httpClient, url, protocols[protocol]), "ServerStream", nil, &request{})
		wantError(t, o.err, connect.CodeUnavailable, "or has ended the connection")
	}
}

// A unary Connect response that breaks off is an error of the caller's client.
func TestBrokenUnary(t *testing.T) {
	target := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/proto")
		_, _ = w.Write([]byte("\x0a\x01x"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}), false)
	for _, e := range engines {
		url, httpClient := e.start(t, forward(t, target))
		o := call(testContext(t), conntestv1connect.NewTestServiceClient(httpClient, url), "Unary", nil, &request{})
		if o.err == nil {
			t.Errorf("%s: got success, want an error", e.name)
		}
	}
}

// A server behind the translator that breaks off.
func TestBrokenTranslation(t *testing.T) {
	target, httpClient := engines[1].start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		_, _ = w.Write([]byte{0, 0, 0, 0, 0})
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	url, client := engines[2].start(t, proxy.NewTranslator(testSchema(t), proxy.Backend{HTTPClient: httpClient, BaseURL: target, Options: []connect.ClientOption{connect.WithGRPC()}}))
	for protocol, option := range protocols {
		o := call(testContext(t), conntestv1connect.NewTestServiceClient(client, url, option), "ServerStream", nil, &request{})
		if len(o.responses) != 1 || o.err == nil || !connect.IsWireError(o.err) {
			t.Errorf("%s: got %d responses and error %v, want one and an error of the translator", protocol, len(o.responses), o.err)
		}
	}
}

// A caller whose stream breaks does not look like one that has ended it: the server
// must not take half of the requests for all.
func TestBrokenCaller(t *testing.T) {
	began, got := make(chan struct{}), make(chan error, 1)
	_, handler := conntestv1connect.NewTestServiceHandler(waiting{clientStream: func(_ context.Context, stream *connect.ClientStream[request]) error {
		stream.Receive()
		began <- struct{}{}
		for stream.Receive() {
		}
		got <- stream.Err()
		return stream.Err()
	}})
	target, backClient := engines[1].start(t, handler)
	for name, front := range map[string]http.Handler{
		"forward":   forward(t, target),
		"translate": proxy.NewTranslator(testSchema(t), proxy.Backend{HTTPClient: backClient, BaseURL: target, Options: []connect.ClientOption{connect.WithGRPC()}}),
	} {
		for _, e := range engines {
			url, httpClient := e.start(t, front)
			body, writer := io.Pipe()
			r, err := http.NewRequestWithContext(testContext(t), http.MethodPost, url+"/conntest.v1.TestService/ClientStream", body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/connect+proto")
			go func() {
				_, _ = writer.Write([]byte{0, 0, 0, 0, 0})
				<-began
				writer.CloseWithError(errors.New("the caller breaks down"))
			}()
			if response, err := httpClient.Do(r); err == nil {
				_ = response.Body.Close()
			}
			if err := <-got; err == nil {
				t.Errorf("%s/%s: the server got a whole stream, want an error", name, e.name)
			}
		}
	}
}
