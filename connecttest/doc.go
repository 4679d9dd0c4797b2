// SPDX-License-Identifier: Apache-2.0

// Package connecttest has what tests of handlers and of their callers need. Nothing in it
// uses the operating system's network, and all of it works inside testing/synctest, where
// timeouts take no time.
//
// There are three ways to test a handler, from the whole to the part:
//
//   - [NewServer] serves it over HTTP on connections in memory: HTTP/1.1, net/http's HTTP/2
//     or that of package h2. The test covers all that a network would carry.
//   - Package [github.com/seed-b7c59c10/connect/inprocess] calls it without connections. The
//     test covers encoding, options and interceptors.
//   - [NewConns] joins a handler's stream with a client's, message by message. With the
//     streams made of them, such as [NewBidiStream], a test calls a method of the service
//     as the function that it is. [NewRequest] makes a request that has arrived.
//
// The same streams test code that receives a stream from a generated client.
package connecttest
