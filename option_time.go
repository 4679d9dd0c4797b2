// SPDX-License-Identifier: Apache-2.0

// Options about time: deadlines of calls, and limits of streams.

package connect

import (
	"context"
	"time"
)

// WithDefaultTimeout gives calls a deadline that have none: a handler's calls if the
// client sets no timeout, and a client's calls if the context has no deadline. A
// client sends it to the server as any deadline. The default is that of the schema,
// see package [github.com/seed-b7c59c10/connect/methodoption], and none without it;
// 0 and less mean none, whatever the schema has.
//
// The time begins when a handler has read the headers, and when a client begins the
// call: a unary call's time includes its interceptors, and so all their retries; a
// stream's begins when they have passed it on.
//
// To give procedures different timeouts, use [WithConditionalHandlerOptions] and
// [WithConditionalClientOptions].
func WithDefaultTimeout(timeout time.Duration) Option {
	return option(func(c *config) { c.times.standard = setting{max(timeout, 0), true} })
}

// WithMaxTimeout limits the time of each call: a handler's call ends after timeout
// even if the client has asked for more time, or for no deadline, and a client's even
// if the context has a later deadline, or none. The default is that of the schema,
// and none without it: see [WithDefaultTimeout], also for when the time begins. 0 and
// less mean none.
//
// The context of the call ends, with [context.DeadlineExceeded]. A handler must heed
// it: the library ends no goroutine.
func WithMaxTimeout(timeout time.Duration) Option {
	return option(func(c *config) { c.times.most = setting{max(timeout, 0), true} })
}

// WithStreamIdleTimeout ends a streaming call, of any of the three kinds, that has
// neither received nor sent a message for the time of timeout. The time begins with
// the stream. The default is 0; 0 and less mean no limit. Unary calls are not affected,
// nor are calls of [Handler.ServeConn].
//
// Send and Receive of the side with the option return an error with
// CodeDeadlineExceeded, whose text names this option and the side. A handler's option
// also cancels the context of the handler: its Err is [context.Canceled], and
// [context.Cause] returns that error. The client receives the error when the handler
// returns, also if it returns nil or the error of its context; it has two seconds for
// that. A client's option cancels the call: the handler sees CodeCanceled and
// [context.Canceled], as if the caller had cancelled.
//
// A message counts once Receive or Send has returned it without an error: a Send may
// return before the message has left.
func WithStreamIdleTimeout(timeout time.Duration) Option {
	return option(func(c *config) { c.times.idle = timeout })
}

// WithStreamMessageTimeout limits the time that one Receive or one Send of a
// streaming call may wait. Otherwise it is like [WithStreamIdleTimeout], also in what
// each side sees after a Receive that takes longer. After a Send that takes longer,
// the other side, which did not read in time, sees a call that was cut off. The
// default is 0; 0 and less mean no limit.
//
// The time of a message goes on after ReceiveContext has returned without it, because
// a goroutine still waits for the message: when the time is over, the call ends. A
// program that polls a stream with ReceiveContext sets [WithStreamIdleTimeout] instead.
func WithStreamMessageTimeout(timeout time.Duration) Option {
	return option(func(c *config) { c.times.message = timeout })
}

// WithConditionalClientOptions applies the options that conditional returns for a
// procedure's [Spec]: with it one procedure of a service can have a longer timeout
// than the others. The Spec has no StreamType, which the client's call determines,
// and what the options before this one have set. The function may return nil. It is
// called once for each [Client].
func WithConditionalClientOptions(conditional func(spec Spec) []ClientOption) ClientOption {
	return clientOption(func(c *config) {
		for _, o := range conditional(c.spec) {
			o.applyToClient(c)
		}
	})
}

// setting is a duration that an option may have set, 0 for none.
type setting struct {
	time.Duration
	set bool
}

// times are the limits of calls in time.
type times struct {
	standard setting       // for calls without a deadline
	most     setting       // for all calls
	idle     time.Duration // without a message of a stream
	message  time.Duration // for one message of a stream
}

// limit returns the time that a call has, and whether it is limited. The peer or the
// caller has asked for a time if timed is true.
func (t *times) limit(asked time.Duration, timed bool) (time.Duration, bool) {
	if !timed && t.standard.Duration > 0 {
		asked, timed = t.standard.Duration, true
	}
	if most := t.most.Duration; most > 0 && (!timed || asked > most) {
		return most, true
	}
	return asked, timed
}

// deadline returns the deadline that the settings of a client give to a call, and
// false if they leave that of its context.
func (t *times) deadline(ctx context.Context) (time.Time, bool) {
	if t.standard.Duration <= 0 && t.most.Duration <= 0 {
		return time.Time{}, false
	}
	now := time.Now()
	until, timed := ctx.Deadline()
	asked := until.Sub(now)
	if left, limited := t.limit(asked, timed); limited && (!timed || left < asked) {
		return now.Add(left), true
	}
	return time.Time{}, false
}
