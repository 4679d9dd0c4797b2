// SPDX-License-Identifier: Apache-2.0

// Example: a handler, a client, one call.

package examples_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
)

// A handler answers all protocols, and the client chooses one. Most programs use
// handlers and clients that protoc-gen-connect-go generates.
func Example_unary() {
	const procedure = "/greet.v1.GreetService/Greet"
	mux := http.NewServeMux()
	mux.Handle(procedure, connect.NewUnaryHandler(procedure,
		func(_ context.Context, req *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
			res := connect.NewResponse(wrapperspb.String("Hello, " + req.Msg.Value + "!"))
			res.Header().Set("Greet-Protocol", req.Peer().Protocol)
			return res, nil
		}))
	server := httptest.NewServer(mux)
	defer server.Close()

	for _, options := range [][]connect.ClientOption{nil, {connect.WithProtoJSON()}, {connect.WithGRPC()}, {connect.WithGRPCWeb()}} {
		client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure, options...)
		res, err := client.CallUnary(context.Background(), connect.NewRequest(wrapperspb.String("Ada")))
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

// A simple handler takes and returns messages alone. Headers are in its context.
func Example_unarySimple() {
	const procedure = "/greet.v1.GreetService/Greet"
	server := httptest.NewServer(connect.NewUnaryHandlerSimple(procedure,
		func(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			return wrapperspb.String("Hello, " + name.Value + "!"), nil
		}))
	defer server.Close()

	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure)
	res, err := client.CallUnary(context.Background(), connect.NewRequest(wrapperspb.String("Grace")))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Msg.Value)
	// Output:
	// Hello, Grace!
}
