// SPDX-License-Identifier: Apache-2.0

// Example: deadlines by option, and a limit for idle streams.

package examples_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
)

// The handler gives calls without a deadline 10 seconds, and no call more than a
// minute. One procedure may have others.
func Example_timeouts() {
	const procedure = "/report.v1.ReportService/Render"
	server := httptest.NewServer(connect.NewUnaryHandler(procedure,
		func(ctx context.Context, _ *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
			deadline, _ := ctx.Deadline()
			left := time.Until(deadline).Round(10 * time.Second)
			return connect.NewResponse(wrapperspb.String(left.String())), nil
		},
		connect.WithDefaultTimeout(10*time.Second),
		connect.WithMaxTimeout(30*time.Second),
		connect.WithConditionalHandlerOptions(func(spec connect.Spec) []connect.HandlerOption {
			if spec.Procedure == procedure {
				return []connect.HandlerOption{connect.WithMaxTimeout(time.Minute)}
			}
			return nil
		})))
	defer server.Close()

	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure)
	for _, asked := range []time.Duration{0, 20 * time.Second, time.Hour} {
		ctx, cancel := context.Background(), context.CancelFunc(func() {})
		if asked > 0 {
			ctx, cancel = context.WithTimeout(ctx, asked)
		}
		res, err := client.CallUnary(ctx, connect.NewRequest(wrapperspb.String("sales")))
		cancel()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("asked for %v: about %s\n", asked, res.Msg.Value)
	}
	// Output:
	// asked for 0s: about 10s
	// asked for 20s: about 20s
	// asked for 1h0m0s: about 1m0s
}

// A stream on which neither side has sent a message for a while ends.
func Example_streamIdleTimeout() {
	const procedure = "/news.v1.NewsService/Watch"
	server := httptest.NewServer(connect.NewServerStreamHandler(procedure,
		func(ctx context.Context, _ *connect.Request[wrapperspb.StringValue], stream *connect.ServerStream[wrapperspb.StringValue]) error {
			if err := stream.Send(wrapperspb.String("welcome")); err != nil {
				return err
			}
			<-ctx.Done() // there are no news
			return ctx.Err()
		}, connect.WithStreamIdleTimeout(50*time.Millisecond)))
	defer server.Close()

	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure)
	stream, err := client.CallServerStream(context.Background(), connect.NewRequest(wrapperspb.String("weather")))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stream.Close()
	for msg, err := range stream.Messages() {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(msg.Value)
	}
	// Output:
	// welcome
	// deadline_exceeded: the stream was idle: no message in either direction for 50ms, the server's limit, which WithStreamIdleTimeout sets
}
