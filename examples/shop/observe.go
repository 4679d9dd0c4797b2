// SPDX-License-Identifier: Apache-2.0

// Traces, metrics and the log: OpenTelemetry's SDK, with the metrics in the format of
// Prometheus and the spans in the log. A program with a collector has OTLP exporters in
// their places.

package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/accesslog"
	"github.com/seed-b7c59c10/connect/telemetry"
)

// An observer observes the calls of a server or of its clients.
type observer struct {
	option  connect.Option // for handlers and clients
	metrics http.Handler
	close   func(context.Context) error // writes what is left
}

func newObserver(log *slog.Logger) (*observer, error) {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, err
	}
	meters := metric.NewMeterProvider(metric.WithReader(exporter))
	tracers := trace.NewTracerProvider(trace.WithBatcher(spanLog{log}))
	return &observer{
		option: connect.WithCallInterceptors(
			telemetry.New(telemetry.WithMeterProvider(meters), telemetry.WithTracerProvider(tracers), telemetry.WithPropagator(propagation.TraceContext{})),
			accesslog.New(log, accesslog.WithAttrs(func(ctx context.Context, _ *connect.Call) []slog.Attr { return telemetry.LogAttrs(ctx) }))),
		metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		close:   func(ctx context.Context) error { return errors.Join(tracers.Shutdown(ctx), meters.Shutdown(ctx)) },
	}, nil
}

// A spanLog writes spans as lines of a log.
type spanLog struct{ log *slog.Logger }

func (l spanLog) ExportSpans(ctx context.Context, spans []trace.ReadOnlySpan) error {
	for _, span := range spans {
		attrs := []slog.Attr{
			slog.String("name", span.Name()), slog.String("kind", span.SpanKind().String()),
			slog.String("trace_id", span.SpanContext().TraceID().String()), slog.Duration("took", span.EndTime().Sub(span.StartTime())),
		}
		for _, link := range span.Links() {
			attrs = append(attrs, slog.String("caller_trace_id", link.SpanContext.TraceID().String()))
		}
		for _, a := range span.Attributes() {
			attrs = append(attrs, slog.Any(string(a.Key), a.Value.AsInterface()))
		}
		l.log.LogAttrs(ctx, slog.LevelInfo, "span", attrs...)
	}
	return nil
}

func (spanLog) Shutdown(context.Context) error { return nil }
