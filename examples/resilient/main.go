// SPDX-License-Identifier: Apache-2.0

// Resilient shows calls that survive what happens to servers: three replicas, of which
// one becomes slow, one is killed and comes back, and one is restarted gracefully, while
// callers go on. Run it from the root of the repository:
//
//	go run ./examples/resilient
//
// It prints a table of the replicas as the client sees them, and exits with 1 if a call
// has failed. The client is in caller.go, a replica in replica.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	step := flag.Duration("step", 3*time.Second, "how long each part takes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, isTerminal(os.Stdout), *step); err != nil {
		fmt.Fprintln(os.Stderr, "resilient:", err)
		os.Exit(1)
	}
}

// A part is something that happens to the replicas.
type part struct {
	title string
	begin func(ctx context.Context, r []*replica) error
}

var parts = []part{
	{"all is well", func(context.Context, []*replica) error { return nil }},
	{"b takes 100 ms for each call", func(_ context.Context, r []*replica) error { return r[1].slow(100 * time.Millisecond) }},
	{"a is killed, b is still slow", func(_ context.Context, r []*replica) error { return r[0].kill() }},
	{"a returns, b is fast again", func(_ context.Context, r []*replica) error { return errors.Join(r[0].start(), r[1].slow(0)) }},
	{"c is restarted gracefully", func(ctx context.Context, r []*replica) error { return errors.Join(r[2].drain(ctx), r[2].start()) }},
}

// run plays the parts, and returns an error if a call has failed.
func run(ctx context.Context, out io.Writer, redraw bool, step time.Duration) error {
	replicas := make([]*replica, 3)
	for i := range replicas {
		replicas[i] = newReplica(string(rune('a' + i)))
		if err := replicas[i].start(); err != nil {
			return err
		}
		defer replicas[i].kill()
	}
	c, err := newCaller(replicas)
	if err != nil {
		return err
	}
	c.start(ctx, 16)
	t := &table{out: out, redraw: redraw, caller: c, replicas: replicas}
	for _, p := range parts {
		t.begin(p.title)
		if err := t.during(ctx, step, func() error { return p.begin(ctx, replicas) }); err != nil {
			c.stop()
			return err
		}
	}
	c.stop()
	calls, failed, repeated := c.counts()
	fmt.Fprintf(out, "%d calls, %d failed; %d attempts were repeated\n", calls, failed, repeated)
	if failed > 0 {
		return fmt.Errorf("%d of %d calls have failed; the first with: %w", failed, calls, c.firstError())
	}
	return nil
}
