// SPDX-License-Identifier: Apache-2.0

// How a request finds an endpoint, and another one if the first did not process it.
//
// Invariants. A request moves on only if it is proved that the endpoint did not process
// it, and at most movesMost times. Where no endpoint is ready it waits, until its context
// ends.

package balance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/internal/tried"
)

const (
	movesMost  = 16
	roundsMost = 3 // of all endpoints
)

// A search is the way of one request. It is on the stack of its goroutine.
type search struct {
	g     *group
	ctx   context.Context
	call  *call      // nil without the interceptor
	set   *tried.Set // of failed attempts, nil for the first
	info  pickInfo
	use   use
	owned bool // call has the use
	added bool // set has the endpoint because of this use

	moved  []*backend // that did not process the request, in this round
	moves  int
	rounds int
	last   error // of the last move
}

// begin sets the group and the context of a new search.
func (s *search) begin(g *group, ctx context.Context) {
	s.g, s.ctx = g, ctx
	if c, ok := ctx.(*call); ok && c.b == g.b { // the usual case
		s.call, s.ctx = c, c.Context // for all other keys the same context, with one step less
	} else {
		s.call = g.b.callOf(ctx)
	}
	s.set = tried.From(s.ctx)
}

// key sets the key of the call for the policies that hash one. field returns the value
// of a field of the request's header.
func (s *search) key(p *hashing, field func(name string) string) {
	p.hash(s.ctx, field, &s.info)
}

// next finds an endpoint. It waits until one is ready.
func (s *search) next() error {
	for {
		switch {
		case s.ctx.Err() != nil:
			return context.Cause(s.ctx)
		case s.g.b.closed.Load():
			return errClosed
		}
		o := s.g.current.Load()
		s.info.now = clock()
		if e, trial := s.choose(o); e != nil {
			if !e.enter() {
				if trial {
					e.health.abandon()
				}
				continue // there is another offer, without it
			}
			s.use = use{d: e.backend, began: s.info.now, trial: trial}
			s.owned = s.call != nil && s.call.take(s.use)
			s.added = s.set != nil && s.set.Add(e.Addr)
			return nil
		}
		if o.err != nil {
			return unreached(o.err)
		}
		if err := s.wait(o); err != nil {
			return err
		}
	}
}

// unreached returns the error of a request for which no endpoint was found. Its cause may be
// the end of another context, or the answer to another call: then it has the code of neither.
func unreached(err error) error {
	var coded *connect.Error
	switch {
	case connect.IsWireError(err):
	case errors.As(err, &coded): // by the program, such as in its function of DialContext
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
	default:
		return err
	}
	return connect.NewError(connect.CodeUnavailable, err)
}

// choose returns an endpoint of an offer, nil if there is none that is worth a try now,
// and whether the call decides about its return.
func (s *search) choose(o *offer) (e *endpoint, trial bool) {
	policy := s.g.policy
	info := s.info
	if len(s.moved) == 0 && (s.set == nil || s.set.Empty()) {
		if len(o.trials) > 0 {
			if e := trialOf(o.trials, &info); e != nil {
				return e, true
			}
		}
		return policy.pick(o.candidates, info), false
	}
	info.tried = s.avoids()
	if e := trialOf(o.trials, &info); e != nil {
		return e, true
	}
	e = policy.pick(o.candidates, info)
	if e != nil && len(s.moved) > 0 && slices.Contains(s.moved, e.backend) {
		// The endpoints of earlier attempts come before that of this one.
		moved := s.moved
		info.tried = func(e *endpoint) bool { return slices.Contains(moved, e.backend) }
		if e = policy.pick(o.candidates, info); e != nil && slices.Contains(moved, e.backend) {
			return nil, false
		}
	}
	return e, false
}

// avoids returns a function that reports whether an endpoint was tried. The receiver is a
// copy, so that only requests that call it need memory for it.
func (s search) avoids() func(*endpoint) bool {
	return func(e *endpoint) bool { return s.set.Has(e.Addr) || slices.Contains(s.moved, e.backend) }
}

