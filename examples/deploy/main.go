// SPDX-License-Identifier: Apache-2.0

// Command deploy is a whole server, as the configuration files beside it run it: under systemd,
// in a container, behind proxies, in Cloud Run and in Azure Functions. Its addresses come from
// the environment:
//
//	GREET_LISTEN                   addresses with commas between, such as ":8080,unix:/run/greet/greet.sock,systemd:web"
//	PORT                           Cloud Run and others: all interfaces
//	FUNCTIONS_CUSTOMHANDLER_PORT   Azure Functions: this machine alone
//	GREET_CERT, GREET_KEY          PEM files: TLS at the addresses of GREET_LISTEN; they may change
//
// Without any of them it listens at localhost:8080.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/seed-b7c59c10/connect"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
	"github.com/seed-b7c59c10/connect/health"
	"github.com/seed-b7c59c10/connect/server"
)

type greeter struct {
	greetv1connect.UnimplementedGreetServiceHandler
}

// Greet answers with a greeting.
func (greeter) Greet(_ context.Context, req *connect.Request[greetv1.GreetRequest]) (*connect.Response[greetv1.GreetResponse], error) {
	return connect.NewResponse(&greetv1.GreetResponse{Greeting: "Hello, " + req.Msg.GetName() + "!"}), nil
}

// addresses returns the options for where to listen.
func addresses(getenv func(string) string) []server.Option {
	if list := getenv("GREET_LISTEN"); list != "" {
		var tls []server.ListenOption
		if cert, key := getenv("GREET_CERT"), getenv("GREET_KEY"); cert != "" && key != "" {
			tls = append(tls, server.TLSFiles(cert, key))
		}
		var options []server.Option
		for address := range strings.SplitSeq(list, ",") {
			options = append(options, server.Listen(strings.TrimSpace(address), tls...))
		}
		return options
	}
	if port := getenv("FUNCTIONS_CUSTOMHANDLER_PORT"); port != "" {
		return []server.Option{server.Listen("127.0.0.1:" + port)}
	}
	if port := getenv("PORT"); port != "" {
		return []server.Option{server.Listen(":" + port)}
	}
	return []server.Option{server.Listen("localhost:8080")}
}

// newServer returns the server. health.Check, /healthz and the service share its addresses.
func newServer(getenv func(string) string) (*server.Server, error) {
	grace, err := time.ParseDuration(cmp.Or(getenv("GREET_GRACE"), "20s"))
	if err != nil || grace < 0 {
		return nil, fmt.Errorf("GREET_GRACE is %q, expected a duration such as 20s", getenv("GREET_GRACE"))
	}
	status := health.New(greetv1connect.GreetServiceName)
	mux := http.NewServeMux()
	mux.Handle(greetv1connect.NewGreetServiceHandler(greeter{}))
	mux.Handle(health.NewHandler(status))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	options := append(addresses(getenv), server.OnDrain(status.Shutdown), server.Grace(grace))
	return server.New(mux, options...), nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal kills
	s, err := newServer(os.Getenv)
	if err == nil {
		err = s.Run(ctx)
	}
	if err != nil {
		log.Fatal(err)
	}
}
