// SPDX-License-Identifier: Apache-2.0

// Package cors lets scripts of other origins call handlers from browsers, in the protocols
// that browsers speak: Connect and gRPC-Web.
//
//	handler := cors.Handler(mux, cors.Origins("https://app.example.com"))
//
// A browser asks before it sends a request of a script to another origin, by a preflight
// request with OPTIONS, and it withholds the response from the script unless the server's
// headers allow it [Fetch, section 3.2]. [Handler] answers with the library github.com/rs/cors
// and the headers of the protocols: see [AllowedHeaders] and [ExposedHeaders]. Browsers keep
// an answer for two hours at most, which is the default of [MaxAge]: in this time calls to a
// procedure have one round trip.
//
// Headers and trailers of the program's own must be named: a script sends those of
// [RequestHeaders], and reads those of [ResponseHeaders] and [Trailers]. A script with cookies
// needs [Credentials].
//
// # What it does not do
//
// CORS is no access control: it restricts scripts in browsers and nothing else. A request of
// another origin without a preflight reaches the handler, and its response is withheld: for
// procedures without side effects that is a GET, and handlers refuse the content types with
// which forms post. A call without a header Origin, from anything but a browser, is passed on
// as it is, on the direct path of package h2, too.
//
// # Bad input
//
//   - Origins are compared byte by byte, as browsers write them: in lower case, with a port
//     unless it is the scheme's own. "https://app.example.com.evil.example",
//     "https://evilapp.example.com", "https://app.example.com:8443", "http://app.example.com"
//     and "HTTPS://APP.EXAMPLE.COM" are other origins, and so is "null", which is that of
//     sandboxed frames and files.
//   - The origins of a program that make no sense panic when the handler is made: a path, a
//     default port or an impossible one, "*" within a name, "null"; "*" with credentials; and
//     no origin at all, which in other libraries allows every one.
//   - A preflight that asks for what is not allowed gets 204 without headers, and the
//     browser refuses the call. So does one with more than one header Origin. The work for
//     a preflight is bounded by the names that are allowed, however long its list is.
//
// # Compared with connectrpc.com/cors
//
// connectrpc.com/cors has three lists of names, for the options of another library:
// [AllowedMethods], [AllowedHeaders] and [ExposedHeaders] are here, too, with the same
// names in them and more. Handler is beyond that. Its tracker has no open complaint; these
// threads asked for what is here:
//
//   - connect-go #530 and conformance #135: trailers of unary calls in Connect's protocol are
//     headers whose names begin with "Trailer-". [Trailers] exposes these, and the plain
//     names for errors of gRPC-Web.
//   - grpc-web #962: metadata of an error without messages comes in headers, which a list of
//     headers alone does not expose.
//   - rs/cors #184: gateways split lists of headers.
//
// [Fetch, section 3.2]: https://fetch.spec.whatwg.org/#http-cors-protocol
package cors
