// SPDX-License-Identifier: Apache-2.0

// This file bounds the allocations of a call on the direct path, those of the program
// included. It needs a build without the race detector, which allocates itself.

//go:build !race

package conntest

import (
	"context"
	"net/http"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

// TestDirectAllocs makes unary calls with client and server on the engine, through
// an http.ServeMux, which makes three of the allocations. Six belong to the messages
// and to the test's code that makes and reads them.
func TestDirectAllocs(t *testing.T) {
	const budget, bytesBudget = 20, 3400 // gRPC had 17 and 2948 when this was written, Connect 18 and 2950
	mux := http.NewServeMux()
	mux.Handle(conntestv1connect.NewTestServiceHandler(handlers{
		unary: func(_ context.Context, r *request) (*response, error) {
			return connect.NewResponse(&conntestv1.Response{Text: r.Msg.GetText()}), nil
		},
	}))
	server, err := startDirectH2C(mux, loopback{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.close()
	for name, options := range map[string][]connect.ClientOption{
		connect.ProtocolConnect: nil,
		connect.ProtocolGRPC:    {connect.WithGRPC()},
	} {
		client := conntestv1connect.NewTestServiceClient(&http.Client{Transport: server.transport}, server.url, options...)
		one := func() {
			if _, err := client.Unary(t.Context(), requestOf("a text of a few words")); err != nil {
				t.Fatal(err)
			}
		}
		for range 200 {
			one()
		}
		result := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				one()
			}
		})
		t.Logf("%s: %d allocations and %d bytes for a call", name, result.AllocsPerOp(), result.AllocedBytesPerOp())
		if got := result.AllocsPerOp(); got > budget {
			t.Errorf("%s: got %d allocations for a call, want at most %d", name, got, budget)
		}
		if got := result.AllocedBytesPerOp(); got > bytesBudget {
			t.Errorf("%s: got %d bytes for a call, want at most %d", name, got, bytesBudget)
		}
	}
}
