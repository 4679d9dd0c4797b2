// SPDX-License-Identifier: Apache-2.0

// Package compat proves that this library can take the place of
// connectrpc.com/connect v1.21.1, "the reference". It holds tests only:
//
//   - api_test.go compares the exported names and their types.
//   - server_test.go sends the same HTTP requests to handlers of the reference, of
//     the root and of the drop-in, and compares the responses; client_test.go lets
//     clients of the three make the same calls, and compares the HTTP requests and
//     the callers' results for the same HTTP responses. steps_test.go makes calls step
//     by step, with client and handler of one library, and compares what programs see.
//     random_test.go does so with random programs, whose client and handler take
//     turns: those of the reference and of the drop-in have no difference at all.
//   - the differences files list every difference that is wanted, with its item
//     in the protocol checklist and its reason. A difference that is not
//     listed fails the test, and so does a listed one that does not occur. Each
//     one belongs to the root alone or to the drop-in, too. readme_test.go
//     compares them with the README's table, whose last column allows the drop-in
//     bounds against hostile input and speed.
//   - ecosystem_test.go runs published test suites on top of this library and of
//     the drop-in: the reference's own black-box tests, and those of modules which
//     use connectrpc.com/connect. differences_suites_test.go lists which tests
//     fail, where and why.
//   - generated_test.go compares the answers of generated code.
//   - both_test.go starts a program that links both.
//
// Package ours drives this library. Package theirs is the same source with the
// import path of the reference, written by copyside; genref writes the code that
// the reference generates for the schema of internal/conntest.
package compat

//go:generate go run ./copyside
//go:generate go run ./genref
