// SPDX-License-Identifier: Apache-2.0

// Example: interceptors on both sides of a call.

package connect

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// An interceptor sees unary calls before and after the next one.
func ExampleUnaryInterceptorFunc() {
	const procedure = "/greet.v1.GreetService/Greet"
	log := UnaryInterceptorFunc(func(next UnaryFunc) UnaryFunc {
		return func(ctx context.Context, req AnyRequest) (AnyResponse, error) {
			side := "server"
			if req.Spec().IsClient {
				side = "client"
				req.Header().Set("Authorization", "Bearer secret")
			} else if req.Header().Get("Authorization") != "Bearer secret" {
				return nil, NewError(CodeUnauthenticated, errors.New("who are you?"))
			}
			fmt.Println(side, "begins", req.Spec().Procedure)
			res, err := next(ctx, req)
			fmt.Println(side, "ends", err)
			return res, err
		}
	})
	server := httptest.NewServer(NewUnaryHandler(procedure,
		func(_ context.Context, req *Request[wrapperspb.StringValue]) (*Response[wrapperspb.StringValue], error) {
			return NewResponse(wrapperspb.String("Hello, " + req.Msg.Value + "!")), nil
		}, WithInterceptors(log)))
	defer server.Close()

	client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure, WithInterceptors(log))
	res, err := client.CallUnary(context.Background(), NewRequest(wrapperspb.String("Ada")))
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

// counter is an interceptor for all kinds of calls: it counts messages.
type counter struct {
	UnaryInterceptorFunc // unary calls

	received int
}

func (c *counter) WrapStreamingHandler(next StreamingHandlerFunc) StreamingHandlerFunc {
	return func(ctx context.Context, conn StreamingHandlerConn) error {
		return next(ctx, &countingConn{conn, c})
	}
}

// countingConn is the conn that the next function gets.
type countingConn struct {
	StreamingHandlerConn
	counter *counter
}

func (c *countingConn) Receive(msg any) error {
	err := c.StreamingHandlerConn.Receive(msg)
	if err == nil {
		c.counter.received++
	}
	return err
}

// A streaming interceptor wraps the conn to see its messages.
func ExampleInterceptor() {
	const procedure = "/sum.v1.SumService/Sum"
	messages := &counter{UnaryInterceptorFunc: func(next UnaryFunc) UnaryFunc { return next }}
	server := httptest.NewServer(NewClientStreamHandler(procedure,
		func(_ context.Context, stream *ClientStream[wrapperspb.Int64Value]) (*Response[wrapperspb.Int64Value], error) {
			var sum int64
			for stream.Receive() {
				sum += stream.Msg().Value
			}
			return NewResponse(wrapperspb.Int64(sum)), stream.Err()
		}, WithInterceptors(messages)))
	defer server.Close()

	client := NewClient[wrapperspb.Int64Value, wrapperspb.Int64Value](server.Client(), server.URL+procedure)
	stream := client.CallClientStream(context.Background())
	for i := range 5 {
		if err := stream.Send(wrapperspb.Int64(int64(i))); err != nil {
			break // CloseAndReceive tells why
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
