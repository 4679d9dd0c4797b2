// SPDX-License-Identifier: Apache-2.0

// The outcomes of attempts, and whether another one is made.

package retry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/tried"
)

// An Attempt describes an attempt that has ended, for [Observe].
type Attempt struct {
	Spec   connect.Spec
	Number int   // from 1
	Err    error // nil if it succeeded
	// Again is true if another attempt follows because of this one, after Wait. The
	// attempts of hedged calls also follow each other without that, and overlap.
	Again bool
	Wait  time.Duration
	// Reason is why no other attempt follows; "" if one does, or if there is nothing to
	// repeat.
	Reason string
}

// Observe has f called after each attempt, and once for each procedure that [Hedge]
// names although it is not idempotent, with Number 0. An attempt at a stream is over when
// the program has received its end: a stream that is closed before is not observed. Calls
// of f may come from several goroutines at once, and the attempt's call waits for them. A
// nil f means none.
func Observe(f func(context.Context, Attempt)) Option {
	return policyOption(func(p *Policy) { p.observe = f })
}

// A callError is the error of a call for which attempts were made or left out.
type callError struct {
	err      error // of the last attempt
	attempts int
	reason   string
}

func (e *callError) Error() string {
	plural := "s"
	if e.attempts == 1 {
		plural = ""
	}
	return fmt.Sprintf("%v (%d attempt%s, no more: %s)", e.err, e.attempts, plural, e.reason)
}

func (e *callError) Unwrap() error { return e.err }

// AttemptsOf returns how many attempts were made at the call that returned err: 0 for a
// nil error.
func AttemptsOf(err error) int {
	var e *callError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.attempts
	}
	return 1
}

// backoff has the bounds of the pauses.
type backoff struct {
	first, most time.Duration
	multiplier  float64
}

// wait returns the pause before retry n, from 1: a random part of a time that grows, as
// in gRFC A6.
func (b backoff) wait(n int) time.Duration {
	if b.multiplier < 1 && n >= attemptsMost { // of a service config, and the request was not sent so far
		n = 1
	}
	most := math.Min(float64(b.most), float64(b.first)*math.Pow(b.multiplier, float64(n-1)))
	return time.Duration(rand.Float64() * most)
}

// A course counts the attempts of one call. One goroutine uses it.
type course struct {
	policy  *Policy
	rule    *rule
	spec    connect.Spec
	most    int  // attempts that count
	started int  // attempts
	ends    int  // attempts that have ended
	free    int  // attempts whose request was not processed, which do not count
	atOnce  bool // a request that was not processed was repeated at once
}

// fate is what follows an attempt.
type fate struct {
	again  bool
	wait   time.Duration
	reason string // why not again; "" if there is nothing to repeat
}

// Reasons for no other attempt.
const (
	noOther  = "the server asks for no other"
	ctxEnded = "the call's context has ended"
)

// ended notes the end of an attempt, reports it, and decides what follows.
func (c *course) ended(ctx context.Context, err error, timedOut bool) fate {
	f := c.decide(ctx, err, timedOut)
	c.report(ctx, err, f)
	return f
}

// report reports the end of an attempt.
func (c *course) report(ctx context.Context, err error, f fate) {
	c.ends++
	if observe := c.policy.observe; observe != nil {
		observe(ctx, Attempt{c.spec, c.ends, err, f.again, f.wait, f.reason})
	}
}

