// SPDX-License-Identifier: Apache-2.0

// The cache in front of a token source: one token for all calls, refreshed before it
// expires, by one goroutine at a time.

package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect"
)

const (
	// fetchMax is the longest time of one request for a token.
	fetchMax = 30 * time.Second
	// moment is how long an error of the source holds, and how old a token is at least that
	// a refused call replaces: so a source that is down, or a server that refuses all, does
	// not get a request for each call.
	moment = time.Second
	// earlyMost is how long before its end a token is replaced at most, a tenth of its life
	// otherwise.
	earlyMost = time.Minute
)

// cache keeps the token of a source.
//
//	no token ──▶ fetching ──▶ token ──▶ token, fetching ──▶ token
//	    ▲           │           │
//	    └── error ◀─┘           └── expired, refused ──▶ no token
type cache struct {
	source TokenSource

	mu      sync.Mutex
	token   Token
	ok      bool      // there is a token
	since   time.Time // when it was fetched
	err     error     // of the last fetch, nil if it succeeded
	failed  time.Time // when that was
	current *fetch    // nil if no fetch runs
}

// A fetch is one request to the source. A goroutine of its own runs it, so that it does not
// end with the call that began it while others wait. Its fields are guarded by cache.mu.
type fetch struct {
	done    chan struct{} // closed when the source has returned, after token and err are set
	cancel  context.CancelFunc
	waiting int  // calls that wait
	given   bool // up: no call waits any more
	token   Token
	err     error
}

// get returns a token, until ctx ends at the latest.
func (c *cache) get(ctx context.Context) (Token, error) {
	for {
		token, f, err := c.ask()
		if f == nil {
			return token, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			c.leave(f)
			return Token{}, ctx.Err()
		}
		if !f.given {
			return f.token, f.err // also if the token has expired: the server decides
		}
	}
}

// ask returns the token, or the error of the moment, or else the fetch to wait for.
func (c *cache) ask() (Token, *fetch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.ok && c.expired(now) {
		c.token, c.ok = Token{}, false
	}
	failing := c.err != nil && now.Sub(c.failed) < moment
	switch {
	case c.ok:
		if c.current == nil && !failing && c.old(now) {
			c.begin()
		}
		return c.token, nil, nil
	case failing:
		return Token{}, nil, c.err
	case c.current == nil:
		c.begin()
	}
	if !c.current.given {
		c.current.waiting++ // otherwise it waits only until the source has returned, to ask again
	}
	return Token{}, c.current, nil
}

// leave ends the wait of a call whose context has ended. A fetch for which none waits any
// more is given up, unless it renews a token that is valid. There is no other fetch until the
// source has returned from this one: so a source that hangs holds one goroutine.
func (c *cache) leave(f *fetch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.given || c.current != f {
		return
	}
	if f.waiting--; f.waiting == 0 && !c.ok {
		f.given = true
		f.cancel()
	}
}

// begin begins a fetch. Its context is not that of a call, whose values are the call's own.
// The caller holds mu.
func (c *cache) begin() {
	ctx, cancel := context.WithTimeout(context.Background(), fetchMax)
	f := &fetch{done: make(chan struct{}), cancel: cancel}
	c.current = f
	go func() {
		defer cancel()
		var token Token
		err := error(connect.NewError(connect.CodeInternal, errors.New("the token source ended its goroutine"))) // with runtime.Goexit
		defer func() { c.end(f, token, err) }()
		token, err = c.fetchToken(ctx)
	}()
}

// fetchToken asks the source. A panic is an error, for the calls that wait.
func (c *cache) fetchToken(ctx context.Context) (token Token, err error) {
	defer func() {
		if value := recover(); value != nil {
			err = connect.NewError(connect.CodeInternal, fmt.Errorf("the token source panicked: %v", value))
		}
	}()
	token, err = c.source.Token(ctx)
	if err == nil {
		_, err = token.header()
	}
	return token, err
}

// end takes over the result of a fetch. That of one that was given up counts if it is a
// token.
func (c *cache) end(f *fetch, token Token, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.token, f.err = token, err
	close(f.done)
	c.current = nil
	now := time.Now()
	switch {
	case err == nil:
		c.token, c.ok, c.since, c.err = token, true, now, nil
	case !f.given:
		c.err, c.failed = err, now
	}
}

// refused returns another token than one that a server has refused. It returns false if there
// is none, or none yet: the refused one is new.
func (c *cache) refused(ctx context.Context, token Token) (Token, bool) {
	c.discard(token)
	next, err := c.get(ctx)
	return next, err == nil && next.Value != token.Value
}

// discard makes the next call fetch a token, if the refused one is not new.
func (c *cache) discard(token Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ok && c.token.Value == token.Value && time.Since(c.since) >= moment {
		c.token, c.ok = Token{}, false
	}
}

// expired reports whether the token has expired. The caller holds mu.
func (c *cache) expired(now time.Time) bool {
	return !c.token.Expires.IsZero() && !now.Before(c.token.Expires)
}

// old reports whether it is time for another token. The caller holds mu.
func (c *cache) old(now time.Time) bool {
	if c.token.Expires.IsZero() {
		return false
	}
	early := min(c.token.Expires.Sub(c.since)/10, earlyMost)
	return !now.Before(c.token.Expires.Add(-early))
}
