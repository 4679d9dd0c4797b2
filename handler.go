// SPDX-License-Identifier: Apache-2.0

// Handlers: the constructors, and the way from a request to its dialect and codec.

package connect

import (
	"context"
	"maps"
	"net/http"
	"slices"
)

// A Handler serves one procedure in all protocols, as an [http.Handler]. It is
// safe for concurrent use.
//
// It answers a request that is not a call of its procedure with an HTTP status:
// 405 for a method that is not POST (or GET, for unary procedures without side
// effects), 415 for a content type that it does not take, 505 for a bidirectional
// stream over HTTP/1.1.
type Handler struct {
	config    *config
	serve     StreamingHandlerFunc
	routes    routes
	getRoutes map[string]*route // by codec, nil unless the procedure may be called by GET
	allow     []string          // the Allow header
	types     []string          // the Accept-Post header
}

// Spec returns the description of the procedure.
func (h *Handler) Spec() Spec { return h.config.spec }

func newHandler(c *config, serve StreamingHandlerFunc) *Handler {
	if len(c.gates) > 0 {
		serve = c.gated(serve)
	}
	if c.recoverer != nil && !c.connectGo {
		serve = c.recoverer.WrapStreamingHandler(serve)
	}
	if c.connectGo {
		serve = hideInfo(serve)
	}
	h := &Handler{config: c, serve: serve, routes: newRoutes(c.spec.StreamType, c.codecs), allow: []string{http.MethodPost}}
	h.types = []string{h.routes.String()}
	if c.spec.StreamType == StreamTypeUnary && c.spec.IdempotencyLevel == IdempotencyNoSideEffects {
		h.allow = []string{http.MethodGet + ", " + http.MethodPost}
		h.getRoutes = make(map[string]*route, len(c.codecs))
		get := dialectGet
		if c.connectGo {
			get = dialectGet500
		}
		for name, codec := range c.codecs {
			h.getRoutes[name] = &route{get, codec, []string{get.media + name}}
		}
	}
	return h
}

// newStreamHandler is newHandler for the streaming kinds, whose interceptors
// wrap the conn.
func newStreamHandler(c *config, serve StreamingHandlerFunc) *Handler {
	if c.connectGo {
		serve = showInfo(serve)
	}
	return newHandler(c, c.wrapStream(serve))
}

// NewUnaryHandler returns a handler that calls unary for each request, from many
// goroutines at once. If unary returns neither a response nor an error, the call
// fails with CodeInternal. The procedure is a path such as
// "/acme.foo.v1.FooService/Bar".
func NewUnaryHandler[Req, Res any](
	procedure string,
	unary func(context.Context, *Request[Req]) (*Response[Res], error),
	options ...HandlerOption,
) *Handler {
	return newUnaryHandler(newHandlerConfig(procedure, StreamTypeUnary, options), unary)
}

// newUnaryHandler is NewUnaryHandler with settings.
func newUnaryHandler[Req, Res any](c *config, unary func(context.Context, *Request[Req]) (*Response[Res], error)) *Handler {
	call := UnaryFunc(func(ctx context.Context, request AnyRequest) (AnyResponse, error) {
		if err := ctx.Err(); err != nil {
			return nil, err // an interceptor may have set the time
		}
		typed, ok := request.(*Request[Req])
		if !ok {
			return nil, errorf(CodeInternal, "interceptor passed a %T on: expected %T", request, typed)
		}
		response, err := unary(ctx, typed)
		if response != nil {
			return response, err
		}
		if err == nil {
			err = c.noResponse()
		}
		return nil, err // not a nil *Response in an AnyResponse
	})
	call = c.wrapUnary(call)
	if c.reuse {
		return newHandler(c, serveReused[Req, Res](c, call))
	}
	return newHandler(c, func(ctx context.Context, conn StreamingHandlerConn) error {
		made := new(struct {
			request Request[Req]
			msg     Req
		})
		made.request.Msg = &made.msg
		if err := receiveOnly(conn, &made.msg, c.initialize, c.connectGo); err != nil {
			return err
		}
		return c.serveUnary(ctx, conn, &made.request, call, contentOf[Res])
	})
}

// content holds the parts of a unary response. Header and trailer may be nil.
type content struct {
	msg             any
	header, trailer http.Header
}

