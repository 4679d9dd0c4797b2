// SPDX-License-Identifier: Apache-2.0

// Handlers: which request is served by which dialect and codec.

package connect

import (
	"context"
	"net/http"
)

// A Handler serves one procedure in all protocols, as an [http.Handler]. It is
// safe for concurrent use.
//
// It answers what is not a call of its procedure with HTTP's own means: 405 for
// another method than POST (and GET, for unary procedures without side effects),
// 415 for an unknown content type, 505 for a bidirectional stream over HTTP/1.1.
type Handler struct {
	config    *config
	serve     StreamingHandlerFunc
	routes    routes
	getRoutes map[string]*route // by codec, nil unless the procedure may be called by GET
	allow     []string          // the Allow header
	types     []string          // the Accept-Post header
}

func newHandler(c *config, serve StreamingHandlerFunc) *Handler {
	h := &Handler{config: c, serve: serve, routes: newRoutes(c.spec.StreamType, c.codecs), allow: []string{http.MethodPost}}
	h.types = []string{h.routes.String()}
	if c.spec.StreamType == StreamTypeUnary && c.spec.IdempotencyLevel == IdempotencyNoSideEffects {
		h.allow = []string{http.MethodGet + ", " + http.MethodPost}
		h.getRoutes = make(map[string]*route, len(c.codecs))
		for name, codec := range c.codecs {
			h.getRoutes[name] = &route{dialectGet, codec, []string{dialectGet.media + name}}
		}
	}
	return h
}

// newStreamHandler is newHandler for the kinds whose messages pass through the
// conn, and interceptors with them.
func newStreamHandler(c *config, serve StreamingHandlerFunc) *Handler {
	return newHandler(c, c.wrapStream(serve))
}

// NewUnaryHandler returns a handler that calls unary for each request.
//
// An unary that returns neither a response nor an error answers with
// CodeInternal.
func NewUnaryHandler[Req, Res any](
	procedure string,
	unary func(context.Context, *Request[Req]) (*Response[Res], error),
	options ...HandlerOption,
) *Handler {
	c := newHandlerConfig(procedure, StreamTypeUnary, options)
	call := UnaryFunc(func(ctx context.Context, request AnyRequest) (AnyResponse, error) {
		typed, ok := request.(*Request[Req])
		if !ok {
			return nil, errorf(CodeInternal, "interceptor passed a %T on: expected %T", request, typed)
		}
		response, err := unary(ctx, typed)
		if response != nil {
			return response, err
		}
		if err == nil {
			err = errNoResponse(c.spec.Procedure)
		}
		return nil, err // not a nil *Response in an AnyResponse
	})
	call = c.wrapUnary(call)
	return newHandler(c, func(ctx context.Context, conn StreamingHandlerConn) error {
		made := new(struct {
			request Request[Req]
			msg     Req
		})
		made.request.Msg = &made.msg
		if err := receiveOnly(conn, &made.msg, c.initialize); err != nil {
			return err
		}
		return conn.(*handlerConn).serveUnary(ctx, &made.request, call, contentOf[Res])
	})
}

// content is what a unary response brings. Header and trailer may be nil.
type content struct {
	msg             any
	header, trailer http.Header
}

// contentOf looks into a response. It may be of a type of the program that embeds an
// AnyResponse, as interceptors make them.
func contentOf[Res any](response AnyResponse) (content, error) {
	typed, ok := response.(*Response[Res])
	switch {
	case response == nil || ok && typed == nil:
		return content{}, errorf(CodeInternal, "interceptor returned neither a response nor an error")
	case ok:
		header, trailer := typed.metadata()
		return content{typed.Msg, header, trailer}, nil
	}
	msg := response.Any()
	if _, ok := msg.(*Res); !ok {
		return content{}, errorf(CodeInternal, "interceptor returned a %T with a %T: expected %T", response, msg, typed)
	}
	return content{msg, response.Header(), response.Trailer()}, nil
}

// NewUnaryHandlerSimple is [NewUnaryHandler] for a function of messages alone.
// Headers and trailers are in the [CallInfo] of its context.
func NewUnaryHandlerSimple[Req, Res any](
	procedure string,
	unary func(context.Context, *Req) (*Res, error),
	options ...HandlerOption,
) *Handler {
	return NewUnaryHandler(procedure, func(ctx context.Context, request *Request[Req]) (*Response[Res], error) {
		return respond(unary(ctx, request.Msg))
	}, options...)
}

// NewClientStreamHandler returns a handler that calls implementation for each
// stream of requests. A nil response without error answers with CodeInternal.
func NewClientStreamHandler[Req, Res any](
	procedure string,
	implementation func(context.Context, *ClientStream[Req]) (*Response[Res], error),
	options ...HandlerOption,
) *Handler {
	c := newHandlerConfig(procedure, StreamTypeClient, options)
	return newStreamHandler(c, func(ctx context.Context, conn StreamingHandlerConn) error {
		response, err := implementation(ctx, &ClientStream[Req]{receiver[Req]{conn: conn, initialize: c.initialize}})
		if err != nil {
			return err
		}
		if response == nil {
			return errNoResponse(c.spec.Procedure)
		}
		addMetadata(conn.ResponseHeader(), response.header.made())
		addMetadata(conn.ResponseTrailer(), response.trailer.made())
		return conn.Send(response.Msg)
	})
}

