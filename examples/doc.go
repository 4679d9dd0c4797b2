// SPDX-License-Identifier: Apache-2.0

// Package examples has runnable examples of package connect: handlers and
// clients, streams, errors, interceptors, gates, metadata, codecs,
// compressions, timeouts, HTTP GET, gRPC without TLS, middleware, messages that are known
// at run time, proxies, calls inside a process, and tests. Each runs as it stands, in a
// program that imports both packages.
//
// The examples use handlers and clients without generated code, with messages
// from google.golang.org/protobuf/types/known. The directories below have programs:
// quickstart a schema, the code generated from it, a server and a client; housework an
// application over mutual TLS; shop, a module of its own, a service with all that belongs
// to one; resilient replicas that fail while clients go on.
package examples
