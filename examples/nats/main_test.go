// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestRun plays all parts quickly: no call fails, no event is lost, nothing stays behind.
func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out, 50*time.Millisecond); err != nil {
		t.Fatalf("got %v, want no failed call\n%s", err, out.String())
	}
	t.Log("\n" + out.String())
	for _, part := range []string{`have answered: \d+, \d+, \d+`, `worker 2 was killed`, `worker 3 has stopped`, `[1-9]\d* calls, 0 failed; the consumer has handled [1-9]\d* events`} {
		if !regexp.MustCompile(part).MatchString(out.String()) {
			t.Errorf("got no line with %q\n%s", part, out.String())
		}
	}
}

// TestInterrupted ends the program while calls go on.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := &afterLine{then: cancel}
	if err := run(ctx, out, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

// afterLine calls a function after the first line.
type afterLine struct{ then func() }

func (w *afterLine) Write(p []byte) (int, error) {
	w.then()
	return len(p), nil
}
