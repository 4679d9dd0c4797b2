// SPDX-License-Identifier: Apache-2.0

// Calls that this side ends early: streams that are idle or whose messages take too
// long, and those whose SendContext has ended.

package connect

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// early is how a handler's conn ends its call before the handler has returned.
type early struct {
	mu     sync.Mutex
	over   bool                    // the handler has returned: nothing uses the ResponseWriter any more
	cause  atomic.Pointer[Error]   // why the call was ended, nil if it was not
	cancel context.CancelCauseFunc // of the call's context, nil unless there is a watch
	watch  *watch                  // nil unless an option asks for it
	writes *time.Timer             // ends the writes that are left, may be nil
}

// end stops the timers. The handler has returned.
func (e *early) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	e.watch.stop()
	if e.writes != nil {
		e.writes.Stop()
	}
	if e.cancel != nil {
		e.cancel(context.Canceled)
	}
}

// openWatch begins to watch a stream, if an option asks for it.
func (c *handlerConn) openWatch() {
	if !c.config.watches(c.config.spec.StreamType) {
		return
	}
	w := newWatch(c.config, c.cutShort)
	c.early.mu.Lock()
	defer c.early.mu.Unlock()
	c.ctx.Context, c.early.cancel = context.WithCancelCause(c.ctx.Context)
	c.early.watch = w
}

// cut ends the call because a Send waits: that has a part of a message with the client,
// and so there is no way to send the error.
func (c *handlerConn) cut(err *Error) { c.cutShort(err, true) }

// cutShort ends the call with an error: its context, the reads that wait, and the
// writes that wait, unless writes is false: then the handler has writeGrace to return,
// so that the error arrives. The context ends first: see timeLimit.pass.
func (c *handlerConn) cutShort(err *Error, writes bool) {
	e := &c.early
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over || !e.cause.CompareAndSwap(nil, err) {
		return
	}
	if e.cancel != nil {
		e.cancel(err)
	}
	rc := http.NewResponseController(c.exchange)
	if c.leavesRequest() {
		_ = rc.SetReadDeadline(time.Now())
	}
	if writes {
		_ = rc.SetWriteDeadline(time.Now())
		return
	}
	e.writes = time.AfterFunc(writeGrace, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !e.over {
			_ = rc.SetWriteDeadline(time.Now())
		}
	})
}

// EndCall ends the call of a handler's context ahead of time, with an error: for
// interceptors that find a reason while a stream runs, such as a credential that has
// expired. It may be called from any goroutine, and does nothing once the handler has
// returned. It returns false if ctx is not that of a handler's call or one derived from
// it, for a nil err, and for calls of [Handler.ServeConn].
//
// A Receive that waits returns err. The client receives err when the handler returns, if
// that returns nil or an error with CodeCanceled or CodeDeadlineExceeded; a Send that waits
// has two seconds, so that err can still be sent. EndCall does not end ctx: an interceptor
// passes on a context that it cancels itself. The first of several errors counts.
func EndCall(ctx context.Context, err *Error) bool {
	conn, ok := ctx.Value(handlerCallKey{}).(*handlerConn)
	if !ok || err == nil {
		return false
	}
	conn.cutShort(err, false)
	return true
}

// because returns the reason of a call that was ended early in the place of err, if
// err is a consequence of that.
func (c *handlerConn) because(err error) error {
	if err == nil {
		return nil
	}
	reason := c.early.cause.Load()
	if reason == nil {
		return err
	}
	switch faultOf(err).code {
	case CodeCanceled, CodeDeadlineExceeded:
		return reason
	}
	return err
}

// whyCut returns the error of a handler that has returned err: the reason, if this side
// has ended its call early, unless err is another fault. A handler that returns no
// error then has not sent all of its stream.
func whyCut(conn HandlerConn, err error) error {
	c, ok := conn.(*handlerConn)
	if !ok {
		return err
	}
	if reason := c.early.cause.Load(); reason != nil && err == nil {
		return reason
	}
	return c.because(err)
}

// cut ends the call with an error, which Send and Receive return.
func (c *clientConn) cut(err *Error) {
	if c.reason.CompareAndSwap(nil, err) {
		c.cancel()
	}
}

func (c *clientConn) cutShort(err *Error, _ bool) { c.cut(err) }

// because returns the reason of a call that was ended early in the place of err,
// unless err is the end of the stream or the server's.
func (c *clientConn) because(err error) error {
	if err == nil || err == io.EOF || IsWireError(err) {
		return err
	}
	if reason := c.reason.Load(); reason != nil {
		return reason
	}
	return err
}

// watch ends a stream that is idle, or one of whose messages takes too long.
type watch struct {
	end           func(err *Error, writes bool) // writes is true because of a Send
	side          string
	idle, message time.Duration // 0 is no limit

	mu      sync.Mutex
	last    time.Time   // the last message was sent or received, or the stream began
	timer   *time.Timer // fires when the stream may be idle; nil without a limit
	stopped bool
}

// watches reports whether the settings have a limit for a stream of a kind. Calls
// without one make no function for newWatch.
func (c *config) watches(kind StreamType) bool {
	return kind != StreamTypeUnary && (c.times.idle > 0 || c.times.message > 0)
}

// newWatch returns the watch for a stream whose settings have a limit.
func newWatch(c *config, end func(*Error, bool)) *watch {
	w := &watch{end: end, side: sideName(c.spec.IsClient), idle: c.times.idle, message: c.times.message, last: time.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idle > 0 {
		w.timer = time.AfterFunc(w.idle, w.look)
	}
	return w
}

// look ends the stream if it is idle. The timer fires again when it may be: so a
// message does not have to set it.
func (w *watch) look() {
	w.mu.Lock()
	left := w.idle - time.Since(w.last)
	idle := left <= 0 && !w.stopped
	if left > 0 && !w.stopped {
		w.timer.Reset(left)
	}
	w.mu.Unlock()
	if idle {
		w.end(errorf(CodeDeadlineExceeded, "the stream was idle: no message in either direction for %v, the %s's limit, which WithStreamIdleTimeout sets", w.idle, w.side).(*Error), false)
	}
}

// verbSend names a Send in the watch's errors.
const verbSend = "send"

// begin limits the time of one message, and returns the function that ends the limit.
// A nil watch has none.
func (w *watch) begin(verb string) (done func(err error)) {
	if w == nil {
		return func(error) {}
	}
	var timer *time.Timer
	if w.message > 0 {
		timer = time.AfterFunc(w.message, func() {
			w.end(errorf(CodeDeadlineExceeded, "%s: one message took more than %v, the %s's limit, which WithStreamMessageTimeout sets", verb, w.message, w.side).(*Error), verb == verbSend)
		})
	}
	return func(err error) {
		if timer != nil {
			timer.Stop()
		}
		if err == nil {
			w.mu.Lock()
			w.last = time.Now()
			w.mu.Unlock()
		}
	}
}

// stop ends the watch. A nil watch has none.
func (w *watch) stop() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// limitedContext is the context of a call with a deadline of its client's. It has no
// timer: the conn's context, which is below it, has one. So its end needs no cancel.
type limitedContext struct {
	context.Context
	deadline time.Time
}

func (c *limitedContext) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *limitedContext) Err() error {
	if err := c.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(c.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}
