// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"strings"
	"testing"
)

// TestHeaderOfCookies joins many values of Cookie with few allocations: a peer sends each
// with one byte.
func TestHeaderOfCookies(t *testing.T) {
	fields := [][2]string{{"a", "1"}}
	for range 1000 {
		fields = append(fields, [2]string{"cookie", "a"})
	}
	var h http.Header
	if n := testing.AllocsPerRun(1, func() { h = HeaderOf(fields, http.CanonicalHeaderKey) }); n > 50 {
		t.Errorf("got %v allocations, want them joined once", n)
	}
	if got, want := h["Cookie"], strings.TrimSuffix(strings.Repeat("a; ", 1000), "; "); len(got) != 1 || got[0] != want {
		t.Errorf("got %d values of Cookie, want one with all", len(got))
	}
	if got := h["A"]; len(got) != 1 || got[0] != "1" {
		t.Errorf("got %q, want one value of the other field", got)
	}
}
