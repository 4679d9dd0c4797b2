// SPDX-License-Identifier: Apache-2.0

// Parts of all tests: a service of each kind, the ways to reach it, what was recorded, and
// the check for goroutines that are left behind.

package telemetry_test

import (
	"context"
	"errors"
	"io"
	"log"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
	"github.com/seed-b7c59c10/connect/telemetry"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type (
	message = wrapperspb.StringValue
	client  = connect.Client[message, message]
)

const (
	pathUnary  = "/test.v1.S/Unary"
	pathServer = "/test.v1.S/Server"
	pathClient = "/test.v1.S/Client"
	pathBidi   = "/test.v1.S/Bidi"
)

// carriers are the ways of a call.
var carriers = []struct {
	name    string
	system  string
	server  []connecttest.Option
	options []connect.ClientOption
}{
	{"h1 connect", "connectrpc", []connecttest.Option{connecttest.WithHTTP1()}, nil},
	{"h2 connect", "connectrpc", nil, nil},
	{"h2 grpc", "grpc", nil, []connect.ClientOption{connect.WithGRPC()}},
	{"engine grpc", "grpc", []connecttest.Option{connecttest.WithEngine()}, []connect.ClientOption{connect.WithGRPC()}},
	{"engine grpcweb", "grpc", []connecttest.Option{connecttest.WithEngine()}, []connect.ClientOption{connect.WithGRPCWeb()}},
}

// service answers messages with themselves. A message that is the name of a code is
// answered with an error of it, "panic" with a panic, and "wait" when the call ends.
func service(options ...connect.HandlerOption) http.Handler {
	answer := func(ctx context.Context, m *message) (*message, error) {
		var code connect.Code
		switch text := m.GetValue(); {
		case text == "panic":
			panic(http.ErrAbortHandler)
		case text == "wait":
			<-ctx.Done()
			return nil, ctx.Err()
		case code.UnmarshalText([]byte(text)) == nil:
			return nil, connect.NewError(code, errors.New("as asked"))
		}
		return m, nil
	}
	return connect.NewServiceHandler([]*connect.Handler{
		connect.NewUnaryHandler(pathUnary, func(ctx context.Context, r *connect.Request[message]) (*connect.Response[message], error) {
			m, err := answer(ctx, r.Msg)
			if err != nil {
				return nil, err
			}
			return connect.NewResponse(m), nil
		}, options...),
		connect.NewServerStreamHandler(pathServer, func(ctx context.Context, r *connect.Request[message], stream *connect.ServerStream[message]) error {
			m, err := answer(ctx, r.Msg)
			if err != nil {
				return err
			}
			for range 3 {
				if err := stream.Send(m); err != nil {
					return err
				}
			}
			return nil
		}, options...),
		connect.NewClientStreamHandler(pathClient, func(ctx context.Context, stream *connect.ClientStream[message]) (*connect.Response[message], error) {
			last := new(message)
			for stream.Receive() {
				last = stream.Msg()
			}
			if err := stream.Err(); err != nil {
				return nil, err
			}
			m, err := answer(ctx, last)
			if err != nil {
				return nil, err
			}
			return connect.NewResponse(m), nil
		}, options...),
		connect.NewBidiStreamHandler(pathBidi, func(ctx context.Context, stream *connect.BidiStream[message, message]) error {
			for m, err := range stream.Messages() {
				if err != nil {
					return err
				}
				if m, err = answer(ctx, m); err != nil {
					return err
				}
				if err := stream.Send(m); err != nil {
					return err
				}
			}
			return nil
		}, options...),
	})
}

// recorded is what was recorded of the calls of a test.
type recorded struct {
	spans  *tracetest.SpanRecorder
	traces *sdktrace.TracerProvider
	reader *sdkmetric.ManualReader
	meters *sdkmetric.MeterProvider
}

func record(t testing.TB) *recorded {
	r := &recorded{spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	r.traces = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.spans))
	r.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader))
	t.Cleanup(func() {
		_ = r.traces.Shutdown(context.Background())
		_ = r.meters.Shutdown(context.Background())
	})
	return r
}

var w3c = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})

// option returns the interceptor as an option of handlers and clients.
func (r *recorded) option(options ...telemetry.Option) connect.Option {
	return connect.WithCallInterceptors(telemetry.New(append([]telemetry.Option{
		telemetry.WithTracerProvider(r.traces), telemetry.WithMeterProvider(r.meters), telemetry.WithPropagator(w3c),
	}, options...)...))
}

