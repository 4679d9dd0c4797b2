// SPDX-License-Identifier: Apache-2.0

// The table on the terminal.

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// A table shows the replicas as the client's balancer sees them.
type table struct {
	out      io.Writer
	redraw   bool // in place, on a terminal
	caller   *caller
	replicas []*replica

	title string
	lines int              // of the last drawing, to go back over
	last  map[string]int64 // calls at the last drawing
	drawn time.Time
}

// isTerminal reports whether f understands escape sequences.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// begin starts the drawings of a part.
func (t *table) begin(title string) {
	t.title, t.lines = title, 0
	t.count()
	t.caller.latencies()
	fmt.Fprintf(t.out, "\n== %s\n", title)
}

// during runs f, and draws until step has passed and f has returned. Off a terminal it
// draws once, at the end.
func (t *table) during(ctx context.Context, step time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	end := time.After(step)
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for running, ended := true, false; running || !ended; {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
			running = false
		case <-end:
			ended = true
		case <-ticker.C:
			if t.redraw {
				t.draw()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if !t.redraw {
		t.draw()
	}
	return nil
}

// count returns the calls of each replica in a second since the last count.
func (t *table) count() map[string]float64 {
	now, rates, counts := time.Now(), make(map[string]float64), make(map[string]int64)
	for _, r := range t.replicas {
		counts[r.address] = r.calls.Load()
		rates[r.address] = float64(counts[r.address]-t.last[r.address]) / now.Sub(t.drawn).Seconds()
	}
	t.last, t.drawn = counts, now
	return rates
}

func (t *table) draw() {
	var b strings.Builder
	if t.redraw && t.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", t.lines)
	}
	rates := t.count()
	t.lines = 2
	b.WriteString("replica  state       calls/s  in flight  latency\n")
	for _, e := range t.caller.balancer.Status().Endpoints {
		fmt.Fprintf(&b, "%-7s  %-10s  %7.0f  %9d  %7s  %s\n", t.name(e.Addr), e.State, rates[e.Addr], e.InFlight, e.Latency.Round(100*time.Microsecond), shorter(e.Reason))
		t.lines++
	}
	median, high := t.caller.latencies()
	calls, failed, repeated := t.caller.counts()
	fmt.Fprintf(&b, "all: %d calls, %d failed, %d attempts repeated; half of the last ones within %s, 99 %% within %s\n",
		calls, failed, repeated, median.Round(100*time.Microsecond), high.Round(100*time.Microsecond))
	fmt.Fprint(t.out, b.String())
}

func (t *table) name(address string) string {
	for _, r := range t.replicas {
		if r.address == address {
			return r.name
		}
	}
	return address
}

// shorter returns a reason that fits into a line.
func shorter(s string) string {
	if runes := []rune(s); len(runes) > 60 {
		return string(runes[:59]) + "…"
	}
	return s
}
