// SPDX-License-Identifier: Apache-2.0

// The instruments of metrics.

package telemetry

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// instruments are those of one side.
type instruments struct {
	active            metric.Int64UpDownCounter
	duration          metric.Float64Histogram
	request, response metric.Int64Histogram
	old               *oldInstruments // nil without the old conventions
}

// durations are the bounds of histograms. [OpenTelemetry semantic conventions 1.45.0, RPC
// metrics]
var durations = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// bytes are the bounds of histograms of sizes.
var bytes = []float64{0, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20}

// newInstruments makes the instruments of a side, "server" or "client".
func newInstruments(meter metric.Meter, side string, old bool) *instruments {
	direction := map[string]string{"server": "incoming", "client": "outgoing"}[side]
	n := &instruments{
		duration: histogram(meter, "rpc."+side+".call.duration", "s", "Duration of "+direction+" remote procedure calls", durations...),
		request:  sizes(meter, "connect."+side+".request.wire_size", "Size of a call's requests as they were sent, after compression"),
		response: sizes(meter, "connect."+side+".response.wire_size", "Size of a call's responses as they were sent, after compression"),
	}
	var err error
	if n.active, err = meter.Int64UpDownCounter("connect."+side+".active_calls", metric.WithUnit("{call}"),
		metric.WithDescription("Number of "+direction+" calls that have begun and not ended")); err != nil {
		otel.Handle(err)
		n.active = noop.Int64UpDownCounter{}
	}
	if old {
		n.old = newOldInstruments(meter, side)
	}
	return n
}

func histogram(meter metric.Meter, name, unit, description string, bounds ...float64) metric.Float64Histogram {
	options := []metric.Float64HistogramOption{metric.WithUnit(unit), metric.WithDescription(description)}
	if len(bounds) > 0 {
		options = append(options, metric.WithExplicitBucketBoundaries(bounds...))
	}
	h, err := meter.Float64Histogram(name, options...)
	if err != nil {
		otel.Handle(err)
		return noop.Float64Histogram{}
	}
	return h
}

func sizes(meter metric.Meter, name, description string) metric.Int64Histogram {
	h, err := meter.Int64Histogram(name, metric.WithUnit("By"), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(bytes...))
	if err != nil {
		otel.Handle(err)
		return noop.Int64Histogram{}
	}
	return h
}
