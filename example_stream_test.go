// SPDX-License-Identifier: Apache-2.0

// Example: streams, in each direction and in both.

package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A client stream: many requests, one response.
func ExampleNewClientStreamHandler() {
	const procedure = "/sum.v1.SumService/Sum"
	server := httptest.NewServer(NewClientStreamHandler(procedure,
		func(_ context.Context, stream *ClientStream[wrapperspb.Int64Value]) (*Response[wrapperspb.Int64Value], error) {
			var sum int64
			for stream.Receive() {
				sum += stream.Msg().Value
			}
			if err := stream.Err(); err != nil {
				return nil, err
			}
			return NewResponse(wrapperspb.Int64(sum)), nil
		}))
	defer server.Close()

	client := NewClient[wrapperspb.Int64Value, wrapperspb.Int64Value](server.Client(), server.URL+procedure)
	stream := client.CallClientStream(context.Background())
	for _, n := range []int64{1, 2, 3} {
		if err := stream.Send(wrapperspb.Int64(n)); err != nil {
			break // CloseAndReceive tells why
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
func ExampleNewServerStreamHandler() {
	const procedure = "/count.v1.CountService/CountTo"
	server := httptest.NewServer(NewServerStreamHandler(procedure,
		func(_ context.Context, req *Request[wrapperspb.Int64Value], stream *ServerStream[wrapperspb.Int64Value]) error {
			for n := range req.Msg.Value {
				if err := stream.Send(wrapperspb.Int64(n + 1)); err != nil {
					return err // the client is gone
				}
			}
			stream.ResponseTrailer().Set("Count-State", "complete")
			return nil
		}))
	defer server.Close()

	client := NewClient[wrapperspb.Int64Value, wrapperspb.Int64Value](server.Client(), server.URL+procedure, WithGRPC())
	stream, err := client.CallServerStream(context.Background(), NewRequest(wrapperspb.Int64(3)))
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

// A stream in both directions needs HTTP/2: over TLS, as here, or in cleartext
// with http.Protocols.
func ExampleNewBidiStreamHandler() {
	const procedure = "/eliza.v1.ElizaService/Converse"
	server := httptest.NewUnstartedServer(NewBidiStreamHandler(procedure,
		func(_ context.Context, stream *BidiStream[wrapperspb.StringValue, wrapperspb.StringValue]) error {
			for {
				msg, err := stream.Receive()
				if errors.Is(err, io.EOF) {
					return nil // the client has said all
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

	client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure)
	stream := client.CallBidiStream(context.Background())
	defer stream.CloseResponse()
	for _, text := range []string{"hello", "that"} {
		if err := stream.Send(wrapperspb.String(text)); err != nil {
			break // Receive tells why
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

// gRPC over cleartext HTTP/2, as between services: both sides say so.
func ExampleWithGRPC() {
	const procedure = "/greet.v1.GreetService/Greet"
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := httptest.NewUnstartedServer(NewUnaryHandler(procedure,
		func(_ context.Context, req *Request[wrapperspb.StringValue]) (*Response[wrapperspb.StringValue], error) {
			return NewResponse(wrapperspb.String("Hello, " + req.Msg.Value + "!")), nil
		}))
	server.Config.Protocols = protocols
	server.Start()
	defer server.Close()

	onlyHTTP2 := new(http.Protocols)
	onlyHTTP2.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: onlyHTTP2}
	defer transport.CloseIdleConnections()
	client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](&http.Client{Transport: transport}, server.URL+procedure, WithGRPC())
	res, err := client.CallUnary(context.Background(), NewRequest(wrapperspb.String("Ada")))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Msg.Value)
	// Output:
	// Hello, Ada!
}
