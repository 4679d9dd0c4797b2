// SPDX-License-Identifier: Apache-2.0

// The CallInfo of a handler's call with connect-go's meaning: gates and interceptors
// of streams have none, and that of a unary call has a header of its own.

package connect

import (
	"context"
	"net/http"
)

// hideInfo returns a function for whose context [CallInfoForHandlerContext] finds
// nothing, until showInfo or showUnaryInfo.
func hideInfo(next StreamingHandlerFunc) StreamingHandlerFunc {
	return func(ctx context.Context, conn StreamingHandlerConn) error {
		return next(context.WithValue(ctx, handlerInfoKey{}, nil), conn)
	}
}

// showInfo returns a stream's handler for whose context CallInfoForHandlerContext finds
// the information of the conn as the interceptors have wrapped it.
func showInfo(next StreamingHandlerFunc) StreamingHandlerFunc {
	return func(ctx context.Context, conn StreamingHandlerConn) error {
		return next(context.WithValue(ctx, handlerInfoKey{}, CallInfo(streamInfo{conn, infoBelow(ctx, conn)})), conn)
	}
}

// infoBelow returns the CallInfo of the conn below the interceptors. If these or a gate have
// passed on a context that is not the call's, it is one of conn, which is above them.
func infoBelow(ctx context.Context, conn StreamingHandlerConn) CallInfo {
	if call, ok := ctx.Value(handlerCallKey{}).(CallInfo); ok {
		return call
	}
	return connInfo{conn}
}

// streamInfo is the CallInfo of a stream.
type streamInfo struct {
	StreamingHandlerConn
	call CallInfo // of the conn below the interceptors
}

func (i streamInfo) HTTPMethod() string                   { return http.MethodPost }
func (i streamInfo) SetSendCompression(name string) error { return i.call.SetSendCompression(name) }
func (i streamInfo) SendHeader() error                    { return i.Send(nil) }
func (i streamInfo) internalOnly()                        {}

// showUnaryInfo returns the context of a unary call's interceptors and handler.
func showUnaryInfo(ctx context.Context, conn StreamingHandlerConn, state *callState) (context.Context, *unaryInfo) {
	info := &unaryInfo{callState: *state, conn: conn, call: infoBelow(ctx, conn)}
	return context.WithValue(ctx, handlerInfoKey{}, CallInfo(info)), info
}

// unaryInfo is the CallInfo of a unary call. Its header and trailers are empty at
// first, and are added to the response's after the handler has returned.
type unaryInfo struct {
	callState
	conn            StreamingHandlerConn
	call            CallInfo // of the conn
	header, trailer metadata
}

func (i *unaryInfo) Peer() Peer                   { return i.peer }
func (i *unaryInfo) HTTPMethod() string           { return i.method }
func (i *unaryInfo) RequestHeader() http.Header   { return i.requestHeader() }
func (i *unaryInfo) ResponseHeader() http.Header  { return i.header.header() }
func (i *unaryInfo) ResponseTrailer() http.Header { return i.trailer.header() }
func (i *unaryInfo) internalOnly()                {}

func (i *unaryInfo) SetSendCompression(name string) error { return i.call.SetSendCompression(name) }

func (i *unaryInfo) SendHeader() error {
	i.merge()
	i.header = metadata{}
	return i.call.SendHeader()
}

// merge adds the header and the trailers to the response's.
func (i *unaryInfo) merge() {
	if h := i.header.made(); len(h) > 0 {
		own := make(http.Header, len(h))
		addMetadata(own, h, true)
		addHeader(i.conn.ResponseHeader(), own)
		if c, ok := i.conn.(*handlerConn); ok && len(own) > 0 {
			c.touched = true
		}
	}
	if t := i.trailer.made(); len(t) > 0 {
		addMetadata(i.conn.ResponseTrailer(), t, true)
		i.trailer = metadata{}
	}
}
