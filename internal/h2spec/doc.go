// SPDX-License-Identifier: Apache-2.0

// Package h2spec runs the conformance suite h2spec against the HTTP/2 engine:
// every case of its three parts, in both modes, and none may be skipped. It is a
// module of its own because nothing else depends on h2spec.
package h2spec
