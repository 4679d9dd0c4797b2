// SPDX-License-Identifier: Apache-2.0

// Package natsrpc makes calls over NATS: the same generated clients and handlers, in all
// three protocols and all four kinds of calls, without a port, a load balancer or service
// discovery.
//
//	nc, err := nats.Connect(nats.DefaultURL) // addresses, authentication, TLS, reconnects
//	server, err := natsrpc.Serve(nc, mux, natsrpc.Services(greetv1connect.GreetServiceName))
//	defer server.Shutdown(ctx) // drains
//
//	client := greetv1connect.NewGreetServiceClient(natsrpc.NewClient(nc), "nats://rpc")
//
// The procedure /greet.v1.GreetService/Greet has the subject
// rpc.greet.v1.GreetService.Greet. Servers subscribe with a queue group, so that NATS gives
// each call to one of them, and permissions of NATS decide who may call which method. A
// unary call is two messages. [PROTOCOL.md] has the whole protocol.
//
// Everything that holds over HTTP/2 holds here: streams in both directions at the same
// time, deadlines, cancellation, header and trailers, early errors. Bodies larger than the
// payload limit of the NATS server pass in pieces.
//
// # What NATS does not promise
//
// NATS may lose messages, and drops those of a slow consumer. Frames have sequence numbers
// and windows, so that no loss stays unnoticed:
//
//   - a loss ends the call with the code unavailable, and nothing is repeated. Package retry
//     repeats what is safe to repeat.
//   - a reader that stalls stops its sender within a window: see [Window].
//   - without a server, a call fails with unavailable at once.
//   - a permission violation ends the calls on its subject with permission_denied.
//   - a peer that is gone is noticed by the next frame, or by a ping: see [KeepAlive].
//   - calls in flight end with unavailable when the connection to the NATS server is lost;
//     calls that begin after the reconnect succeed.
//
// A call never waits longer than its context, with one exception: while the network takes
// no bytes, nats.go holds whoever sends until its FlusherTimeout, one minute by default.
//
// # Handlers and clients of other kinds
//
// A [Transport] is an [net/http.RoundTripper] and [Serve] takes an [net/http.Handler], so what
// works with those works here: interceptors, packages retry, overload, health and
// reflection, and package proxy as a gateway between HTTP and the bus in either direction.
//
// # Events
//
// Beside calls, programs on NATS publish events. [Publish] sends a Protobuf message on a
// subject, [Subscribe] has a function called for each, and [Listen] returns them to a loop:
// at most once, as NATS has it. [Consume] takes them from a consumer of JetStream, with an
// acknowledgement after the function has returned: at least once.
//
// [PROTOCOL.md]: https://github.com/seed-b7c59c10/connect/blob/main/nats/PROTOCOL.md
package natsrpc
