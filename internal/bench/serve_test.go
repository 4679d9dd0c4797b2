// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	benchv1 "github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1"
	"github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1/benchv1connect"
)

// TestServeAlone calls each server three times and reads its output.
func TestServeAlone(t *testing.T) {
	for _, name := range []string{serveEngine, serveMiddleware, serveNetHTTP, serveGRPCGo} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out, in := io.Pipe()
			served := make(chan error, 1)
			go func() {
				err := serveAlone(ctx, name, "127.0.0.1:0", in)
				_ = in.CloseWithError(io.EOF)
				served <- err
			}()
			lines := bufio.NewScanner(out)
			if !lines.Scan() {
				t.Fatalf("got no address: %v", <-served)
			}
			_, to, _ := strings.Cut(lines.Text(), " serves ")
			base := strings.TrimSuffix(to, benchv1connect.BenchServiceEchoProcedure)
			transport := h2.NewTransport(nil)
			defer transport.Close()
			client := benchv1connect.NewBenchServiceClient(&http.Client{Transport: transport}, base, connect.WithGRPC())
			for range 3 {
				response, err := client.Echo(t.Context(), connect.NewRequest(&benchv1.Payload{Data: []byte("a")}))
				if err != nil {
					t.Fatal(err)
				}
				if got := string(response.Msg.GetData()); got != "a" {
					t.Errorf("got %q, want %q", got, "a")
				}
			}
			cancel()
			if !lines.Scan() || !strings.HasPrefix(lines.Text(), "3 calls, ") {
				t.Errorf("got %q, want it to tell of 3 calls", lines.Text())
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
	if err := serveAlone(t.Context(), "nothing", "127.0.0.1:0", io.Discard); err == nil {
		t.Error("got no error for a server that does not exist")
	}
}
