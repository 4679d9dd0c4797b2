// SPDX-License-Identifier: Apache-2.0

// The conventions of version 1.37.0, for programs that still need their names.

package telemetry

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/seed-b7c59c10/connect"
)

// oldNames returns the attributes that the new conventions have replaced, but rpc.method:
// spans have it with its new value.
func oldNames(k key) []attribute.KeyValue {
	name := system(k.protocol)
	if name == "connectrpc" {
		name = "connect_rpc"
	}
	service, _, _ := strings.Cut(method(k.spec.procedure), "/")
	return []attribute.KeyValue{attribute.String("rpc.system", name), attribute.String("rpc.service", service)}
}

// oldMethod returns rpc.method without the service.
func oldMethod(k key) []attribute.KeyValue {
	_, name, _ := strings.Cut(method(k.spec.procedure), "/")
	return []attribute.KeyValue{attribute.String("rpc.method", name)}
}

// grpcCodes are the numbers of gRPC's codes, by rpc.status_code.
var grpcCodes = func() map[string]int {
	numbers := map[string]int{"OK": 0}
	for code := connect.CodeCanceled; code <= connect.CodeUnauthenticated; code++ {
		numbers[statusCode(connect.ProtocolGRPC, code)] = int(code)
	}
	return numbers
}()

// oldCode returns the code of the call.
func oldCode(k key) []attribute.KeyValue {
	if k.code == "" {
		return nil
	}
	if system(k.protocol) != "grpc" {
		return []attribute.KeyValue{attribute.String("rpc.connect_rpc.error_code", k.code)}
	}
	return []attribute.KeyValue{attribute.Int("rpc.grpc.status_code", grpcCodes[k.code])}
}

// oldInstruments are those of one side.
type oldInstruments struct {
	duration                          metric.Float64Histogram
	requestSize, responseSize         metric.Int64Histogram
	requestsPerCall, responsesPerCall metric.Int64Histogram
}

func newOldInstruments(meter metric.Meter, side string) *oldInstruments {
	count := func(name, unit, description string) metric.Int64Histogram {
		h, err := meter.Int64Histogram("rpc."+side+"."+name, metric.WithUnit(unit), metric.WithDescription(description))
		if err != nil {
			otel.Handle(err)
			return noop.Int64Histogram{}
		}
		return h
	}
	return &oldInstruments{
		duration:         histogram(meter, "rpc."+side+".duration", "ms", "Duration of calls"),
		requestSize:      count("request.size", "By", "Mean size of a call's requests before compression"),
		responseSize:     count("response.size", "By", "Mean size of a call's responses before compression"),
		requestsPerCall:  count("requests_per_rpc", "{count}", "Number of a call's requests"),
		responsesPerCall: count("responses_per_rpc", "{count}", "Number of a call's responses"),
	}
}

func (n *oldInstruments) record(ctx context.Context, options []metric.RecordOption, took time.Duration, requests, responses connect.MessageStats) {
	n.duration.Record(ctx, float64(took)/float64(time.Millisecond), options...)
	if requests.Messages > 0 {
		n.requestSize.Record(ctx, requests.Bytes/requests.Messages, options...)
	}
	if responses.Messages > 0 {
		n.responseSize.Record(ctx, responses.Bytes/responses.Messages, options...)
	}
	n.requestsPerCall.Record(ctx, requests.Messages, options...)
	n.responsesPerCall.Record(ctx, responses.Messages, options...)
}
