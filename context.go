// SPDX-License-Identifier: Apache-2.0

// Information on calls in their contexts.

package connect

import (
	"context"
	"net/http"
	"sync/atomic"
)

// CallInfo gives access to the procedure, the peer, the headers and the trailers
// of a call through its context: see [NewClientContext] for clients and
// [CallInfoForHandlerContext] for handlers. Only this package implements it.
type CallInfo interface {
	// Spec returns the description of the procedure. On the client's side it is
	// empty before the call.
	Spec() Spec
	// Peer returns the description of the other side. On the client's side it is
	// empty before the call, and has the server's TLS connection once the
	// response's headers have arrived.
	Peer() Peer
	// RequestHeader returns the request's headers, never nil.
	RequestHeader() http.Header
	// ResponseHeader returns the response's headers. On the client's side it
	// returns nil before the call, and waits for the headers during a stream.
	ResponseHeader() http.Header
	// ResponseTrailer returns the response's trailers. On the client's side it
	// returns nil before the call; the trailers are complete after it.
	ResponseTrailer() http.Header
	// SetSendCompression chooses the compression of the messages that this side
	// sends from now on, and returns an error that changes nothing if that is not
	// possible.
	//
	// "identity" sends them as they are: secrets next to text that an attacker
	// chooses, images. It is possible at any time, and so is the return to the
	// compression of the call, which the headers name. Another compression must be
	// chosen before the headers are sent: by a handler before its first Send, by a
	// caller before the call. Handlers can choose one that they have, see
	// [WithCompression], and that the client accepts; callers one that the client
	// has, see [WithAcceptCompression]. Messages of less than
	// [WithCompressMinBytes] are sent as they are in any case.
	//
	// A choice that a caller makes before a call holds for all later calls with the
	// context; one during a stream, for that stream. The goroutine that sends calls
	// it.
	SetSendCompression(name string) error
	// SendHeader sends the headers now, and not with the first message: a handler
	// calls it when the client should see them, or that the call is accepted, long
	// before. Later changes of the headers have no effect. It is possible in each
	// kind of call, except in the unary calls of the Connect protocol, whose headers
	// have the end of the call in them: there it returns CodeUnimplemented. On the
	// client's side it does so for the requests of a stream, as Send(nil), and
	// returns an error before the call and for other calls. The goroutine that sends
	// calls it.
	SendHeader() error
	// HTTPMethod returns "POST", or "GET" for a call that is sent as HTTP GET:
	// see [WithHTTPGet]. On the client's side it is "" until the request is sent.
	HTTPMethod() string

	internalOnly()
}

type (
	clientInfoKey  struct{} // the *clientInfo of NewClientContext, or that of a begunCall
	handlerInfoKey struct{} // the CallInfo of the handler's call
	handlerCallKey struct{} // the same, of the conn below interceptors
)

// NewClientContext returns a context for a client's call, and the call's
// information: the caller sets request headers in it before the call, and reads
// response headers and trailers from it after the call.
//
// Several calls may use the context one after the other. Calls that use it at
// the same time all send its request headers, and must not use the rest of the
// information.
func NewClientContext(ctx context.Context) (context.Context, CallInfo) {
	info := &clientInfo{}
	return context.WithValue(ctx, clientInfoKey{}, info), info
}

// CallInfoForHandlerContext returns the information on the call that a handler
// serves. The context is the handler's, or one derived from it; for any other
// context the result is false.
func CallInfoForHandlerContext(ctx context.Context) (CallInfo, bool) {
	info, ok := ctx.Value(handlerInfoKey{}).(CallInfo)
	return info, ok
}

// responseMetadata is the source of the response's headers and trailers, and of its
// connection, in a client's call information.
type responseMetadata interface {
	Peer() Peer
	ResponseHeader() http.Header
	ResponseTrailer() http.Header
}

// clientInfo is the CallInfo of a client's call.
type clientInfo struct {
	call        callState
	response    responseMetadata           // nil before the call
	compression *string                    // name of that of the requests, nil for the client's
	conn        atomic.Pointer[clientConn] // of the stream that was begun last, nil before
}

func (i *clientInfo) Spec() Spec         { return i.call.Spec() }
func (i *clientInfo) HTTPMethod() string { return i.call.method }
func (i *clientInfo) internalOnly()      {}

func (i *clientInfo) Peer() Peer {
	if i.response == nil {
		return i.call.peer
	}
	return i.response.Peer()
}

func (i *clientInfo) RequestHeader() http.Header { return i.call.header.header() }

func (i *clientInfo) ResponseHeader() http.Header {
	if i.response == nil {
		return nil
	}
	return i.response.ResponseHeader()
}

func (i *clientInfo) ResponseTrailer() http.Header {
	if i.response == nil {
		return nil
	}
	return i.response.ResponseTrailer()
}

// A begunCall is the call information with which a call has begun. It hides that of
// NewClientContext, so that one look shows whether there was a NewClientContext since.
type begunCall struct{ *clientInfo }

// callInfoOf returns the call information of ctx, nil if there is none. begun is false if
// no call has begun with it.
func callInfoOf(ctx context.Context) (info *clientInfo, begun bool) {
	switch found := ctx.Value(clientInfoKey{}).(type) {
	case *clientInfo:
		return found, false
	case begunCall:
		return found.clientInfo, true
	}
	return nil, true
}

// beginCall returns the call information of ctx, nil if there is none, and a
// context in which a call has begun with it, for checkCall.
func beginCall(ctx context.Context) (context.Context, *clientInfo) {
	info, begun := callInfoOf(ctx)
	if !begun {
		ctx = context.WithValue(ctx, clientInfoKey{}, begunCall{info})
	}
	return ctx, info
}

// checkCall returns the call information of ctx, nil if there is none, and an error if it
// was replaced since beginCall: after an interceptor's call of NewClientContext, the caller
// would not find the response's headers in the information that it made.
func checkCall(ctx context.Context) (*clientInfo, error) {
	info, begun := callInfoOf(ctx)
	if !begun {
		return info, errorf(CodeUnknown, "interceptors must not call NewClientContext: change the request's headers instead")
	}
	return info, nil
}
