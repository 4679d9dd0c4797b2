// SPDX-License-Identifier: Apache-2.0

// This file tests WithConnectGoBehavior over all modes, the direct path among them;
// internal/compat compares each of its parts with connect-go.

package conntest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// With the option on one side or on both, calls of every kind give their messages,
// metadata and errors. Every answer of such a handler lists the compressions.
func TestConnectGoBehavior(t *testing.T) {
	behavior := connect.WithConnectGoBehavior()
	runFew(t, func(t *testing.T, m mode) {
		for _, side := range []struct {
			name    string
			handler []connect.HandlerOption
			client  []connect.ClientOption
		}{
			{"both", []connect.HandlerOption{behavior}, []connect.ClientOption{behavior}},
			{"handler", []connect.HandlerOption{behavior}, nil},
			{"client", nil, []connect.ClientOption{behavior}},
		} {
			t.Run(side.name, func(t *testing.T) {
				site := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
					requests, err := x.receiveAll()
					if err != nil {
						return err
					}
					x.answer.Set("Answer", "yes")
					x.trailer.Set("After", "too")
					if requests[0].GetText() == "fail" {
						failure := connect.NewError(connect.CodeAborted, errors.New("as asked"))
						failure.Meta().Set("Why", "asked")
						return failure
					}
					return x.send(&conntestv1.Response{Text: requests[0].GetText()})
				}), handlerOptions(side.handler...))
				client := site.client(side.client...)
				forKinds(t, m, func(t *testing.T, k kind) {
					o := call(testContext(t), client, k, nil, text("hello"))
					wantNil(t, o.err)
					wantEqual(t, "text", o.messages[0].GetText(), "hello")
					wantValues(t, "header", o.header, "Answer", "yes")
					wantValues(t, "trailer", o.trailer, "After", "too")
					if listed := acceptOf(o.header); side.handler != nil && !strings.Contains(listed, "gzip") {
						t.Errorf("the answer lists the compressions %q, want gzip among them", listed)
					}

					o = call(testContext(t), client, k, nil, text("fail"))
					wantCode(t, o.err, connect.CodeAborted)
					var failure *connect.Error
					if !errors.As(o.err, &failure) {
						t.Fatalf("got %v, want a *connect.Error", o.err)
					}
					wantValues(t, "error metadata", failure.Meta(), "Why", "asked")
				})
			})
		}
	})
}

// acceptOf returns the compressions that the header of an answer lists.
func acceptOf(header http.Header) string {
	return header.Get("Accept-Encoding") + header.Get("Connect-Accept-Encoding") + header.Get("Grpc-Accept-Encoding")
}

// A client with the option gives the metadata of a response to errors that the server
// has sent, and to no others; without the option, to others, too.
func TestConnectGoBehaviorErrorMetadata(t *testing.T) {
	refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy", "busy")
		w.WriteHeader(http.StatusBadGateway)
	})
	runFew(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo, wrapped(func(http.Handler) http.Handler { return refuse }))
		for name, test := range map[string]struct {
			options []connect.ClientOption
			want    string
		}{
			"by default": {nil, "busy"},
			"connect-go": {[]connect.ClientOption{connect.WithConnectGoBehavior()}, ""},
		} {
			forKinds(t, m, func(t *testing.T, k kind) {
				o := call(testContext(t), site.client(test.options...), k, nil, text("x"))
				wantCode(t, o.err, connect.CodeUnavailable)
				var failure *connect.Error
				if !errors.As(o.err, &failure) {
					t.Fatalf("%s: got %v, want a *connect.Error", name, o.err)
				}
				if got := failure.Meta().Get("Proxy"); m.protocol == "connect" && (k == unary || k == get) && got != test.want {
					t.Errorf("%s: got metadata %q, want %q", name, got, test.want)
				}
				if k != unary && k != get && o.header != nil {
					if got := o.header.Get("Proxy"); got != test.want {
						t.Errorf("%s: got header %q, want %q", name, got, test.want)
					}
				}
			})
		}
	})
}

// With the option on both sides, metadata under names of the protocols goes out as the
// program has set it: in requests of all kinds, and in the responses of streams. Without
// it, it is left out. The library's own headers are complete in either case.
func TestConnectGoBehaviorMetadata(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		for name, test := range map[string]struct {
			handler []connect.HandlerOption
			client  []connect.ClientOption
			want    []string
		}{
			"by default": {},
			"connect-go": {[]connect.HandlerOption{connect.WithConnectGoBehavior()}, []connect.ClientOption{connect.WithConnectGoBehavior()}, []string{"7", "8"}},
		} {
			site := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
				requests, err := x.receiveAll()
				if err != nil {
					return err
				}
				wantValues(t, name+", request", x.header, "Grpc-Message", test.want...)
				wantValues(t, name+", request", x.header, "Own", "yes")
				x.answer["Grpc-Timeout"] = []string{"7", "8"}
				x.answer.Set("Own", "too")
				return x.send(&conntestv1.Response{Text: requests[0].GetText()})
			}), handlerOptions(test.handler...))
			client := site.client(test.client...)
			forKinds(t, m, func(t *testing.T, k kind) {
				o := call(testContext(t), client, k, http.Header{"Grpc-Message": {"7", "8"}, "Own": {"yes"}}, text("hello"))
				wantNil(t, o.err)
				wantEqual(t, "text", o.messages[0].GetText(), "hello")
				wantValues(t, name, o.header, "Own", "too")
				if k != unary && k != get {
					wantValues(t, name, o.header, "Grpc-Timeout", test.want...)
				}
			})
		}
	})
}
