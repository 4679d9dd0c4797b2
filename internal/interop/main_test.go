// SPDX-License-Identifier: Apache-2.0

// This file looks for goroutines that outlive the tests, and turns grpc-go's fatal log lines into test failures.

package interop_test

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/grpclog"
)

func TestMain(m *testing.M) {
	grpclog.SetLoggerV2(fatalLogger{grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)})
	code := m.Run()
	if code == 0 {
		if left := leaks(); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "%d goroutines outlive the tests:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// leaks returns the stacks of goroutines that do not end by themselves. Those of connections just closed may need a
// moment, so it asks again for as long as patience lasts.
func leaks() []string {
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		left := goroutines()
		if len(left) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			return left
		}
	}
}

// goroutines returns the stacks of all goroutines but the calling one and the runtime's signal handling.
func goroutines() []string {
	stacks := make([]byte, 1<<20)
	for {
		n := runtime.Stack(stacks, true)
		if n < len(stacks) {
			stacks = stacks[:n]
			break
		}
		stacks = make([]byte, 2*len(stacks))
	}
	var left []string
	for _, stack := range strings.Split(string(stacks), "\n\n")[1:] {
		if !strings.Contains(stack, "os/signal.loop") && !strings.Contains(stack, "runtime.ensureSigM") {
			left = append(left, stack)
		}
	}
	return left
}

// fatalLogger is grpc-go's logger. The published cases report a failure as a fatal log line, after which grpc-go ends
// the process; t.Fatal ends the goroutine before that.
type fatalLogger struct{ grpclog.LoggerV2 }

var current atomic.Pointer[testing.T]

// fatalTo sends fatal log lines to a test until the returned function is called.
func fatalTo(t *testing.T) func() {
	current.Store(t)
	return func() { current.Store(nil) }
}

func (fatalLogger) Fatal(args ...any)                 { fatal(fmt.Sprint(args...)) }
func (fatalLogger) Fatalln(args ...any)               { fatal(fmt.Sprintln(args...)) }
func (fatalLogger) Fatalf(format string, args ...any) { fatal(fmt.Sprintf(format, args...)) }

func fatal(line string) {
	t := current.Load()
	if t == nil {
		fmt.Fprintln(os.Stderr, line)
		os.Exit(1)
	}
	t.Helper()
	t.Fatal(line)
}
