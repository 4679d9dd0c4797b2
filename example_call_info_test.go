// SPDX-License-Identifier: Apache-2.0

// Example: headers and trailers by way of the context.

package connect

import (
	"context"
	"fmt"
	"net/http/httptest"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Both sides find the call's metadata in its context, so that functions need
// only the messages.
func ExampleNewClientContext() {
	const procedure = "/greet.v1.GreetService/Greet"
	server := httptest.NewServer(NewUnaryHandlerSimple(procedure,
		func(ctx context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			info, ok := CallInfoForHandlerContext(ctx)
			if !ok {
				return nil, fmt.Errorf("not a handler's context")
			}
			info.ResponseHeader().Set("Greet-Language", info.RequestHeader().Get("Accept-Language"))
			info.ResponseTrailer().Set("Greet-Cost", "7")
			return wrapperspb.String("Guten Tag, " + name.Value + "!"), nil
		}))
	defer server.Close()

	client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure)
	ctx, info := NewClientContext(context.Background())
	info.RequestHeader().Set("Accept-Language", "de")
	res, err := client.CallUnary(ctx, NewRequest(wrapperspb.String("Ada")))
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
