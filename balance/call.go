// SPDX-License-Identifier: Apache-2.0

// One use of an endpoint, and the interceptor that judges its outcome.
//
// Invariants. Each use is ended once: its load, its judgement, and its place among the
// backend's users. The transport ends it, but for two cases: the interceptor ends uses of
// unary calls, and judges those of streams, whose load ends with the response's body. The
// first message of a stream for trial is judged beside its end.

package balance

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/internal/tried"
)

// A verdict is the meaning of a use's outcome for the endpoint.
type verdict int

const (
	neutral verdict = iota // nothing
	good
	bad
	lost // bad, for all calls of a connection
	left // bad, for all streams that were open: the server goes away
)

// A use is one request at an endpoint. The zero value is none.
type use struct {
	d       *backend
	began   moment
	trial   bool // decides whether an ejected endpoint returns
	replied bool // with a status other than 200, in a call's use
}

// judge counts the outcome.
func (u *use) judge(now moment, v verdict) {
	h := &u.d.health
	switch {
	case v == lost && u.d.lose(now, u.began), v == left && u.d.lastStream(now, u.began):
		v = bad
	case v == lost, v == left:
		v = neutral
	}
	if v == neutral {
		if u.trial {
			h.abandon()
		}
		return
	}
	u.d.load.outcome(now, v == bad)
	if !h.report(now, v == bad) {
		return
	}
	if v == good {
		u.d.startSlowly(now)
	}
	u.d.group.changed()
}

// release ends the use but for its outcome. timed reports whether its time counts.
func (u *use) release(now moment, timed bool) {
	took := time.Duration(-1)
	if timed {
		took = now.Sub(u.began)
	}
	u.d.leave(now, took)
}

// sooner is how much earlier a server may find that the time of a call is over: the time
// travels in milliseconds.
const sooner = 2 * time.Millisecond

// endPatience is how long an outcome waits for the end of a context whose deadline has come.
const endPatience = time.Second

// verdictOf returns the meaning of a call's error for its endpoint: the faults of
// servers and of connections count, those of callers do not. timed reports whether the
// endpoint was at least as slow as the call has taken.
func verdictOf(ctx context.Context, err error) (v verdict, timed bool) {
	if err == nil {
		return good, true
	}
	code := connect.CodeOf(err)
	if code == connect.CodeDeadlineExceeded && ctx.Err() == nil {
		deadline, ok := ctx.Deadline()
		if !ok || time.Until(deadline) > sooner {
			return bad, true
		}
		timer := time.NewTimer(endPatience)
		defer timer.Stop()
		select { // to find out whose limit it was
		case <-ctx.Done():
		case <-timer.C:
			return neutral, false // the deadline was set by a wall clock that has jumped, or is not the context's
		}
	}
	switch {
	case context.Cause(ctx) == tried.AttemptTimeout:
		return bad, true
	case ctx.Err() != nil:
		return neutral, errors.Is(ctx.Err(), context.DeadlineExceeded)
	case connect.IsWireError(err):
		if code == connect.CodeUnavailable {
			return bad, false
		}
		return good, false
	case code == connect.CodeUnavailable, errors.Is(err, io.ErrUnexpectedEOF): // before the answer, or inside of it
		return lost, false
	case code == connect.CodeInternal, code == connect.CodeUnknown:
		return bad, false
	}
	return neutral, false
}

// verdictOfTransport returns the meaning of a transport's error, without the interceptor.
// The reset of one stream is not the loss of the connection.
func verdictOfTransport(ctx context.Context, err error) verdict {
	var reset h2.StreamError
	switch {
	case ctx.Err() != nil:
		return neutral
	case errors.As(err, &reset):
		return bad
	}
	return lost
}

// ---- the interceptor ----

// A call is the context of an attempt, in which the transport finds it. It holds the use
// that the interceptor ends.
//
// It has 64 bytes, as each call allocates one: so the fields of its use are here.
type call struct {
	context.Context
	b    *Balancer
	vain *errNotReady // why there was no endpoint when the context ended; nil if it did not end

	mu    sync.Mutex
	d     *backend // the last one
	began moment
	kind  connect.StreamType // never written
	has   bool               // a use, of d
	ended bool

	trial, replied bool // as in use
	worked         bool // a stream that has had a message
}

type callKey struct{}

