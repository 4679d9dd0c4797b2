// SPDX-License-Identifier: Apache-2.0

// Clients: typed calls over conns without types.

package connect

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
)

// A Client calls one procedure, with the method that fits the procedure's kind.
// It is safe for concurrent use.
//
// By default it uses the Connect protocol with Protobuf, does not compress
// requests, accepts responses compressed with gzip, and refuses messages of
// more than 16 MiB.
type Client[Req, Res any] struct {
	config *config
	unary  UnaryFunc
	err    error // of the construction
}

// NewClient returns a client for the procedure at a URL, such as
// "https://api.acme.com/acme.foo.v1.FooService/Bar". If httpClient is nil, or
// the URL or an option is not valid, every call returns the reason as its
// error.
func NewClient[Req, Res any](httpClient HTTPClient, url string, options ...ClientOption) *Client[Req, Res] {
	c, err := newClientConfig(httpClient, url, options)
	if err != nil {
		return &Client[Req, Res]{err: ofClient(err)}
	}
	client := &Client[Req, Res]{config: c}
	client.unary = func(ctx context.Context, request AnyRequest) (AnyResponse, error) {
		made := new(struct {
			response Response[Res]
			msg      Res
			arrived  arrived
		})
		state, header := stateOf[Req](request)
		if err := c.callUnary(ctx, request, state, header, &made.msg, &made.arrived); err != nil {
			return nil, err
		}
		made.response = Response[Res]{&made.msg, metadata{lazy: &made.arrived.header}, metadata{lazy: &made.arrived.trailer}}
		return &made.response, nil
	}
	for n, i := range slices.Backward(c.interceptors) {
		next := client.unary
		if n+1 < len(c.interceptors) { // the last one calls callUnary, which checks the context itself
			next = c.checkedUnary(next)
		}
		client.unary = i.WrapUnary(next)
	}
	return client
}

// CallUnary sends one message and returns the response, which is one message.
// Errors are or wrap an [*Error], unless an interceptor returns another.
func (c *Client[Req, Res]) CallUnary(ctx context.Context, request *Request[Req]) (*Response[Res], error) {
	if err := c.check(request); err != nil {
		return nil, err
	}
	if deadline, limited := c.config.times.deadline(ctx); limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	ctx, info := beginCall(ctx)
	request.call.spec, request.call.peer = &c.config.spec, c.config.peer
	if c.config.connectGo { // the context's headers are added to these
		request.call.shown = c.config.header
		if h := request.call.header.made(); c.config.dialect == dialectWeb && first(h, headerXUserAgent) == "" {
			delete(h, headerXUserAgent) // connect-go sends its own
		}
	}
	if info != nil {
		info.call.spec, info.call.peer = request.call.spec, request.call.peer
		addHeader(request.Header(), info.call.header.made())
	}
	if len(c.config.interceptors) > 0 && !c.config.connectGo {
		request.call.shown = c.config.header
	}
	var response AnyResponse
	var err error
	if c.config.around == nil {
		response, err = c.unary(ctx, request)
	} else {
		response, err = c.config.callAround(ctx, request, c.unary)
	}
	if err != nil {
		return nil, err
	}
	typed, ok := response.(*Response[Res])
	if !ok || typed == nil && !c.config.connectGo {
		return nil, errorf(CodeInternal, "interceptor returned a %T: expected %T", response, typed)
	}
	return typed, nil
}

// callUnary makes a unary call.
func (c *config) callUnary(ctx context.Context, request AnyRequest, state *callState, header http.Header, msg any, a *arrived) error {
	info, err := c.checkNext(ctx)
	if err != nil {
		return err
	}
	conn := newUnaryConn(ctx, c, a)
	conn.header = header
	var timeout string
	if c.connectGo {
		conn.header, conn.asGiven = c.given(request, state, header)
		timeout = conn.timeLeft()
	}
	defer conn.release()
	if info != nil {
		info.response = conn
	}
	err = info.choose(conn)
	if err == nil {
		err = conn.sendOnly(request.Any())
		if err != nil && c.connectGo && ctx.Err() == nil {
			_ = conn.CloseRequest() // sends a request without a message, unless there was one
			if isEOF(err) {
				err = nil // Receive returns the reason
			}
		}
	}
	state.method = conn.sentMethod()
	if c.connectGo {
		conn.leaveHeader(request, timeout)
	}
	if conn.call != nil {
		conn.call.setResponse(state.method, conn, false)
	}
	state.peer.tls = conn.serverTLS()
	if info != nil {
		info.call.method = state.method
	}
	if err != nil {
		err = ofClient(err)
	} else {
		err = receiveOnly(conn, msg, c.initialize, c.connectGo)
	}
	if err != nil && c.connectGo && !conn.framed {
		conn.splitTrailers()
	}
	if err == nil && conn.call != nil {
		conn.call.setResponse(state.method, conn, true)
	}
	return err
}

