// SPDX-License-Identifier: Apache-2.0

// Attempts: how an interceptor makes one unary call several times, also at once.

package connect

import (
	"context"
	"net/http"
)

// NewAttempt returns a context and a request for one attempt at a client's unary call,
// for interceptors that call the next function more than once, such as retries and
// hedging. Attempts may run at the same time: each has a copy of the request's headers,
// and a [CallInfo] of its own if the call has one. All share the message, which must
// not change meanwhile.
//
// The interceptor calls commit, once, for the attempt whose result it returns, after the
// next function has returned: then the caller's CallInfo and Request are those of this
// attempt. It should return only after all attempts have returned, because the caller
// may change the message then; an attempt returns soon after its context has ended.
//
//	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
//		for {
//			ctx, attempt, commit := connect.NewAttempt(ctx, req)
//			res, err := next(ctx, attempt)
//			if connect.CodeOf(err) != connect.CodeUnavailable {
//				commit()
//				return res, err
//			}
//		}
//	}
func NewAttempt(ctx context.Context, request AnyRequest) (_ context.Context, attempt AnyRequest, commit func()) {
	var own *clientInfo
	info, begun := callInfoOf(ctx)
	if !begun {
		info = nil // the call fails, as it would without NewAttempt
	}
	if info != nil {
		own = &clientInfo{call: callState{spec: info.call.spec, peer: info.call.peer}, compression: info.compression}
		own.call.header.own = info.call.header.made().Clone()
		ctx = context.WithValue(ctx, clientInfoKey{}, begunCall{own})
	}
	attempt = copyRequest(request)
	return ctx, attempt, func() {
		method := attempt.HTTPMethod()
		state := stateOrNew(request)
		state.method, state.peer.tls = method, stateOrNew(attempt).peer.tls
		if info != nil {
			info.call.method, info.response = method, own.response
		}
	}
}

// copyRequest returns a request with the message of another, and with headers and a
// state of its own.
func copyRequest(request AnyRequest) AnyRequest {
	if r, ok := request.(interface{ copy(AnyRequest) AnyRequest }); ok {
		if made := r.copy(request); made != nil {
			return made
		}
	}
	c := &requestCopy{AnyRequest: request}
	c.call.header.own = request.Header().Clone()
	return c
}

// copy returns a copy, or nil if self is not r: then r is embedded in a type of the
// program, whose methods must not be passed over.
func (r *Request[T]) copy(self AnyRequest) AnyRequest {
	if self != AnyRequest(r) {
		return nil
	}
	c := &Request[T]{Msg: r.Msg, call: callState{spec: r.call.spec, peer: r.call.peer, shown: r.call.shown}}
	c.call.header.own = r.call.header.made().Clone()
	return c
}

// A requestCopy is a copy of a request whose type is the program's own.
type requestCopy struct {
	AnyRequest
	call callState // header, method, and the connection of the peer
}

func (r *requestCopy) Peer() Peer {
	p := r.AnyRequest.Peer()
	if r.call.peer.tls != nil {
		p.tls = r.call.peer.tls
	}
	return p
}

func (r *requestCopy) Header() http.Header { return r.call.header.header() }
func (r *requestCopy) HTTPMethod() string  { return r.call.method }

func (r *requestCopy) state() *callState { return &r.call }
