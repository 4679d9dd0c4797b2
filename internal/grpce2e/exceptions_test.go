// SPDX-License-Identifier: Apache-2.0

// This file lists the tests that need not pass, each with its reason.

package grpce2e

// An exception is a test that passes with Go's HTTP/2 and not with the engine. It
// runs nonetheless. If it passes each time, TestEngine fails until the entry is removed.
type exception struct{ name, reason string }

// exceptions are the tests that fail because the engine differs on purpose. There is none.
var exceptions = []exception{}