// given returns the headers of a request, and whether they go out as they are: with
// connect-go's meaning, if the program has changed some of the library's. Otherwise
// the library's can be added to them later.
func (c *config) given(request AnyRequest, state *callState, header http.Header) (http.Header, bool) {
	if state.spec == nil { // an interceptor has made it
		return header, true
	}
	if state.shown != nil && changes(header, nil) {
		header = request.Header() // with the library's
	}
	return header, state.shown == nil && changes(header, c.header)
}

// changes reports whether a header has another value under a name that the library
// owns, or some of the library's, but not all.
func changes(h, fixed http.Header) bool {
	same := 0
	for key, values := range h {
		own, ok := fixed[key]
		switch {
		case ok && slices.Equal(own, values):
			same++
		case ownsOfRequest(key):
			return true
		}
	}
	return 0 < same && same < len(fixed)
}

// stateOf returns the state of a request, and its headers, which may be nil.
// Interceptors may pass on a type of their own that embeds an AnyRequest. Then
// the headers are those that its own method returns, and the HTTP method is set
// in the AnyRequest that it embeds.
func stateOf[Req any](request AnyRequest) (state *callState, header http.Header) {
	if typed, ok := request.(*Request[Req]); ok {
		return &typed.call, typed.call.header.made()
	}
	return stateOrNew(request), request.Header()
}

// stateOrNew returns the state of a request. If the request is of a type of the
// program that embeds a nil AnyRequest, state panics, and the result is a new one.
func stateOrNew(request AnyRequest) (state *callState) {
	defer func() {
		if recover() != nil {
			state = new(callState)
		}
	}()
	return request.state()
}

// CallServerStream sends one message, waits for the response headers, and
// returns the stream of responses. The caller must read the stream to its end,
// close it, or end the context.
func (c *Client[Req, Res]) CallServerStream(ctx context.Context, request *Request[Req]) (*ServerStreamForClient[Res], error) {
	if err := c.check(request); err != nil {
		return nil, err
	}
	var posted *atomic.Bool
	if c.config.around == nil && len(c.config.interceptors) > 0 {
		posted = new(atomic.Bool)
	}
	conn := c.newStream(ctx, StreamTypeServer, request.call.header.made(), posted)
	spec := conn.Spec()
	request.call.spec, request.call.peer = &spec, conn.Peer()
	err := conn.Send(request.Msg)
	sent := err == nil || isEOF(err)
	if sent {
		err = conn.CloseRequest() // after EOF Receive returns the reason
	} else if c.config.connectGo {
		_ = conn.CloseRequest() // sends a request without a message, unless there was one
	}
	posts := sent || c.config.connectGo || ctx.Err() != nil
	if posted != nil {
		posts = posted.Load() // interceptors need not send what the program sends
	}
	if posts {
		request.call.method = http.MethodPost
	}
	if err != nil {
		leave := c.config.connectGo && sent // the error is an interceptor's
		if err = unsent(conn, err, leave); err != nil {
			return nil, err
		} // otherwise the stream has no message and no error
	}
	request.call.peer = conn.Peer() // with the connection
	return &ServerStreamForClient[Res]{conn: conn, initialize: c.config.initialize}, nil
}

// CallClientStream begins a call that sends a stream of requests and receives
// one response. It sends nothing before the first Send, so the caller can set
// headers first. The caller must call CloseAndReceive, or end the context. The
// methods of the stream return the errors.
func (c *Client[Req, Res]) CallClientStream(ctx context.Context) *ClientStreamForClient[Req, Res] {
	if c.err != nil {
		return &ClientStreamForClient[Req, Res]{err: c.err}
	}
	return &ClientStreamForClient[Req, Res]{conn: c.newStream(ctx, StreamTypeClient, nil, nil), initialize: c.config.initialize, again: c.config.connectGo}
}

// CallClientStreamSimple is [Client.CallClientStream] for headers and trailers
// in the context, in the [CallInfo] of [NewClientContext]. It sends the request
// headers at once.
func (c *Client[Req, Res]) CallClientStreamSimple(ctx context.Context) (*ClientStreamForClientSimple[Req, Res], error) {
	s := &ClientStreamForClientSimple[Req, Res]{c.CallClientStream(ctx)}
	if c.err != nil {
		return s, c.err
	}
	if err := c.sendHead(s.stream.conn); err != nil {
		return nil, err
	}
	return s, nil
}

