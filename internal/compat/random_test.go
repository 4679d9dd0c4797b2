// SPDX-License-Identifier: Apache-2.0

// This file runs random programs with the reference and with the drop-in, and compares
// what their clients and handlers see.

package compat

import (
	"flag"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/ours"
	"github.com/seed-b7c59c10/connect/internal/compat/theirs"
)

var (
	randomSeeds = flag.Uint64("random.seeds", 500, "how many random programs TestRandom runs over each HTTP version")
	randomFirst = flag.Uint64("random.first", 1, "the seed of the first one")
	randomMost  = flag.Int("random.most", 30, "how many operations a program has at most, before its end; fewer make a failing one shorter")
)

// TestRandom runs random programs. They have no differences that are wanted: what ADR 10
// leaves as it is here is not drawn.
func TestRandom(t *testing.T) {
	for _, http1 := range []bool{true, false} {
		t.Run(map[bool]string{true: "HTTP/1.1", false: "HTTP/2"}[http1], func(t *testing.T) {
			serve := servingMany(t, http1)
			called := uint64(0)
			for seed, failed := *randomFirst, 0; seed < *randomFirst+*randomSeeds && failed < 10; seed++ {
				want := theirs.Random(seed, http1, *randomMost, serve).Lines
				got := ours.Random(seed, http1, *randomMost, serve, connect.WithConnectGoBehavior()).Lines
				if slices.ContainsFunc(want, func(line string) bool { return strings.HasPrefix(line, "handler: return") }) {
					called++
				}
				if lines := diff(want, got); len(lines) > 0 || stuck(want) {
					failed++
					t.Errorf("seed %d (- theirs, + ours): got\n\t%s\nwant none, in the program, as theirs runs it:\n\t%s",
						seed, strings.Join(lines, "\n\t"), strings.Join(want, "\n\t"))
				}
			}
			if *randomSeeds >= 100 && called < *randomSeeds/2 && !t.Failed() {
				t.Errorf("got %d of %d programs whose handler was called, want half of them at least", called, *randomSeeds)
			}
		})
	}
}

// stuck reports whether a program has waited too long. If only one library's does, that is
// a difference.
func stuck(lines []string) bool {
	return len(lines) > 0 && strings.HasPrefix(lines[len(lines)-1], ours.Stuck)
}

// servingMany returns a function as serving does, whose servers are one: a program has
// ended before the next one begins. Each has connections of its own.
func servingMany(t *testing.T, http1 bool) func(http.Handler) (*http.Client, string) {
	var current atomic.Pointer[http.Handler]
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*current.Load()).ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // some handlers panic
	protocols := new(http.Protocols)
	protocols.SetHTTP1(http1)
	protocols.SetUnencryptedHTTP2(!http1)
	server.Config.Protocols = protocols
	server.Start()
	t.Cleanup(server.Close)
	last := new(http.Transport)
	t.Cleanup(func() { last.CloseIdleConnections() })
	return func(handler http.Handler) (*http.Client, string) {
		last.CloseIdleConnections()
		current.Store(&handler)
		last = &http.Transport{Protocols: protocols}
		return &http.Client{Transport: last}, server.URL
	}
}
