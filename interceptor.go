// SPDX-License-Identifier: Apache-2.0

// Interceptors: functions that wrap calls.

package connect

import (
	"context"
	"errors"
	"net/http"
	"slices"
)

// UnaryFunc makes or serves a unary call. The request is a *Request[T] and the
// response a *Response[T] of the procedure's types, or types of a program that
// embed these. It returns a response or an error.
type UnaryFunc func(context.Context, AnyRequest) (AnyResponse, error)

// StreamingClientFunc begins a client's streaming call. It sends nothing.
type StreamingClientFunc func(context.Context, Spec) StreamingClientConn

// StreamingHandlerFunc serves a streaming call. The call ends when it returns.
type StreamingHandlerFunc func(context.Context, StreamingHandlerConn) error

// An Interceptor wraps calls on either side: to log, measure, authorise or retry
// them, or to change messages and errors. The library calls WrapUnary and
// WrapStreamingHandler once for each client or handler, and WrapStreamingClient
// for each call. Their results must be safe for concurrent use.
//
// An interceptor of a client must not pass on a context of [NewClientContext]:
// such a call fails with CodeUnknown.
type Interceptor interface {
	WrapUnary(UnaryFunc) UnaryFunc
	WrapStreamingClient(StreamingClientFunc) StreamingClientFunc
	WrapStreamingHandler(StreamingHandlerFunc) StreamingHandlerFunc
}

// UnaryInterceptorFunc is an [Interceptor] that wraps unary calls only.
type UnaryInterceptorFunc func(UnaryFunc) UnaryFunc

// WrapUnary calls f.
func (f UnaryInterceptorFunc) WrapUnary(next UnaryFunc) UnaryFunc { return f(next) }

// WrapStreamingClient returns next.
func (f UnaryInterceptorFunc) WrapStreamingClient(next StreamingClientFunc) StreamingClientFunc {
	return next
}

// WrapStreamingHandler returns next.
func (f UnaryInterceptorFunc) WrapStreamingHandler(next StreamingHandlerFunc) StreamingHandlerFunc {
	return next
}

// chain notes that n interceptors are added.
func (c *config) chain(n int) {
	c.chained = c.chained || n > 1 || n == 1 && len(c.interceptors) > 0
}

// wrapUnary wraps a handler's function in its interceptors. The first one is
// outermost.
func (c *config) wrapUnary(next UnaryFunc) UnaryFunc {
	for _, i := range slices.Backward(c.interceptors) {
		if c.connectGo {
			next = c.checkedUnary(next)
		}
		next = i.WrapUnary(next)
	}
	return next
}

// checkedUnary returns a function that checks the context which an interceptor
// has passed on, and then calls next.
func (c *config) checkedUnary(next UnaryFunc) UnaryFunc {
	return func(ctx context.Context, request AnyRequest) (AnyResponse, error) {
		if _, err := c.checkNext(ctx); err != nil {
			return nil, err
		}
		return next(ctx, request)
	}
}

// checkedStream is checkedUnary for a client's streams.
func (c *config) checkedStream(next StreamingClientFunc) StreamingClientFunc {
	return func(ctx context.Context, spec Spec) StreamingClientConn {
		switch _, err := c.checkNext(ctx); {
		case err != nil && c.connectGo:
			return &failedConn{err: err}
		case err != nil:
			return &failedConn{spec: spec, peer: c.peer, err: err}
		}
		return next(ctx, spec)
	}
}

// checkNext is checkCall for an interceptor's context. With connect-go's meaning a
// single interceptor may pass on any context, and the error has no code.
func (c *config) checkNext(ctx context.Context) (*clientInfo, error) {
	info, err := checkCall(ctx)
	switch {
	case err == nil || c.connectGo && !c.chained:
		return info, nil
	case c.connectGo:
		return nil, errors.Unwrap(err)
	}
	return nil, err
}

// wrapStream is wrapUnary for streams.
func (c *config) wrapStream(next StreamingHandlerFunc) StreamingHandlerFunc {
	for _, i := range slices.Backward(c.interceptors) {
		next = i.WrapStreamingHandler(next)
	}
	return next
}

// recoverer is the interceptor of [WithRecover].
type recoverer struct {
	handle func(context.Context, Spec, http.Header, any) error
}

func (r *recoverer) WrapUnary(next UnaryFunc) UnaryFunc {
	return func(ctx context.Context, req AnyRequest) (res AnyResponse, err error) {
		defer func() {
			if value := recover(); value != nil {
				res, err = nil, r.caught(ctx, req.Spec(), req.Header(), value)
			}
		}()
		return next(ctx, req)
	}
}

func (r *recoverer) WrapStreamingClient(next StreamingClientFunc) StreamingClientFunc { return next }

func (r *recoverer) WrapStreamingHandler(next StreamingHandlerFunc) StreamingHandlerFunc {
	return func(ctx context.Context, conn StreamingHandlerConn) (err error) {
		defer func() {
			if value := recover(); value != nil {
				err = r.caught(ctx, conn.Spec(), conn.RequestHeader(), value)
			}
		}()
		return next(ctx, conn)
	}
}

// caught returns the error for the value of a panic. It panics again with
// http.ErrAbortHandler, which net/http handles.
func (r *recoverer) caught(ctx context.Context, spec Spec, header http.Header, value any) error {
	if value == http.ErrAbortHandler {
		panic(value)
	}
	return r.handle(ctx, spec, header, value)
}
