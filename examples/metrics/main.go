// SPDX-License-Identifier: Apache-2.0

// Metrics serves calls at localhost:8080, calls itself a few times a second, and has the
// metrics of these calls for Prometheus at http://localhost:9464/metrics:
//
//	go run .
//
// grafana-dashboard.json is a dashboard for them: in Grafana, Dashboards, New, Import.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/seed-b7c59c10/connect"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
	"github.com/seed-b7c59c10/connect/telemetry"
)

const (
	callsAt   = "localhost:8080"
	metricsAt = "localhost:9464"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "metrics:", err)
		os.Exit(1)
	}
}

// newMeters returns a provider of meters, and the handler that Prometheus reads.
func newMeters() (metric.MeterProvider, http.Handler, error) {
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	if err != nil {
		return nil, nil, fmt.Errorf("making the exporter: %w", err)
	}
	return sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), nil
}

// run serves until ctx ends.
func run(ctx context.Context) error {
	meters, metrics, err := newMeters()
	if err != nil {
		return err
	}
	observed := connect.WithCallInterceptors(telemetry.New(telemetry.WithMeterProvider(meters)))

	calls := http.NewServeMux()
	calls.Handle(greetv1connect.NewGreetServiceHandler(greeter{}, observed))
	scrapes := http.NewServeMux()
	scrapes.Handle("/metrics", metrics)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for at, handler := range map[string]http.Handler{callsAt: calls, metricsAt: scrapes} {
		server := &http.Server{Addr: at, Handler: handler, ReadHeaderTimeout: 5 * time.Second, Protocols: new(http.Protocols)}
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetUnencryptedHTTP2(true)
		defer server.Close()
		go func() { cancel(server.ListenAndServe()) }()
	}
	fmt.Printf("calls: http://%s\nmetrics: http://%s/metrics\n", callsAt, metricsAt)

	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	traffic(ctx, &http.Client{Transport: transport}, "http://"+callsAt, observed, 100*time.Millisecond)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// traffic calls the service in two protocols, at every pause, until ctx ends.
func traffic(ctx context.Context, transport connect.HTTPClient, url string, observed connect.ClientOption, pause time.Duration) {
	clients := []greetv1connect.GreetServiceClient{
		greetv1connect.NewGreetServiceClient(transport, url, observed),
		greetv1connect.NewGreetServiceClient(transport, url, observed, connect.WithGRPC()),
	}
	names := []string{"Ada", "Ben", "", "Nobody"}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			_, _ = clients[rand.IntN(len(clients))].Greet(ctx, connect.NewRequest(&greetv1.GreetRequest{Name: names[rand.IntN(len(names))]})) // errors are what the dashboard shows
		}
	}
}

// greeter greets. Some names are mistakes of the caller, and some are too much for it.
type greeter struct {
	greetv1connect.UnimplementedGreetServiceHandler
}

func (greeter) Greet(_ context.Context, req *connect.Request[greetv1.GreetRequest]) (*connect.Response[greetv1.GreetResponse], error) {
	switch req.Msg.Name {
	case "":
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("name is empty"))
	case "Nobody":
		return nil, connect.NewError(connect.CodeInternal, errors.New("there is nobody to greet"))
	}
	return connect.NewResponse(&greetv1.GreetResponse{Greeting: "Hello, " + req.Msg.Name + "!"}), nil
}