func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// callOf returns the call of a context, nil if there is none of this Balancer's.
func (b *Balancer) callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	if c == nil || c.b != b {
		return nil
	}
	return c
}

// take hands a use to the call. It reports false if the call has one, because attempts
// are made between the interceptor and the transport, or has ended.
func (c *call) take(u use) bool {
	c.mu.Lock()
	taken := !c.ended && !c.has
	if taken {
		c.has, c.d, c.began, c.trial, c.replied = true, u.d, u.began, u.trial, false
	}
	c.mu.Unlock()
	return taken
}

// giveBack takes the use away: another endpoint is tried. It reports false if the call has
// ended, and the use with it.
func (c *call) giveBack() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	had := c.has
	c.has = false
	return had
}

// answered notes the status of the response, unless it is that of every RPC's answer.
func (c *call) answered(status int) {
	if status == http.StatusOK {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replied = c.has
}

// works ends a trial by the first message of its stream, whose end may be far, and is often
// that the caller cancels. The outcome at the end counts as well.
func (c *call) works() {
	c.mu.Lock()
	u := use{d: c.d, began: c.began, trial: c.has && c.trial}
	c.trial, c.worked = false, true
	c.mu.Unlock()
	if u.trial {
		u.judge(clock(), good)
	}
}

// gaveUp notes that the context has ended before there was an endpoint.
func (c *call) gaveUp(err *errNotReady) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.vain = err
}

// end ends the call, and returns its use. held reports whether there was one; if not, u.d
// is the last endpoint, nil if there was none.
func (c *call) end() (u use, held bool) {
	c.mu.Lock()
	u, held = use{c.d, c.began, c.trial, c.replied}, c.has
	c.has, c.ended = false, true
	c.mu.Unlock()
	return u, held
}

// finish ends the call, and returns its error with the name of the endpoint.
func (c *call) finish(err error) error {
	u, held := c.end()
	if held {
		v, timed := verdictOf(c.Context, err)
		switch {
		case v == lost && u.replied:
			v = bad // a proxy's answer: the connection is not lost
		case v == bad && c.worked && connect.IsWireError(err):
			v = left
		}
		now := clock()
		if c.kind == connect.StreamTypeUnary {
			u.release(now, timed)
		}
		u.judge(now, v)
	}
	switch {
	case err == nil:
		return nil
	case u.d == nil:
		return c.explain(err)
	}
	return tried.Mark(err, u.d.addr)
}

// explain returns the error of a call without an endpoint: if the deadline has passed, it
// has the reason for which no endpoint was ready.
func (c *call) explain(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.vain == nil || connect.CodeOf(err) != connect.CodeDeadlineExceeded {
		return err
	}
	return connect.NewError(connect.CodeDeadlineExceeded, c.vain)
}

// abandon ends a call whose outcome is not known, if it has not ended.
func (c *call) abandon() {
	if u, held := c.end(); held {
		now := clock()
		if c.kind == connect.StreamTypeUnary {
			u.release(now, false)
		}
		u.judge(now, neutral)
	}
}

// An interceptor judges attempts.
type interceptor struct{ b *Balancer }

func (i interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		c, returned := &call{Context: ctx, b: i.b}, false
		defer func() {
			if !returned { // a panic
				c.abandon()
			}
		}()
		response, err := next(c, request)
		returned = true
		if err = c.finish(err); err != nil {
			return nil, err
		}
		return response, nil
	}
}

func (i interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func (i interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		c := &call{Context: ctx, b: i.b, kind: spec.StreamType}
		return &stream{StreamingClientConn: next(c, spec), call: c}
	}
}

// A stream is a streaming call.
type stream struct {
	connect.StreamingClientConn
	call     *call
	received bool // a message; for the goroutine that receives
}

func (s *stream) Receive(msg any) error {
	err := s.StreamingClientConn.Receive(msg)
	switch {
	case err == nil:
		if !s.received {
			s.received = true
			s.call.works()
		}
	case errors.Is(err, io.EOF):
		_ = s.call.finish(nil)
	default:
		err = s.call.finish(err)
	}
	return err
}

func (s *stream) CloseResponse() error {
	err := s.StreamingClientConn.CloseResponse()
	s.call.abandon()
	return err
}

// EndpointOf returns the address of the endpoint at which the call or the attempt that
// returned err has failed: "" if it reached none, or the client lacks the option of
// [Balancer.Options].
func EndpointOf(err error) string { return tried.Of(err) }
