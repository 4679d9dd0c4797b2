// SPDX-License-Identifier: Apache-2.0

// Parts of all tests: a service with metadata of its own, and requests as browsers send them.

package cors_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type message = wrapperspb.StringValue

const (
	pathUnary  = "/test.v1.S/Unary"
	pathStream = "/test.v1.S/Stream"
	app        = "https://app.example.com"
)

// service echoes, with a header and a trailer. "fail" fails, with metadata.
func service() http.Handler {
	fail := func() error {
		err := connect.NewError(connect.CodeResourceExhausted, errors.New("too much"))
		err.Meta().Set("X-Meta", "m")
		return err
	}
	return connect.NewServiceHandler([]*connect.Handler{
		connect.NewUnaryHandler(pathUnary, func(_ context.Context, r *connect.Request[message]) (*connect.Response[message], error) {
			if r.Msg.Value == "fail" {
				return nil, fail()
			}
			response := connect.NewResponse(r.Msg)
			response.Header().Set("X-Head", "h")
			response.Trailer().Set("X-Trail", "t")
			return response, nil
		}, connect.WithIdempotency(connect.IdempotencyNoSideEffects)),
		connect.NewServerStreamHandler(pathStream, func(_ context.Context, r *connect.Request[message], stream *connect.ServerStream[message]) error {
			if r.Msg.Value == "fail" {
				return fail()
			}
			return stream.Send(r.Msg)
		}),
	})
}

// preflight sends the question of a browser before a POST, with the names of headers as the
// browser sorts them.
func preflight(h http.Handler, origin, names string) http.Header {
	r := httptest.NewRequest(http.MethodOptions, pathUnary, nil)
	r.Header.Set("Origin", origin)
	r.Header.Set("Access-Control-Request-Method", "POST")
	if names != "" {
		r.Header.Set("Access-Control-Request-Headers", names)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent || w.Body.Len() != 0 {
		return http.Header{"Unexpected": {http.StatusText(w.Code), w.Body.String()}}
	}
	return w.Header()
}

// actual sends a call in Connect's protocol.
func actual(h http.Handler, origin, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, pathUnary, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
