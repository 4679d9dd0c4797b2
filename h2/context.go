// SPDX-License-Identifier: Apache-2.0

// The context of a request, which costs nothing until somebody waits for it.

package h2

import (
	"context"
	"sync"
)

// A streamContext is the connection's context, and ends with its stream. It is
// part of the stream's allocation; its channel is made when first asked for.
type streamContext struct {
	context.Context // of the connection
	mu              sync.Mutex
	err             error
	done            chan struct{}
	after           map[*func()]struct{}
}

// closedChan is the channel of contexts that ended before anybody asked.
var closedChan = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Done returns a channel that is closed when the stream or its handler ends.
func (c *streamContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		if c.err != nil || c.Context.Err() != nil {
			return closedChan
		}
		c.done = make(chan struct{})
	}
	return c.done
}

// Err returns why the context ended, nil as long as it has not.
func (c *streamContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return c.Context.Err()
}

// AfterFunc makes package context watch this context without a goroutine.
func (c *streamContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.Context.Err() != nil {
		go f()
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = make(map[*func()]struct{})
	}
	c.after[&f] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waiting := c.after[&f]
		delete(c.after, &f)
		return waiting
	}
}

// cancel ends the context. The first call counts. The functions that wait for it
// run in goroutines of their own, as those of package context do.
func (c *streamContext) cancel(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if err != context.DeadlineExceeded {
		err = context.Canceled
	}
	c.err = err
	if c.done != nil {
		close(c.done)
	}
	for f := range c.after {
		go (*f)()
	}
	c.after = nil
}
