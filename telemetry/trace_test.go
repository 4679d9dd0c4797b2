// SPDX-License-Identifier: Apache-2.0

// Traces from callers to handlers: trusted and untrusted callers, malformed contexts.

package telemetry_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/telemetry"
)

// TestPropagation calls with a span and with baggage in the context.
func TestPropagation(t *testing.T) {
	tests := []struct {
		name    string
		options []telemetry.Option
		child   map[string]bool // path -> whether the handler's span is a child
		baggage string
	}{
		{"untrusted", nil, map[string]bool{}, ""},
		{"trusted", []telemetry.Option{telemetry.WithTrustRemote()}, map[string]bool{pathUnary: true, pathServer: true}, "ada"},
		{"trusted, streams linked", []telemetry.Option{telemetry.WithTrustRemote(), telemetry.WithStreamLinks()}, map[string]bool{pathUnary: true}, "ada"},
		{"trusted by path", []telemetry.Option{telemetry.WithTrustRemoteFunc(func(_ context.Context, call *connect.Call) bool { return call.Spec().Procedure == pathServer })}, map[string]bool{pathServer: true}, ""},
	}
	for _, c := range carriers {
		for _, test := range tests {
			for _, path := range []string{pathUnary, pathServer} {
				t.Run(c.name+" "+test.name+path, func(t *testing.T) {
					r := record(t)
					var user string
					inside := connect.WithRequestGate(func(ctx context.Context, _ connect.Spec, _ connect.Peer, _ http.Header) (context.Context, error) {
						user = baggage.FromContext(ctx).Member("user").Value()
						return ctx, nil
					})
					s := serve(t, service(r.option(test.options...), inside), c.server...)
					member, err := baggage.NewMember("user", "ada")
					if err != nil {
						t.Fatal(err)
					}
					bag, err := baggage.New(member)
					if err != nil {
						t.Fatal(err)
					}
					ctx, outer := r.traces.Tracer("test").Start(baggage.ContextWithBaggage(testContext(t), bag), "outer")
					if err := calls[path](ctx, s, "hello", append(c.options, r.option())...); err != nil {
						t.Fatal(err)
					}
					outer.End()
					client, handler := r.ended(t, "client", 1)[0], r.ended(t, "server", 1)[0]
					if client.Parent().SpanID() != outer.SpanContext().SpanID() {
						t.Error("the client's span is not a child of the context's")
					}
					if test.child[path] {
						if handler.Parent().SpanID() != client.SpanContext().SpanID() || len(handler.Links()) != 0 {
							t.Errorf("got the parent %v and links %v, want the client's span as the parent", handler.Parent(), handler.Links())
						}
					} else {
						links := handler.Links()
						if handler.Parent().IsValid() || handler.SpanContext().TraceID() == client.SpanContext().TraceID() ||
							len(links) != 1 || links[0].SpanContext.SpanID() != client.SpanContext().SpanID() {
							t.Errorf("got the parent %v and links %v, want a new trace with a link to the client's span", handler.Parent(), links)
						}
					}
					want := test.baggage
					if test.name == "trusted by path" && path == pathServer {
						want = "ada"
					}
					if user != want {
						t.Errorf("got baggage %q, want %q", user, want)
					}
				})
			}
		}
	}
}

// TestMalformed sends traceparents that are not valid.
func TestMalformed(t *testing.T) {
	for _, value := range []string{
		"", " ", "00", "00-00000000000000000000000000000000-0000000000000000-00", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra", strings.Repeat("0", 10_000), "日本",
	} {
		for _, trust := range []bool{false, true} {
			r := record(t)
			options := []telemetry.Option{telemetry.WithTrustRemote()}[:map[bool]int{true: 1}[trust]]
			s := serve(t, service(r.option(options...)))
			request := connect.NewRequest(wrapperspb.String("hello"))
			request.Header().Set("Traceparent", value)
			request.Header().Set("Tracestate", "a=1,,=,b")
			request.Header().Set("Baggage", "%%%=,;;")
			if _, err := newClient(s, pathUnary).CallUnary(testContext(t), request); err != nil {
				t.Errorf("%q: got %v, want a call", value, err)
				continue
			}
			if span := r.ended(t, "server", 1)[0]; span.Parent().IsValid() || len(span.Links()) != 0 || !span.SpanContext().IsValid() {
				t.Errorf("%q: got the parent %v and links %v, want a new trace", value, span.Parent(), span.Links())
			}
		}
	}
}

// aroundWithSpan is middleware that begins a span of this process.
func (r *recorded) aroundWithSpan(h http.Handler, outer *trace.SpanContext) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		ctx := w3c.Extract(q.Context(), propagation.HeaderCarrier(q.Header))
		ctx, span := r.traces.Tracer("test").Start(ctx, "middleware")
		defer span.End()
		*outer = span.SpanContext()
		h.ServeHTTP(w, q.WithContext(ctx))
	})
}

