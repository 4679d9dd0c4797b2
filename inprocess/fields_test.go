// SPDX-License-Identifier: Apache-2.0

// Fields that a hostile peer has chosen, behind a handler or a caller that passes them on.

package inprocess

import (
	"net/http"
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

// Values of Cookie are joined once, in requests and in responses.
func TestManyCookies(t *testing.T) {
	values := strings.Split(strings.Repeat("a,", 1000)+"a\x00,b", ",")
	want := strings.Repeat("a; ", 1000) + "b"
	h := make(http.Header)
	n := testing.AllocsPerRun(1, func() {
		clear(h)
		new(response).add(h, "cookie", values)
	})
	if got := h["Cookie"]; len(got) != 1 || got[0] != want {
		t.Errorf("got %d values of Cookie, want one with all but that with a control character", len(got))
	}
	if n > 50 {
		t.Errorf("got %v allocations, want few", n)
	}
	put(h, "COOKIE", []string{"c"})
	if got := h["Cookie"]; len(got) != 1 || got[0] != want+"; c" {
		t.Errorf("got %d values of Cookie after another, want one", len(got))
	}
}
