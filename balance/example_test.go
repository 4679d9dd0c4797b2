// SPDX-License-Identifier: Apache-2.0

// Examples: two servers, of which one goes away; endpoints from the program's own source.

package balance_test

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/h2"
)

// serveGreetings serves a procedure on a port of its own.
func serveGreetings(procedure string) (server *http.Server, address string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	server = &http.Server{Handler: connect.NewUnaryHandler(procedure,
		func(_ context.Context, req *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
			return connect.NewResponse(wrapperspb.String("Hello, " + req.Msg.Value + "!")), nil
		})}
	if err := h2.ConfigureServer(server, nil); err != nil {
		return nil, "", err
	}
	go func() { _ = server.Serve(listener) }()
	return server, listener.Addr().String(), nil
}

func Example() {
	const procedure = "/greet.v1.GreetService/Greet"
	first, firstAddress, err := serveGreetings(procedure)
	if err != nil {
		fmt.Println(err)
		return
	}
	second, secondAddress, err := serveGreetings(procedure)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer second.Close()

	lb, err := balance.New(balance.Static(firstAddress, secondAddress))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lb.Close()
	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](lb.HTTPClient(), "http://greet"+procedure, lb.Options())

	answers := 0
	for i := range 100 {
		if i == 50 { // one of the servers goes away
			if err := first.Shutdown(context.Background()); err != nil {
				fmt.Println(err)
			}
		}
		res, err := client.CallUnary(context.Background(), connect.NewRequest(wrapperspb.String("Ada")))
		if err != nil {
			fmt.Println(err)
			return
		}
		if res.Msg.Value == "Hello, Ada!" {
			answers++
		}
	}
	fmt.Println(answers, "answers")
	// Output: 100 answers
}

// A registry is a source of endpoints that the program has.
type registry struct {
	changes chan []balance.Endpoint
}

// Watch hands over each set that the registry gets.
func (r *registry) Watch(ctx context.Context, update func([]balance.Endpoint, error)) error {
	for {
		select {
		case set := <-r.changes:
			update(set, nil)
		case <-ctx.Done():
			return nil
		}
	}
}

func ExampleResolver() {
	const procedure = "/greet.v1.GreetService/Greet"
	server, address, err := serveGreetings(procedure)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	r := &registry{changes: make(chan []balance.Endpoint)}
	lb, err := balance.New(r, balance.LeastRequest(2), balance.Zone("eu-1a"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lb.Close()
	r.changes <- []balance.Endpoint{{Addr: address, Weight: 1, Zone: "eu-1a"}}
	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](lb.HTTPClient(), "http://greet"+procedure, lb.Options())
	res, err := client.CallUnary(context.Background(), connect.NewRequest(wrapperspb.String("Ada")))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Msg.Value)
	for _, e := range lb.Status().Endpoints {
		fmt.Println(e.Zone, e.State)
	}
	// Output:
	// Hello, Ada!
	// eu-1a ready
}
