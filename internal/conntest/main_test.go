// SPDX-License-Identifier: Apache-2.0

// This file checks that the whole run leaves no goroutine behind.

package conntest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain runs the tests, closes the shared servers and fails if a goroutine
// is still there that was not before.
func TestMain(m *testing.M) {
	before := goroutines()
	code := m.Run()
	closeHosts()
	sharedBus.close()
	if left := leaked(before); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines leaked:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
		if code == 0 {
			code = 1
		}
	}
	os.Exit(code)
}

// leaked waits until no goroutine is left that was not in before, and returns
// the stacks of those that stay. Goroutines end some time after the event that
// ends them, so it looks again and again; the time it takes decides nothing
// when the answer is good.
func leaked(before map[string]bool) []string {
	var left []string
	for deadline := time.Now().Add(10 * time.Second); ; {
		left = left[:0]
		for id, stack := range stacks() {
			if !before[id] {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		time.Sleep(time.Millisecond)
	}
}

// goroutines returns the identities of all goroutines.
func goroutines() map[string]bool {
	ids := make(map[string]bool)
	for id := range stacks() {
		ids[id] = true
	}
	return ids
}

// stacks returns the stack of each goroutine but the caller's.
func stacks() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	all := make(map[string]string)
	for i, stack := range strings.Split(string(buf), "\n\n") {
		if i == 0 {
			continue // the caller's own comes first
		}
		id, _, _ := strings.Cut(stack, " [")
		all[id] = stack
	}
	return all
}
