// SPDX-License-Identifier: Apache-2.0

// Example: calls as HTTP GET, which caches understand.

package connect

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A procedure without side effects may be called by GET. With an ETag, a client
// that has the answer already gets none.
func ExampleWithHTTPGet() {
	const procedure, tag = "/page.v1.PageService/Get", `"version-1"`
	idempotent := WithIdempotency(IdempotencyNoSideEffects) // generated code has it from the schema
	server := httptest.NewServer(NewUnaryHandler(procedure,
		func(_ context.Context, req *Request[wrapperspb.StringValue]) (*Response[wrapperspb.StringValue], error) {
			if req.HTTPMethod() == http.MethodGet && req.Header().Get("If-None-Match") == tag {
				return nil, NewNotModifiedError(http.Header{"Etag": {tag}})
			}
			res := NewResponse(wrapperspb.String("the page " + req.Msg.Value))
			res.Header().Set("Etag", tag)
			res.Header().Set("Cache-Control", "max-age=60")
			return res, nil
		}, idempotent))
	defer server.Close()

	client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure,
		idempotent, WithHTTPGet(), WithHTTPGetMaxURLSize(4096, true))
	request := NewRequest(wrapperspb.String("index"))
	res, err := client.CallUnary(context.Background(), request)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(request.HTTPMethod(), res.Msg.Value)

	request = NewRequest(wrapperspb.String("index"))
	request.Header().Set("If-None-Match", res.Header().Get("Etag"))
	_, err = client.CallUnary(context.Background(), request)
	fmt.Println("not modified:", IsNotModifiedError(err))
	// Output:
	// GET the page index
	// not modified: true
}
