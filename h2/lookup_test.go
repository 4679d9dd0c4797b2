// SPDX-License-Identifier: Apache-2.0

// When a mux is asked, and when what it said last is good enough.

package h2

import (
	"net/http"
	"testing"
)

// TestLookUps adds patterns between the requests of a connection. They count for
// every request that arrives later, and may for one that has arrived.
func TestLookUps(t *testing.T) {
	mux := http.NewServeMux()
	handlers := make(map[http.Handler]string)
	handle := func(pattern string) {
		h := http.RedirectHandler(pattern, http.StatusFound)
		handlers[h] = pattern
		mux.Handle(pattern, h)
	}
	sc := &serverConn{conn: new(conn)}
	arrive := func(host, path string) *serverStream {
		return &serverStream{sc: sc, host: host, path: path, readsAtArrival: sc.reads.Add(1)}
	}
	want := func(s *serverStream, pattern string) {
		t.Helper()
		if got := handlers[sc.lookUps.find(mux, s)]; got != pattern {
			t.Errorf("%s%s: got the handler of %q, want that of %q", s.host, s.path, got, pattern)
		}
	}
	handle("/")
	first, second, third := arrive("a", "/x/y"), arrive("a", "/x/y"), arrive("b", "/x/y")
	want(first, "/")
	handle("/x/")
	want(second, "/")   // had arrived when the mux was asked
	want(third, "/x/")  // is for another host
	want(second, "/x/") // was not asked last
	want(arrive("a", "/x/y"), "/x/")
	handle("/x/y")
	want(arrive("a", "/x/y"), "/x/y")
	want(arrive("a", "/x/z"), "/x/")
	handle("b/x/y")
	want(arrive("a", "/x/y"), "/x/y")
	want(arrive("b", "/x/y"), "b/x/y")
}
