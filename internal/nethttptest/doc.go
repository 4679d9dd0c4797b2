// SPDX-License-Identifier: Apache-2.0

// Package nethttptest runs the tests of Go's own net/http in their HTTP/2 modes on
// the HTTP/2 engine: as server, also with an h2.Server that accepts, as client, and as
// both. The tests come from the installed Go, and this package has no copy of them. An
// overlay of the go command
// lays the engine into net/http as an internal package, and changes the tests' helper
// that sets up servers and clients so that it configures them with the engine. Each
// test that runs and passes with Go's own HTTP/2 must run and pass with the engine.
//
// exclusions_test.go lists the tests that do not apply, each with its reason.
package nethttptest
