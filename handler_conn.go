// SPDX-License-Identifier: Apache-2.0

// The one way of a call into a handler, over whatever conn it came.

package connect

import (
	"context"
	"net/http"
)

// HandlerConn is a call that [Handler.ServeConn] serves: a [StreamingHandlerConn]
// with an end. Programs implement it to call handlers without HTTP, such as from
// the same process, a queue or another protocol.
//
// Spec returns the handler's [Handler.Spec]. Peer may have a Protocol of the
// implementation's own. RequestHeader, ResponseHeader and ResponseTrailer return
// maps that are never nil and always the same. The goroutines that may call its
// methods are those of StreamingHandlerConn.
//
// Receive decodes the next message into its argument, which is empty, or was
// prepared by [WithRequestInitializer]. After the last message it returns an error
// that wraps [io.EOF]. It does not count messages: the handler refuses a request
// of none or of several if the procedure takes one. Send(nil) writes the headers
// alone. Both return when the context ends that ServeConn was called with.
//
// A conn may also have a method HTTPMethod() string: then [Request.HTTPMethod] and
// [CallInfo] return its result, and "POST" otherwise.
type HandlerConn interface {
	StreamingHandlerConn

	// Close ends the call: without an error if err is nil, and with err otherwise,
	// which then is an [*Error]. The response's trailers are complete. After Close
	// the conn's methods may be called, by goroutines that outlive the handler, and
	// must return errors.
	Close(err error)
}

// ServeConn serves one call that did not come over HTTP: with the handler's gates,
// interceptors, initializer and recovery, as any call. ctx is the call's context
// and has its deadline; ServeConn adds the [CallInfo]. It calls conn's Close once,
// as the last method, and then returns. If the handler panics and no option
// recovers, the panic reaches the caller of ServeConn, and Close is not called.
//
// Settings of bytes have no effect: codecs, compressions and limits are the conn's.
// Nor have [WithStreamIdleTimeout] and [WithStreamMessageTimeout], and a stream's
// SendContext waits as long as the conn's Send does: the library cannot end a call over
// such a conn.
func (h *Handler) ServeConn(ctx context.Context, conn HandlerConn) {
	if deadline, limited := h.config.times.deadline(ctx); limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	ctx = context.WithValue(ctx, handlerInfoKey{}, CallInfo(connInfo{conn}))
	ctx = context.WithValue(ctx, handlerCallKey{}, CallInfo(connInfo{conn}))
	h.serveConn(ctx, conn, nil)
}

// serveConn serves a call. If err is not nil, it refuses the call with this error.
func (h *Handler) serveConn(ctx context.Context, conn HandlerConn, err error) {
	switch {
	case h.config.around != nil:
		err = h.serveCall(ctx, conn, err)
		if _, coded := asError(err); err != nil && !coded { // the context's error, of an interceptor that waited
			err = whyCut(conn, err)
		}
	case err == nil:
		err = whyCut(conn, h.serve(ctx, conn))
	}
	if err != nil {
		err = h.config.outcome(h.config.hookError(ctx, h.config.spec, err))
	}
	conn.Close(err)
}

// gated returns a function that calls the gates in their order, up to the first that
// returns an error, and then next.
func (c *config) gated(next StreamingHandlerFunc) StreamingHandlerFunc {
	return func(ctx context.Context, conn StreamingHandlerConn) error {
		for _, gate := range c.gates {
			changed, err := gate(ctx, c.spec, conn.Peer(), conn.RequestHeader())
			if err != nil {
				return err
			}
			if changed != nil {
				ctx = changed
			}
		}
		return next(ctx, conn)
	}
}

// serveUnary calls a handler's function with the received request, and sends the
// response.
func (c *config) serveUnary(ctx context.Context, conn StreamingHandlerConn, request AnyRequest, call UnaryFunc, look func(AnyResponse) (content, error)) error {
	state := request.state()
	state.spec, state.peer, state.method = &c.spec, conn.Peer(), methodOf(conn)
	state.receive(conn)
	var info *unaryInfo
	if c.connectGo {
		ctx, info = showUnaryInfo(ctx, conn, state)
	}
	response, err := call(ctx, request)
	if info != nil {
		info.merge()
	}
	if err != nil {
		return err
	}
	found, err := look(response)
	if err != nil && c.connectGo { // any message is sent, and nil panics
		found, err = content{response.Any(), response.Header(), response.Trailer()}, nil
	}
	if err != nil {
		return err
	}
	if len(found.header) > 0 {
		addMetadata(conn.ResponseHeader(), found.header, c.connectGo)
	}
	if len(found.trailer) > 0 {
		addMetadata(conn.ResponseTrailer(), found.trailer, c.connectGo)
	}
	return conn.Send(found.msg)
}

// outcome returns the error for the client, for an error that is not nil.
func (c *config) outcome(err error) *Error {
	e, coded := asError(err)
	if !coded {
		e = faultOf(err)
	}
	switch {
	case c.safeErrors && (!coded || e.foreign()):
		return &Error{code: ownCode(e)}
	case e.code == 0 && !c.connectGo: // gRPC's OK: must not look like success
		known := *e
		known.code = CodeUnknown
		return &known
	}
	return e
}

// ownCode returns the code with which a handler passes on an error that it does not
// describe. Codes of the end of a context keep their meaning from server to server.
// The others describe what this program has asked of another one. [gRPC
// statuscodes.md: UNKNOWN is for a status "from another address space"]
func ownCode(e *Error) Code {
	switch e.code {
	case CodeCanceled, CodeDeadlineExceeded:
		return e.code
	}
	return CodeUnknown
}

// methodOf returns the HTTP method of a handler's call.
func methodOf(conn StreamingHandlerConn) string {
	switch c := conn.(type) {
	case *handlerConn:
		return c.method
	case interface{ HTTPMethod() string }:
		return c.HTTPMethod()
	}
	return http.MethodPost
}

// connInfo is the CallInfo of a call over another conn than this package's.
type connInfo struct {
	StreamingHandlerConn
}

func (i connInfo) HTTPMethod() string { return methodOf(i.StreamingHandlerConn) }
func (i connInfo) SendHeader() error  { return i.Send(nil) }
func (i connInfo) internalOnly()      {}

// SetSendCompression returns an error: the conn is not this package's.
func (i connInfo) SetSendCompression(name string) error {
	return errorf(CodeUnimplemented, "compression %q: a call over a %T has no compression that a handler can set", name, i.StreamingHandlerConn)
}
