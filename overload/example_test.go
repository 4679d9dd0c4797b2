// SPDX-License-Identifier: Apache-2.0

// A client that calls more often than it may.

package overload_test

import (
	"context"
	"fmt"
	"net/http"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/inprocess"
	"github.com/seed-b7c59c10/connect/overload"
)

func ExampleHandler() {
	const path = "/echo.v1.EchoService/Echo"
	echo := connect.NewServiceHandler([]*connect.Handler{
		connect.NewUnaryHandlerSimple(path, func(_ context.Context, text *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			return text, nil
		}),
	})
	handler := overload.Handler(echo, overload.Adaptive(10, 1000), overload.Rate(0.001, 1, overload.ByPeer))
	transport := &http.Client{Transport: inprocess.NewTransport(handler)}

	ctx, text := context.Background(), wrapperspb.String("a")
	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](transport, "http://in.process"+path)
	_, err := client.CallUnary(ctx, connect.NewRequest(text))
	fmt.Println(err)
	_, err = client.CallUnary(ctx, connect.NewRequest(text))
	fmt.Println(connect.CodeOf(err)) // package retry would call again, after the time in the error's metadata
	// Output:
	// <nil>
	// resource_exhausted
}
