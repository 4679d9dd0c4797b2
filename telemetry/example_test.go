// SPDX-License-Identifier: Apache-2.0

// A handler and a client whose calls have spans and metrics.

package telemetry_test

import (
	"context"
	"fmt"
	"net/http"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/inprocess"
	"github.com/seed-b7c59c10/connect/telemetry"
)

func Example() {
	spans := tracetest.NewInMemoryExporter() // a program has an exporter of OTLP here
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	observed := connect.WithCallInterceptors(telemetry.New(
		telemetry.WithTracerProvider(traces),
		telemetry.WithPropagator(propagation.TraceContext{}),
		telemetry.WithTrustRemote(), // the callers are programs of ours
	))

	const path = "/echo.v1.EchoService/Echo"
	echo := connect.NewServiceHandler([]*connect.Handler{
		connect.NewUnaryHandlerSimple(path, func(_ context.Context, text *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			return text, nil
		}, observed),
	})
	transport := &http.Client{Transport: inprocess.NewTransport(echo)}
	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](transport, "http://in.process"+path, observed, connect.WithGRPC())
	if _, err := client.CallUnary(context.Background(), connect.NewRequest(wrapperspb.String("hello"))); err != nil {
		fmt.Println(err)
	}

	ended := make(map[string]tracetest.SpanStub)
	for _, span := range spans.GetSpans() {
		ended[span.SpanKind.String()] = span
	}
	fmt.Println(ended["client"].Name)
	fmt.Println(ended["server"].Parent.SpanID() == ended["client"].SpanContext.SpanID())
	// Output:
	// echo.v1.EchoService/Echo
	// true
}