// CallBidiStream begins a call that sends a stream of requests and receives a
// stream of responses. It sends nothing before the first Send, so the caller can
// set headers first. The caller must close both directions, or end the context.
// The methods of the stream return the errors.
func (c *Client[Req, Res]) CallBidiStream(ctx context.Context) *BidiStreamForClient[Req, Res] {
	if c.err != nil {
		return &BidiStreamForClient[Req, Res]{err: c.err}
	}
	return &BidiStreamForClient[Req, Res]{conn: c.newStream(ctx, StreamTypeBidi, nil, nil), initialize: c.config.initialize}
}

// CallBidiStreamSimple is [Client.CallBidiStream] for headers and trailers in
// the context, in the [CallInfo] of [NewClientContext]. It sends the request
// headers at once.
func (c *Client[Req, Res]) CallBidiStreamSimple(ctx context.Context) (*BidiStreamForClientSimple[Req, Res], error) {
	s := &BidiStreamForClientSimple[Req, Res]{c.CallBidiStream(ctx)}
	if c.err != nil {
		return s, c.err
	}
	if err := c.sendHead(s.stream.conn); err != nil {
		return nil, err
	}
	return s, nil
}

// sendHead sends the headers of a stream.
func (c *Client[Req, Res]) sendHead(conn StreamingClientConn) error {
	err := conn.Send(nil)
	if err == nil || isEOF(err) && !c.config.connectGo {
		return nil
	}
	return unsent(conn, err, c.config.connectGo)
}

// unsent ends a stream whose request cannot be sent, of which the program gets nothing but
// the error: that of the call interceptors, if there are any. If leave is true, the context
// ends what the interceptors have begun, as with connect-go.
func unsent(conn StreamingClientConn, err error, leave bool) error {
	w, watched := conn.(*watchedConn)
	if watched {
		w.end(err, nil)
	}
	if !leave {
		_ = conn.CloseResponse()
	}
	if watched {
		return w.wait()
	}
	return err
}

// newStream returns the conn of a streaming call with a caller's headers, which may be
// nil, and with the interceptors around it. posted becomes true with the request that the
// conn below them sends; it may be nil.
func (c *Client[Req, Res]) newStream(ctx context.Context, kind StreamType, asked http.Header, posted *atomic.Bool) StreamingClientConn {
	spec := c.config.spec
	spec.StreamType = kind
	ctx, info := beginCall(ctx)
	var conn StreamingClientConn
	if c.config.around != nil {
		header := make(http.Header)
		if info != nil {
			c.config.askHeader(header, info.call.header.made())
		}
		c.config.askHeader(header, asked)
		conn = c.config.streamAround(ctx, spec, header)
	} else {
		conn = c.config.stream(ctx, spec, posted)
		if info != nil {
			c.config.askHeader(conn.RequestHeader(), info.call.header.made())
		}
		if len(asked) > 0 {
			c.config.askHeader(conn.RequestHeader(), asked)
		}
	}
	if info != nil {
		spec := conn.Spec() // an interceptor may have changed it
		info.call.spec, info.call.peer = &spec, conn.Peer()
		info.response = conn
	}
	return conn
}

// stream begins a streaming call. It wraps the interceptors around each call. posted is
// as in newStream.
func (c *config) stream(ctx context.Context, spec Spec, posted *atomic.Bool) StreamingClientConn {
	if len(c.interceptors) == 0 {
		return c.begin(ctx, spec)
	}
	next := StreamingClientFunc(c.begin)
	if posted != nil {
		next = func(ctx context.Context, spec Spec) StreamingClientConn {
			return c.begin(context.WithValue(ctx, postedKey{}, posted), spec)
		}
	}
	for _, i := range slices.Backward(c.interceptors) {
		next = i.WrapStreamingClient(c.checkedStream(next))
	}
	return next(ctx, spec)
}

// begin begins a streaming call below the interceptors.
func (c *config) begin(ctx context.Context, spec Spec) StreamingClientConn {
	conn := newStreamConn(ctx, c, spec)
	if info, _ := callInfoOf(ctx); info != nil {
		info.conn.Store(conn)
		if err := info.choose(conn); err != nil {
			conn.release()
			return &failedConn{spec: spec, peer: c.peer, err: err}
		}
	}
	return conn
}

// postedKey is the key of an *atomic.Bool in the context of a stream with interceptors,
// for notePosted.
type postedKey struct{}

// check returns the error of the client's construction, or one if request is nil. With
// connect-go's meaning the call panics then.
func (c *Client[Req, Res]) check(request *Request[Req]) error {
	if c.err == nil && request == nil && !c.config.connectGo {
		return errorf(CodeInvalidArgument, "request is nil: use NewRequest")
	}
	return c.err
}
