// SPDX-License-Identifier: Apache-2.0

// The call interceptor: what happens before a call and after it.

package telemetry

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/seed-b7c59c10/connect"
)

const (
	scope  = "github.com/seed-b7c59c10/connect/telemetry"
	schema = "https://opentelemetry.io/schemas/1.45.0"
)

// New returns a call interceptor for handlers and clients, for
// [connect.WithCallInterceptors]. It belongs before others: it sees what they refuse then,
// and their contexts have the span. Nil options are ignored.
//
// An error in the creation of an instrument goes to [otel.Handle], and the instrument is
// left out.
func New(options ...Option) connect.CallInterceptorFunc {
	s := &settings{
		tracers:    otel.GetTracerProvider(),
		meters:     otel.GetMeterProvider(),
		propagator: otel.GetTextMapPropagator(),
		errorCodes: isError,
		old:        dup(os.Getenv("OTEL_SEMCONV_STABILITY_OPT_IN")),
	}
	for _, o := range options {
		if o != nil {
			o(s)
		}
	}
	meter := s.meters.Meter(scope, metric.WithInstrumentationVersion(connect.ModuleVersion), metric.WithSchemaURL(schema))
	i := &interceptor{
		settings: *s,
		tracer:   s.tracers.Tracer(scope, trace.WithInstrumentationVersion(connect.ModuleVersion), trace.WithSchemaURL(schema)),
		handlers: newInstruments(meter, "server", s.old),
		clients:  newInstruments(meter, "client", s.old),
	}
	_, i.untraced = s.tracers.(noop.TracerProvider)
	return i.wrap
}

// dup reports whether the list in OTEL_SEMCONV_STABILITY_OPT_IN asks for old and new
// conventions together.
func dup(list string) bool {
	for name := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(name) == "rpc/dup" {
			return true
		}
	}
	return false
}

// interceptor is the state of all calls.
type interceptor struct {
	settings
	tracer            trace.Tracer
	untraced          bool // there are no spans: their attributes are not made
	handlers, clients *instruments
	sets              sets
}

func (i *interceptor) wrap(next connect.CallFunc) connect.CallFunc {
	return func(ctx context.Context, call *connect.Call) error {
		if i.filter != nil && !i.filter(ctx, call) {
			return next(ctx, call)
		}
		spec, peer := call.Spec(), call.Peer()
		o := i.begin(ctx, call, spec, peer)
		defer o.end() // also if next panics, or a function of an option
		o.start(spec, peer)
		o.err = next(o.ctx, call)
		o.returned = true
		return o.err
	}
}

// observed is one call that is recorded.
type observed struct {
	i    *interceptor
	call *connect.Call
	key  key

	ctx     context.Context // with the span, once there is one
	span    trace.Span
	set     *instruments
	running *measurement // of the call before its end, and of its sizes

	err      error
	returned bool // nothing has panicked
}

// begin counts a call as one that runs. It has no span yet.
func (i *interceptor) begin(ctx context.Context, call *connect.Call, spec connect.Spec, peer connect.Peer) *observed {
	o := &observed{i: i, call: call, ctx: ctx, span: noop.Span{}, set: i.handlers, key: key{spec: fields{spec.Procedure, spec.IsClient}, protocol: peer.Protocol}}
	o.running = i.measurement(o.key)
	if spec.IsClient {
		o.set, o.key.address = i.clients, peer.Addr
	}
	o.set.active.Add(ctx, 1, o.running.add...)
	return o
}

// end records the call.
func (o *observed) end() {
	now, i := time.Now(), o.i
	spec, stats := o.call.Spec(), o.call.Stats()
	o.set.active.Add(o.ctx, -1, o.running.add...)

	done := o.key
	done.ended, done.code = true, o.code()
	defer func() { o.finish(spec, stats, done, now) }() // after the metrics: a call whose span has ended is in them
	done.failed = o.failure(spec, done.code)
	requests, responses := stats.Received, stats.Sent
	if spec.IsClient {
		requests, responses = stats.Sent, stats.Received
	}
	m := i.measurement(done)
	if more := o.more(); len(more) > 0 {
		m = i.measure(done, more)
	}
	took := now.Sub(stats.Begin)
	o.set.duration.Record(o.ctx, took.Seconds(), m.record...)
	o.set.request.Record(o.ctx, requests.WireBytes, o.running.record...)
	o.set.response.Record(o.ctx, responses.WireBytes, o.running.record...)
	if o.set.old != nil {
		o.set.old.record(o.ctx, m.old, took, requests, responses)
	}
}

// more returns the program's own attributes of the duration.
func (o *observed) more() []attribute.KeyValue {
	if o.i.metricAttributes == nil {
		return nil
	}
	return o.i.kept(o.call.Spec(), o.i.metricAttributes(o.ctx, o.call))
}

// panicked is the error.type of a call that panicked.
const panicked = "panic"

// code returns the code of the call as the protocol writes it, "" if it has none.
func (o *observed) code() string {
	switch {
	case !o.returned:
		return ""
	case o.err == nil, connect.IsNotModifiedError(o.err):
		return statusCode(o.key.protocol, 0)
	}
	return statusCode(o.key.protocol, codeOf(o.err))
}

// failure returns the error.type of the call, "" if it has not failed.
func (o *observed) failure(spec connect.Spec, code string) string {
	switch {
	case !o.returned:
		return panicked
	case o.err == nil, connect.IsNotModifiedError(o.err), !o.i.errorCodes(spec, codeOf(o.err)):
		return ""
	}
	return code
}

// codeOf returns the code of an error, one of the sixteen that the protocols have: a
// program may make others, which callers receive as unknown. The error of an interceptor
// may be that of a context, whose code callers receive, too.
func codeOf(err error) connect.Code {
	switch code := connect.CodeOf(err); {
	case code < connect.CodeCanceled || code > connect.CodeUnauthenticated:
		return connect.CodeUnknown
	case code != connect.CodeUnknown || errors.As(err, new(*connect.Error)):
		return code
	case errors.Is(err, context.Canceled):
		return connect.CodeCanceled
	case errors.Is(err, context.DeadlineExceeded):
		return connect.CodeDeadlineExceeded
	}
	return connect.CodeUnknown
}
