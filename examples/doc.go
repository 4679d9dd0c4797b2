// SPDX-License-Identifier: Apache-2.0

// Package examples has runnable examples of package connect: handlers and
// clients, streams, errors, interceptors, gates, metadata, codecs,
// compressions, HTTP GET, gRPC without TLS, and middleware. Each runs as it
// stands, in a program that imports both packages.
//
// The examples use handlers and clients without generated code, with messages
// from google.golang.org/protobuf/types/known. The directory quickstart below
// has a schema, the code generated from it, a server and a client.
package examples
