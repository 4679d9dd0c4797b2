// SPDX-License-Identifier: Apache-2.0

// Fields read from pairs as from a header.

package connect

import (
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ownKeys are the keys that the package itself looks for.
var ownKeys = []string{
	headerAcceptEncoding, headerConnection, headerContentEncoding, headerContentLength, headerContentType,
	headerHost, headerTE, headerTrailer, headerUserAgent, headerVary, headerXUserAgent, headerConnectAccept,
	headerConnectEncoding, headerConnectTimeout, headerConnectVersion, headerGRPCAccept, headerGRPCDetails,
	headerGRPCEncoding, headerGRPCMessage, headerGRPCStatus, headerGRPCTimeout,
}

// TestIsNamed compares with the canonical form of names, of which many are nearly
// those of the keys.
func TestIsNamed(t *testing.T) {
	for _, key := range ownKeys {
		if canonical := http.CanonicalHeaderKey(key); canonical != key {
			t.Errorf("got key %q, want the canonical %q", key, canonical)
		}
		if !isNamed(strings.ToLower(key), key) {
			t.Errorf("%q: got false for its own name", key)
		}
	}
	randomly(t, 2000, func(t *testing.T, r *rand.Rand) {
		name := []byte(strings.ToLower(ownKeys[r.IntN(len(ownKeys))]))
		switch i := r.IntN(len(name)); r.IntN(5) {
		case 0:
			name = name[:i]
		case 1:
			name = append(name, name[i])
		case 2:
			name[i] ^= 1 << r.IntN(7)
		case 3:
			name[i] = byte(r.IntN(256))
		}
		lower := strings.ToLower(string(name))
		for _, key := range ownKeys {
			if got, want := isNamed(lower, key), http.CanonicalHeaderKey(lower) == key; got != want {
				t.Errorf("name %q, key %q: got %t, want %t", lower, key, got, want)
			}
		}
	})
}

// TestFields compares fields that are pairs with fields that are a header, before
// and after the header is made.
func TestFields(t *testing.T) {
	randomly(t, 500, func(t *testing.T, r *rand.Rand) {
		var pairs [][2]string
		h := make(http.Header)
		for range r.IntN(12) {
			key := ownKeys[r.IntN(len(ownKeys))]
			if r.IntN(3) == 0 {
				key = "X-Other"
			}
			value := randomValue(r)
			pairs = append(pairs, [2]string{strings.ToLower(key), value})
			h[key] = append(h[key], value)
		}
		before := slices.Clone(pairs)
		got, want := fields{pairs: pairs}, fields{header: h}
		for range 2 {
			for _, key := range append(ownKeys, "X-Other") {
				if values := got.values(key); !slices.Equal(values, want.values(key)) || (values == nil) != (want.values(key) == nil) {
					t.Errorf("%s: got %q, want %q", key, values, want.values(key))
				} else if values != nil {
					_ = append(values, "x") // must not reach the pairs
				}
				if first := got.first(key); first != want.first(key) {
					t.Errorf("%s: got %q first, want %q", key, first, want.first(key))
				}
			}
			if diff := cmp.Diff(got.all(), h); diff != "" && len(h) > 0 {
				t.Errorf("all (-got +want):\n%s", diff)
			}
			if !slices.Equal(pairs, before) {
				t.Errorf("got pairs %q, want them as they were: %q", pairs, before)
			}
		}
	})
}

// TestNoFields: no header is made of nothing.
func TestNoFields(t *testing.T) {
	var f fields
	if h := f.all(); h != nil {
		t.Errorf("got %#v, want nil", h)
	}
	if values, first := f.values("X"), f.first("X"); values != nil || first != "" {
		t.Errorf("got %q and %q, want nothing", values, first)
	}
	var m metadata
	if h := m.made(); h != nil {
		t.Errorf("got %#v, want nil", h)
	}
	if h := m.header(); h == nil || len(h) != 0 {
		t.Errorf("got %#v, want an empty header", h)
	}
	if h := m.made(); h == nil {
		t.Error("got nil, want the header that was asked for")
	}
}

// TestLazyHeader makes the header from many goroutines, and adds fields. All
// goroutines get the same header.
func TestLazyHeader(t *testing.T) {
	host := [1]string{"a.test"}
	for name, c := range map[string]struct {
		lazy      *lazyHeader
		made, end http.Header
	}{
		"nothing": {new(lazyHeader), http.Header{}, http.Header{"Y": {"3"}}},
		"pairs":   {&lazyHeader{from: fields{pairs: [][2]string{{"x", "1"}, {"y", "2"}}}}, http.Header{"X": {"1"}, "Y": {"2"}}, http.Header{"X": {"1"}, "Y": {"2", "3"}}},
		"header":  {&lazyHeader{from: fields{header: http.Header{"X": {"1"}}}}, http.Header{"X": {"1"}}, http.Header{"X": {"1"}, "Y": {"3"}}},
		"host":    {&lazyHeader{host: &host}, http.Header{"Host": {"a.test"}}, http.Header{"Host": {"a.test"}, "Y": {"3"}}},
	} {
		for _, asked := range []bool{true, false} {
			l := &lazyHeader{from: c.lazy.from, host: c.lazy.host}
			l.from.header = l.from.header.Clone()
			m := metadata{lazy: l}
			headers := make(chan http.Header, 8)
			if asked {
				for range cap(headers) {
					go func() { headers <- m.header() }()
				}
				for range cap(headers) {
					h := <-headers
					if diff := cmp.Diff(h, c.made); diff != "" {
						t.Errorf("%s: header (-got +want):\n%s", name, diff)
					}
					if reflect.ValueOf(h).Pointer() != reflect.ValueOf(m.made()).Pointer() {
						t.Errorf("%s: got several headers, want one for all", name)
					}
				}
			}
			l.add(fields{pairs: [][2]string{{"y", "3"}}})
			if diff := cmp.Diff(m.header(), c.end); diff != "" {
				t.Errorf("%s, asked before %t: after adding (-got +want):\n%s", name, asked, diff)
			}
			other := http.Header{"Z": {"4"}}
			l.replace(other)
			if diff := cmp.Diff(m.header(), other); diff != "" {
				t.Errorf("%s: after replacing (-got +want):\n%s", name, diff)
			}
		}
	}
}

// TestHeaderOf makes a header of pairs. What is appended to one of its values does
// not reach another.
func TestHeaderOf(t *testing.T) {
	got := headerOf([][2]string{
		{"a", "1"}, {"cookie", "a=b"}, {"x-data-bin", "AA"}, {"a", "2"}, {"cookie", "c=d"}, {"b", ""}, {"cookie", "e"}, {"a", "3"},
		{"set-cookie", "x"}, {"set-cookie", "y"}, {"x_y~z", "4"},
	})
	want := http.Header{
		"A": {"1", "2", "3"}, "Cookie": {"a=b; c=d; e"}, "X-Data-Bin": {"AA"}, "B": {""}, "Set-Cookie": {"x", "y"}, "X_y~z": {"4"},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Fatalf("header (-got +want):\n%s", diff)
	}
	for key := range got {
		got.Add(key, "more")
	}
	for key := range want {
		want.Add(key, "more")
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("after adding (-got +want):\n%s", diff)
	}
	cookies := make([][2]string, 1000)
	for i := range cookies {
		cookies[i] = [2]string{"cookie", "a"}
	}
	if n := testing.AllocsPerRun(1, func() { headerOf(cookies) }); n > 50 {
		t.Errorf("got %v allocations for %d cookies, want them joined once", n, len(cookies))
	}
	if h := headerOf(nil); h == nil || len(h) != 0 {
		t.Errorf("got %#v of nothing, want an empty header", h)
	}
}
