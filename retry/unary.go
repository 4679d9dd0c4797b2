// SPDX-License-Identifier: Apache-2.0

// Unary calls: one attempt after the other.

package retry

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/tried"
)

// headerAttempts has the number of attempts before. [gRFC A6]
const headerAttempts = "Grpc-Previous-Rpc-Attempts"

// WrapUnary returns a function that repeats calls of next.
func (p *Policy) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		spec := request.Spec()
		if !applies(ctx, spec) {
			return next(ctx, request)
		}
		r := p.rule(spec.Procedure)
		if r.overall > 0 {
			limited, cancel := context.WithTimeout(ctx, r.overall)
			defer cancel()
			ctx = limited
		}
		if r.hedge.attempts > 1 {
			if idempotent(spec) {
				c := &course{policy: p, rule: r, spec: spec, most: r.hedge.attempts}
				return c.hedge(ctx, request, next)
			}
			p.noteNotHedged(ctx, spec)
		}
		c := course{policy: p, rule: r, spec: spec, most: r.attempts} // not on the heap
		return c.unary(ctx, request, next)
	}
}

// unary makes attempts until one succeeds or is final.
func (c *course) unary(ctx context.Context, request connect.AnyRequest, next connect.UnaryFunc) (connect.AnyResponse, error) {
	asked := connect.SaveHeader(request)
	attempt, commit := request, func() {}
	callCtx, later := ctx, ctx
	for {
		c.started++
		response, err, timedOut := c.attempt(callCtx, attempt, next)
		f := c.ended(ctx, err, timedOut)
		if !f.again {
			commit()
			if err != nil {
				return nil, c.fail(err, f)
			}
			return response, nil
		}
		if pause(ctx, f.wait, nil) != nil {
			commit()
			return nil, c.fail(err, fate{reason: ctxEnded})
		}
		later = avoid(later, err)
		callCtx, attempt, commit = connect.NewAttempt(later, request)
		asked.Restore(attempt)
		attempt.Header().Set(headerAttempts, strconv.Itoa(c.started))
	}
}

// attempt makes one attempt. timedOut reports that AttemptTimeout ended it.
func (c *course) attempt(ctx context.Context, request connect.AnyRequest, next connect.UnaryFunc) (response connect.AnyResponse, err error, timedOut bool) {
	done, err := c.policy.ask(c.spec)
	if err != nil {
		return nil, err, false
	}
	if c.policy.breaker != nil {
		defer func() { done(errPanicked) }() // without effect if the attempt has returned
	}
	limited := ctx
	if c.rule.timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeoutCause(ctx, c.rule.timeout, tried.AttemptTimeout)
		defer cancel()
	}
	response, err = next(limited, request)
	done(err)
	if c.rule.timeout > 0 && connect.CodeOf(err) == connect.CodeDeadlineExceeded && ctx.Err() == nil {
		deadline, _ := limited.Deadline()
		timedOut = time.Until(deadline) < sooner
	}
	return response, err, timedOut
}

// avoid returns a context with which package balance chooses another endpoint than that of
// an attempt that failed with err. The first attempt has no such context, and needs no
// memory for it.
func avoid(ctx context.Context, err error) context.Context {
	set := tried.From(ctx)
	if set == nil {
		ctx, set = tried.With(ctx)
	}
	set.Add(tried.Of(err))
	return ctx
}

// errPanicked is what a breaker gets for an attempt that panicked.
var errPanicked = errors.New("retry: the attempt panicked")

// sooner is how much earlier a server may find that the time of an attempt is over: the
// time travels in milliseconds.
const sooner = 2 * time.Millisecond
