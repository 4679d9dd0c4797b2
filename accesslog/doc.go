// SPDX-License-Identifier: Apache-2.0

// Package accesslog writes one line of [log/slog] for each call, when it has ended, on
// handlers and clients: who called what, how it ended, how long it took, how many messages
// and bytes it had.
//
//	log := accesslog.New(slog.Default())
//	mux.Handle(greetv1connect.NewGreetServiceHandler(server{}, connect.WithCallInterceptors(log)))
//
// # The line
//
//	side               "server" or "client"
//	procedure          "/greet.v1.GreetService/Greet"
//	kind               "unary", "client", "server" or "bidi"
//	protocol           "connect", "grpc" or "grpcweb"
//	codec              of the request's content type, such as "proto": on handlers, and not of a GET
//	method             "GET" for a GET
//	peer               the client's address without its port, or the server's host
//	identity           the SPIFFE ID or the first name in a verified certificate
//	code               "ok", or that of the error; "panic" for a call that panicked
//	error              the error's text, at most 1 KiB
//	duration           until the call had ended
//	requests           messages, size, wire_size: of all requests, before and after compression
//	responses          the same
//	phases             of slow calls: times since the begin of the call
//	request_header     those of [WithRequestHeaders]
//	response_header    those of [WithResponseHeaders]
//	request, response  the first message of each direction, with [WithMessages]
//
// Its level is Error for unknown, internal, data_loss and panics, Warn for
// deadline_exceeded, unavailable and resource_exhausted and for slow calls, and Info for others: see
// [WithLevel].
//
// # Secrets
//
// Headers and messages are in the line only if options ask for them. Values of
// Authorization, Cookie, Set-Cookie and Proxy-Authorization are "[redacted]" even then, and
// so are fields of messages with the option debug_redact in their schema. The texts of
// errors are those of the program, also with [connect.WithSafeErrors].
//
// # Order
//
// The interceptor belongs before those that refuse calls, and after the one of package
// telemetry: then its context has the span, from which [WithAttrs] may take the trace's ID.
package accesslog