// contentOf returns the parts of a response. Interceptors may return a type of
// their own that embeds an AnyResponse.
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

// NewUnaryHandlerSimple is [NewUnaryHandler] for a function that takes and
// returns messages alone. Headers and trailers are in the [CallInfo] of its
// context: see [CallInfoForHandlerContext].
func NewUnaryHandlerSimple[Req, Res any](
	procedure string,
	unary func(context.Context, *Req) (*Res, error),
	options ...HandlerOption,
) *Handler {
	c := newHandlerConfig(procedure, StreamTypeUnary, options)
	return newUnaryHandler(c, func(ctx context.Context, request *Request[Req]) (*Response[Res], error) {
		msg, err := unary(ctx, request.Msg)
		return respond(c, msg, err)
	})
}

// NewClientStreamHandler returns a handler that calls implementation for each
// stream of requests, from many goroutines at once. If implementation returns
// neither a response nor an error, the call fails with CodeInternal.
func NewClientStreamHandler[Req, Res any](
	procedure string,
	implementation func(context.Context, *ClientStream[Req]) (*Response[Res], error),
	options ...HandlerOption,
) *Handler {
	return newClientStreamHandler(newHandlerConfig(procedure, StreamTypeClient, options), implementation)
}

// newClientStreamHandler is NewClientStreamHandler with settings.
func newClientStreamHandler[Req, Res any](c *config, implementation func(context.Context, *ClientStream[Req]) (*Response[Res], error)) *Handler {
	return newStreamHandler(c, func(ctx context.Context, conn StreamingHandlerConn) error {
		response, err := implementation(ctx, &ClientStream[Req]{receiver[Req]{conn: conn, initialize: c.initialize}})
		if err != nil {
			return err
		}
		if response == nil {
			return c.noResponse()
		}
		add := func(into, from http.Header) { addMetadata(into, from, false) }
		if c.connectGo {
			add = addHeader
		}
		add(conn.ResponseHeader(), response.header.made())
		add(conn.ResponseTrailer(), response.trailer.made())
		return conn.Send(response.Msg)
	})
}

// NewClientStreamHandlerSimple is [NewClientStreamHandler] for a function that
// returns a message alone. Headers and trailers are in the [CallInfo] of its
// context: see [CallInfoForHandlerContext].
func NewClientStreamHandlerSimple[Req, Res any](
	procedure string,
	implementation func(context.Context, *ClientStream[Req]) (*Res, error),
	options ...HandlerOption,
) *Handler {
	c := newHandlerConfig(procedure, StreamTypeClient, options)
	return newClientStreamHandler(c, func(ctx context.Context, stream *ClientStream[Req]) (*Response[Res], error) {
		msg, err := implementation(ctx, stream)
		return respond(c, msg, err)
	})
}

// NewServerStreamHandler returns a handler that calls implementation for each
// request, from many goroutines at once. The implementation sends its responses
// to the stream. The stream ends when implementation returns.
func NewServerStreamHandler[Req, Res any](
	procedure string,
	implementation func(context.Context, *Request[Req], *ServerStream[Res]) error,
	options ...HandlerOption,
) *Handler {
	c := newHandlerConfig(procedure, StreamTypeServer, options)
	return newStreamHandler(c, func(ctx context.Context, conn StreamingHandlerConn) error {
		spec := conn.Spec()
		request := &Request[Req]{Msg: new(Req), call: callState{spec: &spec, peer: conn.Peer(), method: methodOf(conn)}}
		request.call.receive(conn)
		if err := receiveOnly(conn, request.Msg, c.initialize, c.connectGo); err != nil {
			return err
		}
		return implementation(ctx, request, &ServerStream[Res]{conn: conn, call: ctx})
	})
}

// NewServerStreamHandlerSimple is [NewServerStreamHandler] for a function that
// takes a message alone. Headers and trailers are in the [CallInfo] of its
// context: see [CallInfoForHandlerContext].
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
// stream in both directions, from many goroutines at once. The stream ends when
// implementation returns. It needs HTTP/2 or HTTP/3.
func NewBidiStreamHandler[Req, Res any](
	procedure string,
	implementation func(context.Context, *BidiStream[Req, Res]) error,
	options ...HandlerOption,
) *Handler {
	c := newHandlerConfig(procedure, StreamTypeBidi, options)
	return newStreamHandler(c, func(ctx context.Context, conn StreamingHandlerConn) error {
		return implementation(ctx, &BidiStream[Req, Res]{conn: conn, initialize: c.initialize, call: ctx})
	})
}

