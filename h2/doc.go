// SPDX-License-Identifier: Apache-2.0

// Package h2 is an HTTP/2 engine for the handlers and clients of net/http. It
// serves any [http.Handler] and carries the requests of any [http.Client], and is
// made for many short calls on few connections, which is what RPC is.
//
// One line puts it in the place of net/http's own HTTP/2:
//
//	h2.ConfigureServer(server, nil)       // an *http.Server: TLS and cleartext
//	h2.ConfigureTransport(transport, nil) // an *http.Transport
//
// or, for clients, [NewTransport] makes a transport of its own that manages
// connections for RPC. Nothing else changes: HTTP/1.1 stays with net/http, and
// without the line everything does.
//
// Where it is faster: frames of many streams leave in one write, a response of
// head, body and trailers too; no goroutine is woken to write; fields and their
// names are shared instead of copied. Where it is stricter: see [ServerConfig]
// for the bounds on what a peer can make a server do.
//
// # Without the types of net/http
//
// A library that knows of this package, as package connect of this module does, can
// spare a call its [http.Request], [http.Response] and headers. A client's side is
// [Transport.PrepareDirect]. The bodies of its responses have, beside Read and Close,
//
//	DirectHead() (status int, fields [][2]string, length int64) // negative: not known
//	DirectTrailer() [][2]string                                 // after Read returned io.EOF
//
// A server's side is a method of the [http.Handler] that the server has, or that its
// [http.ServeMux] has for the request:
//
//	ServeDirect(self http.Handler, path string, w http.ResponseWriter) bool
//
// It serves a POST to path as ServeHTTP would, or reports false and does nothing;
// false is the answer if self is not the handler itself. A router may implement it
// for what it routes. Beside what every ResponseWriter of this package has, w has
//
//	DirectRequest() (ctx context.Context, fields [][2]string, body io.Reader, length int64, host, remoteAddr string)
//	DirectField(name, value string)
//	DirectTrailer(name, value string)
//
// Every ResponseWriter of this package, direct call or not, has beside what net/http's
// have
//
//	MaxHeaderListSize() int // of a field section that the client takes; 0: no limit is known
//
// A response whose header or trailers are larger is reset, and logged.
//
// Requests with a query, an escaped path, Expect or announced trailers go to
// ServeHTTP, and so does everything behind middleware.
package h2
