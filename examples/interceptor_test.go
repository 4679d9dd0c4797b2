// SPDX-License-Identifier: Apache-2.0

// Example: interceptors on both sides of a call.

package examples_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
)

// One interceptor on both sides: it runs before and after the rest of the call.
func Example_unaryInterceptor() {
	const procedure = "/greet.v1.GreetService/Greet"
	log := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			side := "server"
			if req.Spec().IsClient {
				side = "client"
				req.Header().Set("Authorization", "Bearer secret")
			} else if req.Header().Get("Authorization") != "Bearer secret" {
				return nil, connect.NewError(connect.CodeUnauthenticated, errors.New("no valid credentials"))
			}
			fmt.Println(side, "begins", req.Spec().Procedure)
			res, err := next(ctx, req)
			fmt.Println(side, "ends", err)
			return res, err
		}
	})
	server := httptest.NewServer(connect.NewUnaryHandler(procedure,
		func(_ context.Context, req *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
			return connect.NewResponse(wrapperspb.String("Hello, " + req.Msg.Value + "!")), nil
		}, connect.WithInterceptors(log)))
	defer server.Close()

	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure, connect.WithInterceptors(log))
	res, err := client.CallUnary(context.Background(), connect.NewRequest(wrapperspb.String("Ada")))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Msg.Value)
	// Output:
	// client begins /greet.v1.GreetService/Greet
	// server begins /greet.v1.GreetService/Greet
	// server ends <nil>
	// client ends <nil>
	// Hello, Ada!
}

// counter is an interceptor that counts the messages that streaming handlers
// receive.
type counter struct {
	connect.UnaryInterceptorFunc // unary calls

	received int
}

func (c *counter) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return next(ctx, &countingConn{conn, c})
	}
}

// countingConn is the conn that counter passes on.
type countingConn struct {
	connect.StreamingHandlerConn
	counter *counter
}

func (c *countingConn) Receive(msg any) error {
	err := c.StreamingHandlerConn.Receive(msg)
	if err == nil {
		c.counter.received++
	}
	return err
}

// A streaming interceptor wraps the conn, whose methods then run for each message.
func Example_streamInterceptor() {
	const procedure = "/sum.v1.SumService/Sum"
	messages := &counter{UnaryInterceptorFunc: func(next connect.UnaryFunc) connect.UnaryFunc { return next }}
	server := httptest.NewServer(connect.NewClientStreamHandler(procedure,
		func(_ context.Context, stream *connect.ClientStream[wrapperspb.Int64Value]) (*connect.Response[wrapperspb.Int64Value], error) {
			var sum int64
			for stream.Receive() {
				sum += stream.Msg().Value
			}
			return connect.NewResponse(wrapperspb.Int64(sum)), stream.Err()
		}, connect.WithInterceptors(messages)))
	defer server.Close()

	client := connect.NewClient[wrapperspb.Int64Value, wrapperspb.Int64Value](server.Client(), server.URL+procedure)
	stream := client.CallClientStream(context.Background())
	for i := range 5 {
		if err := stream.Send(wrapperspb.Int64(int64(i))); err != nil {
			break // CloseAndReceive returns the reason
		}
	}
	res, err := stream.CloseAndReceive()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("sum", res.Msg.Value, "of", messages.received, "messages")
	// Output:
	// sum 10 of 5 messages
}
