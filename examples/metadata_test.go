// SPDX-License-Identifier: Apache-2.0

// Example: headers and trailers in the context of a call.

package examples_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
)

// Both sides find headers and trailers in the context of the call, so that their
// functions take and return messages alone.
func Example_metadataInContext() {
	const procedure = "/greet.v1.GreetService/Greet"
	server := httptest.NewServer(connect.NewUnaryHandlerSimple(procedure,
		func(ctx context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			info, ok := connect.CallInfoForHandlerContext(ctx)
			if !ok {
				return nil, fmt.Errorf("not a handler's context")
			}
			info.ResponseHeader().Set("Greet-Language", info.RequestHeader().Get("Accept-Language"))
			info.ResponseTrailer().Set("Greet-Cost", "7")
			return wrapperspb.String("Guten Tag, " + name.Value + "!"), nil
		}))
	defer server.Close()

	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure)
	ctx, info := connect.NewClientContext(context.Background())
	info.RequestHeader().Set("Accept-Language", "de")
	res, err := client.CallUnary(ctx, connect.NewRequest(wrapperspb.String("Ada")))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Msg.Value)
	fmt.Println(info.HTTPMethod(), info.Spec().Procedure)
	fmt.Println(info.ResponseHeader().Get("Greet-Language"), info.ResponseTrailer().Get("Greet-Cost"))
	// Output:
	// Guten Tag, Ada!
	// POST /greet.v1.GreetService/Greet
	// de 7
}
