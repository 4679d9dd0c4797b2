// SPDX-License-Identifier: Apache-2.0

// Hedging: another attempt at a call that takes long, beside the first one.

package retry

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// A hedge is when further attempts begin beside the first.
type hedge struct {
	attempts int // the most; 0 or 1: none beside the first
	delay    time.Duration
	recent   *latencies // if not nil, delay is a quantile of these
}

// Hedge has a second attempt made at unary calls that have no answer after delay, beside
// the first, and further ones after each further delay, up to attempts in all. The first
// answer is the call's, unless it is an error that would be repeated; the other attempts
// are cancelled. It applies to procedures that are idempotent or without side effects;
// others are repeated one attempt after the other. Hedges count as retries for the
// budget.
func Hedge(delay time.Duration, attempts int) RuleOption {
	check(delay >= 0 && attempts >= 2, "Hedge(%v, %d): expected no negative delay and at least 2 attempts", delay, attempts)
	return func(r *rule) { r.hedge = hedge{attempts: attempts, delay: delay} }
}

// HedgeAt is [Hedge] with a delay that a part of the calls exceeds: with 0.95, those
// calls are hedged that take longer than 95 of 100. It is measured over the last 128 calls
// of the rule's procedures; there are no hedges before the first 32. The slow calls should
// be no more than the part that the quantile leaves: the delay is as long as they take
// otherwise.
func HedgeAt(quantile float64, attempts int) RuleOption {
	check(quantile > 0 && quantile < 1 && attempts >= 2, "HedgeAt(%v, %d): expected a quantile between 0 and 1 and at least 2 attempts", quantile, attempts)
	return func(r *rule) { r.hedge = hedge{attempts: attempts, recent: &latencies{quantile: quantile}} }
}

const (
	latenciesKept  = 128
	latenciesFirst = 32
	latenciesEvery = 16 // calls after which the quantile is computed again

	// Of an attempt that a hedge has overtaken it is known only that it takes longer than
	// the delay. It counts as if that were a little, by this part of the delay, and not
	// as the time until the hedge has answered: where about as many calls are slow as the
	// quantile leaves, the delay would grow by that time again and again.
	overtakenGrowth = 1.0 / 32
)

// latencies are those of the last calls. Its methods are safe for concurrent use.
type latencies struct {
	quantile float64

	mu    sync.Mutex
	last  [latenciesKept]latency
	n     int // calls in all
	delay time.Duration
}

// A latency is the time of a call that succeeded.
type latency struct {
	took  time.Duration
	delay time.Duration // after which its first attempt was overtaken; 0 if that one answered
}

func (l *latencies) add(c latency) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last[l.n%latenciesKept] = c
	l.n++
	if l.n >= latenciesFirst && l.n%latenciesEvery == 0 {
		l.delay = delayOf(l.last[:min(l.n, latenciesKept)], l.quantile)
	}
}

// delayOf returns the time that a part of the calls does not exceed.
func delayOf(calls []latency, quantile float64) time.Duration {
	all := make([]time.Duration, len(calls))
	for i, c := range calls {
		all[i] = c.took
		if c.delay > 0 {
			all[i] = min(c.took, c.delay+time.Duration(float64(c.delay)*overtakenGrowth))
		}
	}
	slices.Sort(all)
	return all[int(float64(len(all))*quantile)]
}

// wait returns the delay, and whether there is one yet.
func (l *latencies) wait() (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.delay, l.n >= latenciesFirst
}

// noteNotHedged reports once that a procedure's calls are not hedged.
func (p *Policy) noteNotHedged(ctx context.Context, spec connect.Spec) {
	if p.observe == nil {
		return
	}
	if _, noted := p.noted.LoadOrStore(spec.Procedure, true); !noted {
		p.observe(ctx, Attempt{Spec: spec, Reason: "not hedged: the schema does not call the procedure idempotent"})
	}
}

// A result is what an attempt of a hedged call came to.
type result struct {
	number   int // of the attempt, from 1
	response connect.AnyResponse
	err      error
	timedOut bool
	commit   func()
	panicked any // the value of its panic, nil if there was none
}

// panicAgain panics in the caller's goroutine, where the program can recover.
func (r *result) panicAgain() {
	if r.panicked != nil {
		panic(r.panicked)
	}
}

// hedge makes attempts that overlap. It returns when all have returned.
func (c *course) hedge(ctx context.Context, request connect.AnyRequest, next connect.UnaryFunc) (connect.AnyResponse, error) {
	h := &c.rule.hedge
	began := time.Now()
	attempts, cancel := context.WithCancel(avoid(ctx, nil)) // all attempts share the set: balance adds the endpoints that it chooses
	results := make(chan result, h.attempts)
	running := 0
	defer func() {
		cancel()
		for ; running > 0; running-- {
			r := <-results
			c.report(ctx, r.err, fate{})
			r.panicAgain()
		}
	}()
	start := func() {
		attemptCtx, attempt, commit := connect.NewAttempt(attempts, request)
		if c.started > 0 {
			attempt.Header().Set(headerAttempts, strconv.Itoa(c.started))
		}
		c.started++
		running++
		number := c.started
		go func() {
			r := result{number: number, commit: commit}
			defer func() {
				r.panicked = recover()
				results <- r
			}()
			r.response, r.err, r.timedOut = c.attempt(attemptCtx, attempt, next)
		}()
	}
	delay, known := h.delay, true
	if h.recent != nil {
		delay, known = h.recent.wait()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	if !known {
		timer.Stop()
	}
	granted := false // the budget allows the next attempt, for which timer runs
	var last result
	var over <-chan struct{} // of ctx while no attempt runs: those that run heed it
	start()
	for {
		select {
		case <-over:
			last.commit()
			return nil, c.fail(last.err, fate{reason: ctxEnded})
		case <-timer.C:
			if !granted && !c.policy.budget.allows() {
				continue
			}
			granted, over = false, nil
			start()
			if known && c.started < c.most {
				timer.Reset(delay)
			}
		case r := <-results:
			running--
			r.panicAgain()
			f := c.ended(ctx, r.err, r.timedOut)
			switch {
			case f.again:
				granted = true
				timer.Reset(f.wait)
			case f.reason == noOther || !granted: // otherwise the attempt that another failure has brought follows
				granted = false
				timer.Stop()
			}
			if f.again || f.reason != "" && (running > 0 || granted) {
				if running == 0 {
					last, over = r, ctx.Done()
				}
				continue
			}
			r.commit()
			if r.err != nil {
				return nil, c.fail(r.err, f)
			}
			if h.recent != nil {
				c := latency{took: time.Since(began)}
				if r.number > 1 {
					c.delay = max(delay, 1) // also where a quantile is 0
				}
				h.recent.add(c)
			}
			return r.response, nil
		}
	}
}
