// SPDX-License-Identifier: Apache-2.0

// Attempts: how an interceptor makes one unary call several times, also at once.

package connect

import (
	"context"
	"net/http"
	"slices"
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

// A SavedHeader has the headers that a request had at one time. An interceptor that makes
// its first attempt with the request itself, and further ones with [NewAttempt], saves
// them before the first: the interceptors after it may change them during each attempt.
// One goroutine at a time may use it.
//
//	saved := connect.SaveHeader(req)
//	res, err := next(ctx, req)
//	...
//	ctx, attempt, commit := connect.NewAttempt(ctx, req)
//	saved.Restore(attempt)
type SavedHeader struct {
	keys   [12]string // in the value itself, which is no memory of its own
	values [12][]string
	n      int
	more   http.Header // all, if they are more
	shown  http.Header // of callState
}

// SaveHeader saves the headers of a request. It allocates nothing for up to twelve of them,
// and does not make those for which nothing has asked yet, as Header would.
func SaveHeader(request AnyRequest) (s SavedHeader) {
	var h http.Header
	if r, ok := request.(interface{ isItself(AnyRequest) bool }); ok && r.isItself(request) {
		state := request.state()
		h, s.shown = state.header.made(), state.shown
	} else {
		h = request.Header()
	}
	if len(h) > len(s.keys) {
		s.more = h.Clone()
		return s
	}
	for key, values := range h {
		s.keys[s.n], s.values[s.n] = key, values
		s.n++
	}
	return s
}

// Restore makes the headers of an attempt those that were saved. The attempt is one of
// [NewAttempt] that was not made yet.
func (s *SavedHeader) Restore(attempt AnyRequest) {
	state := stateOrNew(attempt)
	state.header, state.shown = metadata{}, s.shown
	if s.n+len(s.more) == 0 {
		return
	}
	h := make(http.Header, s.n+len(s.more)+1)
	for i := range s.n {
		h[s.keys[i]] = slices.Clone(s.values[i])
	}
	for key, values := range s.more {
		h[key] = slices.Clone(values)
	}
	state.header.own = h
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
	if !r.isItself(self) {
		return nil
	}
	c := &Request[T]{Msg: r.Msg, call: callState{spec: r.call.spec, peer: r.call.peer, shown: r.call.shown}}
	c.call.header.own = r.call.header.made().Clone()
	return c
}

// isItself reports whether self is r, and not a type of the program that embeds r.
func (r *Request[T]) isItself(self AnyRequest) bool { return self == AnyRequest(r) }

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