// TestMiddleware has a span of the handler's process around the call.
func TestMiddleware(t *testing.T) {
	for _, linked := range []bool{false, true} {
		for _, path := range []string{pathUnary, pathServer} {
			r := record(t)
			options := []telemetry.Option{telemetry.WithStreamLinks()}[:map[bool]int{true: 1}[linked]]
			var outer trace.SpanContext
			s := serve(t, r.aroundWithSpan(service(r.option(options...)), &outer))
			if err := calls[path](testContext(t), s, "hello"); err != nil {
				t.Fatal(err)
			}
			s.Close()
			var span sdktrace.ReadOnlySpan
			for _, one := range r.spans.Ended() {
				if one.SpanKind() == trace.SpanKindServer {
					span = one
				}
			}
			if linked && path == pathServer {
				if links := span.Links(); span.Parent().IsValid() || span.SpanContext().TraceID() == outer.TraceID() || len(links) != 1 || links[0].SpanContext.SpanID() != outer.SpanID() {
					t.Errorf("got the parent %v and links %v, want a new trace with a link to the middleware's span", span.Parent(), links)
				}
			} else if span.Parent().SpanID() != outer.SpanID() || len(span.Links()) != 0 {
				t.Errorf("%s, linked %v: got the parent %v and links %v, want the middleware's span", path, linked, span.Parent(), span.Links())
			}
		}
	}
}

// TestNoSpan has no span of its own: a handler sees that of the middleware, and may write to it.
func TestNoSpan(t *testing.T) {
	for name, option := range map[string]telemetry.Option{
		"WithoutTracing": telemetry.WithoutTracing(),
		"noop":           telemetry.WithTracerProvider(noop.NewTracerProvider()),
		"global":         telemetry.WithTracerProvider(otel.GetTracerProvider()),
	} {
		r := record(t)
		var outer trace.SpanContext
		h := service(r.option(option), connect.WithRequestGate(func(ctx context.Context, _ connect.Spec, _ connect.Peer, _ http.Header) (context.Context, error) {
			trace.SpanFromContext(ctx).SetAttributes(attribute.String("app.user", "ada"))
			return ctx, nil
		}))
		s := serve(t, r.aroundWithSpan(h, &outer))
		if err := calls[pathUnary](testContext(t), s, "hello"); err != nil {
			t.Fatal(err)
		}
		s.Close()
		spans := r.spans.Ended()
		if len(spans) != 1 {
			t.Fatalf("%s: got %d spans, want the middleware's", name, len(spans))
		}
		wantAttributes(t, name, attributes(spans[0]), map[string]string{"app.user": "ada"})
	}
}

// TestHeadersNotUTF8 has bytes in headers that attributes must not have.
func TestHeadersNotUTF8(t *testing.T) {
	r := record(t)
	s := serve(t, service(r.option(telemetry.WithRequestHeaders("X-Tenant"))))
	request := connect.NewRequest(wrapperspb.String("hello"))
	request.Header()["X-Tenant"] = []string{"acme", "caf\xe9"}
	if _, err := newClient(s, pathUnary).CallUnary(testContext(t), request); err != nil {
		t.Fatal(err)
	}
	wantAttributes(t, "handler", attributes(r.ended(t, "server", 1)[0]), map[string]string{"rpc.request.metadata.x-tenant": `["acme","caf�"]`})
}

