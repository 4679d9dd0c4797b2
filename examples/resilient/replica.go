// SPDX-License-Identifier: Apache-2.0

// A replica: a server that can be slow, killed, drained and started again.

package main

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/drain"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/health"
)

// A replica serves greet.v1.GreetService. One goroutine starts and ends it.
type replica struct {
	greetv1connect.UnimplementedGreetServiceHandler
	name    string
	address string       // the same after each start
	pause   atomic.Int64 // ns for each call
	calls   atomic.Int64

	server  *h2.Server
	drainer *drain.Drainer
}

func newReplica(name string) *replica { return &replica{name: name, address: "127.0.0.1:0"} }

// Greet answers after the replica's pause.
func (r *replica) Greet(ctx context.Context, req *connect.Request[greetv1.GreetRequest]) (*connect.Response[greetv1.GreetResponse], error) {
	r.calls.Add(1)
	select {
	case <-time.After(time.Millisecond + time.Duration(r.pause.Load())):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return connect.NewResponse(&greetv1.GreetResponse{Greeting: "Hello, " + req.Msg.GetName() + "!"}), nil
}

// start listens and serves.
func (r *replica) start() error {
	listener, err := net.Listen("tcp", r.address)
	if err != nil {
		return err
	}
	r.address = listener.Addr().String()
	mux := http.NewServeMux()
	status := health.New(greetv1connect.GreetServiceName)
	mux.Handle(health.NewHandler(status))
	r.server, err = h2.NewServer(&http.Server{Handler: mux}, nil)
	if err != nil {
		return err
	}
	r.drainer = drain.New(r.server, drain.OnDrain(status.Shutdown))
	path, handler := greetv1connect.NewGreetServiceHandler(r)
	mux.Handle(path, r.drainer.Handler(handler))
	go func() { _ = r.server.Serve(listener) }()
	return nil
}

// slow makes each call take longer.
func (r *replica) slow(pause time.Duration) error {
	r.pause.Store(int64(pause))
	return nil
}

// kill cuts all connections.
func (r *replica) kill() error { return r.server.Close() }

// drain ends the server so that no call is lost.
func (r *replica) drain(ctx context.Context) error {
	return r.drainer.Shutdown(ctx, drain.Grace(5*time.Second))
}
