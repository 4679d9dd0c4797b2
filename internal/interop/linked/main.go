// SPDX-License-Identifier: Apache-2.0

// Linked is a program with every package that has grpc.health and grpc.reflection: this library's, grpc-go's and
// connectrpc.com's. It starts only if they register no Protobuf name twice, and then asks this library's services.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"google.golang.org/grpc/health/grpc_health_v1"
	_ "google.golang.org/grpc/reflection"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/health"
	"github.com/seed-b7c59c10/connect/reflection"
	"github.com/seed-b7c59c10/connect/registry"
)

func main() {
	fmt.Println("grpc-go:", grpc_health_v1.File_grpc_health_v1_health_proto.Path(), grpc_reflection_v1.File_grpc_reflection_v1_reflection_proto.Path(), grpc_reflection_v1alpha.File_grpc_reflection_v1alpha_reflection_proto.Path())
	fmt.Println("connect-go:", grpchealth.HealthV1ServiceName, grpcreflect.ReflectV1ServiceName)
	var procedures registry.Registry
	mux := http.NewServeMux()
	mux.Handle(procedures.Add(health.NewHandler(health.New())))
	reflection.New(&procedures).Mount(mux)
	server := connecttest.NewServer(mux)
	defer server.Close()
	status, err := health.NewClient(server.Client(), server.URL).Check(context.Background(), "")
	if err != nil {
		log.Fatal(err)
	}
	services, err := reflection.NewClient(server.Client(), server.URL).Services(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ours:", status, services)
}