func (c *course) decide(ctx context.Context, err error, timedOut bool) fate {
	if err == nil {
		c.policy.budget.succeeded()
		return fate{}
	}
	if ctx.Err() != nil {
		return fate{} // the caller's own doing
	}
	push := pushbackOf(err)
	unsent := tried.Unprocessed(err)
	if !unsent && !c.repeatable(err, push, timedOut) {
		return fate{}
	}
	if !unsent {
		c.policy.budget.failed()
	}
	if push.stop {
		return fate{reason: noOther}
	}
	deadline, bounded := ctx.Deadline()
	switch {
	case unsent && !c.atOnce && c.most > 1:
		c.atOnce = true
		c.free++
		return fate{again: true}
	case unsent && bounded && c.most > 1:
		c.free++ // until the deadline
	case c.started-c.free >= c.most:
		return fate{reason: fmt.Sprintf("%d is the most", c.most)}
	}
	wait := push.wait
	if !push.given {
		wait = c.rule.backoff.wait(c.ends + 1)
	}
	switch {
	case bounded && time.Until(deadline) <= wait:
		return fate{reason: fmt.Sprintf("the deadline is sooner than the next, in %v", wait.Round(time.Millisecond))}
	case !bounded && push.given && wait > pushbackMost:
		return fate{reason: fmt.Sprintf("the server asks for a pause of %v, and without a deadline a call waits for %v at most", wait, pushbackMost)}
	case !unsent && !c.policy.budget.allows():
		return fate{reason: "the budget for retries is used up"}
	}
	return fate{again: true, wait: wait}
}

// repeatable reports whether it is safe to repeat a call whose request was sent.
func (c *course) repeatable(err error, push pushback, timedOut bool) bool {
	code := connect.CodeOf(err)
	harmless := idempotent(c.spec)
	switch {
	case timedOut:
		return harmless
	case !connect.IsWireError(err):
		return harmless && lost(err)
	case c.rule.codes[code]:
		return true
	case push.given || push.stop:
		return code == connect.CodeUnavailable || code == connect.CodeResourceExhausted
	}
	return code == connect.CodeUnavailable && harmless && c.rule.codes == nil
}

// fail returns the error of a call whose last attempt failed with err.
func (c *course) fail(err error, f fate) error {
	if f.reason == "" && c.started == 1 {
		return err
	}
	if f.reason == "" {
		f.reason = "the error is final"
	}
	return &callError{err, c.started, f.reason}
}

func idempotent(spec connect.Spec) bool {
	return spec.IdempotencyLevel == connect.IdempotencyIdempotent || spec.IdempotencyLevel == connect.IdempotencyNoSideEffects
}

// A pushback is the server's wish for the next attempt.
type pushback struct {
	given bool // wait is the server's
	stop  bool // no next attempt
	wait  time.Duration
}

// pushbackMost is the longest pause for which a server can ask of a call that has no
// deadline. One that has waits as long as it fits in.
const pushbackMost = 5 * time.Minute

// pushbackOf reads grpc-retry-pushback-ms [gRFC A6, "Pushback"], and Retry-After [RFC
// 9110, section 10.2.3] where that is missing. A pushback that is not a number stops, as
// a negative one does.
func pushbackOf(err error) pushback {
	var e *connect.Error
	if !connect.IsWireError(err) || !errors.As(err, &e) {
		return pushback{} // not the server's
	}
	meta := e.Meta()
	if values := meta["Grpc-Retry-Pushback-Ms"]; len(values) > 0 {
		ms, err := strconv.ParseUint(values[0], 10, 31)
		if err != nil || len(values) > 1 {
			return pushback{stop: true}
		}
		return pushback{given: true, wait: time.Duration(ms) * time.Millisecond}
	}
	value := meta.Get("Retry-After")
	if value == "" {
		return pushback{}
	}
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err == nil || errors.Is(err, strconv.ErrRange) { // then it is the largest number
		return pushback{given: true, wait: time.Duration(seconds) * time.Second}
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return pushback{}
	}
	now, err := http.ParseTime(meta.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	// By the server's own clock, if it is known: this one may be another, and be set.
	return pushback{given: true, wait: max(0, at.Sub(now))}
}

// errEnded is the error of a pause that the end of its call has cut short.
var errEnded = errors.New("retry: the call has ended")

// pause waits. It returns an error if the context ends, or closing is closed, first.
func pause(ctx context.Context, wait time.Duration, closing <-chan struct{}) error {
	timer := time.NewTimer(max(wait, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-closing:
		return errEnded
	}
}
