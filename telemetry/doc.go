// SPDX-License-Identifier: Apache-2.0

// Package telemetry makes OpenTelemetry traces and metrics of calls, on handlers and
// clients, for all kinds of procedures and all protocols. [New] returns a call
// interceptor:
//
//	observed := connect.WithCallInterceptors(telemetry.New())
//	mux.Handle(greetv1connect.NewGreetServiceHandler(server{}, observed))
//	client := greetv1connect.NewGreetServiceClient(httpClient, url, observed)
//
// Providers and the propagator are OpenTelemetry's global ones, unless options set others.
// The global propagator does nothing until the program sets one:
//
//	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
//
// # Conventions
//
// Names are those of OpenTelemetry's semantic conventions for RPC, version 1.45.0, the
// first stable one. With OTEL_SEMCONV_STABILITY_OPT_IN=rpc/dup in the environment, the
// metrics and attributes of version 1.37.0 are there as well; "rpc" alone changes nothing,
// as new instrumentations begin with the new names.
//
//	span, both sides            rpc.system.name, rpc.method, rpc.status_code, error.type
//	span of a client            server.address, server.port
//	span of a handler           network.peer.address, network.peer.port
//	rpc.client.call.duration    s: rpc.system.name, rpc.method, rpc.status_code, error.type, server.address, server.port
//	rpc.server.call.duration    s: rpc.system.name, rpc.method, rpc.status_code, error.type
//
// rpc.system.name is "connectrpc" for the Connect protocol, "grpc" for gRPC and gRPC-Web.
// rpc.status_code is a code of the protocol: "invalid_argument" in Connect, which has none
// for success, and "INVALID_ARGUMENT" or "OK" in gRPC. On a client all codes but OK are
// errors; on a handler unknown, deadline_exceeded, unimplemented, internal, unavailable
// and data_loss are: see [WithErrorCodes]. A span of a call that panics has the error.type
// "panic". A GET that is answered with 304 is no error.
//
// The conventions have no names for what follows, which is this package's own:
//
//	connect.server.active_calls, connect.client.active_calls                          calls that have begun and not ended
//	connect.server.request.wire_size, connect.server.response.wire_size, …client…     By, of a call: messages as they were sent, compressed
//	span                                                                              connect.stream_type, and of requests and responses:
//	                                                                                  connect.request.messages, .size, .wire_size
//
// Metrics have no attribute that a peer chooses: no address or port of a client, no header,
// no unknown procedure, as calls of these do not reach interceptors.
//
// # Traces
//
// A client's span is a child of the span in the context, and its context is sent with the
// call. By default a handler trusts no caller: its span begins a new trace, with a link to
// the caller's span, and baggage is left out. [WithTrustRemote] makes it a child instead.
// If the context already has a span of this process, such as that of HTTP middleware, the
// span is its child. With [WithStreamLinks] the span of a stream is linked in any case.
//
// A malformed traceparent is ignored: the handler's span begins a new trace. The span of a
// stream ends when the call does: at its end or error, when a client closes it, and when
// its context ends, whether or not the program reads it.
//
// # Compared with connectrpc.com/otelconnect
//
// The package has what otelconnect has, and answers these threads:
//
//   - otelconnect-go #213, #48 and #37: metrics of handlers do not have the client's address
//     and port.
//   - otelconnect-go #92: sizes are attributes of the span; events for messages are made
//     with [WithMessageEvents] only, at most 100 for each direction.
//   - otelconnect-go #215, #129, #206 and #168: the current conventions, and both with the
//     standard opt-in.
//   - semantic-conventions #3703 and js-sdk-contrib #1522: streams without end do not fill
//     one trace, with [WithStreamLinks]; active calls are a metric, so they show while they
//     last.
//
// Sizes are those of the bytes in HTTP, not of the messages encoded again.
package telemetry
