// SPDX-License-Identifier: Apache-2.0

// Nats shows a service on a message bus: three workers share the calls of a client, one of
// them is killed while the calls go on, and a consumer of JetStream handles the events that
// the workers publish, each at least once. Run it in this folder:
//
//	go run .
//
// The NATS server runs in the same process, on a port of the loopback interface; with the
// program nats, `nats -s nats://127.0.0.1:PORT micro ls` lists the workers meanwhile. It prints
// a line for each part, and exits with 1 if a call has failed or an event was lost.
//
// The parts on the bus are in bus.go.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
	"github.com/seed-b7c59c10/connect/retry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "examples/nats:", err)
		os.Exit(1)
	}
}

// callers is how many goroutines call at the same time.
const callers = 4

// run plays all parts. Calls go on for a while in each.
func run(ctx context.Context, out io.Writer, while time.Duration) (err error) {
	b, err := startBus()
	if err != nil {
		return err
	}
	defer b.stop()
	fmt.Fprintf(out, "a NATS server listens on %s\n", b.url())

	var workers []*worker
	defer func() {
		for _, w := range workers {
			w.stop(context.WithoutCancel(ctx))
		}
	}()
	for n := range 3 {
		w, err := b.startWorker(n + 1)
		if err != nil {
			return err
		}
		workers = append(workers, w)
	}
	handled, stopConsumer, err := b.consume(ctx)
	if err != nil {
		return err
	}
	defer stopConsumer()

	nc, err := nats.Connect(b.url())
	if err != nil {
		return err
	}
	defer nc.Close()
	transport := natsrpc.NewTransport(nc, natsrpc.KeepAlive(time.Second)) // how soon it notices that a worker is gone
	defer transport.Close()
	client := greetv1connect.NewGreetServiceClient(clientOf(transport), "nats://rpc", connect.WithGRPC(), connect.WithInterceptors(retry.New()))

	calls := startCalls(ctx, client)
	part := func(what string) {
		select {
		case <-time.After(while):
		case <-ctx.Done():
		}
		fmt.Fprintf(out, "%s: %s\n", what, answered(workers))
	}
	part("three workers have answered")
	workers[1].kill()
	part("worker 2 was killed, the others have answered")
	if err := workers[2].stop(ctx); err != nil {
		return err
	}
	part("worker 3 has stopped, and answered what it had taken")

	made, failed := calls.stop()
	if err := ctx.Err(); err != nil {
		return err
	}
	events, err := handled(ctx, made)
	fmt.Fprintf(out, "%d calls, %d failed; the consumer has handled %d events\n", made, failed, events)
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d calls failed", failed, made)
	}
	return err
}

// calls are those of all callers.
type calls struct {
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu           sync.Mutex
	made, failed int
}

// startCalls has callers call until stop. The name in a call is a number, different in each.
func startCalls(ctx context.Context, client greetv1connect.GreetServiceClient) *calls {
	c := new(calls)
	stopped, cancel := context.WithCancel(ctx)
	c.cancel = cancel
	for range callers {
		c.group.Go(func() {
			for stopped.Err() == nil {
				c.mu.Lock()
				c.made++
				name := fmt.Sprint(c.made)
				c.mu.Unlock()
				_, err := client.Greet(ctx, connect.NewRequest(&greetv1.GreetRequest{Name: name})) // ends, though none begins after stop
				if err != nil {
					c.mu.Lock()
					c.failed++
					c.mu.Unlock()
				}
			}
		})
	}
	return c
}

// stop ends the calls and returns how many were made, and how many have failed.
func (c *calls) stop() (made, failed int) {
	c.cancel()
	c.group.Wait()
	return c.made, c.failed
}
