// SPDX-License-Identifier: Apache-2.0

// Package leaktest fails a package's tests if they leave goroutines behind. The packages
// connect and h2 import nothing of this module, and the modules below internal start programs
// and servers that outlive a test: these have checks of their own.
package leaktest

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Main is what a TestMain calls. It runs the tests and ends the process, with status 1 if
// goroutines are left.
func Main(m *testing.M) {
	status := m.Run()
	if left := left(); status == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "got goroutines that the tests left behind, want none:\n\n%s\n", left)
		status = 1
	}
	os.Exit(status)
}

// left returns the stacks of all goroutines but the caller's. Those that are about to end
// get the time to do so: it decides nothing when the answer is good.
func left() string {
	if fuzzing() {
		return "" // package testing has goroutines of its own
	}
	buf := make([]byte, 1<<20)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		http.DefaultClient.CloseIdleConnections()
		_, others, _ := strings.Cut(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		if others == "" || time.Now().After(deadline) {
			return others
		}
	}
}

// fuzzing reports whether this is a process of go test -fuzz.
func fuzzing() bool {
	for _, name := range []string{"test.fuzz", "test.fuzzworker"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != f.DefValue {
			return true
		}
	}
	return false
}
