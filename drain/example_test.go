// SPDX-License-Identifier: Apache-2.0

// A stream that ends because its server does.

package drain_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/drain"
)

func ExampleDrainer_Shutdown() {
	server := new(httpServer)
	drainer := drain.New(server, drain.OnDrain(func() { fmt.Println("health: not serving") }))
	const path = "/clock.v1.ClockService/Follow"
	clock := connect.NewServerStreamHandlerSimple(path, func(ctx context.Context, _ *emptypb.Empty, ticks *connect.ServerStream[wrapperspb.StringValue]) error {
		if err := ticks.Send(wrapperspb.String("tick")); err != nil {
			return err
		}
		select {
		case <-drain.Signal(ctx):
			return ticks.Send(wrapperspb.String("call again"))
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	mux := http.NewServeMux()
	mux.Handle("/clock.v1.ClockService/", drainer.Handler(connect.NewServiceHandler([]*connect.Handler{clock})))
	running := connecttest.NewServer(mux, connecttest.WithEngine(), connecttest.WithServer(func(s *http.Server) { server.Server = s }))
	defer running.Close()

	client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](running.Client(), running.URL+path)
	stream, err := client.CallServerStream(context.Background(), connect.NewRequest(new(emptypb.Empty)))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stream.Close()
	ended := make(chan error, 1)
	for stream.Receive() {
		fmt.Println(stream.Msg().Value)
		if stream.Msg().Value == "tick" {
			go func() { ended <- drainer.Shutdown(context.Background(), drain.Grace(20*time.Second)) }()
		}
	}
	fmt.Println(stream.Err(), <-ended)
	// Output:
	// tick
	// health: not serving
	// call again
	// <nil> <nil>
}
