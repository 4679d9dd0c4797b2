// SPDX-License-Identifier: Apache-2.0

// The options of New.

package telemetry

import (
	"context"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/seed-b7c59c10/connect"
)

// An Option changes what [New] records.
type Option func(*settings)

// settings are what options set.
type settings struct {
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	propagator propagation.TextMapPropagator

	filter     func(context.Context, *connect.Call) bool // nil for all calls
	trust      func(context.Context, *connect.Call) bool // nil for none
	errorCodes func(connect.Spec, connect.Code) bool

	spanAttributes   func(context.Context, *connect.Call) []attribute.KeyValue
	metricAttributes func(context.Context, *connect.Call) []attribute.KeyValue
	keep             func(connect.Spec, attribute.KeyValue) bool

	requestHeaders, responseHeaders []string // in lower case
	streamLinks, events, respond    bool
	old                             bool // also the conventions of version 1.37.0
}

func must(ok bool, option, needs string) {
	if !ok {
		panic("telemetry: " + option + " needs " + needs)
	}
}

// WithTracerProvider sets where spans go. The default is [otel.GetTracerProvider].
// WithTracerProvider panics if p is nil.
func WithTracerProvider(p trace.TracerProvider) Option {
	must(p != nil, "WithTracerProvider", "a provider")
	return func(s *settings) { s.tracers = p }
}

// WithMeterProvider sets where metrics go. The default is [otel.GetMeterProvider].
// WithMeterProvider panics if p is nil.
func WithMeterProvider(p metric.MeterProvider) Option {
	must(p != nil, "WithMeterProvider", "a provider")
	return func(s *settings) { s.meters = p }
}

// WithPropagator sets how contexts of traces are written into headers and read from them.
// The default is [otel.GetTextMapPropagator]. WithPropagator panics if p is nil.
func WithPropagator(p propagation.TextMapPropagator) Option {
	must(p != nil, "WithPropagator", "a propagator")
	return func(s *settings) { s.propagator = p }
}

// WithoutTracing leaves out spans. The span of the context is still passed on.
func WithoutTracing() Option {
	return func(s *settings) { s.tracers = tracenoop.NewTracerProvider() }
}

// WithoutMetrics leaves out metrics.
func WithoutMetrics() Option {
	return func(s *settings) { s.meters = metricnoop.NewMeterProvider() }
}

// WithFilter sets the function that reports whether a call is recorded, such as one that
// leaves out health checks. It is called before the call, and must be safe for concurrent
// use. By default all calls are recorded. WithFilter panics if f is nil.
func WithFilter(f func(context.Context, *connect.Call) bool) Option {
	must(f != nil, "WithFilter", "a function")
	return func(s *settings) { s.filter = f }
}

// WithTrustRemote makes the span of a handler a child of its caller's span, and takes the
// caller's baggage over. It is for servers that strangers cannot reach: a caller chooses
// then whether a call is sampled, and in which trace it is. By default the caller's span
// is linked.
func WithTrustRemote() Option {
	return WithTrustRemoteFunc(func(context.Context, *connect.Call) bool { return true })
}

// WithTrustRemoteFunc is [WithTrustRemote] for the calls for which f returns true, such as
// those of a peer with a verified certificate. f must be safe for concurrent use.
// WithTrustRemoteFunc panics if f is nil.
func WithTrustRemoteFunc(f func(context.Context, *connect.Call) bool) Option {
	must(f != nil, "WithTrustRemoteFunc", "a function")
	return func(s *settings) { s.trust = f }
}

// WithStreamLinks makes the span of a handler's stream the begin of a new trace with a link
// to the caller's span, also if the caller is trusted, or to the span of middleware: so that
// a stream that lasts for hours does not belong to the trace in which it began.
func WithStreamLinks() Option {
	return func(s *settings) { s.streamLinks = true }
}

// WithMessageEvents adds an event "rpc.message" to the span for each message, with its
// number and its sizes, for the first 100 of each direction. By default there are none:
// sizes are attributes of the span.
func WithMessageEvents() Option {
	return func(s *settings) { s.events = true }
}

// WithPropagateResponseHeader makes handlers write the context of their span into the
// response's headers, so that a caller may find it. Strangers see it, too.
func WithPropagateResponseHeader() Option {
	return func(s *settings) { s.respond = true }
}

// WithRequestHeaders records headers of requests as attributes rpc.request.metadata.<name>
// of the span. By default none are: they may hold secrets.
func WithRequestHeaders(names ...string) Option {
	return func(s *settings) { s.requestHeaders = append(s.requestHeaders, lower(names)...) }
}

// WithResponseHeaders records headers of responses as attributes
// rpc.response.metadata.<name> of the span. By default none are.
func WithResponseHeaders(names ...string) Option {
	return func(s *settings) { s.responseHeaders = append(s.responseHeaders, lower(names)...) }
}

func lower(names []string) []string {
	names = slices.Clone(names)
	for i, name := range names {
		names[i] = strings.ToLower(name)
	}
	return names
}

// WithSpanAttributes sets a function that returns attributes for the span of a call. It is
// called before the call, if the span is recorded, and must be safe for concurrent use.
// WithSpanAttributes panics if f is nil.
func WithSpanAttributes(f func(context.Context, *connect.Call) []attribute.KeyValue) Option {
	must(f != nil, "WithSpanAttributes", "a function")
	return func(s *settings) { s.spanAttributes = f }
}

// WithMetricAttributes sets a function that returns attributes for the duration of a call.
// It is called after the call, and must be safe for concurrent use. Each combination of
// values is a time series: values that peers choose must not be among them.
// WithMetricAttributes panics if f is nil.
func WithMetricAttributes(f func(context.Context, *connect.Call) []attribute.KeyValue) Option {
	must(f != nil, "WithMetricAttributes", "a function")
	return func(s *settings) { s.metricAttributes = f }
}

// WithAttributeFilter sets a function that reports whether an attribute is recorded, for
// spans and metrics. It must be safe for concurrent use, and always return the same for
// the same arguments. By default all are. WithAttributeFilter panics if f is nil.
func WithAttributeFilter(f func(connect.Spec, attribute.KeyValue) bool) Option {
	must(f != nil, "WithAttributeFilter", "a function")
	return func(s *settings) { s.keep = f }
}

// WithErrorCodes sets a function that reports whether a code is an error of the call, for
// the status of the span and error.type. The default is that of the conventions: all codes
// on a client, and on a handler those that are not the caller's mistake. A program whose
// clients close streams before their end may leave [connect.CodeCanceled] out. The
// function must be safe for concurrent use. WithErrorCodes panics if f is nil.
func WithErrorCodes(f func(connect.Spec, connect.Code) bool) Option {
	must(f != nil, "WithErrorCodes", "a function")
	return func(s *settings) { s.errorCodes = f }
}

// isError is the default of WithErrorCodes. [OpenTelemetry semantic conventions 1.45.0,
// Connect RPC and gRPC, notes on rpc.status_code]
func isError(s connect.Spec, code connect.Code) bool {
	if s.IsClient {
		return true
	}
	switch code {
	case connect.CodeUnknown, connect.CodeDeadlineExceeded, connect.CodeUnimplemented,
		connect.CodeInternal, connect.CodeUnavailable, connect.CodeDataLoss:
		return true
	}
	return false
}
