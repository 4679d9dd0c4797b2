// SPDX-License-Identifier: Apache-2.0

// Gateways between HTTP and the bus in both directions, and other packages on the bus.

package natstest

import (
	"context"
	"net/http"
	"testing"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/health"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
	"github.com/seed-b7c59c10/connect/proxy"
)

// HTTP clients call a service on the bus.
func TestGateway(t *testing.T) {
	broker := startServer(t, nil)
	serve(t, dial(t, broker), new(service).handler())
	s := connecttest.NewServer(natsrpc.NewGateway(natsrpc.NewTransport(dial(t, broker)), "rpc"), connecttest.WithEngine())
	t.Cleanup(s.Close)
	for protocol, options := range protocols {
		t.Run(protocol, func(t *testing.T) {
			callAll(t, conntestv1connect.NewTestServiceClient(s.Client(), s.URL, options...), 100_000)
			_, err := connect.NewClient[emptypb.Empty, emptypb.Empty](s.Client(), s.URL+"/a.B/M", options...).CallUnary(testContext(t), connect.NewRequest(&emptypb.Empty{}))
			wantError(t, "service that is not there", err, connect.CodeUnavailable, "")
		})
	}
}

// Clients on the bus call a service behind HTTP.
func TestReverseGateway(t *testing.T) {
	broker := startServer(t, nil)
	backend := connecttest.NewServer(new(service).handler(), connecttest.WithEngine())
	t.Cleanup(backend.Close)
	p, err := proxy.New(backend.URL, proxy.WithTransport(backend.Client().Transport))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, dial(t, broker), p)
	nc := dial(t, broker)
	for protocol, options := range protocols {
		t.Run(protocol, func(t *testing.T) { callAll(t, newClient(nc, options...), 100_000) })
	}
}

// The health service on the bus: Check, and Watch until the service drains.
func TestHealth(t *testing.T) {
	broker := startServer(t, nil)
	status := health.New("acme.v1.S")
	mux := http.NewServeMux()
	mux.Handle(health.NewHandler(status))
	serve(t, dial(t, broker), mux, natsrpc.Services("grpc.health.v1.Health"))
	client := health.NewClient(natsrpc.NewClient(dial(t, broker)), base, connect.WithGRPC())
	if got, err := client.Check(testContext(t), "acme.v1.S"); err != nil || got != health.StatusServing {
		t.Errorf("got %v and error %v, want serving", got, err)
	}
	var seen []health.Status
	for one, err := range client.Watch(testContext(t), "acme.v1.S") {
		if err != nil {
			wantError(t, "watch", err, connect.CodeUnavailable, "shuts down")
			break
		}
		if seen = append(seen, one); len(seen) == 1 {
			status.Shutdown()
		}
	}
	if len(seen) != 2 || seen[0] != health.StatusServing || seen[1] != health.StatusNotServing {
		t.Errorf("got %v, want serving and not serving", seen)
	}
}

// An interceptor sees calls over NATS as any other.
func TestInterceptor(t *testing.T) {
	broker := startServer(t, nil)
	seen := make(chan connect.Peer, 1)
	mux := http.NewServeMux()
	mux.Handle(conntestv1connect.NewTestServiceHandler(new(service), connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
			seen <- r.Peer()
			return next(ctx, r)
		}
	}))))
	serve(t, dial(t, broker), mux)
	nc := dial(t, broker)
	transport := natsrpc.NewTransport(nc)
	var addresses [2]string
	for i := range addresses {
		if err := kinds["unary"](testContext(t), conntestv1connect.NewTestServiceClient(httpClient(transport), base)); err != nil {
			t.Fatal(err)
		}
		addresses[i] = (<-seen).Addr
	}
	if addresses[0] == "" || addresses[0] != addresses[1] {
		t.Errorf("got addresses %q, want the inbox of the client's connection, twice", addresses)
	}
}
