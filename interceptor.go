// SPDX-License-Identifier: Apache-2.0

// Interceptors: functions around calls.

package connect

import (
	"context"
	"net/http"
	"slices"
)

// UnaryFunc is a unary call. Its request and response are *Request[T] and
// *Response[T] of the procedure's types. It returns either a response or an
// error.
type UnaryFunc func(context.Context, AnyRequest) (AnyResponse, error)

// StreamingClientFunc begins a streaming call. It sends nothing itself.
type StreamingClientFunc func(context.Context, Spec) StreamingClientConn

// StreamingHandlerFunc serves a streaming call.
type StreamingHandlerFunc func(context.Context, StreamingHandlerConn) error

// An Interceptor wraps calls, on either side: to log, measure, authorise, retry,
// change messages or errors. WrapUnary and WrapStreamingHandler are called once for
// each client or handler, WrapStreamingClient for each call; the functions that
// they return must be safe for concurrent use.
//
// A client's context may not be replaced by one of [NewClientContext]: such a
// call fails.
type Interceptor interface {
	WrapUnary(UnaryFunc) UnaryFunc
	WrapStreamingClient(StreamingClientFunc) StreamingClientFunc
	WrapStreamingHandler(StreamingHandlerFunc) StreamingHandlerFunc
}

// UnaryInterceptorFunc is an [Interceptor] that leaves streaming calls alone.
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

// wrapUnary wraps a handler's function in its interceptors, the first one outermost.
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

// caught turns the value of a panic into an error.
func (r *recoverer) caught(ctx context.Context, spec Spec, header http.Header, value any) error {
	if value == http.ErrAbortHandler {
		panic(value)
	}
	return r.handle(ctx, spec, header, value)
}