// respond puts a message into a response. Without a message there is no response, but
// with connect-go's meaning one without a message, which is sent as an empty one.
func respond[Res any](c *config, msg *Res, err error) (*Response[Res], error) {
	if err != nil || msg == nil && !c.connectGo {
		return nil, err
	}
	return NewResponse(msg), nil
}

// noResponse returns the error of a handler that has returned neither a response nor
// an error. With connect-go's meaning it panics.
func (c *config) noResponse() error {
	err := errorf(CodeInternal, "%s returned neither a response nor an error", c.spec.Procedure)
	if c.connectGo {
		panic(err.Error())
	}
	return err
}

// ServeHTTP serves one call. It returns when the call has ended.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = wholeRequest(r)
	rt := h.route(w, r)
	if rt == nil {
		drainHTTP(w, r)
		return
	}
	if given := r.Header[headerContentType]; h.config.connectGo && (len(given) != 1 || given[0] != rt.contentType[0]) {
		r.Header[headerContentType] = []string{canonicalType(first(r.Header, headerContentType))}
	}
	c := newHTTPConn(h.config, rt, w, r)
	defer c.abandon()
	ctx, err := c.open()
	h.serveConn(ctx, c, err)
}

// serveDirect is ServeHTTP for a direct call.
func (h *Handler) serveDirect(call directCall) {
	c := newDirectConn(h.config, call)
	if c.route = h.routes.find(c.request.first(headerContentType)); c.route == nil {
		h.refuseType(call, c.request.first(headerContentType))
		return
	}
	if given := c.request.first(headerContentType); h.config.connectGo && given != c.route.contentType[0] {
		c.request.lazy.header()[headerContentType] = []string{canonicalType(given)}
	}
	defer c.abandon()
	ctx, err := c.open()
	h.serveConn(ctx, c, err)
}

// route finds the dialect and codec of a request. If there are none, it answers
// the request and returns nil.
func (h *Handler) route(w http.ResponseWriter, r *http.Request) *route {
	header := w.Header()
	if h.config.spec.StreamType == StreamTypeBidi && r.ProtoMajor < 2 {
		header[headerConnection] = []string{"close"} // otherwise net/http reads the rest of the request before it sends the answer
		refuse(w, http.StatusHTTPVersionNotSupported, "%s is a bidirectional stream, which needs HTTP/2: the request came over %s", h.config.spec.Procedure, r.Proto)
		return nil
	}
	var rt *route
	switch {
	case r.Method == http.MethodPost:
		rt = h.routes.find(first(r.Header, headerContentType))
	case r.Method == http.MethodGet && h.getRoutes != nil:
		rt = h.getRoutes[r.URL.Query().Get(queryEncoding)]
		if rt != nil && hasBody(r) {
			refuse(w, http.StatusUnsupportedMediaType, "%s does not take a GET with a body: the message is in the query", h.config.spec.Procedure)
			return nil
		}
	default:
		header["Allow"] = h.allow
		refuse(w, http.StatusMethodNotAllowed, "%s does not take a %s: use %s", h.config.spec.Procedure, r.Method, h.allow[0])
		return nil
	}
	switch {
	case rt != nil:
	case r.Method == http.MethodGet:
		w.Header()[headerAcceptPost] = h.types
		refuse(w, http.StatusUnsupportedMediaType, "%s takes a GET whose query parameter %q is one of %q, it has %q",
			h.config.spec.Procedure, queryEncoding, slices.Sorted(maps.Keys(h.getRoutes)), r.URL.Query().Get(queryEncoding))
	default:
		h.refuseType(w, first(r.Header, headerContentType))
	}
	return rt
}

// refuseType answers a request whose content type the handler does not take.
func (h *Handler) refuseType(w http.ResponseWriter, contentType string) {
	w.Header()[headerAcceptPost] = h.types
	kind := "unary"
	if h.config.spec.StreamType != StreamTypeUnary {
		kind = "streaming"
	}
	refuse(w, http.StatusUnsupportedMediaType, "%s is a %s procedure and does not take content type %q: use one of %s",
		h.config.spec.Procedure, kind, contentType, mediaTypes(h.types[0]))
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
