// SPDX-License-Identifier: Apache-2.0

// Methods with which other packages find out about a Transport without importing h2.

package h2

import "net/http"

// HeedsContext reports whether RoundTrip, and reading a response's body, return as soon
// as the request's context ends, whatever the network does; for a Transport they do. A
// caller that asks needs no goroutine of its own to make sure. A type that embeds a
// Transport has this method by promotion, and maybe a RoundTrip of its own: so self is
// the transport as the caller found it, and the result is false if that is not t.
func (t *Transport) HeedsContext(self http.RoundTripper) bool {
	return self == http.RoundTripper(t)
}
