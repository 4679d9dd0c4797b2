// SPDX-License-Identifier: Apache-2.0

// This file lists the tests that need not pass, each with its reason.

package grpce2e

// An exception is a test that passes with Go's HTTP/2 and not with the engine. It is
// run nonetheless, and one that passes each time is an error: then its entry goes.
type exception struct{ name, reason string }

// exceptions are what the engine does otherwise on purpose. There is nothing.
var exceptions = []exception{}
