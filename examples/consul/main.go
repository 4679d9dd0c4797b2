// SPDX-License-Identifier: Apache-2.0

// Example shows two services in the mesh of Consul: web calls greeter, which has three
// instances. Meanwhile an intention denies the calls and allows them again, an instance is
// killed, and the certificate authority is rotated. Run it in this folder:
//
//	go run .                         # with an agent in memory
//	consul agent -dev                # with a real one: in another terminal, and then
//	go run . -agent 127.0.0.1:8500
//
// It prints a line for each part, and exits with 1 if a call has failed that an intention has
// allowed. An instance is in instance.go, the operator in operator.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/consul"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
)

const url = "https://greeter.service.consul"

func main() {
	agent := flag.String("agent", "", "`address` of a real agent; without it one runs in memory")
	step := flag.Duration("step", 2*time.Second, "how long each part takes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *agent, *step); err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

// A part is something that happens to the mesh.
type part struct {
	title  string
	denied bool // calls are expected to be denied in the end
	do     func(m *mesh) error
}

var parts = []part{
	{"three instances", false, func(*mesh) error { return nil }},
	{"an intention denies web => greeter", true, func(m *mesh) error { return m.operator.intend(false) }},
	{"the intention allows it", false, func(m *mesh) error { return m.operator.intend(true) }},
	{"instance 1 is killed", false, func(m *mesh) error { m.instances[0].kill(); return nil }},
	{"the certificate authority is rotated", false, func(m *mesh) error { return m.operator.rotate(m.web.Status().Identity.TrustDomain) }},
}

// A mesh is all that runs.
type mesh struct {
	operator  operator
	instances []*instance
	web       *consul.Service
}

// run plays the parts.
func run(ctx context.Context, out io.Writer, address string, step time.Duration) error {
	m := new(mesh)
	var err error
	if m.operator, err = newOperator(address); err != nil {
		return err
	}
	defer m.operator.close()
	// What services log about agents and refused peers is not for this output.
	config := consul.Config{Client: m.operator.client(), Logger: slog.New(slog.DiscardHandler)}
	for n := range 3 {
		i, err := startInstance(ctx, n+1, config)
		if err != nil {
			return err
		}
		m.instances = append(m.instances, i)
		defer i.close()
	}
	if m.web, err = consul.NewServiceWithConfig("web", config); err != nil {
		return err
	}
	defer m.web.Close()
	if err := m.web.WaitReady(ctx); err != nil {
		return err
	}
	if err := m.operator.healthy(ctx, 3); err != nil {
		return err
	}

	c := &caller{client: greetv1connect.NewGreetServiceClient(m.web.HTTPClient(), url, m.web.Options(url))}
	ending, end := context.WithCancel(ctx)
	var callers sync.WaitGroup
	defer callers.Wait()
	defer end()
	for range 8 {
		callers.Go(func() { c.run(ending) })
	}
	for _, p := range parts {
		if err := p.do(m); err != nil {
			return fmt.Errorf("%s: %w", p.title, err)
		}
		if err := c.settle(ctx, p.denied); err != nil {
			return fmt.Errorf("%s: %w", p.title, err)
		}
		answered, denied := c.answered.Load(), c.denied.Load()
		select {
		case <-time.After(step):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		fmt.Fprintf(out, "%-40s %6d answered, %6d denied\n", p.title, c.answered.Load()-answered, c.denied.Load()-denied)
	}
	// The new certificate comes some time after the rotation, while calls go on.
	waiting := time.NewTicker(10 * time.Millisecond)
	defer waiting.Stop()
	for m.web.Status().Changes < 2 || m.web.Status().Roots < 2 {
		select {
		case <-waiting.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err := c.settle(ctx, false); err != nil {
		return err
	}
	st := m.web.Status()
	fmt.Fprintf(out, "web has had %d certificates of %d roots; %d allowed calls failed\n", st.Changes, st.Roots, c.failed.Load())
	if c.failed.Load() > 0 {
		return fmt.Errorf("%d allowed calls failed, the first with: %w", c.failed.Load(), *c.first.Load())
	}
	return nil
}

// A caller makes calls, and counts what comes of them.
type caller struct {
	client                   greetv1connect.GreetServiceClient
	answered, denied, failed atomic.Int64
	first                    atomic.Pointer[error] // of the failed
}

// run makes one call after the other until ctx ends.
func (c *caller) run(ctx context.Context) {
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for {
		_, err := c.client.Greet(ctx, connect.NewRequest(&greetv1.GreetRequest{Name: "Ada"}))
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			c.answered.Add(1)
		case connect.CodeOf(err) == connect.CodePermissionDenied:
			c.denied.Add(1)
		default:
			c.first.CompareAndSwap(nil, &err)
			c.failed.Add(1)
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
	}
}

// settle waits until a call is denied, or answered: a change of the intentions acts within a
// second.
func (c *caller) settle(ctx context.Context, denied bool) error {
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for {
		_, err := c.client.Greet(ctx, connect.NewRequest(&greetv1.GreetRequest{Name: "Ada"}))
		if (connect.CodeOf(err) == connect.CodePermissionDenied) == denied && (err == nil || denied) {
			return nil
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}
