// SPDX-License-Identifier: Apache-2.0

// This file tests interceptors that replace requests and responses by types of their own.

package conntest

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// own is what an interceptor may make of requests and responses: it embeds nothing.
type ownRequest struct {
	connect.AnyRequest // nil
	msg                any
	header             http.Header
}

func (r *ownRequest) Any() any            { return r.msg }
func (r *ownRequest) Header() http.Header { return r.header }

type ownResponse struct {
	connect.AnyResponse // nil
	msg                 any
	header, trailer     http.Header
}

func (r *ownResponse) Any() any             { return r.msg }
func (r *ownResponse) Header() http.Header  { return r.header }
func (r *ownResponse) Trailer() http.Header { return r.trailer }

// moreRequest and moreResponse embed what they were given.
type moreRequest struct {
	connect.AnyRequest
	header http.Header
}

func (r *moreRequest) Header() http.Header { return r.header }

type moreResponse struct {
	connect.AnyResponse
	trailer http.Header
}

func (r *moreResponse) Trailer() http.Header { return r.trailer }

// Interceptors may pass on types of their own: the library uses the methods of these.
func TestInterceptorsWithOwnTypes(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		received := make(chan http.Header, 1)
		server := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
				received <- r.Header().Clone()
				response, err := next(ctx, r)
				if err != nil {
					return nil, err
				}
				if r.Header().Get("Mine") == "own" {
					return &ownResponse{nil, response.Any(), http.Header{"Answer": {"own"}}, http.Header{"Trailing": {"own"}}}, nil
				}
				response.Header().Set("Answer", "more")
				return &moreResponse{response, http.Header{"Trailing": {"more"}}}, nil
			}
		})
		s := m.serve(t, echo, handlerOptions(connect.WithInterceptors(server)))
		for name, wrap := range map[string]func(connect.AnyRequest) connect.AnyRequest{
			"own": func(r connect.AnyRequest) connect.AnyRequest {
				return &ownRequest{nil, r.Any(), http.Header{"Mine": {"own"}}}
			},
			"more": func(r connect.AnyRequest) connect.AnyRequest {
				return &moreRequest{r, http.Header{"Mine": {"more"}}}
			},
		} {
			client := s.client(connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
				return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
					return next(ctx, wrap(r))
				}
			})))
			for _, k := range []kind{unary, get} {
				o := call(testContext(t), client, k, nil, text("hi"))
				wantNil(t, o.err)
				wantValues(t, "request header", <-received, "Mine", name)
				wantValues(t, "response header", o.header, "Answer", name)
				wantValues(t, "response trailer", o.trailer, "Trailing", name)
			}
		}
	})
}

// If a server's interceptor returns a response to another procedure, the error names the
// interceptor. If a handler returns nothing, interceptors get an error.
func TestInterceptorsAndWrongResponses(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		saw := make(chan error, 1)
		interceptor := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
				response, err := next(ctx, r)
				if response == nil && err == nil {
					t.Error("got neither a response nor an error from the handler")
				}
				saw <- err
				if r.Any().(*conntestv1.Request).GetText() == "other" {
					return connect.NewResponse(new(conntestv1.Request)), nil
				}
				return response, err
			}
		})
		client := m.serve(t, handlers{unary: func(_ context.Context, r *request) (*response, error) {
			if r.Msg.GetText() == "nothing" {
				return nil, nil
			}
			return connect.NewResponse(new(conntestv1.Response)), nil
		}}, handlerOptions(connect.WithInterceptors(interceptor))).client()
		_, err := client.Unary(testContext(t), requestOf("nothing"))
		wantCode(t, err, connect.CodeInternal)
		wantCode(t, <-saw, connect.CodeInternal)
		_, err = client.Unary(testContext(t), requestOf("other"))
		<-saw
		wantCode(t, err, connect.CodeInternal)
		if !strings.Contains(err.Error(), "interceptor returned") {
			t.Errorf("got %q, want the interceptor named", err)
		}
	})
}
