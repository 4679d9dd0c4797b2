// SPDX-License-Identifier: Apache-2.0

// How the Balancer follows its resolver.

package balance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	backoffMin   = 50 * time.Millisecond
	backoffMax   = 5 * time.Second
	refreshEvery = time.Second
)

// backoff returns the pause after a number of failures, from 1: up to a quarter of it is
// random, so that clients do not come all at once.
func backoff(failures int) time.Duration {
	wait := min(backoffMin<<min(max(failures-1, 0), 10), backoffMax)
	return wait + rand.N(wait/4+1)
}

// sleep waits, and returns false if ctx ends first.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A resolution is the newest result of the resolver. Balancer.mu guards it.
type resolution struct {
	known bool       // there was a set
	set   []Endpoint // the last one, normalized
	at    time.Time  // of set
	err   error      // of the last update; nil if it was good
}

// watch runs the resolver until the Balancer is closed.
func (b *Balancer) watch() {
	for failures := 1; ; failures++ {
		updated := false // Watch may call update in any goroutine
		err := b.resolver.Watch(b.ctx, func(set []Endpoint, err error) {
			if b.update(set, err) {
				b.mu.Lock()
				updated = true
				b.mu.Unlock()
			}
		})
		if b.ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("balance: the resolver's Watch has returned")
		}
		b.update(nil, err)
		b.mu.Lock()
		if updated {
			failures = 1
		}
		b.mu.Unlock()
		if !sleep(b.ctx, backoff(failures)) {
			return
		}
	}
}

// update takes a set or an error from the resolver. It reports whether there was a set.
func (b *Balancer) update(set []Endpoint, err error) bool {
	b.changing.Lock()
	defer b.changing.Unlock()
	if b.ctx.Err() != nil {
		return false
	}
	good := err == nil
	var clean []Endpoint
	if good {
		if clean, err = normalize(set, b.config.dial != nil); err != nil && len(clean) == 0 {
			good = false // a set of bad addresses alone replaces nothing
		}
	}
	b.mu.Lock()
	r := &b.resolution
	r.err = err
	if good {
		r.known, r.set, r.at = true, clean, time.Now()
	}
	b.mu.Unlock()
	for _, g := range *b.groups.Load() {
		if good {
			g.take(clean)
		} else {
			g.refresh()
		}
	}
	return good
}

// errNone is the error of calls for which there is no endpoint.
type errNone struct{ cause error }

func (e *errNone) Error() string {
	if e.cause == nil {
		return "balance: there is no endpoint: the resolver has found none"
	}
	return fmt.Sprintf("balance: there is no endpoint: %v", e.cause)
}

func (e *errNone) Unwrap() error { return e.cause }

// Unprocessed reports that no server has processed the request: it may be sent again.
func (e *errNone) Unprocessed() bool { return true }

// none returns the error for calls if there is no endpoint, nil if there is one or the
// resolver is still at work.
func (r *resolution) none() error {
	if len(r.set) > 0 || !r.known && r.err == nil {
		return nil
	}
	return &errNone{r.err}
}

// resolving reports whether the resolver has returned neither a set nor an error yet.
func (b *Balancer) resolving() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.resolution.known && b.resolution.err == nil
}

// trouble asks the resolver to look again, at most once a second.
func (b *Balancer) trouble() {
	r, ok := b.resolver.(interface{ Refresh() })
	if !ok {
		return
	}
	now := int64(time.Since(b.began))
	last := b.refreshed.Load()
	if now-last >= int64(refreshEvery) && b.refreshed.CompareAndSwap(last, now) {
		r.Refresh()
	}
}
