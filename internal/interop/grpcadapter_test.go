// SPDX-License-Identifier: Apache-2.0

// This file runs grpc-go's published service and its published client on the module grpcadapter: on its server, on its
// client, and on both.

package interop_test

import (
	"context"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/grpcadapter"
	"google.golang.org/grpc"
	published "google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

func TestGRPCAdapter(t *testing.T) {
	cases := []struct {
		name string
		run  func(context.Context, testpb.TestServiceClient, ...grpc.CallOption)
	}{
		{"empty_unary", published.DoEmptyUnaryCall},
		{"large_unary", published.DoLargeUnaryCall},
		{"client_streaming", published.DoClientStreaming},
		{"server_streaming", published.DoServerStreaming},
		{"ping_pong", published.DoPingPong},
		{"empty_stream", published.DoEmptyStream},
		{"timeout_on_sleeping_server", published.DoTimeoutOnSleepingServer},
		{"cancel_after_begin", published.DoCancelAfterBegin},
		{"cancel_after_first_response", published.DoCancelAfterFirstResponse},
		{"custom_metadata", published.DoCustomMetadata},
		{"status_code_and_message", published.DoStatusCodeAndMessage},
		{"special_status_message", published.DoSpecialStatusMessage},
	}
	run := func(t *testing.T, name string, f func(context.Context)) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			defer fatalTo(t)()
			f(ctx)
		})
	}
	all := func(t *testing.T, conn grpc.ClientConnInterface) {
		for _, tc := range cases {
			run(t, tc.name, func(ctx context.Context) { tc.run(ctx, testpb.NewTestServiceClient(conn)) })
		}
		run(t, "unimplemented_service", func(ctx context.Context) {
			published.DoUnimplementedService(ctx, testpb.NewUnimplementedServiceClient(conn))
		})
	}
	newServer := func() *grpcadapter.Server {
		server := grpcadapter.NewServer()
		testpb.RegisterTestServiceServer(server, published.NewTestServer())
		return server
	}
	for _, x := range []transport{h2c, h2tls, engineH2C, engineTLS} {
		t.Run("client=grpc-go,server=adapter,"+string(x), func(t *testing.T) {
			conn := dialGRPC(t, x, hostPort(t, serve(t, x, newServer())))
			all(t, conn)
			run(t, "unimplemented_method", func(ctx context.Context) { published.DoUnimplementedMethod(ctx, conn) })
		})
		t.Run("client=adapter,server=grpc-go,"+string(x), func(t *testing.T) {
			address := x.scheme() + "://" + serveGRPC(t, x)
			all(t, grpcadapter.NewClientConn(httpClient(t, x), address, connect.WithGRPC()))
		})
		for name, options := range map[string][]connect.ClientOption{
			"connect":  nil,
			"grpc":     {connect.WithGRPC()},
			"grpc-web": {connect.WithGRPCWeb()},
			"json":     {connect.WithProtoJSON()},
		} {
			t.Run("client=adapter,server=adapter,"+string(x)+","+name, func(t *testing.T) {
				address := serve(t, x, newServer())
				all(t, grpcadapter.NewClientConn(httpClient(t, x), address, options...))
			})
		}
	}
}
