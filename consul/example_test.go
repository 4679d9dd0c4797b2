// SPDX-License-Identifier: Apache-2.0

// Example: a server and a client in the mesh, with an agent in memory.

package consul_test

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/consul"
	"github.com/seed-b7c59c10/connect/consul/consultest"
)

func Example() {
	ctx := context.Background()
	agent, err := consultest.NewAgent() // in place of a real one
	if err != nil {
		fmt.Println(err)
		return
	}
	defer agent.Close()

	greeter, err := consul.NewService("greeter", agent.Client(""))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer greeter.Close()
	if err := greeter.WaitReady(ctx); err != nil {
		fmt.Println(err)
		return
	}
	const procedure = "/greet.v1.GreetService/Greet"
	mux := http.NewServeMux()
	mux.Handle(procedure, connect.NewUnaryHandler(procedure,
		func(ctx context.Context, r *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
			peer, _ := consul.PeerFromContext(ctx)
			return connect.NewResponse(wrapperspb.String("Hello, " + r.Msg.Value + " of " + peer.Service + "!")), nil
		}, greeter.Authorize()))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = greeter.Serve(listener, mux)
	}()
	err = greeter.Register(ctx, consul.Registration{ID: "greeter-1", Address: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port})
	if err != nil {
		fmt.Println(err)
		return
	}
	agent.SetHealth("greeter-1", "passing") // without waiting for the agent's own check

	web, err := consul.NewService("web", agent.Client(""))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer web.Close()
	const url = "https://greeter.service.consul"
	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](web.HTTPClient(), url+procedure, web.Options(url))
	response, err := client.CallUnary(ctx, connect.NewRequest(wrapperspb.String("Ada")))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.Msg.Value)
	_ = greeter.Close()
	<-served
	fmt.Println(agent.Instances("greeter"), "instances are left")
	// Output:
	// Hello, Ada of web!
	// 0 instances are left
}