func TestSpanOptions(t *testing.T) {
	r := record(t)
	both := r.option(
		telemetry.WithMessageEvents(),
		telemetry.WithRequestHeaders("X-Tenant", "x-none"), telemetry.WithResponseHeaders("content-type"),
		telemetry.WithPropagateResponseHeader(),
		telemetry.WithSpanAttributes(func(_ context.Context, call *connect.Call) []attribute.KeyValue {
			return []attribute.KeyValue{attribute.String("app.tenant", call.RequestHeader().Get("X-Tenant")), attribute.String("app.secret", "x")}
		}),
		telemetry.WithMetricAttributes(func(context.Context, *connect.Call) []attribute.KeyValue {
			return []attribute.KeyValue{attribute.String("app.tier", "gold"), attribute.String("app.secret", "x")}
		}),
		telemetry.WithAttributeFilter(func(_ connect.Spec, kv attribute.KeyValue) bool {
			return kv.Key != "app.secret" && kv.Key != "network.peer.port"
		}),
		telemetry.WithErrorCodes(func(_ connect.Spec, code connect.Code) bool { return code == connect.CodeNotFound }),
		nil,
	)
	s := serve(t, service(both))
	request := connect.NewRequest(wrapperspb.String("hello"))
	request.Header().Set("X-Tenant", "acme")
	response, err := newClient(s, pathUnary, both, connect.WithGRPC()).CallUnary(testContext(t), request)
	if err != nil {
		t.Fatal(err)
	}
	handler := r.ended(t, "server", 1)[0]
	for name, span := range map[string]sdktrace.ReadOnlySpan{"handler": handler, "client": r.ended(t, "client", 1)[0]} {
		wantAttributes(t, name, attributes(span), map[string]string{
			"app.tenant": "acme", "app.secret": "", "network.peer.port": "",
			"rpc.request.metadata.x-tenant": `["acme"]`, "rpc.request.metadata.x-none": "",
			"rpc.response.metadata.content-type": `["application/grpc"]`,
		})
		var events []string
		for _, e := range span.Events() {
			events = append(events, e.Name+" "+join(texts(e.Attributes)))
		}
		if want := "rpc.message rpc.message.compressed_size=7 rpc.message.id=1 rpc.message.type=SENT rpc.message.uncompressed_size=7"; len(events) != 2 || events[0] != want && events[1] != want {
			t.Errorf("%s: got events %q, want two, one of them %q", name, events, want)
		}
	}
	if got := response.Header().Get("Traceparent"); !strings.Contains(got, handler.SpanContext().SpanID().String()) {
		t.Errorf("got traceparent %q in the response, want the handler's span", got)
	}
	if got := r.metrics(t)["rpc.server.call.duration s"]; got["app.tier=gold rpc.method=test.v1.S/Unary rpc.status_code=OK rpc.system.name=grpc"] != 1 {
		t.Errorf("got %v, want the program's attribute", got)
	}
	for code, failed := range map[string]string{"internal": "", "not_found": "not_found"} {
		if err := calls[pathUnary](testContext(t), s, code, both); err == nil {
			t.Fatal("got no error, want one")
		}
		spans := r.ended(t, "client", 2)
		wantAttributes(t, code, attributes(spans[len(spans)-1]), map[string]string{"rpc.status_code": code, "error.type": failed})
	}
}

// TestEvents sends more messages than have events.
func TestEvents(t *testing.T) {
	r := record(t)
	s := serve(t, service(r.option(telemetry.WithMessageEvents())))
	stream := newClient(s, pathClient).CallClientStream(testContext(t))
	for range 150 {
		if err := stream.Send(wrapperspb.String("a")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stream.CloseAndReceive(); err != nil {
		t.Fatal(err)
	}
	span := r.ended(t, "server", 1)[0]
	if got := len(span.Events()) + span.DroppedEvents(); got != 101 {
		t.Errorf("got %d events, want 100 for requests and one for the response", got)
	}
	wantAttributes(t, "handler", attributes(span), map[string]string{"connect.request.messages": "150"})
}

func TestLeftOut(t *testing.T) {
	r := record(t)
	s := serve(t, service(r.option(telemetry.WithFilter(func(_ context.Context, call *connect.Call) bool {
		return call.Spec().StreamType != connect.StreamTypeUnary
	}))))
	ctx := testContext(t)
	if err := calls[pathUnary](ctx, s, "hello", r.option(telemetry.WithoutTracing())); err != nil {
		t.Fatal(err)
	}
	if err := calls[pathServer](ctx, s, "hello", r.option(telemetry.WithoutMetrics())); err != nil {
		t.Fatal(err)
	}
	r.ended(t, "server", 1)
	if got := len(r.spans.Started()); got != 2 {
		t.Errorf("got %d spans, want those of the stream", got)
	}
	found := r.metrics(t)
	if got := found["rpc.client.call.duration s"]; len(got) != 1 || !strings.Contains(strings.Join(keys(got), ""), "Unary") {
		t.Errorf("got %v, want the unary call", got)
	}
	if got := found["rpc.server.call.duration s"]; len(got) != 1 || !strings.Contains(strings.Join(keys(got), ""), "Server") {
		t.Errorf("got %v, want the stream", got)
	}
}

func keys(m map[string]int64) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	return list
}

// TestUnsampled has a tracer that samples nothing: the context is passed on.
func TestUnsampled(t *testing.T) {
	r := record(t)
	traces := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()), sdktrace.WithSpanProcessor(r.spans))
	t.Cleanup(func() { _ = traces.Shutdown(context.Background()) })
	var seen string
	s := serve(t, service(connect.WithRequestGate(func(ctx context.Context, _ connect.Spec, _ connect.Peer, h http.Header) (context.Context, error) {
		seen = h.Get("Traceparent")
		return ctx, nil
	})))
	if err := calls[pathUnary](testContext(t), s, "hello", r.option(telemetry.WithTracerProvider(traces))); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(seen, "-00") {
		t.Errorf("got traceparent %q, want one that is not sampled", seen)
	}
	if got := r.metrics(t)["rpc.client.call.duration s"]; len(got) != 1 {
		t.Errorf("got %v, want the metric of the call", got)
	}
}
