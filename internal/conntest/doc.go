// SPDX-License-Identifier: Apache-2.0

// Package conntest tests the library from outside: the same calls in every
// mode, which is a protocol, a codec, a way to carry calls, such as a version of
// HTTP, and a compression.
package conntest
