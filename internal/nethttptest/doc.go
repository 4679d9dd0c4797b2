// SPDX-License-Identifier: Apache-2.0

// Package nethttptest runs the tests of Go's own net/http in their HTTP/2 modes on
// the HTTP/2 engine: as server, as client, and as both. The tests come from the
// installed Go, and nothing of them is kept here: the engine is laid into net/http as
// an internal package, and the helper that sets up servers and clients for the tests
// is changed to configure them with it, both by an overlay of the go command. The
// same tests with Go's own HTTP/2 are the measure of what must run and pass.
//
// What does not apply is listed in exclusions_test.go, each with its reason.
package nethttptest
