// SPDX-License-Identifier: Apache-2.0

// Example: streams, in each direction and in both.

package examples_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
)

// A client stream: many requests, one response.
func Example_clientStream() {
	const procedure = "/sum.v1.SumService/Sum"
	server := httptest.NewServer(connect.NewClientStreamHandler(procedure,
		func(_ context.Context, stream *connect.ClientStream[wrapperspb.Int64Value]) (*connect.Response[wrapperspb.Int64Value], error) {
			var sum int64
			for stream.Receive() {
				sum += stream.Msg().Value
			}
			if err := stream.Err(); err != nil {
				return nil, err
			}
			return connect.NewResponse(wrapperspb.Int64(sum)), nil
		}))
	defer server.Close()

	client := connect.NewClient[wrapperspb.Int64Value, wrapperspb.Int64Value](server.Client(), server.URL+procedure)
	stream := client.CallClientStream(context.Background())
	for _, n := range []int64{1, 2, 3} {
		if err := stream.Send(wrapperspb.Int64(n)); err != nil {
			break // CloseAndReceive returns the reason
		}
	}
	res, err := stream.CloseAndReceive()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Msg.Value)
	// Output:
	// 6
}

// A server stream: one request, many responses.
func Example_serverStream() {
	const procedure = "/count.v1.CountService/CountTo"
	server := httptest.NewServer(connect.NewServerStreamHandler(procedure,
		func(_ context.Context, req *connect.Request[wrapperspb.Int64Value], stream *connect.ServerStream[wrapperspb.Int64Value]) error {
			for n := range req.Msg.Value {
				if err := stream.Send(wrapperspb.Int64(n + 1)); err != nil {
					return err // the client is gone
				}
			}
			stream.ResponseTrailer().Set("Count-State", "complete")
			return nil
		}))
	defer server.Close()

	client := connect.NewClient[wrapperspb.Int64Value, wrapperspb.Int64Value](server.Client(), server.URL+procedure, connect.WithGRPC())
	stream, err := client.CallServerStream(context.Background(), connect.NewRequest(wrapperspb.Int64(3)))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stream.Close()
	for stream.Receive() {
		fmt.Println(stream.Msg().Value)
	}
	if err := stream.Err(); err != nil {
		fmt.Println(err)
	}
	fmt.Println(stream.ResponseTrailer().Get("Count-State"))
	// Output:
	// 1
	// 2
	// 3
	// complete
}

// A stream in both directions needs HTTP/2: with TLS, as here, or without, as in
// the example of gRPC.
func Example_bidiStream() {
	const procedure = "/eliza.v1.ElizaService/Converse"
	server := httptest.NewUnstartedServer(connect.NewBidiStreamHandler(procedure,
		func(_ context.Context, stream *connect.BidiStream[wrapperspb.StringValue, wrapperspb.StringValue]) error {
			for {
				msg, err := stream.Receive()
				if errors.Is(err, io.EOF) {
					return nil // the client has sent its last message
				}
				if err != nil {
					return err
				}
				if err := stream.Send(wrapperspb.String("Why do you say " + msg.Value + "?")); err != nil {
					return err
				}
			}
		}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()

	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure)
	stream := client.CallBidiStream(context.Background())
	defer stream.CloseResponse()
	for _, text := range []string{"hello", "that"} {
		if err := stream.Send(wrapperspb.String(text)); err != nil {
			break // Receive returns the reason
		}
		msg, err := stream.Receive()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(msg.Value)
	}
	if err := stream.CloseRequest(); err != nil {
		fmt.Println(err)
	}
	_, err := stream.Receive()
	fmt.Println("the end:", errors.Is(err, io.EOF))
	// Output:
	// Why do you say hello?
	// Why do you say that?
	// the end: true
}

// gRPC without TLS: server and client both need an option of net/http for HTTP/2.
func Example_grpcWithoutTLS() {
	const procedure = "/greet.v1.GreetService/Greet"
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := httptest.NewUnstartedServer(connect.NewUnaryHandler(procedure,
		func(_ context.Context, req *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
			return connect.NewResponse(wrapperspb.String("Hello, " + req.Msg.Value + "!")), nil
		}))
	server.Config.Protocols = protocols
	server.Start()
	defer server.Close()

	onlyHTTP2 := new(http.Protocols)
	onlyHTTP2.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: onlyHTTP2}
	defer transport.CloseIdleConnections()
	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](&http.Client{Transport: transport}, server.URL+procedure, connect.WithGRPC())
	res, err := client.CallUnary(context.Background(), connect.NewRequest(wrapperspb.String("Ada")))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Msg.Value)
	// Output:
	// Hello, Ada!
}
