// SPDX-License-Identifier: Apache-2.0

// Call information that travels in contexts.

package connect

import (
	"context"
	"net/http"
)

// CallInfo is what a call's context knows of it: see [NewClientContext] and
// [CallInfoForHandlerContext]. Only this package implements it.
//
// Keys that begin with "Connect-" and "Grpc-" are the protocols': read, but do
// not write them.
type CallInfo interface {
	// Spec describes the procedure.
	Spec() Spec
	// Peer describes the other side.
	Peer() Peer
	// RequestHeader returns the request's headers, never nil.
	RequestHeader() http.Header
	// ResponseHeader returns the response's headers. For a client it is nil
	// before the call; during a stream it waits for them.
	ResponseHeader() http.Header
	// ResponseTrailer returns the response's trailers. For a client it is nil
	// before the call, and incomplete before the call's end.
	ResponseTrailer() http.Header
	// HTTPMethod returns "POST", or "GET" for a side-effect-free call that is
	// sent as such. For a client it is "" until the request is sent.
	HTTPMethod() string

	internalOnly()
}

type (
	clientInfoKey  struct{} // the *clientInfo of NewClientContext
	callInfoKey    struct{} // the *clientInfo with which the call began
	handlerInfoKey struct{} // the CallInfo of the handler's call
)

// NewClientContext returns a context for calls of a client, and the information
// about the call that is made with it: set request headers there before the
// call, find response headers and trailers there after it.
//
// One call after another may use the context; concurrent calls may share only
// its request headers.
func NewClientContext(ctx context.Context) (context.Context, CallInfo) {
	info := &clientInfo{}
	return context.WithValue(ctx, clientInfoKey{}, info), info
}

// CallInfoForHandlerContext returns the information about the call that a
// handler serves with ctx, false if ctx is of no handler.
func CallInfoForHandlerContext(ctx context.Context) (CallInfo, bool) {
	info, ok := ctx.Value(handlerInfoKey{}).(CallInfo)
	return info, ok
}

// responseMetadata is where a client's call information finds the response's.
type responseMetadata interface {
	ResponseHeader() http.Header
	ResponseTrailer() http.Header
}

// clientInfo is the CallInfo of a client's call.
type clientInfo struct {
	call     callState
	response responseMetadata // nil before the call
}

func (i *clientInfo) Spec() Spec         { return i.call.Spec() }
func (i *clientInfo) Peer() Peer         { return i.call.peer }
func (i *clientInfo) HTTPMethod() string { return i.call.method }
func (i *clientInfo) internalOnly()      {}

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

// beginCall returns the call information of ctx, nil if there is none, and a
// context that remembers it, for checkCall.
func beginCall(ctx context.Context) (context.Context, *clientInfo) {
	info, _ := ctx.Value(clientInfoKey{}).(*clientInfo)
	if remembered, _ := ctx.Value(callInfoKey{}).(*clientInfo); remembered != info {
		ctx = context.WithValue(ctx, callInfoKey{}, info)
	}
	return ctx, info
}

// checkCall refuses a context whose call information was replaced since
// beginCall: an interceptor's call of NewClientContext would cut the caller off
// from what the caller asked for.
func checkCall(ctx context.Context) error {
	info, _ := ctx.Value(clientInfoKey{}).(*clientInfo)
	if remembered, _ := ctx.Value(callInfoKey{}).(*clientInfo); remembered != info {
		return errorf(CodeUnknown, "interceptors must not call NewClientContext: change the request's headers instead")
	}
	return nil
}
