// SPDX-License-Identifier: Apache-2.0

// Package grpce2e runs grpc-go's own end-to-end tests of its ServeHTTP mode with
// package h2 below it. It is a module of its own because grpc-go is only needed
// here; its version in go.mod says which tests these are.
package grpce2e
