// SPDX-License-Identifier: Apache-2.0

// The direct path: calls through an HTTP engine without the types of net/http in
// between. Package h2 of this module is such an engine. Neither package imports the
// other: each looks for methods of the other's values, whose signatures have types
// of the language and of the standard library alone.

package connect

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// ---- handlers ----

// directCall is one call of an engine: the request, and the ResponseWriter of the
// response.
type directCall interface {
	http.ResponseWriter

	// DirectRequest returns the parts of a POST. The names of the fields are in
	// lower case; Host and Trailer are not among them. A negative length means
	// that the body's length is unknown.
	DirectRequest() (ctx context.Context, fields [][2]string, body io.Reader, length int64, host, remoteAddr string)
	// DirectClientTLS returns the state of the client's TLS connection, nil without TLS.
	DirectClientTLS() *tls.ConnectionState
	// DirectField adds a field to the head of the response, besides those in Header.
	DirectField(name, value string)
	// DirectTrailer adds a trailer.
	DirectTrailer(name, value string)
}

// directResponse is the handlerExchange of a direct call.
type directResponse struct {
	directCall
	asked bool // Header was called, so that it may have fields
}

func (x *directResponse) Header() http.Header {
	x.asked = true
	return x.directCall.Header()
}

func (x *directResponse) field(key string, values []string) {
	if x.asked {
		(&httpResponse{x.directCall}).field(key, values)
		return
	}
	for _, value := range values {
		x.DirectField(key, value)
	}
}

func (x *directResponse) Unwrap() http.ResponseWriter { return x.directCall }

func (x *directResponse) trailer(key string, values []string) {
	for _, value := range values {
		x.DirectTrailer(key, value)
	}
}

// readDirect sets r to the request of a direct call, and returns its context.
func (r *inbound) readDirect(call directCall) (ctx context.Context) {
	ctx, r.lazy.from.pairs, r.body, r.length, r.host[0], r.remote = call.DirectRequest()
	r.lazy.host = &r.host
	r.wireHead = wireHead{fields: &r.lazy.from, tls: call.DirectClientTLS(), proto: 2}
	return ctx
}

// newDirectConn returns the conn of a direct call. The caller sets its route.
func newDirectConn(config *config, call directCall) *handlerConn {
	made := new(struct {
		conn     handlerConn
		response directResponse
	})
	c := &made.conn
	made.response.directCall = call
	c.config, c.exchange, c.own = config, &made.response, true
	c.ctx = handlerContext{c.request.readDirect(call), c}
	return c
}

// ---- clients ----

// directTransport is an [http.RoundTripper] that can also make calls without
// [http.Request] and [http.Response].
type directTransport interface {
	http.RoundTripper
	// PrepareDirect returns a target for POSTs to u that all have the shared fields,
	// whose names are in lower case. The caller changes neither the fields nor u
	// afterwards. If self is not the transport itself, but a type that embeds it,
	// PrepareDirect returns nil and no error.
	PrepareDirect(self http.RoundTripper, u *url.URL, shared [][2]string) (directTarget, error)
}

// directTarget makes direct calls to one URL with the same shared fields. It is an
// alias, so that an engine can write the same type without importing it.
type directTarget = interface {
	// RoundTripDirect posts a body. It returns the body of the response, which is a
	// directReply. The call's own fields have names in lower case. After it has
	// returned, it uses neither the fields nor body. If body is too long for it, it
	// returns nil and no error.
	RoundTripDirect(ctx context.Context, own [][2]string, body []byte) (io.ReadCloser, error)
}

// preparedTarget is the target of a client's calls, and the transport that made it.
type preparedTarget struct {
	transport http.RoundTripper
	target    directTarget
}

// target returns the target of direct calls with the shared fields, nil if the
// transport makes no direct calls.
func (c *config) target(transport directTransport, shared [][2]string) (directTarget, error) {
	self := http.RoundTripper(transport)
	if len(shared) != len(c.pairs) { // the program has set its own user agent
		return transport.PrepareDirect(self, c.url, shared)
	}
	if last := c.prepared.Load(); last != nil && last.transport == self {
		return last.target, nil
	}
	target, err := transport.PrepareDirect(self, c.url, c.pairs)
	if err == nil && target != nil && reflect.TypeOf(self).Comparable() {
		c.prepared.Store(&preparedTarget{self, target})
	}
	return target, err
}

// directReply is the response to a direct call.
type directReply interface {
	io.ReadCloser
	// DirectHead returns the status, the fields and the length of the body, which
	// is negative if it is unknown.
	DirectHead() (status int, fields [][2]string, length int64)
	// DirectTrailer returns the trailers after Read returned io.EOF.
	DirectTrailer() [][2]string
	// DirectServerTLS returns the state of the server's TLS connection, nil without
	// TLS.
	DirectServerTLS() *tls.ConnectionState
}

// pairsOf returns a header as pairs.
func pairsOf(h http.Header) [][2]string {
	pairs := make([][2]string, 0, len(h))
	for key, values := range h {
		for _, value := range values {
			pairs = append(pairs, [2]string{strings.ToLower(key), value})
		}
	}
	return pairs
}

