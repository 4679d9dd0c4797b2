// SPDX-License-Identifier: Apache-2.0

// Interceptors: functions that wrap calls.

package connect

import (
	"context"
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

// wrapUnary wraps a handler's function in its interceptors. The first one is
// outermost.
func (c *config) wrapUnary(next UnaryFunc) UnaryFunc {
	for _, i := range slices.Backward(c.interceptors) {
		next = i.WrapUnary(next)
	}
	return next
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