// NewClientStreamHandlerSimple is [NewClientStreamHandler] for a function that
// returns a message alone. Headers and trailers are in the [CallInfo] of its
// context.
func NewClientStreamHandlerSimple[Req, Res any](
	procedure string,
	implementation func(context.Context, *ClientStream[Req]) (*Res, error),
	options ...HandlerOption,
) *Handler {
	return NewClientStreamHandler(procedure, func(ctx context.Context, stream *ClientStream[Req]) (*Response[Res], error) {
		return respond(implementation(ctx, stream))
	}, options...)
}

// NewServerStreamHandler returns a handler that calls implementation for each
// request, which it answers with a stream.
func NewServerStreamHandler[Req, Res any](
	procedure string,
	implementation func(context.Context, *Request[Req], *ServerStream[Res]) error,
	options ...HandlerOption,
) *Handler {
	c := newHandlerConfig(procedure, StreamTypeServer, options)
	return newStreamHandler(c, func(ctx context.Context, conn StreamingHandlerConn) error {
		spec := conn.Spec()
		request := &Request[Req]{Msg: new(Req), call: callState{spec: &spec, peer: conn.Peer(), method: http.MethodPost}}
		request.call.receive(conn)
		if err := receiveOnly(conn, request.Msg, c.initialize); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return fault(ctx, err, CodeCanceled)
		}
		return implementation(ctx, request, &ServerStream[Res]{conn})
	})
}

// NewServerStreamHandlerSimple is [NewServerStreamHandler] for a function that
// takes a message alone. Headers and trailers are in the [CallInfo] of its
// context.
func NewServerStreamHandlerSimple[Req, Res any](
	procedure string,
	implementation func(context.Context, *Req, *ServerStream[Res]) error,
	options ...HandlerOption,
) *Handler {
	return NewServerStreamHandler(procedure, func(ctx context.Context, request *Request[Req], stream *ServerStream[Res]) error {
		return implementation(ctx, request.Msg, stream)
	}, options...)
}

// NewBidiStreamHandler returns a handler that calls implementation for each
// stream in both directions. It needs HTTP/2 or later.
func NewBidiStreamHandler[Req, Res any](
	procedure string,
	implementation func(context.Context, *BidiStream[Req, Res]) error,
	options ...HandlerOption,
) *Handler {
	c := newHandlerConfig(procedure, StreamTypeBidi, options)
	return newStreamHandler(c, func(ctx context.Context, conn StreamingHandlerConn) error {
		return implementation(ctx, &BidiStream[Req, Res]{conn: conn, initialize: c.initialize})
	})
}

// respond wraps a message in a response. A nil message without error is none.
func respond[Res any](msg *Res, err error) (*Response[Res], error) {
	if err != nil || msg == nil {
		return nil, err
	}
	return NewResponse(msg), nil
}

func errNoResponse(procedure string) error {
	return errorf(CodeInternal, "%s returned neither a response nor an error", procedure)
}

// ServeHTTP serves one call.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rt := h.route(w, r)
	if rt == nil {
		return
	}
	h.serveConn(newHTTPConn(h.config, rt, w, r))
}

// serveDirect is ServeHTTP for a direct call.
func (h *Handler) serveDirect(call directCall) {
	c := newDirectConn(h.config, call)
	if c.route = h.routes.find(c.request.first(headerContentType)); c.route == nil {
		h.refuseType(call)
		return
	}
	h.serveConn(c)
}

// serveConn serves a call whose request is known.
func (h *Handler) serveConn(c *handlerConn) {
	defer c.abandon()
	ctx, err := c.open()
	if err == nil && len(h.config.gates) > 0 {
		ctx, err = c.askGates(ctx)
	}
	if err == nil {
		err = h.serve(ctx, c)
	}
	c.close(err)
}

// askGates asks the gates.
func (c *handlerConn) askGates(ctx context.Context) (context.Context, error) {
	for _, gate := range c.config.gates {
		changed, err := gate(ctx, c.config.spec, c.Peer(), c.RequestHeader())
		if changed != nil {
			ctx = changed
		}
		if err != nil {
			return ctx, err
		}
	}
	return ctx, nil
}

// route finds what serves a request. Where nothing does, it answers and returns
// nil.
func (h *Handler) route(w http.ResponseWriter, r *http.Request) *route {
	header := w.Header()
	if h.config.spec.StreamType == StreamTypeBidi && r.ProtoMajor < 2 {
		header[headerConnection] = []string{"close"} // so that a client which waits for an answer to its first message gets one
		w.WriteHeader(http.StatusHTTPVersionNotSupported)
		return nil
	}
	var rt *route
	switch {
	case r.Method == http.MethodPost:
		rt = h.routes.find(first(r.Header, headerContentType))
	case r.Method == http.MethodGet && h.getRoutes != nil:
		if !hasBody(r) {
			rt = h.getRoutes[r.URL.Query().Get(queryEncoding)]
		}
	default:
		header["Allow"] = h.allow
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	if rt == nil {
		h.refuseType(w)
	}
	return rt
}

// refuseType answers a request whose content type is none that the handler takes.
func (h *Handler) refuseType(w http.ResponseWriter) {
	w.Header()["Accept-Post"] = h.types
	w.WriteHeader(http.StatusUnsupportedMediaType)
}

// hasBody reports whether a request has a body, by reading a byte if its length
// is not known.
func hasBody(r *http.Request) bool {
	if r.Body == nil || r.ContentLength >= 0 {
		return r.Body != nil && r.ContentLength > 0
	}
	n, _ := r.Body.Read(make([]byte, 1))
	return n > 0
}
