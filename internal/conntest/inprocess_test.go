// SPDX-License-Identifier: Apache-2.0

// This file tests what is particular about the rows of package inprocess: which calls take
// the direct path, and that handlers and clients see the same as over a network.

package conntest

import (
	"context"
	"net/http"
	"testing"

	"github.com/seed-b7c59c10/connect/inprocess"

	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// forInprocess runs a test over every protocol and the rows without a network.
func forInprocess(t *testing.T, test func(*testing.T, mode)) {
	t.Helper()
	runFew(t, test, func(m mode) bool { return m.engine.inprocess })
}

// Unary calls take the direct path where nothing hides it, and other calls do not.
func TestInprocessRows(t *testing.T) {
	forInprocess(t, func(t *testing.T, m mode) {
		served := make(chan bool, 1)
		service := everyKind(func(_ context.Context, x *exchange) error {
			served <- isDirect("ServeDirect")
			if _, err := x.receiveAll(); err != nil {
				return err
			}
			return x.send(new(conntestv1.Response))
		})
		for _, options := range [][]siteOption{nil, {alone}} {
			client := m.serve(t, service, options...).client()
			forKinds(t, m, func(t *testing.T, k kind) {
				wantNil(t, call(testContext(t), client, k, nil, text("x")).err)
				wantEqual(t, "direct", <-served, m.engine.name == "inprocess" && (k == unary || k == get))
			})
		}
	})
}

// Middleware around a handler is not passed over, nor is a mux that leads to it.
func TestInprocessMiddleware(t *testing.T) {
	forInprocess(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo, alone, wrapped(func(next http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/", guarded{next.(directHandler)})
			return mux
		}))
		forKinds(t, m, func(t *testing.T, k kind) {
			err := call(testContext(t), site.client(), k, nil, text("x")).err
			if err == nil {
				t.Fatal("got an answer without the password")
			}
			wantNil(t, call(testContext(t), site.client(), k, http.Header{"Authorization": {"secret"}}, text("x")).err)
		})
	})
}

// Handlers, gates and interceptors see the same headers as over HTTP/2, and so do clients.
func TestInprocessMetadata(t *testing.T) {
	forInprocess(t, func(t *testing.T, m mode) {
		over := m
		for _, e := range engines {
			if e.name == "engine-h2c" {
				over.engine = e
			}
		}
		for name, header := range metadataHeaders() {
			for _, fails := range []bool{false, true} {
				forKinds(t, m, func(t *testing.T, k kind) {
					got, want := metadataSeen(t, m, k, header, fails), metadataSeen(t, over, k, header, fails)
					if got != want {
						t.Errorf("%s, fails %t: got\n%s\nwant\n%s", name, fails, got, want)
					}
				})
			}
		}
	})
}

// A transport that embeds the one in process is not passed over.
func TestInprocessEmbedded(t *testing.T) {
	forInprocess(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo, alone, wrapped(func(next http.Handler) http.Handler { return guarded{next.(directHandler)} }))
		inner, ok := site.transport.(*inprocess.Transport)
		if !ok {
			return // it is hidden, and cannot be embedded
		}
		client := site.clientOn(&http.Client{Transport: signingInprocess{inner}})
		wantNil(t, call(testContext(t), client, unary, nil, text("x")).err)
	})
}

// signingInprocess is a transport that embeds another and adds a field to requests.
type signingInprocess struct{ *inprocess.Transport }

func (s signingInprocess) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "secret")
	return s.Transport.RoundTrip(r)
}
