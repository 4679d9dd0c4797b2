// SPDX-License-Identifier: Apache-2.0

// The interceptor, for unary calls and streams of both sides.

package validate

import (
	"context"
	"log/slog"
	"sync"

	"buf.build/go/protovalidate"

	"github.com/seed-b7c59c10/connect"
)

// An Interceptor checks messages against the rules in their schemas. It is safe for
// concurrent use, and may serve any number of handlers and clients.
type Interceptor struct {
	validator protovalidate.Validator
	options   func(connect.Spec) []protovalidate.ValidationOption // nil for none
	filter    func(connect.Spec) bool                             // nil for all
	logger    *slog.Logger                                        // nil for the default
	responses bool
	noDetails bool

	logged sync.Map // names of message types whose mistakes are in the log
}

var _ connect.Interceptor = (*Interceptor)(nil)

// New returns an interceptor. Without options it checks requests of all procedures, with
// [protovalidate.GlobalValidator]. It compiles the rules of a type with the first message
// of the type, or in [Interceptor.Compile]. Nil options are ignored.
//
// On a handler, interceptors outside of it see its errors: those for authorisation belong
// there, so that strangers do not learn of rules. On a client it refuses what the client's
// schema forbids, which may be older than the server's.
func New(options ...Option) *Interceptor {
	i := &Interceptor{validator: protovalidate.GlobalValidator}
	for _, o := range options {
		if o != nil {
			o(i)
		}
	}
	return i
}

// covers reports whether the messages of a procedure are checked.
func (i *Interceptor) covers(s connect.Spec) bool { return i.filter == nil || i.filter(s) }

// WrapUnary checks the request before the call, and the response after it.
func (i *Interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		spec := req.Spec()
		if !i.covers(spec) {
			return next(ctx, req)
		}
		if err := i.check(ctx, spec, req.Any(), request); err != nil {
			return nil, err
		}
		res, err := next(ctx, req)
		if err != nil || res == nil || !i.responses {
			return res, err
		}
		if err := i.check(ctx, spec, res.Any(), response); err != nil {
			return nil, err
		}
		return res, nil
	}
}

// WrapStreamingHandler checks the messages that a handler receives and sends.
func (i *Interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if !i.covers(conn.Spec()) {
			return next(ctx, conn)
		}
		return next(ctx, &handlerConn{conn, i, ctx})
	}
}

// WrapStreamingClient checks the messages that a client sends and receives.
func (i *Interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		if !i.covers(spec) {
			return next(ctx, spec)
		}
		return &clientConn{next(ctx, spec), i, ctx}
	}
}

// handlerConn checks the messages of a handler's stream.
type handlerConn struct {
	connect.StreamingHandlerConn
	i   *Interceptor
	ctx context.Context
}

func (c *handlerConn) Receive(msg any) error {
	if err := c.StreamingHandlerConn.Receive(msg); err != nil {
		return err
	}
	return c.i.check(c.ctx, c.Spec(), msg, request)
}

func (c *handlerConn) Send(msg any) error {
	if msg != nil && c.i.responses {
		if err := c.i.check(c.ctx, c.Spec(), msg, response); err != nil {
			return err
		}
	}
	return c.StreamingHandlerConn.Send(msg)
}

// clientConn checks the messages of a client's stream.
type clientConn struct {
	connect.StreamingClientConn
	i   *Interceptor
	ctx context.Context
}

func (c *clientConn) Send(msg any) error {
	if msg != nil { // nil sends the headers alone
		if err := c.i.check(c.ctx, c.Spec(), msg, request); err != nil {
			return err
		}
	}
	return c.StreamingClientConn.Send(msg)
}

func (c *clientConn) Receive(msg any) error {
	if err := c.StreamingClientConn.Receive(msg); err != nil || !c.i.responses {
		return err
	}
	return c.i.check(c.ctx, c.Spec(), msg, response)
}
