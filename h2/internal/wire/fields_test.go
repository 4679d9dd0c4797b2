// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
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

// TestCanonicalKeepsLittle sends many names, some of them as long as a section may be: a
// connection keeps little of them.
func TestCanonicalKeepsLittle(t *testing.T) {
	f := FieldSection{Limit: 64 << 10}
	for i := range 1000 {
		name := strings.Repeat("x", i*60) + "-" + strconv.Itoa(i)
		if got, want := f.canonical(name), http.CanonicalHeaderKey(name); got != want {
			t.Fatalf("got %.20q, want %.20q", got, want)
		}
	}
	kept := 0
	for name, key := range f.canon {
		kept += len(name) + len(key)
	}
	if kept > 32<<10 {
		t.Errorf("got %d bytes that are kept, want at most 32 KiB", kept)
	}
}

// TestSectionKeepsLittle takes a section with many fields, as a client's limit allows them:
// the next one does not keep its memory.
func TestSectionKeepsLittle(t *testing.T) {
	f := FieldSection{Limit: 10 << 20}
	f.Begin(false)
	for range 100_000 {
		f.add(hpack.HeaderField{Name: "x"})
	}
	if len(f.Fields) != 100_000 {
		t.Fatalf("got %d fields, want all", len(f.Fields))
	}
	f.Begin(false)
	f.add(hpack.HeaderField{Name: "x"})
	if n := cap(f.Fields); n > fieldsKept {
		t.Errorf("got memory for %d fields, want at most %d", n, fieldsKept)
	}
}
