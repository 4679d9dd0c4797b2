// SPDX-License-Identifier: Apache-2.0

// Attributes: those of spans, and the sets of metrics, which are kept.

package telemetry

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/seed-b7c59c10/connect"
)

// key is what the attributes of a metric depend on.
type key struct {
	spec     fields
	protocol string
	address  string // of a client's server; "" on handlers, and before the end
	ended    bool
	code     string
	failed   string // error.type
}

// fields are those of a connect.Spec that can be compared.
type fields struct {
	procedure string
	isClient  bool
}

// method returns rpc.method.
func method(procedure string) string { return strings.TrimPrefix(procedure, "/") }

// system returns rpc.system.name.
func system(protocol string) string {
	switch protocol {
	case connect.ProtocolConnect:
		return "connectrpc"
	case connect.ProtocolGRPC, connect.ProtocolGRPCWeb:
		return "grpc"
	}
	return protocol // of a conn of the program's own
}

// statusCode returns rpc.status_code, for success if code is 0.
func statusCode(protocol string, code connect.Code) string {
	if system(protocol) != "grpc" {
		if code == 0 {
			return ""
		}
		return code.String()
	}
	switch code {
	case 0:
		return "OK"
	case connect.CodeCanceled:
		return "CANCELLED"
	}
	return strings.ToUpper(code.String())
}

// address returns the host and the port of an address, 0 if it has none.
func address(s string) (string, int) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return strings.Trim(s, "[]"), 0
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return host, 0
	}
	return host, int(n)
}

// server appends server.address and server.port.
func server(a []attribute.KeyValue, s string) []attribute.KeyValue {
	host, port := address(s)
	if host == "" {
		return a
	}
	a = append(a, attribute.String("server.address", host))
	if port != 0 {
		a = append(a, attribute.Int("server.port", port))
	}
	return a
}

// startAttributes returns the attributes of a span that samplers see.
func (i *interceptor) startAttributes(k key, spec connect.Spec, peer connect.Peer) []attribute.KeyValue {
	a := make([]attribute.KeyValue, 0, 8)
	a = append(a, attribute.String("rpc.system.name", system(k.protocol)), attribute.String("rpc.method", method(k.spec.procedure)),
		attribute.String("connect.stream_type", spec.StreamType.String()))
	if spec.IsClient {
		a = server(a, peer.Addr)
	} else if at, err := netip.ParseAddrPort(peer.Addr); err == nil {
		a = append(a, attribute.String("network.peer.address", at.Addr().String()), attribute.Int("network.peer.port", int(at.Port())))
	}
	if i.old {
		a = append(a, oldNames(k)...)
	}
	return i.kept(spec, a)
}

// endAttributes returns the attributes of a span that its end has.
func (i *interceptor) endAttributes(k key, spec connect.Spec, stats connect.CallStats, err error) []attribute.KeyValue {
	requests, responses := stats.Received, stats.Sent
	if spec.IsClient {
		requests, responses = stats.Sent, stats.Received
	}
	a := make([]attribute.KeyValue, 0, 9)
	a = append(a,
		attribute.Int64("connect.request.messages", requests.Messages),
		attribute.Int64("connect.request.size", requests.Bytes),
		attribute.Int64("connect.request.wire_size", requests.WireBytes),
		attribute.Int64("connect.response.messages", responses.Messages),
		attribute.Int64("connect.response.size", responses.Bytes),
		attribute.Int64("connect.response.wire_size", responses.WireBytes))
	a = outcome(a, k)
	if i.old {
		a = append(a, oldCode(k)...)
	}
	return a
}

// outcome appends rpc.status_code and error.type.
func outcome(a []attribute.KeyValue, k key) []attribute.KeyValue {
	if k.code != "" {
		a = append(a, attribute.String("rpc.status_code", k.code))
	}
	if k.failed != "" {
		a = append(a, attribute.String("error.type", k.failed))
	}
	return a
}

// kept returns the attributes that the filter keeps.
func (i *interceptor) kept(spec connect.Spec, a []attribute.KeyValue) []attribute.KeyValue {
	if i.keep == nil {
		return a
	}
	kept := make([]attribute.KeyValue, 0, len(a))
	for _, kv := range a {
		if i.keep(spec, kv) {
			kept = append(kept, kv)
		}
	}
	return kept
}

// maxSets is how many sets of attributes are kept. A program has fewer, unless its clients
// call thousands of servers.
const maxSets = 4096

// sets are the options of metrics, by their keys.
type sets struct {
	known sync.Map // key -> *measurement
	size  atomic.Int64
}

// measurement is a set of attributes as options.
type measurement struct {
	add    []metric.AddOption
	record []metric.RecordOption
	old    []metric.RecordOption // in the conventions of version 1.37.0
}

// measurement returns the options for a key.
func (i *interceptor) measurement(k key) *measurement {
	if m, ok := i.sets.known.Load(k); ok {
		return m.(*measurement)
	}
	m := i.measure(k, nil)
	if i.sets.size.Load() < maxSets {
		if _, before := i.sets.known.LoadOrStore(k, m); !before {
			i.sets.size.Add(1)
		}
	}
	return m
}

// measure makes the options for a key and the program's own attributes.
func (i *interceptor) measure(k key, more []attribute.KeyValue) *measurement {
	spec := connect.Spec{Procedure: k.spec.procedure, IsClient: k.spec.isClient}
	a := []attribute.KeyValue{attribute.String("rpc.system.name", system(k.protocol)), attribute.String("rpc.method", method(k.spec.procedure))}
	if k.ended {
		a = server(outcome(a, k), k.address)
	}
	set := metric.WithAttributeSet(attribute.NewSet(append(i.kept(spec, a), more...)...))
	m := &measurement{add: []metric.AddOption{set}, record: []metric.RecordOption{set}}
	if i.old && k.ended {
		old := append(oldNames(k), oldMethod(k)...)
		old = append(old, oldCode(k)...)
		if k.address != "" {
			old = server(old, k.address)
		}
		m.old = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(append(i.kept(spec, old), more...)...))}
	}
	return m
}
