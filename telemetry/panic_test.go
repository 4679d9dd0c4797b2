// SPDX-License-Identifier: Apache-2.0

// Functions of options that panic: no span stays open, and no call active.

package telemetry_test

import (
	"context"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/attribute"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/telemetry"
)

func TestFunctionsPanic(t *testing.T) {
	abort := func() { panic(http.ErrAbortHandler) }
	for name, option := range map[string]telemetry.Option{
		"WithTrustRemoteFunc": telemetry.WithTrustRemoteFunc(func(context.Context, *connect.Call) bool { abort(); return false }),
		"WithSpanAttributes":  telemetry.WithSpanAttributes(func(context.Context, *connect.Call) []attribute.KeyValue { abort(); return nil }),
		"WithErrorCodes":      telemetry.WithErrorCodes(func(connect.Spec, connect.Code) bool { abort(); return false }),
		"WithMetricAttributes": telemetry.WithMetricAttributes(func(context.Context, *connect.Call) []attribute.KeyValue {
			abort()
			return nil
		}),
		"WithAttributeFilter": telemetry.WithAttributeFilter(func(_ connect.Spec, kv attribute.KeyValue) bool {
			if kv.Key == "connect.request.messages" {
				abort()
			}
			return true
		}),
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t)
			s := serve(t, service(r.option(option)))
			if err := calls[pathUnary](testContext(t), s, "not_found"); err == nil {
				t.Error("got no error, want one of the panic")
			}
			s.Close()
			r.wantQuiet(t)
		})
	}
}
