// SPDX-License-Identifier: Apache-2.0

// The context of a request, which costs no allocation until code waits for it.
//
// Invariants. mu guards the fields. err is set once; then done is closed, if it was
// made, and each function in after has been started. mu is taken after conn.mu.

package h2

import (
	"context"
	"sync"
)

// A streamContext is the connection's context, and ends with its stream. It is part of
// the stream's memory; its channel is made when code first asks for it.
type streamContext struct {
	context.Context // of the connection
	mu              sync.Mutex
	err             error
	done            chan struct{}
	after           map[*func()]struct{}
}

// closedChan is the Done of contexts that ended before it was asked for.
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

// Err returns context.Canceled or context.DeadlineExceeded once the context has ended,
// nil before.
func (c *streamContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return c.Context.Err()
}

// AfterFunc runs f in a goroutine when the context ends. Package context calls it, and
// so needs no goroutine to watch this context.
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

// cancel ends the context; the first call counts. Any error but context.DeadlineExceeded
// becomes context.Canceled.
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
