// SPDX-License-Identifier: Apache-2.0

// Package grpce2e runs grpc-go's own end-to-end tests of its ServeHTTP mode with
// package h2 below it. It is a module of its own because it depends on
// grpc-go, whose version in go.mod selects the tests.
package grpce2e
