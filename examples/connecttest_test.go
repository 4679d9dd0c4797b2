// SPDX-License-Identifier: Apache-2.0

// Example: tests of handlers and of callers, without a network.

package examples_test

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
)

// greetAll is a method of a service: the function to test.
func greetAll(_ context.Context, stream *connect.BidiStream[wrapperspb.StringValue, wrapperspb.StringValue]) error {
	for {
		name, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(wrapperspb.String("Hello, " + name.Value + "!")); err != nil {
			return err
		}
	}
}

// A test calls a streaming method as the function that it is: it sends all messages, calls
// the method, and looks at the answers.
func Example_streamInTest() {
	ctx := context.Background()
	handler, client := connecttest.NewConns(ctx, connect.Spec{StreamType: connect.StreamTypeBidi}, connect.Peer{})
	caller := connecttest.NewBidiStreamForClient[wrapperspb.StringValue, wrapperspb.StringValue](client)
	for _, name := range []string{"Ada", "Grace"} {
		if err := caller.Send(wrapperspb.String(name)); err != nil {
			fmt.Println(err)
		}
	}
	_ = caller.CloseRequest()

	err := greetAll(ctx, connecttest.NewBidiStream[wrapperspb.StringValue, wrapperspb.StringValue](handler))
	_ = handler.Close(err) // the caller gets the error

	for {
		greeting, err := caller.Receive()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(greeting.Value)
	}
	// Output:
	// Hello, Ada!
	// Hello, Grace!
}

// A server in memory, with the version of HTTP that the test chooses. It also works inside
// testing/synctest.
func Example_serverInTest() {
	const procedure = "/greet.v1.GreetService/GreetAll"
	server := connecttest.NewServer(connect.NewBidiStreamHandler(procedure, greetAll), connecttest.WithEngine())
	defer server.Close()

	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure, connect.WithGRPC())
	stream := client.CallBidiStream(context.Background())
	if err := stream.Send(wrapperspb.String("Ada")); err != nil {
		fmt.Println(err)
	}
	greeting, err := stream.Receive()
	fmt.Println(greeting.GetValue(), err)
	_ = stream.CloseRequest()
	_, err = stream.Receive()
	fmt.Println(errors.Is(err, io.EOF))
	// Output:
	// Hello, Ada! <nil>
	// true
}

// A request that looks as if it had arrived at a handler: with a procedure, a peer and
// headers, for tests of handlers and interceptors.
func Example_requestInTest() {
	request := connecttest.NewRequest(wrapperspb.String("Ada"),
		connect.Spec{Procedure: "/greet.v1.GreetService/Greet"},
		connect.Peer{Addr: "192.0.2.1:4711", Protocol: connect.ProtocolGRPC})
	request.Header().Set("Authorization", "Bearer secret")
	fmt.Println(request.Spec().Procedure, request.Peer().Addr, request.HTTPMethod(), request.Msg.Value)
	// Output:
	// /greet.v1.GreetService/Greet 192.0.2.1:4711 POST Ada
}
