// SPDX-License-Identifier: Apache-2.0

// Examples: messages that are known at run time, the list of procedures, and a proxy
// for what a service does not have.

package examples_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
	"github.com/seed-b7c59c10/connect/proxy"
	"github.com/seed-b7c59c10/connect/registry"
)

// A client without generated code. Here the schema is the one that the program has
// linked; dynamic.LoadSet reads one from a file, dynamic.Reflect asks a server.
func Example_dynamicClient() {
	_, handler := greetv1connect.NewGreetServiceHandler(&greeter{})
	server := httptest.NewServer(handler)
	defer server.Close()

	method, err := dynamic.FromFiles(protoregistry.GlobalFiles).Method(greetv1connect.GreetServiceGreetProcedure)
	if err != nil {
		fmt.Println(err)
		return
	}
	request := dynamicpb.NewMessage(method.Input())
	if err := protojson.Unmarshal([]byte(`{"name": "Ada"}`), request); err != nil {
		fmt.Println(err)
		return
	}
	client := dynamic.NewClient(server.Client(), server.URL, method)
	response, err := client.CallUnary(context.Background(), connect.NewRequest(request))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.Msg.Get(method.Output().Fields().ByName("greeting")))
	// Output: Hello, Ada!
}

// A handler without generated code, as a test double may be: one function for methods
// of every kind.
func Example_dynamicHandler() {
	method, err := dynamic.FromFiles(protoregistry.GlobalFiles).Method(greetv1connect.GreetServiceGreetProcedure)
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(dynamic.NewHandler(method, func(_ context.Context, stream *dynamic.Stream) error {
		response := stream.NewResponse()
		response.Set(method.Output().Fields().ByName("greeting"), protoreflect.ValueOfString("canned"))
		return stream.Send(response)
	}))
	defer server.Close()

	client := greetv1connect.NewGreetServiceClient(server.Client(), server.URL)
	response, err := client.Greet(context.Background(), connect.NewRequest(&greetv1.GreetRequest{Name: "Ada"}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.Msg.GetGreeting())
	// Output: canned
}

// A registry lists what a server has mounted.
func Example_registry() {
	var procedures registry.Registry
	mux := http.NewServeMux()
	mux.Handle(procedures.Add(greetv1connect.NewGreetServiceHandler(&greeter{})))
	p, ok := procedures.Find(greetv1connect.GreetServiceGreetProcedure)
	fmt.Println(ok, p.Procedure, p.StreamType)
	// Output: true /greet.v1.GreetService/Greet unary
}

// A service that is being moved: the new server has some procedures, and forwards the
// others to the old one.
func Example_proxy() {
	old := httptest.NewServer(connect.NewUnaryHandlerSimple("/greet.v1.GreetService/Shout",
		func(_ context.Context, request *greetv1.GreetRequest) (*greetv1.GreetResponse, error) {
			return &greetv1.GreetResponse{Greeting: strings.ToUpper(request.GetName())}, nil
		}))
	defer old.Close()
	rest, err := proxy.New(old.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rest.CloseIdleConnections()

	_, handler := greetv1connect.NewGreetServiceHandler(&greeter{}, connect.WithUnknownProcedureHandler(rest))
	server := httptest.NewServer(handler)
	defer server.Close()
	for _, procedure := range []string{"Greet", "Shout"} {
		client := connect.NewClient[greetv1.GreetRequest, greetv1.GreetResponse](server.Client(), server.URL+"/greet.v1.GreetService/"+procedure)
		response, err := client.CallUnary(context.Background(), connect.NewRequest(&greetv1.GreetRequest{Name: "Ada"}))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(response.Msg.GetGreeting())
	}
	// Output:
	// Hello, Ada!
	// ADA
}

// A translator: callers use any protocol and JSON, the server gets gRPC.
func Example_translator() {
	_, handler := greetv1connect.NewGreetServiceHandler(&greeter{})
	behind := httptest.NewUnstartedServer(handler)
	behind.EnableHTTP2 = true
	behind.StartTLS()
	defer behind.Close()

	file, err := protoregistry.GlobalFiles.FindFileByPath(greetv1.File_greet_v1_greet_proto.Path())
	if err != nil {
		fmt.Println(err)
		return
	}
	only := new(protoregistry.Files) // callers reach the services of the schema, and no others
	if err := only.RegisterFile(file); err != nil {
		fmt.Println(err)
		return
	}
	front := httptest.NewServer(proxy.NewTranslator(dynamic.FromFiles(only), proxy.Backend{
		HTTPClient: behind.Client(),
		BaseURL:    behind.URL,
		Options:    []connect.ClientOption{connect.WithGRPC()},
	}))
	defer front.Close()

	client := greetv1connect.NewGreetServiceClient(front.Client(), front.URL, connect.WithProtoJSON())
	response, err := client.Greet(context.Background(), connect.NewRequest(&greetv1.GreetRequest{Name: "Ada"}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.Msg.GetGreeting())
	// Output: Hello, Ada!
}
