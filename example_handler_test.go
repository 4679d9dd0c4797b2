// SPDX-License-Identifier: Apache-2.0

// Example: a handler, a client, one call.

package connect

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A handler answers every protocol at once; the client chooses. Most programs
// have both made by protoc-gen-connect-go.
func ExampleNewUnaryHandler() {
	const procedure = "/greet.v1.GreetService/Greet"
	mux := http.NewServeMux()
	mux.Handle(procedure, NewUnaryHandler(procedure,
		func(_ context.Context, req *Request[wrapperspb.StringValue]) (*Response[wrapperspb.StringValue], error) {
			res := NewResponse(wrapperspb.String("Hello, " + req.Msg.Value + "!"))
			res.Header().Set("Greet-Protocol", req.Peer().Protocol)
			return res, nil
		}))
	server := httptest.NewServer(mux)
	defer server.Close()

	for _, options := range [][]ClientOption{nil, {WithProtoJSON()}, {WithGRPC()}, {WithGRPCWeb()}} {
		client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure, options...)
		res, err := client.CallUnary(context.Background(), NewRequest(wrapperspb.String("Ada")))
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(res.Header().Get("Greet-Protocol"), res.Msg.Value)
	}
	// Output:
	// connect Hello, Ada!
	// connect Hello, Ada!
	// grpc Hello, Ada!
	// grpcweb Hello, Ada!
}

// The simple form is a function of messages; headers are in its context.
func ExampleNewUnaryHandlerSimple() {
	const procedure = "/greet.v1.GreetService/Greet"
	server := httptest.NewServer(NewUnaryHandlerSimple(procedure,
		func(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			return wrapperspb.String("Hello, " + name.Value + "!"), nil
		}))
	defer server.Close()

	client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure)
	res, err := client.CallUnary(context.Background(), NewRequest(wrapperspb.String("Grace")))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Msg.Value)
	// Output:
	// Hello, Grace!
}
