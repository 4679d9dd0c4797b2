// SPDX-License-Identifier: Apache-2.0

// An example: a service and a client of grpc-go's generated code, on the library.

package grpcadapter_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/seed-b7c59c10/connect/grpcadapter"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// checker is a service of grpc-go: it does not change.
type checker struct {
	healthpb.UnimplementedHealthServer
}

func (checker) Check(_ context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if req.Service != "" {
		return nil, status.Errorf(codes.NotFound, "no service %q", req.Service)
	}
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

func Example() {
	server := grpcadapter.NewServer() // in place of grpc.NewServer
	healthpb.RegisterHealthServer(server, checker{})
	web := httptest.NewServer(server)
	defer web.Close()

	conn := grpcadapter.NewClientConn(web.Client(), web.URL) // in place of grpc.NewClient
	client := healthpb.NewHealthClient(conn)
	res, err := client.Check(context.Background(), &healthpb.HealthCheckRequest{})
	fmt.Println(res.GetStatus(), err)
	_, err = client.Check(context.Background(), &healthpb.HealthCheckRequest{Service: "acme"})
	fmt.Println(status.Code(err), status.Convert(err).Message())
	// Output:
	// SERVING <nil>
	// NotFound no service "acme"
}