// wait waits for another offer. If all endpoints were tried, it waits for a time as well.
func (s *search) wait(o *offer) error {
	var again <-chan time.Time
	if len(s.moved) > 0 {
		if s.rounds++; s.rounds > roundsMost {
			return unreached(s.last)
		}
		timer := time.NewTimer(backoff(s.rounds))
		defer timer.Stop()
		again = timer.C
		s.moved = nil
	} else if len(o.trials) > 0 {
		timer := time.NewTimer(time.Second) // until a trial is due
		defer timer.Stop()
		again = timer.C
	}
	select {
	case <-o.replaced:
	case <-again:
	case <-s.ctx.Done():
		return s.gaveUp()
	case <-s.g.b.ctx.Done():
		return errClosed
	}
	return nil
}

// gaveUp returns the error of a request whose context has ended.
func (s *search) gaveUp() error {
	n, last := s.g.whyNot()
	err := &errNotReady{n, s.g.b.resolving(), context.Cause(s.ctx), last}
	if s.call != nil {
		s.call.gaveUp(err)
	}
	return err
}

// errNotReady is the error of a request for which no endpoint was ready.
type errNotReady struct {
	endpoints int
	resolving bool  // the resolver has returned neither a set nor an error yet
	ended     error // why the request waits no longer; nil with FailFast
	last      error // of the endpoints; may be nil
}

func (e *errNotReady) Error() string {
	text := fmt.Sprintf("balance: none of %d endpoints is ready", e.endpoints)
	if e.resolving {
		text = "balance: the resolver has found no endpoints yet"
	}
	if e.ended != nil {
		text += ": " + e.ended.Error()
	}
	if e.last != nil {
		text += ": the last failure was: " + e.last.Error()
	}
	return text
}

func (e *errNotReady) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.ended, e.last} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Unprocessed reports that no server has processed the request.
func (e *errNotReady) Unprocessed() bool { return true }

// mayMove reports whether the request may go to another endpoint after err.
func (s *search) mayMove(err error) bool {
	return s.ctx.Err() == nil && s.g.b.ctx.Err() == nil && s.moves < movesMost && tried.Unprocessed(err)
}

// move leaves the endpoint, which did not process the request.
func (s *search) move(err error) {
	v := neutral
	if refused(err) {
		v = bad
	}
	s.leave(v)
	s.moves++
	s.moved = append(s.moved, s.use.d)
	s.last = tried.Mark(err, s.use.d.addr)
	s.use, s.owned = use{}, false
}

// cancel ends the use without an outcome: no request was sent.
func (s *search) cancel() { s.leave(neutral) }

// leave ends the use with a verdict, in so far as the interceptor has not ended it.
func (s *search) leave(v verdict) {
	now, ended := clock(), s.owned && !s.call.giveBack()
	if !ended || s.call.kind != connect.StreamTypeUnary {
		s.use.release(now, false)
	}
	if !ended {
		s.use.judge(now, v)
	}
}

// undo is cancel for a call that RoundTrip begins anew: it takes neither a second turn, nor
// another endpoint because of this one.
func (s *search) undo() {
	s.cancel()
	if s.added {
		s.set.Remove(s.use.d.addr)
	}
	if p, ok := s.g.policy.(interface{ giveBack() }); ok {
		p.giveBack()
	}
}

// fail ends the use after an error, and returns the error with the endpoint's name. The
// error may be the caller's fault.
func (s *search) fail(err error, callers bool) error {
	now := clock()
	if !s.owned || s.call.kind != 0 {
		s.use.release(now, false)
	}
	if !s.owned {
		v := neutral
		if !callers {
			v = verdictOfTransport(s.ctx, err)
		}
		s.use.judge(now, v)
	}
	return tried.Mark(err, s.use.d.addr)
}

// refused reports whether the endpoint has refused a request on a connection that works:
// this counts as a failure, and a missing connection, for which there is ready, does not.
func refused(err error) bool {
	var reset h2.StreamError
	return errors.As(err, &reset) && reset.Code == h2.ErrCodeRefusedStream
}
