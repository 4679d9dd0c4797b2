// SPDX-License-Identifier: Apache-2.0

// What others find out about this package's types without importing it.

package h2

// HeedsContext reports true: RoundTrip and the reading of a response's body return
// when the request's context ends, whatever the network does. Callers that ask need
// no goroutine of their own to be sure of it.
func (*Transport) HeedsContext() bool { return true }
