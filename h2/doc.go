// SPDX-License-Identifier: Apache-2.0

// Package h2 is an HTTP/2 engine for the handlers and clients of net/http
// [RFC 9113]. It serves any [http.Handler] and carries the requests of any
// [http.Client], and is made for many short calls on few connections, which is
// what RPC does.
//
// One line puts it in the place of net/http's own HTTP/2:
//
//	h2.ConfigureServer(server, nil)       // an *http.Server: TLS and cleartext
//	h2.ConfigureTransport(transport, nil) // an *http.Transport
//
// A server with many idle connections may use [NewServer] instead of [ConfigureServer]:
// it accepts connections itself, and each then needs half the memory. A client that
// speaks nothing but HTTP/2 may use [NewTransport] instead of [ConfigureTransport]: it
// opens and shares connections for RPC. HTTP/1.1 stays with net/http, and a program
// without these lines is not changed.
//
// # What is faster
//
// On sockets a goroutine writes its frames itself, together with those of other
// goroutines that wait to be written; no goroutine is woken for it. A short
// response leaves in one write: head, body and trailers. Header names and values
// that calls repeat are decoded once. Handlers that have proved quick run on the
// goroutine that reads. A connection that waits holds no large buffers.
//
// # What is stricter
//
// A server bounds what a client can make it do: streams that are reset at once,
// frames that cost the client nothing, answers that it does not read, and time.
// [ServerConfig] and [ConfigureServer] have the numbers. A client sends a request
// again only if the server did not process it, and asks connections that went
// silent whether they are alive; see [TransportConfig].
//
// Errors of the protocol are [StreamError] and [ConnError], with an [ErrCode].
//
// Libraries can pass calls to the engine without net/http's types; DESIGN.md beside the
// source describes how.
package h2
