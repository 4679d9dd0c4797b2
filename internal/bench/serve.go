// SPDX-License-Identifier: Apache-2.0

// A server alone in this process, for a load from another one, such as h2load's.

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	benchv1 "github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1"
	"github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1/benchv1connect"
)

// The servers that -serve accepts. The first four are this library: on package h2 with
// the direct path, within an http.Server and by an h2.Server, on package h2 behind
// middleware, and on net/http.
const (
	serveEngine     = "engine"
	serveOwn        = "h2.Server"
	serveMiddleware = "middleware"
	serveNetHTTP    = "net/http"
	serveGRPCGo     = "grpc-go"
)

type countingServer struct {
	oursServer
	calls *atomic.Int64
}

func (s countingServer) Echo(ctx context.Context, request *connect.Request[benchv1.Payload]) (*connect.Response[benchv1.Payload], error) {
	s.calls.Add(1)
	return s.oursServer.Echo(ctx, request)
}

type countingGRPCGo struct {
	grpcGoServer
	calls *atomic.Int64
}

func (s countingGRPCGo) Echo(ctx context.Context, request *benchv1.Payload) (*benchv1.Payload, error) {
	s.calls.Add(1)
	return s.grpcGoServer.Echo(ctx, request)
}

// serveAlone prints its address and serves Echo over cleartext HTTP/2 until ctx ends.
// Then it prints the cost of a call.
func serveAlone(ctx context.Context, name, address string, stdout io.Writer) error {
	var calls atomic.Int64
	var serve func(net.Listener) error
	var stop func()
	switch name {
	case serveGRPCGo:
		server := grpc.NewServer()
		benchv1.RegisterBenchServiceServer(server, countingGRPCGo{calls: &calls})
		serve, stop = server.Serve, server.Stop
	case serveEngine, serveOwn, serveMiddleware, serveNetHTTP:
		mux := http.NewServeMux()
		mux.Handle(benchv1connect.NewBenchServiceHandler(countingServer{calls: &calls}))
		server := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
		server.Protocols.SetUnencryptedHTTP2(true)
		if name == serveMiddleware {
			server.Handler = http.HandlerFunc(mux.ServeHTTP)
		}
		serve, stop = server.Serve, func() { _ = server.Close() }
		switch name {
		case serveOwn:
			own, err := h2.NewServer(server, nil)
			if err != nil {
				return err
			}
			serve, stop = own.Serve, func() { _ = own.Close() }
		case serveEngine, serveMiddleware:
			if err := h2.ConfigureServer(server, nil); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("reading -serve: got %q, want %s, %s, %s, %s or %s", name, serveEngine, serveOwn, serveMiddleware, serveNetHTTP, serveGRPCGo)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s serves http://%s%s\n", name, listener.Addr(), benchv1connect.BenchServiceEchoProcedure)
	before, err := cpuTime()
	if err != nil {
		_ = listener.Close()
		return err
	}
	served := make(chan error, 1)
	go func() { served <- serve(listener) }()
	select {
	case <-ctx.Done():
	case err := <-served:
		return fmt.Errorf("serving: %w", err)
	}
	after, err := cpuTime()
	stop()
	<-served
	if err != nil {
		return err
	}
	n := calls.Load()
	fmt.Fprintf(stdout, "%d calls", n)
	if n > 0 {
		fmt.Fprintf(stdout, ", %.2f µs of CPU time each", float64((after-before).Nanoseconds())/1e3/float64(n))
	}
	fmt.Fprintln(stdout)
	return nil
}
