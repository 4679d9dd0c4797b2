// SPDX-License-Identifier: Apache-2.0

// Budgets: how many retries there may be in all, so that clients do not keep a server
// down that is overloaded. And breakers, which the program brings.

package retry

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// A budget bounds the retries of all calls of a policy. Its methods are safe for
// concurrent use.
type budget interface {
	succeeded()   // an attempt succeeded
	failed()      // an attempt failed in a way that is repeated
	allows() bool // takes one retry from the budget
}

// Tokens bounds retries as gRFC A6 does, under "Throttling": a policy begins with most
// tokens; each attempt that fails in a way that is repeated takes one, and each that
// succeeds gives back ratio of one. There are retries while more than half of the tokens
// are there.
func Tokens(most, ratio float64) Option {
	check(most > 0 && most <= 1000 && ratio > 0, "Tokens(%v, %v): expected 0 < most <= 1000 and a positive ratio", most, ratio)
	return policyOption(func(p *Policy) { p.budget = &tokens{most: most, ratio: ratio, left: most} })
}

type tokens struct {
	most, ratio float64

	mu   sync.Mutex
	left float64
}

func (t *tokens) succeeded() { t.add(t.ratio) }
func (t *tokens) failed()    { t.add(-1) }

func (t *tokens) add(n float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left = min(max(t.left+n, 0), t.most)
}

func (t *tokens) allows() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.left > t.most/2
}

// Ratio bounds retries to a part of the attempts that succeed, and to a number a second
// beside these, as a base for clients with few calls. Up to ten seconds of that, and the
// part of up to a thousand attempts, may be saved up. It is the default, with 0.2 and 10.
func Ratio(ratio float64, perSecond int) Option {
	check(ratio >= 0 && perSecond >= 0, "Ratio(%v, %d): expected no negative number", ratio, perSecond)
	return policyOption(func(p *Policy) { p.budget = newRatio(ratio, perSecond) })
}

type ratioBudget struct {
	ratio, perSecond float64
	calls            atomic.Int64 // since the last allows

	mu   sync.Mutex
	left float64
	last time.Time
}

func newRatio(ratio float64, perSecond int) *ratioBudget {
	return &ratioBudget{ratio: ratio, perSecond: float64(perSecond), left: float64(perSecond)}
}

func (b *ratioBudget) succeeded() { b.calls.Add(1) }
func (b *ratioBudget) failed()    {}

func (b *ratioBudget) allows() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if most := 10 * b.perSecond; !b.last.IsZero() && b.left < most {
		// A clock that goes back adds nothing.
		b.left = min(most, b.left+max(0, now.Sub(b.last).Seconds())*b.perSecond)
	}
	b.last = now
	b.left = min(b.left+float64(b.calls.Swap(0))*b.ratio, max(10*b.perSecond, 1000*b.ratio))
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// A Breaker refuses calls to a server that fails. The TwoStepCircuitBreaker of
// github.com/sony/gobreaker/v2 is one. Allow returns an error if it refuses, and
// otherwise a function that is called once, when the attempt has ended, with its error, or
// nil for success. An attempt at a stream succeeds with the first message that the program
// receives, so that a long stream that is let in for trial does not keep others out: an error
// after it does not count. Both functions must be safe for concurrent use.
type Breaker interface {
	Allow() (done func(error), err error)
}

// WithBreaker has each attempt ask a breaker first, which f chooses for the procedure;
// nil means none. An attempt that it refuses fails with CodeUnavailable, and is repeated
// as one that was not sent. The breaker counts errors that are the caller's own doing,
// such as invalid_argument and canceled, as successes, and so a stream that the program
// closes before its end. f must be safe for concurrent use; nil means no breaker at all.
func WithBreaker(f func(connect.Spec) Breaker) Option {
	return policyOption(func(p *Policy) { p.breaker = f })
}

// refused is the error of an attempt that a breaker has refused.
type refused struct{ error }

func (refused) Unprocessed() bool { return true }
func (r refused) Unwrap() error   { return r.error }

// ask asks the breaker. done is never nil.
func (p *Policy) ask(spec connect.Spec) (done func(error), err error) {
	done = func(error) {}
	if p.breaker == nil {
		return done, nil
	}
	b := p.breaker(spec)
	if b == nil {
		return done, nil
	}
	report, err := b.Allow()
	if err != nil {
		return done, connect.NewError(connect.CodeUnavailable, refused{err})
	}
	if report == nil {
		return done, nil
	}
	var once sync.Once
	return func(err error) {
		if !serversFault(err) {
			err = nil
		}
		once.Do(func() { report(err) })
	}, nil
}

// serversFault reports whether an error is a sign of a server that fails.
func serversFault(err error) bool {
	if err == nil {
		return false
	}
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeResourceExhausted, connect.CodeInternal,
		connect.CodeUnknown, connect.CodeDataLoss:
		return true
	}
	return false
}
