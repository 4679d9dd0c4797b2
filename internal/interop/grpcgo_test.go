// SPDX-License-Identifier: Apache-2.0

// This file runs the standard cases between this library and grpc-go, and the cases that grpc-go itself publishes.

package interop_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/interop/grpcgo"
	"github.com/seed-b7c59c10/connect/internal/interop/ours"
	"google.golang.org/grpc"
	published "google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

func TestGRPCGo(t *testing.T) {
	t.Run("server=ours", func(t *testing.T) {
		for _, x := range []transport{h2c, h2tls, engineH2C, engineTLS} {
			t.Run(string(x), func(t *testing.T) {
				conn := dialGRPC(t, x, hostPort(t, serve(t, x, ours.NewHandler())))
				runCases(t, standardCases, true, clients{
					plain:    grpcgo.NewClient(conn),
					gzip:     grpcgo.NewClient(conn, grpc.UseCompressor("gzip")),
					identity: grpcgo.NewClient(conn, grpcgo.AcceptNoCompression()),
				})
			})
		}
	})
	t.Run("server=grpc-go", func(t *testing.T) {
		for _, x := range []transport{h2c, h2tls, engineH2C, engineTLS} {
			t.Run(string(x), func(t *testing.T) {
				address := x.scheme() + "://" + serveGRPC(t, x)
				client := httpClient(t, x)
				none := connect.WithAcceptCompression("gzip", nil, nil)
				runCases(t, standardCases, true, clients{
					plain:    ours.NewClient(client, address, connect.WithGRPC()),
					gzip:     ours.NewClient(client, address, connect.WithGRPC(), connect.WithSendGzip()),
					identity: ours.NewClient(client, address, connect.WithGRPC(), none),
				})
			})
		}
	})
}

// TestGRPCGoPublished runs the client of the published cases, as grpc-go ships it, against our server. That code ends
// the process when a case fails; TestMain's logger makes it end the subtest.
func TestGRPCGoPublished(t *testing.T) {
	type service = testpb.TestServiceClient
	cases := []struct {
		name string
		run  func(context.Context, service, ...grpc.CallOption)
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
	for _, x := range []transport{h2c, h2tls, engineH2C, engineTLS} {
		t.Run(string(x), func(t *testing.T) {
			conn := dialGRPC(t, x, hostPort(t, serve(t, x, ours.NewHandler())))
			run := func(name string, f func(context.Context)) {
				t.Run(name, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					defer fatalTo(t)()
					f(ctx)
				})
			}
			for _, tc := range cases {
				run(tc.name, func(ctx context.Context) { tc.run(ctx, testpb.NewTestServiceClient(conn)) })
			}
			run("unimplemented_method", func(ctx context.Context) { published.DoUnimplementedMethod(ctx, conn) })
			run("unimplemented_service", func(ctx context.Context) {
				published.DoUnimplementedService(ctx, testpb.NewUnimplementedServiceClient(conn))
			})
		})
	}
}

func hostPort(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}
