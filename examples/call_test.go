// SPDX-License-Identifier: Apache-2.0

// Examples: one interceptor around calls of every kind, and a handler without HTTP.

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

// One call interceptor covers unary calls and streams, on both sides: it adds a header
// on the client, refuses by it on the server, and counts messages and bytes.
func Example_callInterceptor() {
	watch := func(next connect.CallFunc) connect.CallFunc {
		return func(ctx context.Context, call *connect.Call) error {
			side := "server"
			if call.Spec().IsClient {
				side = "client"
				call.RequestHeader().Set("Tenant", "acme")
			} else if call.RequestHeader().Get("Tenant") == "" {
				return connect.NewError(connect.CodeInvalidArgument, errors.New("header Tenant is missing"))
			}
			err := next(ctx, call)
			stats := call.Stats()
			fmt.Printf("%s: %v stream: sent %d messages of %d bytes, received %d of %d\n", side, call.Spec().StreamType,
				stats.Sent.Messages, stats.Sent.WireBytes, stats.Received.Messages, stats.Received.WireBytes)
			return err
		}
	}
	const procedure = "/count.v1.CountService/Up"
	server := httptest.NewServer(connect.NewServerStreamHandler(procedure,
		func(_ context.Context, req *connect.Request[wrapperspb.Int64Value], stream *connect.ServerStream[wrapperspb.Int64Value]) error {
			for i := range req.Msg.Value {
				if err := stream.Send(wrapperspb.Int64(i + 1)); err != nil {
					return err
				}
			}
			return nil
		}, connect.WithCallInterceptors(watch)))
	defer server.Close()

	count := func(options ...connect.ClientOption) {
		client := connect.NewClient[wrapperspb.Int64Value, wrapperspb.Int64Value](server.Client(), server.URL+procedure, options...)
		stream, err := client.CallServerStream(context.Background(), connect.NewRequest(wrapperspb.Int64(3)))
		if err != nil {
			fmt.Println(err)
			return
		}
		sum := int64(0)
		for stream.Receive() {
			sum += stream.Msg().Value
		}
		fmt.Println("sum", sum, stream.Err())
	}
	count()
	count(connect.WithCallInterceptors(watch))
	// Output:
	// sum 0 invalid_argument: header Tenant is missing
	// server: server stream: sent 3 messages of 21 bytes, received 1 of 7
	// client: server stream: sent 1 messages of 7 bytes, received 3 of 21
	// sum 6 <nil>
}

// queueConn is a call that came over a queue: one request, and one response.
type queueConn struct {
	spec                     connect.Spec
	request                  []string // the messages that are left
	response                 string
	header, answer, trailers http.Header
	err                      error
}

func (c *queueConn) Spec() connect.Spec           { return c.spec }
func (c *queueConn) Peer() connect.Peer           { return connect.Peer{Addr: "queue", Protocol: "queue"} }
func (c *queueConn) RequestHeader() http.Header   { return c.header }
func (c *queueConn) ResponseHeader() http.Header  { return c.answer }
func (c *queueConn) ResponseTrailer() http.Header { return c.trailers }

func (c *queueConn) Receive(msg any) error {
	if len(c.request) == 0 {
		return io.EOF
	}
	msg.(*wrapperspb.StringValue).Value = c.request[0]
	c.request = c.request[1:]
	return nil
}

func (c *queueConn) Send(msg any) error {
	if msg, ok := msg.(*wrapperspb.StringValue); ok {
		c.response = msg.Value
	}
	return nil
}

func (c *queueConn) Close(err error) { c.err = err }

// A handler serves calls that did not come over HTTP. Gates and interceptors run for
// them, too.
func ExampleHandler_ServeConn() {
	service := connect.NewServiceHandler([]*connect.Handler{
		connect.NewUnaryHandler("/greet.v1.GreetService/Greet",
			func(_ context.Context, req *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
				return connect.NewResponse(wrapperspb.String("Hello, " + req.Msg.Value + "!")), nil
			}),
	})
	for _, handler := range connect.Procedures(service) {
		for _, request := range [][]string{{"Ada"}, nil} {
			conn := &queueConn{spec: handler.Spec(), request: request, header: http.Header{}, answer: http.Header{}, trailers: http.Header{}}
			handler.ServeConn(context.Background(), conn)
			fmt.Printf("%q %v\n", conn.response, conn.err)
		}
	}
	// Output:
	// "Hello, Ada!" <nil>
	// "" unimplemented: /greet.v1.GreetService/Greet takes one message: the request has none
}
