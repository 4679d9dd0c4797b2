// SPDX-License-Identifier: Apache-2.0

// Example: calls as HTTP GET, for caches.

package examples_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
)

// A client calls a procedure without side effects by HTTP GET. If it sends the
// ETag of an answer that is still valid, the server sends no message.
func Example_httpGet() {
	const procedure, tag = "/page.v1.PageService/Get", `"version-1"`
	idempotent := connect.WithIdempotency(connect.IdempotencyNoSideEffects) // generated code does this
	server := httptest.NewServer(connect.NewUnaryHandler(procedure,
		func(_ context.Context, req *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
			if req.HTTPMethod() == http.MethodGet && req.Header().Get("If-None-Match") == tag {
				return nil, connect.NewNotModifiedError(http.Header{"Etag": {tag}})
			}
			res := connect.NewResponse(wrapperspb.String("the page " + req.Msg.Value))
			res.Header().Set("Etag", tag)
			res.Header().Set("Cache-Control", "max-age=60")
			return res, nil
		}, idempotent))
	defer server.Close()

	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure,
		idempotent, connect.WithHTTPGet(), connect.WithHTTPGetMaxURLSize(4096, true))
	request := connect.NewRequest(wrapperspb.String("index"))
	res, err := client.CallUnary(context.Background(), request)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(request.HTTPMethod(), res.Msg.Value)

	request = connect.NewRequest(wrapperspb.String("index"))
	request.Header().Set("If-None-Match", res.Header().Get("Etag"))
	_, err = client.CallUnary(context.Background(), request)
	fmt.Println("not modified:", connect.IsNotModifiedError(err))
	// Output:
	// GET the page index
	// not modified: true
}
