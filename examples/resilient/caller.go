// SPDX-License-Identifier: Apache-2.0

// The client: a balancer over the replicas, and a policy of retries above it.

package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
	"github.com/seed-b7c59c10/connect/health"
	"github.com/seed-b7c59c10/connect/retry"
)

// A caller makes calls until it is stopped, and counts what becomes of them.
type caller struct {
	balancer *balance.Balancer
	client   greetv1connect.GreetServiceClient
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu       sync.Mutex
	times    []time.Duration // of calls since the last call of latencies
	calls    int
	failed   int
	repeated int
	first    error // the first failure
}

func newCaller(replicas []*replica) (*caller, error) {
	var addresses []string
	for _, r := range replicas {
		addresses = append(addresses, r.address)
	}
	lb, err := balance.New(
		balance.Static(addresses...), // elsewhere: balance.DNS("greet.internal:8080")
		balance.Probe(health.Probe(greetv1connect.GreetServiceName), time.Second))
	if err != nil {
		return nil, err
	}
	c := &caller{balancer: lb}
	policy := retry.New(retry.AttemptTimeout(time.Second), retry.Observe(c.observe))
	c.client = greetv1connect.NewGreetServiceClient(lb.HTTPClient(), "http://greet",
		connect.WithGRPC(), connect.WithInterceptors(policy), lb.Options())
	return c, nil
}

// start makes calls in n goroutines, of which each makes up to 100 a second.
func (c *caller) start(ctx context.Context, n int) {
	ctx, c.cancel = context.WithCancel(ctx)
	for range n {
		c.running.Go(func() {
			ticker := time.NewTicker(10 * time.Millisecond)
			defer ticker.Stop()
			for ctx.Err() == nil {
				c.call()
				select {
				case <-ticker.C:
				case <-ctx.Done():
				}
			}
		})
	}
}

// call makes one call, with a deadline of its own: stop lets it end.
func (c *caller) call() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	began := time.Now()
	_, err := c.client.Greet(ctx, connect.NewRequest(&greetv1.GreetRequest{Name: "Ada"}))
	took := time.Since(began)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	c.times = append(c.times, took)
	if err != nil {
		c.failed++
		if c.first == nil {
			c.first = err
		}
	}
}

func (c *caller) observe(_ context.Context, a retry.Attempt) {
	if a.Again {
		c.mu.Lock()
		c.repeated++
		c.mu.Unlock()
	}
}

// stop waits for the calls in flight and closes the connections.
func (c *caller) stop() {
	c.cancel()
	c.running.Wait()
	c.balancer.Close()
}

func (c *caller) counts() (calls, failed, repeated int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls, c.failed, c.repeated
}

func (c *caller) firstError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first
}

// latencies returns the median and the 99th percentile of the calls since it was last
// called.
func (c *caller) latencies() (median, high time.Duration) {
	c.mu.Lock()
	times := c.times
	c.times = nil
	c.mu.Unlock()
	if len(times) == 0 {
		return 0, 0
	}
	slices.Sort(times)
	return times[len(times)/2], times[len(times)*99/100]
}