// directExchange is the clientExchange of a unary POST through a directTransport.
type directExchange struct {
	transport directTransport
	packed    *buffer
	own       [1][2]string // memory for one field
	response  directReply
}

func (x *directExchange) send(c *clientConn) (clientExchange, error) {
	shared, own := c.directFields(x.own[:0])
	target, err := c.config.target(x.transport, shared)
	var body io.ReadCloser
	if err == nil && target != nil {
		body, err = target.RoundTripDirect(c.ctx, own, x.packed.data)
	}
	switch {
	case err != nil:
		x.packed.free()
		return nil, clearer(err)
	case body == nil: // the transport makes no direct call with this body
		return c.newPost(x.packed).send(c)
	}
	response, ok := body.(directReply)
	if !ok {
		x.packed.free()
		_ = body.Close()
		return nil, errorf(CodeInternal, "%T: RoundTripDirect returned a %T, which has no head", x.transport, body)
	}
	x.response = response
	if f, head, _, _ := x.reply(); isRedirect(int(head.status)) {
		post := c.newPost(x.packed)
		_ = post.request.Body.Close() // the transport has sent the message already
		return post.receive(likeDo(&post.request, x.transport, responseOf(response), nil))
	} else if f.first(headerTrailer) != "" {
		x.packed.free()
		return &httpExchange{response: responseOf(response)}, nil
	}
	x.packed.free()
	return x, nil
}

func (x *directExchange) reply() (f fields, head wireHead, body io.ReadCloser, length int64) {
	status, pairs, length := x.response.DirectHead()
	return fields{pairs: pairs}, wireHead{tls: x.response.DirectServerTLS(), status: int32(status), proto: 2}, x.response, length
}

func (x *directExchange) trailer() fields { return fields{pairs: x.response.DirectTrailer()} }

// isPlain reports whether the direct path can send a header as RoundTrip would. It
// cannot if the header has Host, which a request keeps in a field of its own; a
// field of HTTP/1.1's connections, which transports drop or refuse; or a key that
// is not canonical.
func isPlain(h http.Header) bool {
	for key := range h {
		switch key {
		case headerConnection, "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade":
			return false
		case headerTE: // gRPC's own value is here if interceptors see the header
			if !slices.Equal(h[key], valueTrailers) {
				return false
			}
		}
		if http.CanonicalHeaderKey(key) != key {
			return false
		}
	}
	return first(h, headerHost) == ""
}

// directFields returns the fields that newRequest would set: those that the calls
// of a client share, and the call's own, which it appends to room.
func (c *clientConn) directFields(room [][2]string) (shared, own [][2]string) {
	shared, own = c.config.pairs, room
	if c.compressed && !c.framed {
		own = append(own, [2]string{strings.ToLower(c.encoding), c.out.compression.name})
	}
	if timeout := c.timeLeft(); timeout != "" {
		own = append(own, [2]string{strings.ToLower(c.timeout), timeout})
	}
	for key, values := range c.header {
		switch {
		case slices.Equal(values, c.config.header[key]): // a shared field, which showHeader has copied
			continue
		case isUserAgent(key):
			name := strings.ToLower(key)
			others := make([][2]string, 0, len(shared))
			for _, pair := range shared {
				if pair[0] != name {
					others = append(others, pair)
				}
			}
			if shared = others; key == headerUserAgent {
				values = values[:min(len(values), 1)] // transports send one User-Agent
			}
		case ownsOfRequest(key):
			continue
		}
		for _, value := range values {
			if value != "" || key != headerUserAgent {
				own = append(own, [2]string{strings.ToLower(key), value})
			}
		}
	}
	return shared, own
}

// responseOf returns a direct response as an [http.Response], as a transport would
// return it.
func responseOf(reply directReply) *http.Response {
	status, pairs, length := reply.DirectHead()
	r := &http.Response{
		Status:        statusText(status),
		StatusCode:    status,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
		Header:        headerOf(pairs),
		ContentLength: length,
		TLS:           reply.DirectServerTLS(),
	}
	if announced, ok := r.Header[headerTrailer]; ok {
		delete(r.Header, headerTrailer)
		r.Trailer = make(http.Header)
		for _, names := range announced {
			for name := range strings.SplitSeq(names, ",") {
				if key := http.CanonicalHeaderKey(strings.TrimSpace(name)); key != "" {
					r.Trailer[key] = nil
				}
			}
		}
	}
	r.Body = &directBody{reply, r}
	return r
}

// directBody is the body of such a response. At its end it sets the response's
// trailers.
type directBody struct {
	directReply
	response *http.Response
}

func (b *directBody) Read(p []byte) (int, error) {
	n, err := b.directReply.Read(p)
	if err == io.EOF {
		trailer := headerOf(b.DirectTrailer())
		if b.response.Trailer == nil {
			b.response.Trailer = trailer
		}
		for key, values := range trailer {
			b.response.Trailer[key] = values
		}
	}
	return n, err
}
