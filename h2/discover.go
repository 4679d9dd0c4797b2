// SPDX-License-Identifier: Apache-2.0

// What others find out about this package's types without importing it.

package h2

import "net/http"

// HeedsContext reports that RoundTrip and the reading of a response's body return when
// the request's context ends, whatever the network does. Callers that ask need no
// goroutine of their own to be sure of it. A type may have this method because it
// embeds a Transport, and a RoundTrip of its own: so self is the transport as the
// caller found it, and if that is not t, the result is false.
func (t *Transport) HeedsContext(self http.RoundTripper) bool {
	return self == http.RoundTripper(t)
}
