// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"strings"
	"testing"
)

// TestAddresses: an address without a port has that of the URL's scheme, and one to which
// no connection can go is refused.
func TestAddresses(t *testing.T) {
	for addr, want := range map[string][2]string{ // over http and https; empty: refused
		"10.0.0.1:8080":       {"10.0.0.1:8080", "10.0.0.1:8080"},
		"10.0.0.1":            {"10.0.0.1:80", "10.0.0.1:443"},
		"greet.example":       {"greet.example:80", "greet.example:443"},
		"greet.example:1":     {"greet.example:1", "greet.example:1"},
		"::1":                 {"[::1]:80", "[::1]:443"},
		"[::1]":               {"[::1]:80", "[::1]:443"},
		"[::1]:1":             {"[::1]:1", "[::1]:1"},
		"fe80::1%eth0":        {"[fe80::1%eth0]:80", "[fe80::1%eth0]:443"},
		"":                    {},
		":80":                 {},
		"greet.example:":      {},
		"greet.example:0":     {},
		"greet.example:http":  {},
		"greet.example:65536": {},
		"a:b:c":               {},
		"[greet.example]":     {},
		"http://greet":        {},
		"greet/path":          {},
	} {
		err := checkAddr(addr, false)
		if (err == nil) != (want[0] != "") || err != nil && !strings.Contains(err.Error(), "expected host:port") {
			t.Errorf("%q: got %v, want an error: %v", addr, err, want[0] == "")
		}
		if got := [2]string{dialAddr(addr, "http"), dialAddr(addr, "https")}; err == nil && got != want {
			t.Errorf("%q: got %q, want %q", addr, got, want)
		}
	}
}

// TestManyBadAddresses has a set with many bad addresses: their errors are side by side, so
// that the text is put together once.
func TestManyBadAddresses(t *testing.T) {
	const many = 1000
	clean, err := normalize(append(make([]Endpoint, many), Endpoint{Addr: "10.0.0.1:80"}), false)
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != many || len(clean) != 1 {
		t.Errorf("got %T and %d endpoints, want %d errors side by side and 1 endpoint", err, len(clean), many)
	}
}
