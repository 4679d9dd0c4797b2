// SPDX-License-Identifier: Apache-2.0

// Fields that a hostile peer has chosen, behind a handler or a caller that passes them on.

package inprocess

import (
	"strconv"
	"strings"
	"testing"
)

// A peer may list as many trailers as fit into a header. The work is not the square of that:
// then this test would take minutes.
func TestAnnounced(t *testing.T) {
	var all strings.Builder
	const n = 1 << 18
	for i := range n {
		all.WriteString(strconv.Itoa(i) + ", ")
	}
	got := announced([]string{all.String(), "x-a, X-A,, content-length,Trailer", "transfer-encoding"})
	if _, ok := got["X-A"]; !ok || len(got) != n+1 {
		t.Errorf("got %d keys, X-A is %v, want it and %d others", len(got), ok, n)
	}
	if got := announced([]string{"", "Trailer"}); got != nil {
		t.Errorf("got %v, want nothing", got)
	}
}
