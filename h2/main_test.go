// SPDX-License-Identifier: Apache-2.0

// The leak check around all tests of the package.

package h2_test

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	before := goroutines()
	status := m.Run()
	if leaked := leakedSince(before); status == 0 && len(leaked) > 0 {
		fmt.Fprintf(os.Stderr, "got %d goroutines that the tests left behind, want none:\n\n%s\n",
			len(leaked), strings.Join(leaked, "\n\n"))
		status = 1
	}
	os.Exit(status)
}

// leakedSince returns the stacks of goroutines that are not in before. Those
// that are about to end get the time to do so.
func leakedSince(before map[string]string) []string {
	var leaked []string
	for range 200 {
		if t, ok := http.DefaultTransport.(*http.Transport); ok {
			t.CloseIdleConnections()
		}
		leaked = leaked[:0]
		for id, stack := range goroutines() {
			if _, ok := before[id]; !ok {
				leaked = append(leaked, stack)
			}
		}
		if len(leaked) == 0 {
			return nil
		}
		time.Sleep(25 * time.Millisecond)
	}
	return leaked
}

// goroutines returns the stacks of all goroutines but those of the testing
// package and of signal handling, by "goroutine N".
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := make(map[string]string)
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		id, rest, _ := strings.Cut(stack, " [")
		switch {
		case strings.Contains(rest, "os/signal."), strings.Contains(rest, "testing.(*M)"),
			strings.Contains(rest, "testing.(*T).Run"), strings.Contains(rest, "testing.(*F).Fuzz"),
			strings.Contains(rest, "h2_test.goroutines("):
			continue
		}
		stacks[id] = stack
	}
	return stacks
}

// TestLeakCheck leaks a goroutine, which has to be found.
func TestLeakCheck(t *testing.T) {
	before := goroutines()
	started, release, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		close(started)
		<-release
	}()
	<-started
	found := 0
	for id := range goroutines() {
		if _, ok := before[id]; !ok {
			found++
		}
	}
	close(release)
	<-done
	if found == 0 {
		t.Error("got no new goroutine, want the one that was leaked")
	}
}
