// SPDX-License-Identifier: Apache-2.0

// The server under test: an http.Server on the engine and the memory network,
// which counts its handlers.

package h2_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
)

// A testServer serves a handler until its test ends. All its goroutines are gone
// then, or the bubble that it runs in complains.
type testServer struct {
	*http.Server
	network *memoryNetwork
	served  chan error

	started atomic.Int64 // handlers, in all
	running atomic.Int64 // handlers, now
	peak    atomic.Int64 // the highest that running was
}

// startServer serves cleartext HTTP/2 on the engine.
func startServer(t testing.TB, handler http.HandlerFunc, configure ...func(*http.Server, *h2.ServerConfig)) *testServer {
	t.Helper()
	s := &testServer{network: newMemoryNetwork(), served: make(chan error, 1)}
	s.Server = &http.Server{
		Handler:   s.counted(handler),
		Protocols: new(http.Protocols),
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	s.Protocols.SetUnencryptedHTTP2(true)
	config := new(h2.ServerConfig)
	for _, f := range configure {
		f(s.Server, config)
	}
	if err := h2.ConfigureServer(s.Server, config); err != nil {
		t.Fatal(err)
	}
	go func() { s.served <- s.Serve(s.network) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the server: %v", err)
		}
		if err := <-s.served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("got %v from Serve, want http.ErrServerClosed", err)
		}
	})
	return s
}

func (s *testServer) counted(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.started.Add(1)
		running := s.running.Add(1)
		defer s.running.Add(-1)
		for {
			peak := s.peak.Load()
			if running <= peak || s.peak.CompareAndSwap(peak, running) {
				break
			}
		}
		handler(w, r)
	}
}

// bubble runs a test with a clock that stands still while anything happens, and
// waits for all goroutines that it starts.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// ---- handlers ----

// answerOK reads the request to its end and answers "ok".
func answerOK(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err == nil {
		_, _ = io.WriteString(w, "ok")
	}
}

// untilGone answers nothing and ends when the peer gives the request up.
func untilGone(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// A gate holds handlers until it opens, at the latest when the test ends.
type gate struct {
	passes chan struct{}
	once   sync.Once
}

func newGate(t testing.TB) *gate {
	g := &gate{passes: make(chan struct{})}
	t.Cleanup(g.open)
	return g
}

// wait waits for the gate to open, or for a call of pass.
func (g *gate) wait() { <-g.passes }

// pass lets one through that waits.
func (g *gate) pass() { g.passes <- struct{}{} }

func (g *gate) open() { g.once.Do(func() { close(g.passes) }) }

// receive waits for a value that must come.
func receive[T any](t testing.TB, what string, from <-chan T) (value T) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case value = <-from:
	case <-late.C:
		t.Fatalf("got nothing, want %s", what)
	}
	return value
}

// ---- what is counted ----

// heap returns the bytes that are in use after a collection.
func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// allocated returns the bytes that the program has ever allocated.
func allocated() int64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.TotalAlloc)
}

// wantAtMost fails the test if a count exceeds its bound.
func wantAtMost(t testing.TB, what string, got, bound int64) {
	t.Helper()
	if got > bound {
		t.Errorf("got %d %s, want at most %d", got, what, bound)
	}
}

// within fails the test unless d, on the bubble's clock, lies between the
// bounds.
func within(t testing.TB, what string, d, least, most time.Duration) {
	t.Helper()
	if d < least || d > most {
		t.Errorf("%s: got %v, want between %v and %v", what, d, least, most)
	}
}

// A lineList collects lines.
type lineList struct {
	mu    sync.Mutex
	lines []string
}

func (r *lineList) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *lineList) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}
