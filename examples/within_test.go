// SPDX-License-Identifier: Apache-2.0

// Example: loops over the messages of a stream, and receives within a context.

package examples_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
)

// A loop over messages needs no second call for the error: it is the loop's last
// value. A loop without one has seen all messages of a stream that ended well.
func Example_messages() {
	const procedure = "/count.v1.CountService/CountTo"
	server := httptest.NewServer(connect.NewServerStreamHandler(procedure,
		func(_ context.Context, req *connect.Request[wrapperspb.Int64Value], stream *connect.ServerStream[wrapperspb.Int64Value]) error {
			for n := range req.Msg.Value {
				if err := stream.Send(wrapperspb.Int64(n + 1)); err != nil {
					return err
				}
			}
			return connect.NewError(connect.CodeDataLoss, errors.New("the numbers end here"))
		}))
	defer server.Close()

	client := connect.NewClient[wrapperspb.Int64Value, wrapperspb.Int64Value](server.Client(), server.URL+procedure)
	stream, err := client.CallServerStream(context.Background(), connect.NewRequest(wrapperspb.Int64(3)))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stream.Close()
	for number, err := range stream.Messages() {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(number.Value)
	}
	// Output:
	// 1
	// 2
	// 3
	// data_loss: the numbers end here
}

// A program waits for a message for a while, does something else, and goes on: a
// receive whose own context ends neither ends the call nor loses the message.
func Example_receiveContext() {
	const procedure = "/news.v1.NewsService/Watch"
	publish := make(chan string)
	server := httptest.NewServer(connect.NewServerStreamHandler(procedure,
		func(_ context.Context, _ *connect.Request[wrapperspb.StringValue], stream *connect.ServerStream[wrapperspb.StringValue]) error {
			if err := stream.Send(nil); err != nil { // the headers, so that the client has its stream
				return err
			}
			return stream.Send(wrapperspb.String(<-publish))
		}))
	defer server.Close()

	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure)
	stream, err := client.CallServerStream(context.Background(), connect.NewRequest(wrapperspb.String("weather")))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stream.Close()

	short, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = stream.ReceiveContext(short)
	fmt.Println("no news yet:", errors.Is(err, context.DeadlineExceeded))

	publish <- "rain"
	msg, err := stream.ReceiveContext(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("news:", msg.Value)
	// Output:
	// no news yet: true
	// news: rain
}
