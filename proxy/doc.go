// SPDX-License-Identifier: Apache-2.0

// Package proxy forwards calls to another server.
//
// [New] forwards calls of any procedure without their schema, byte by byte: the
// server gets the call in the caller's protocol, codec and compression. It reads just
// enough of the protocols to end a call well that the server does not end.
//
// [NewTranslator] forwards the procedures of a schema in another protocol than the
// caller's: a browser calls with Connect and JSON, and the server gets gRPC. Calls in
// Protobuf are not decoded, so they keep all bytes of their messages.
//
// A call keeps its metadata, its deadline, its cancellation, and the code, text,
// details and metadata of its error. Memory is bounded: a side that does not read
// makes the other side wait, by the flow control of HTTP/2 or of TCP. Headers that
// describe a connection are not forwarded, X-Forwarded-For has the caller's
// address, with [New] also X-Forwarded-Host and -Proto, and Via counts proxies, so that calls do not go in
// circles.
//
// A proxy does not authenticate: put middleware around it, and let it forward only
// what callers may call. Middleware that adds headers for the server, such as the
// caller's name, removes Connection from the request: headers that a caller names
// there are not forwarded [RFC 9110, section 7.6.1]. With [New], [WithRewrite] adds
// headers behind that.
package proxy
