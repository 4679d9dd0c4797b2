// SPDX-License-Identifier: Apache-2.0

// Package server runs a handler as a whole server: on TCP, TLS, Unix sockets and sockets of
// systemd, with HTTP/1.1 and HTTP/2 on each, safe timeouts, certificates that are read again
// when their files change, and an end that loses no call.
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	err := server.Run(ctx, mux,
//		server.Listen("localhost:8080"),
//		server.Listen("unix:/run/greet/greet.sock", server.Mode(0o660), server.Group("www-data")),
//		server.Listen(":8443", server.TLSFiles("cert.pem", "key.pem")))
//
// It is net/http's [http.Server], the engine of package h2 and the steps of package drain,
// put together: programs that need something else use those.
//
// # Times
//
// A peer has ten seconds for the headers of a request, and as long for its first request
// with HTTP/2, which includes the TLS handshake. A connection without calls ends after five
// minutes. There is no limit for whole bodies, because it would cut streams: bound calls
// with connect.WithMaxTimeout. [HTTP] and [Engine] change all of this.
//
// # The end
//
// When the context of [Server.Run] ends, the functions of [OnDrain] run, the server serves
// as before for the time of [Delay], and then lets calls end for the time of [Grace].
// Handlers of streams learn of it by drain.Signal. To let a second signal kill the program,
// call stop as soon as the context ends: context.AfterFunc(ctx, stop).
//
// # Bad input
//
//   - An address that is no address, or in use: Open and Run fail, before any listener
//     serves. The error names the address.
//   - A file where a Unix socket should be: a regular file, a symbolic link and a socket on
//     which a process listens are errors and stay as they are. A socket on which nothing
//     listens is replaced.
//   - Certificates that cannot be used when the server starts: Open and Run fail. Later: the
//     server keeps the last good ones and reports the error, see [Certificates].
//   - Invalid values of systemd's environment: Open and Run fail.
//   - Peers that are slow, silent or hostile: package h2 describes its bounds.
package server
