// SPDX-License-Identifier: Apache-2.0

// Example: a server that describes its services, and a client that lists them and calls one
// without generated code.

package reflection_test

import (
	"context"
	"fmt"
	"net/http"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/dynamic"
	"github.com/seed-b7c59c10/connect/health"
	"github.com/seed-b7c59c10/connect/reflection"
	"github.com/seed-b7c59c10/connect/registry"
)

func Example() {
	var procedures registry.Registry
	mux := http.NewServeMux()
	mux.Handle(procedures.Add(health.NewHandler(health.New())))
	reflection.New(&procedures).Mount(mux)
	server := connecttest.NewServer(mux) // speaks HTTP/2, in memory
	defer server.Close()

	ctx := context.Background()
	client := reflection.NewClient(server.Client(), server.URL)
	services, err := client.Services(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, service := range services {
		fmt.Println(service)
	}
	schema, err := client.Schema(ctx, "grpc.health.v1.Health")
	if err != nil {
		fmt.Println(err)
		return
	}
	method, err := schema.Method("/grpc.health.v1.Health/Check")
	if err != nil {
		fmt.Println(err)
		return
	}
	check := dynamic.NewClient(server.Client(), server.URL, method)
	response, err := check.CallUnary(ctx, connect.NewRequest(dynamicpb.NewMessage(method.Input())))
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := protojson.Marshal(response.Msg)
	fmt.Println(string(text), err)
	// Output:
	// grpc.health.v1.Health
	// grpc.reflection.v1.ServerReflection
	// grpc.reflection.v1alpha.ServerReflection
	// {"status":"SERVING"} <nil>
}
