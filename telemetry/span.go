// SPDX-License-Identifier: Apache-2.0

// The span of a call: its parent or link, its attributes, its end.

package telemetry

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/seed-b7c59c10/connect"
)

// start begins the span, and passes its context on.
func (o *observed) start(spec connect.Spec, peer connect.Peer) {
	i, ctx := o.i, o.ctx
	options := make([]trace.SpanStartOption, 0, 5)
	if !i.untraced {
		options = append(options, trace.WithTimestamp(o.call.Stats().Begin), trace.WithAttributes(i.startAttributes(o.key, spec, peer)...))
	}
	if spec.IsClient {
		options = append(options, trace.WithSpanKind(trace.SpanKindClient))
	} else {
		options = append(options, trace.WithSpanKind(trace.SpanKindServer))
		ctx, options = o.parent(ctx, spec, options)
	}
	o.ctx, o.span = i.tracer.Start(ctx, method(spec.Procedure), options...)
	if !o.span.IsRecording() && o.span.SpanContext().SpanID() == trace.SpanContextFromContext(ctx).SpanID() {
		o.ctx, o.span = ctx, noop.Span{} // no new span, but a copy of the context's, which records nothing
	}
	switch {
	case spec.IsClient:
		i.propagator.Inject(o.ctx, propagation.HeaderCarrier(o.call.RequestHeader()))
	case i.respond:
		i.propagator.Inject(o.ctx, propagation.HeaderCarrier(o.call.ResponseHeader()))
	}
	if !o.span.IsRecording() {
		return
	}
	if i.spanAttributes != nil {
		o.span.SetAttributes(i.kept(spec, i.spanAttributes(o.ctx, o.call))...)
	}
	if len(i.requestHeaders) > 0 {
		o.span.SetAttributes(i.kept(spec, headers("rpc.request.metadata.", i.requestHeaders, o.call.RequestHeader()))...)
	}
	if i.events {
		o.call.OnMessage(o.event)
	}
}

// parent returns a handler's context with the caller's span, or the options for a span
// that is linked to it.
func (o *observed) parent(ctx context.Context, spec connect.Spec, options []trace.SpanStartOption) (context.Context, []trace.SpanStartOption) {
	i := o.i
	alone := i.streamLinks && spec.StreamType != connect.StreamTypeUnary            // in a trace of its own
	if own := trace.SpanContextFromContext(ctx); own.IsValid() && !own.IsRemote() { // middleware of this process has begun a span
		if alone {
			options = append(options, trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: own}))
		}
		return ctx, options
	}
	var carrier propagation.TextMapCarrier = propagation.HeaderCarrier(o.call.RequestHeader())
	trusted := i.trust != nil && i.trust(ctx, o.call)
	if !trusted {
		carrier = withoutBaggage{propagation.HeaderCarrier(o.call.RequestHeader())}
	}
	caller := i.propagator.Extract(ctx, carrier)
	if trusted {
		if !alone {
			return caller, options
		}
		ctx = baggage.ContextWithBaggage(ctx, baggage.FromContext(caller))
	}
	options = append(options, trace.WithNewRoot())
	if remote := trace.SpanContextFromContext(caller); remote.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: remote}))
	}
	return ctx, options
}

// withoutBaggage are the headers of a caller that is not trusted. Baggage is not read: each
// mistake in it would be an error for OpenTelemetry's handler, which logs it.
type withoutBaggage struct{ propagation.HeaderCarrier }

func (c withoutBaggage) Get(name string) string {
	if strings.EqualFold(name, "baggage") {
		return ""
	}
	return c.HeaderCarrier.Get(name)
}

func (c withoutBaggage) Values(name string) []string {
	if strings.EqualFold(name, "baggage") {
		return nil
	}
	return c.HeaderCarrier.Values(name)
}

// maxEvents is how many messages of each direction have an event.
const maxEvents = 100

// event adds the event of a message. Its names are those of the conventions before 1.39.0,
// which have no successors.
func (o *observed) event(m connect.CallMessage) {
	if m.Number > maxEvents {
		return
	}
	kind := "RECEIVED"
	if m.Sent {
		kind = "SENT"
	}
	o.span.AddEvent("rpc.message", trace.WithTimestamp(m.Time), trace.WithAttributes(o.i.kept(o.call.Spec(), []attribute.KeyValue{
		attribute.String("rpc.message.type", kind),
		attribute.Int64("rpc.message.id", m.Number),
		attribute.Int("rpc.message.compressed_size", m.CompressedSize),
		attribute.Int("rpc.message.uncompressed_size", m.Size),
	})...))
}

// maxDescription is how much of an error's text is the description of the span's status.
const maxDescription = 1 << 10

// finish ends the span.
func (o *observed) finish(spec connect.Spec, stats connect.CallStats, done key, now time.Time) {
	if !o.span.IsRecording() {
		o.span.End()
		return
	}
	defer o.span.End(trace.WithTimestamp(now))
	i := o.i
	o.span.SetAttributes(i.kept(spec, i.endAttributes(done, spec, stats, o.err))...)
	if len(i.responseHeaders) > 0 && (!spec.IsClient || !stats.FirstByte.IsZero()) { // a client's would wait otherwise
		if h := o.call.ResponseHeader(); h != nil {
			o.span.SetAttributes(i.kept(spec, headers("rpc.response.metadata.", i.responseHeaders, h))...)
		}
	}
	if done.failed == "" {
		return
	}
	text := "the call panicked"
	if o.err != nil {
		text = o.err.Error()
	}
	if len(text) > maxDescription {
		text = text[:maxDescription]
	}
	o.span.SetStatus(codes.Error, strings.ToValidUTF8(text, "\uFFFD"))
}

// headers returns the attributes of those headers that there are. A peer chooses their bytes:
// an exporter that writes Protobuf would lose all spans that it sends together with one that
// is not UTF-8.
func headers(prefix string, names []string, h http.Header) []attribute.KeyValue {
	var found []attribute.KeyValue
	for _, name := range names {
		if values := h.Values(name); len(values) > 0 {
			found = append(found, attribute.StringSlice(prefix+name, valid(values)))
		}
	}
	return found
}

func valid(values []string) []string {
	if !slices.ContainsFunc(values, func(value string) bool { return !utf8.ValidString(value) }) {
		return values
	}
	values = slices.Clone(values)
	for i, value := range values {
		values[i] = strings.ToValidUTF8(value, "\uFFFD")
	}
	return values
}