// ended returns the ended spans of a kind ("server", "client") in the order of their ends.
// It waits for n of them: a handler's call ends after its client's.
func (r *recorded) ended(t testing.TB, kind string, n int) []sdktrace.ReadOnlySpan {
	t.Helper()
	ctx := testContext(t)
	for {
		var found []sdktrace.ReadOnlySpan
		for _, s := range r.spans.Ended() {
			if s.SpanKind().String() == kind {
				found = append(found, s)
			}
		}
		if len(found) >= n {
			return found
		}
		select {
		case <-ctx.Done():
			t.Fatalf("got %d spans of %ss, want %d", len(found), kind, n)
		case <-time.After(time.Millisecond):
		}
	}
}

// attributes returns a span's attributes as text, and "status" for an error.
func attributes(s sdktrace.ReadOnlySpan) map[string]string {
	found := texts(s.Attributes())
	if s.Status().Code.String() != "Unset" {
		found["status"] = s.Status().Code.String() + " " + s.Status().Description
	}
	return found
}

func texts(list []attribute.KeyValue) map[string]string {
	found := make(map[string]string)
	for _, kv := range list {
		found[string(kv.Key)] = kv.Value.String()
	}
	return found
}

// wantAttributes checks that the attributes are there, or not there if they are "".
func wantAttributes(t testing.TB, what string, got map[string]string, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: got %s %q, want %q; all: %v", what, name, got[name], value, got)
		}
	}
}

// metrics returns the points of all metrics: name -> attributes as text -> count, or the
// value of a sum.
func (r *recorded) metrics(t testing.TB) map[string]map[string]int64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := r.reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]map[string]int64)
	add := func(m metricdata.Metrics, set attribute.Set, value int64) {
		name := m.Name + " " + m.Unit
		if found[name] == nil {
			found[name] = make(map[string]int64)
		}
		found[name][join(texts(set.ToSlice()))] += value
	}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch points := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range points.DataPoints {
					add(m, p.Attributes, int64(p.Count))
				}
			case metricdata.Histogram[int64]:
				for _, p := range points.DataPoints {
					add(m, p.Attributes, int64(p.Count))
				}
			case metricdata.Sum[int64]:
				for _, p := range points.DataPoints {
					add(m, p.Attributes, p.Value)
				}
			}
		}
	}
	return found
}

func join(attributes map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		list = append(list, name+"="+attributes[name])
	}
	return strings.Join(list, " ")
}

func serve(t testing.TB, h http.Handler, options ...connecttest.Option) *connecttest.Server {
	withoutLog := connecttest.WithServer(func(s *http.Server) { s.ErrorLog = log.New(io.Discard, "", 0) })
	s := connecttest.NewServer(h, append(slices.Clone(options), withoutLog)...)
	t.Cleanup(s.Close)
	return s
}

func newClient(s *connecttest.Server, path string, options ...connect.ClientOption) *client {
	return connect.NewClient[message, message](s.Client(), s.URL+path, options...)
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // ends a test that hangs
	t.Cleanup(cancel)
	return ctx
}

// calls makes a call of each kind with one message.
var calls = map[string]func(context.Context, *connecttest.Server, string, ...connect.ClientOption) error{
	pathUnary: func(ctx context.Context, s *connecttest.Server, text string, o ...connect.ClientOption) error {
		_, err := newClient(s, pathUnary, o...).CallUnary(ctx, connect.NewRequest(wrapperspb.String(text)))
		return err
	},
	pathServer: func(ctx context.Context, s *connecttest.Server, text string, o ...connect.ClientOption) error {
		stream, err := newClient(s, pathServer, o...).CallServerStream(ctx, connect.NewRequest(wrapperspb.String(text)))
		if err != nil {
			return err
		}
		defer stream.Close()
		for stream.Receive() {
		}
		return stream.Err()
	},
	pathClient: func(ctx context.Context, s *connecttest.Server, text string, o ...connect.ClientOption) error {
		stream := newClient(s, pathClient, o...).CallClientStream(ctx)
		if err := stream.Send(wrapperspb.String(text)); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		_, err := stream.CloseAndReceive()
		return err
	},
	pathBidi: func(ctx context.Context, s *connecttest.Server, text string, o ...connect.ClientOption) error {
		stream := newClient(s, pathBidi, o...).CallBidiStream(ctx)
		defer stream.CloseResponse()
		if err := stream.Send(wrapperspb.String(text)); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		_ = stream.CloseRequest()
		for {
			if _, err := stream.Receive(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	},
}
