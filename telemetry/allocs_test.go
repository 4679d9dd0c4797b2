// SPDX-License-Identifier: Apache-2.0

// What a recorded call costs in allocations. The race detector allocates, too.

//go:build !race

package telemetry_test

import (
	"net/http"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/inprocess"
	"github.com/seed-b7c59c10/connect/telemetry"
)

func TestAlloc(t *testing.T) {
	measure := func(options ...connect.HandlerOption) float64 {
		transport := &http.Client{Transport: inprocess.NewTransport(service(options...))}
		c := connect.NewClient[message, message](transport, "http://in.process"+pathUnary)
		request := connect.NewRequest(wrapperspb.String("a"))
		return testing.AllocsPerRun(2000, func() {
			if _, err := c.CallUnary(t.Context(), request); err != nil {
				t.Error(err)
			}
		})
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	without := measure()
	for name, c := range map[string]struct {
		option connect.HandlerOption
		more   float64
	}{
		"metrics":            {connect.WithCallInterceptors(telemetry.New(telemetry.WithMeterProvider(meters), telemetry.WithoutTracing(), telemetry.WithPropagator(w3c))), 15},
		"metrics and traces": {record(t).option(), 32},
	} {
		got := measure(c.option) - without
		t.Logf("%s: %v more allocations than %v", name, got, without)
		if got > c.more {
			t.Errorf("%s: got %v more allocations, want at most %v", name, got, c.more)
		}
	}
}
