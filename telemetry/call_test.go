// SPDX-License-Identifier: Apache-2.0

// Spans and metrics of calls of each kind, that succeed and fail.

package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/telemetry"
)

func TestCalls(t *testing.T) {
	for _, c := range carriers {
		for path, call := range calls {
			if path == pathBidi && strings.HasPrefix(c.name, "h1") {
				continue
			}
			t.Run(c.name+path, func(t *testing.T) {
				r := record(t)
				both := r.option()
				s := serve(t, service(both), c.server...)
				if err := call(testContext(t), s, "hello", append(c.options, both)...); err != nil {
					t.Fatal(err)
				}
				handler, client := r.ended(t, "server", 1)[0], r.ended(t, "client", 1)[0]
				responses := map[string]string{pathServer: "3"}[path]
				if responses == "" {
					responses = "1"
				}
				ok := map[string]string{"grpc": "OK"}[c.system]
				want := map[string]string{
					"rpc.system.name": c.system, "rpc.method": path[1:], "rpc.status_code": ok, "error.type": "", "status": "",
					"connect.request.messages": "1", "connect.request.size": "7", "connect.response.messages": responses,
				}
				wantAttributes(t, "handler", attributes(handler), want)
				wantAttributes(t, "client", attributes(client), want)
				host, _, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
				wantAttributes(t, "client", attributes(client), map[string]string{"server.address": host, "network.peer.port": ""})
				if path == pathUnary && c.system == "grpc" {
					wantAttributes(t, "handler", attributes(handler), map[string]string{"connect.request.wire_size": "12", "connect.response.wire_size": "12"})
				}
				for _, span := range []string{handler.Name(), client.Name()} {
					if span != path[1:] {
						t.Errorf("got the span's name %q, want %q", span, path[1:])
					}
				}
				base := "rpc.method=" + path[1:]
				suffix := " rpc.system.name=" + c.system
				if ok != "" {
					suffix = " rpc.status_code=OK" + " rpc.system.name=" + c.system
				}
				found := r.metrics(t)
				port := attributes(client)["server.port"]
				address := " server.address=" + host
				if port != "" {
					address += " server.port=" + port
				}
				for name, set := range map[string]string{
					"rpc.server.call.duration s":           base + suffix,
					"rpc.client.call.duration s":           base + suffix + address,
					"connect.server.request.wire_size By":  base + " rpc.system.name=" + c.system,
					"connect.client.response.wire_size By": base + " rpc.system.name=" + c.system,
				} {
					if found[name][set] != 1 || len(found[name]) != 1 {
						t.Errorf("got %s %v, want one with %s", name, found[name], set)
					}
				}
				for _, name := range []string{"connect.server.active_calls {call}", "connect.client.active_calls {call}"} {
					if value, there := found[name][base+" rpc.system.name="+c.system]; value != 0 || !there {
						t.Errorf("got %s %v, want 0", name, found[name])
					}
				}
				if found["rpc.server.duration ms"] != nil {
					t.Error("the old metrics are there without being asked for")
				}
			})
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range carriers {
		for _, test := range []struct {
			code    string
			handler bool // an error of the handler, too
		}{
			{"invalid_argument", false}, {"canceled", false}, {"not_found", false}, {"unauthenticated", false}, {"resource_exhausted", false},
			{"unknown", true}, {"deadline_exceeded", true}, {"unimplemented", true}, {"internal", true}, {"unavailable", true}, {"data_loss", true},
		} {
			t.Run(c.name+" "+test.code, func(t *testing.T) {
				r := record(t)
				both := r.option()
				s := serve(t, service(both), c.server...)
				if err := calls[pathUnary](testContext(t), s, test.code, append(c.options, both)...); connect.CodeOf(err).String() != test.code {
					t.Fatalf("got %v, want %s", err, test.code)
				}
				code := test.code
				if c.system == "grpc" {
					code = strings.ToUpper(code)
					if code == "CANCELED" {
						code = "CANCELLED"
					}
				}
				failed := map[string]string{"rpc.status_code": code, "error.type": code, "status": "Error " + test.code + ": as asked"}
				wantAttributes(t, "client", attributes(r.ended(t, "client", 1)[0]), failed)
				if !test.handler {
					failed = map[string]string{"rpc.status_code": code, "error.type": "", "status": ""}
				}
				wantAttributes(t, "handler", attributes(r.ended(t, "server", 1)[0]), failed)
			})
		}
	}
}

// TestPanic has a handler that panics. No interceptor recovers.
func TestPanic(t *testing.T) {
	r := record(t)
	s := serve(t, service(r.option()))
	if err := calls[pathUnary](testContext(t), s, "panic"); err == nil {
		t.Fatal("got no error, want one")
	}
	wantAttributes(t, "handler", attributes(r.ended(t, "server", 1)[0]), map[string]string{"error.type": "panic", "rpc.status_code": "", "status": "Error the call panicked"})
	if got := r.metrics(t)["rpc.server.call.duration s"]; got["error.type=panic rpc.method=test.v1.S/Unary rpc.system.name=connectrpc"] != 1 {
		t.Errorf("got %v, want a duration of a call that panicked", got)
	}
}

// TestRefused has a call that a gate refuses before its message is read.
func TestRefused(t *testing.T) {
	r := record(t)
	h := service(r.option(), connect.WithRequestGate(func(ctx context.Context, _ connect.Spec, _ connect.Peer, _ http.Header) (context.Context, error) {
		return ctx, connect.NewError(connect.CodeUnauthenticated, errors.New("no token"))
	}))
	s := serve(t, h)
	if err := calls[pathUnary](testContext(t), s, "hello"); err == nil {
		t.Fatal("got no error, want one")
	}
	wantAttributes(t, "handler", attributes(r.ended(t, "server", 1)[0]), map[string]string{"rpc.status_code": "unauthenticated", "connect.request.messages": "0"})
}

// TestErrorsOfContexts has an interceptor inside that returns the error of a context as it is:
// the client receives its code.
func TestErrorsOfContexts(t *testing.T) {
	for want, plain := range map[string]error{
		"canceled":          fmt.Errorf("waiting for a place: %w", context.Canceled),
		"deadline_exceeded": context.DeadlineExceeded,
		"unknown":           errors.New("something else"),
		"unavailable":       connect.NewError(connect.CodeUnavailable, context.Canceled),
	} {
		r := record(t)
		s := serve(t, service(r.option(), connect.WithCallInterceptors(func(connect.CallFunc) connect.CallFunc {
			return func(context.Context, *connect.Call) error { return plain }
		})))
		if err := calls[pathUnary](testContext(t), s, "hello"); connect.CodeOf(err).String() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		wantAttributes(t, want, attributes(r.ended(t, "server", 1)[0]), map[string]string{"rpc.status_code": want})
	}
}

// TestNoServer has a client whose server does not answer.
func TestNoServer(t *testing.T) {
	r := record(t)
	s := serve(t, service())
	s.Close()
	if err := calls[pathUnary](testContext(t), s, "hello", r.option()); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Fatalf("got %v, want unavailable", err)
	}
	wantAttributes(t, "client", attributes(r.ended(t, "client", 1)[0]), map[string]string{"rpc.status_code": "unavailable", "error.type": "unavailable"})
}

// TestOldConventions has the old names with the standard opt-in.
func TestOldConventions(t *testing.T) {
	for value, old := range map[string]bool{"": false, "rpc": false, "http/dup": false, "rpc/dup": true, "http, rpc/dup ,rpc": true} {
		t.Run(value, func(t *testing.T) {
			t.Setenv("OTEL_SEMCONV_STABILITY_OPT_IN", value)
			r := record(t)
			both := r.option()
			s := serve(t, service(both))
			for _, options := range [][]connect.ClientOption{{both}, {both, connect.WithGRPC()}} {
				if err := calls[pathUnary](testContext(t), s, "not_found", options...); err == nil {
					t.Fatal("got no error, want one")
				}
			}
			spans := r.ended(t, "server", 2)
			if old {
				wantAttributes(t, "connect", attributes(spans[0]), map[string]string{"rpc.system": "connect_rpc", "rpc.service": "test.v1.S", "rpc.method": "test.v1.S/Unary", "rpc.connect_rpc.error_code": "not_found"})
				wantAttributes(t, "grpc", attributes(spans[1]), map[string]string{"rpc.system": "grpc", "rpc.grpc.status_code": "5", "rpc.status_code": "NOT_FOUND"})
			} else {
				wantAttributes(t, "grpc", attributes(spans[1]), map[string]string{"rpc.system": "", "rpc.service": "", "rpc.grpc.status_code": ""})
			}
			found := r.metrics(t)
			if len(found["rpc.server.call.duration s"]) != 2 {
				t.Errorf("got %v, want the new metrics", found)
			}
			for _, name := range []string{"rpc.server.duration ms", "rpc.client.duration ms", "rpc.server.request.size By", "rpc.client.requests_per_rpc {count}", "rpc.server.responses_per_rpc {count}"} {
				if there := len(found[name]) > 0; there != old {
					t.Errorf("%s: got %v, want it: %v", name, found[name], old)
				}
			}
			if old && found["rpc.server.duration ms"]["rpc.grpc.status_code=5 rpc.method=Unary rpc.service=test.v1.S rpc.system=grpc"] != 1 {
				t.Errorf("got %v, want a call with the old names", found["rpc.server.duration ms"])
			}
		})
	}
}

// TestCardinality calls from many connections with many headers: the metrics of the
// handler have one time series.
func TestCardinality(t *testing.T) {
	r := record(t)
	s := serve(t, service(r.option()))
	for range 20 {
		if err := calls[pathUnary](testContext(t), s, "hello"); err != nil {
			t.Fatal(err)
		}
		s.Client().CloseIdleConnections()
	}
	r.ended(t, "server", 20)
	for name, points := range r.metrics(t) {
		if len(points) != 1 {
			t.Errorf("got %s %v, want one time series", name, points)
		}
	}
}

func TestOptionsPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"WithTracerProvider":   func() { telemetry.WithTracerProvider(nil) },
		"WithMeterProvider":    func() { telemetry.WithMeterProvider(nil) },
		"WithPropagator":       func() { telemetry.WithPropagator(nil) },
		"WithFilter":           func() { telemetry.WithFilter(nil) },
		"WithTrustRemoteFunc":  func() { telemetry.WithTrustRemoteFunc(nil) },
		"WithSpanAttributes":   func() { telemetry.WithSpanAttributes(nil) },
		"WithMetricAttributes": func() { telemetry.WithMetricAttributes(nil) },
		"WithAttributeFilter":  func() { telemetry.WithAttributeFilter(nil) },
		"WithErrorCodes":       func() { telemetry.WithErrorCodes(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got, _ := recover().(string); !strings.HasPrefix(got, "telemetry: "+name+" needs ") {
					t.Errorf("got panic %q, want one that names the option", got)
				}
			}()
			f()
		})
	}
}
