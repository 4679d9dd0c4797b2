// SPDX-License-Identifier: Apache-2.0

// Call interceptors around the calls of a handler.

package connect

import (
	"context"
	"time"
)

// serveCall serves a call inside of the call interceptors, and returns its error. The
// parameter err is that of serveConn.
func (h *Handler) serveCall(ctx context.Context, conn HandlerConn, err error) error {
	s := served{handler: h, conn: conn, refused: err}
	s.call.stats.Begin = time.Now()
	s.call.run = s.run
	switch c := conn.(type) {
	case *handlerConn:
		s.call.handler, c.call = c, &s.call
	default:
		s.call.handler, s.conn = connInfo{conn}, &countedConn{conn, &s.call}
	}
	return s.outcome(h.config.around(ctx, &s.call))
}

// served is a call inside of call interceptors.
type served struct {
	call    Call
	handler *Handler
	conn    HandlerConn
	refused error // why the call cannot be served, nil if it can

	ran   bool
	plain error  // the error of the call
	coded *Error // the same as the interceptors see it
}

// run serves the call.
func (s *served) run(ctx context.Context) error {
	if s.ran {
		return errAgain(s.handler.config.spec)
	}
	s.ran = true
	defer s.call.end()
	s.plain = errUnfinished // if it panics
	if s.refused != nil {
		s.plain = s.refused
	} else {
		s.plain = whyCut(s.conn, s.handler.serve(ctx, s.conn))
	}
	if s.plain == nil {
		return nil
	}
	s.coded = faultOf(s.plain)
	return s.coded
}

// outcome returns the error of the call, for that of the outermost interceptor. If the
// interceptors have left the error as it is, or wrapped it, it is the handler's own,
// without the code that run has added: settings such as WithSafeErrors look for that.
func (s *served) outcome(err error) error {
	spec := s.handler.config.spec
	if e, ok := asError(err); ok && e == s.coded {
		return s.plain
	}
	switch {
	case err != nil:
		return err
	case !s.ran:
		return errSkipped(spec)
	case s.plain != nil && !spec.StreamType.serverStreams():
		return NewError(CodeInternal, &swallowed{spec.Procedure, s.plain})
	}
	return nil
}

// swallowed is the error of a call without a response for which a call interceptor
// returned no error. Its text does not have that of the call's own error, which
// WithSafeErrors may have to withhold.
type swallowed struct {
	procedure string
	err       error
}

func (e *swallowed) Error() string {
	return e.procedure + ": call interceptor returned no error for a call without a response, which failed"
}

func (e *swallowed) Unwrap() error { return e.err }

// errUnfinished is the error of a call that panicked.
var errUnfinished = errorf(CodeInternal, "the call panicked")

// countedConn counts the messages of a conn that is not this package's.
type countedConn struct {
	HandlerConn
	call *Call
}

func (c *countedConn) HTTPMethod() string { return methodOf(c.HandlerConn) }

func (c *countedConn) Receive(msg any) error {
	err := c.HandlerConn.Receive(msg)
	if err == nil {
		c.call.measure(CallMessage{Message: msg, Time: time.Now()}, true)
	}
	return err
}

func (c *countedConn) Send(msg any) error {
	err := c.HandlerConn.Send(msg)
	if msg == nil || err != nil {
		return err
	}
	c.call.headed()
	c.call.measure(CallMessage{Sent: true, Message: msg, Time: time.Now()}, true)
	return nil
}
