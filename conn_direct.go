// SPDX-License-Identifier: Apache-2.0

// The direct path: calls through an HTTP engine that knows of such libraries as this
// one, without the types of net/http in between. Neither imports the other: they ask
// for methods whose signatures have only types of the language and of the standard
// library. Package h2 of this module is such an engine.

package connect

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// ---- handlers ----

// directCall is what an engine gives a handler instead of a request, as its
// ResponseWriter.
type directCall interface {
	http.ResponseWriter

	// DirectRequest returns what a POST has. The fields' names are in lower case,
	// and neither Host nor Trailer is among them. A negative length is not known.
	DirectRequest() (ctx context.Context, fields [][2]string, body io.Reader, length int64, host, remoteAddr string)
	// DirectField adds a field to the head of the response, beside what Header has.
	DirectField(name, value string)
	// DirectTrailer adds a trailer.
	DirectTrailer(name, value string)
}

// directResponse is the handlerExchange of a direct call.
type directResponse struct {
	directCall
	asked bool // Header was called: what it returns may have fields
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

// readDirect fills in what a direct call has, and returns its context.
func (r *inbound) readDirect(call directCall) (ctx context.Context) {
	ctx, r.lazy.from.pairs, r.body, r.length, r.host[0], r.remote = call.DirectRequest()
	r.lazy.host = &r.host
	r.wireHead = wireHead{fields: &r.lazy.from, proto: 2}
	return ctx
}

// newDirectConn returns the conn of a direct call, which has no route yet.
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

// directTransport is an [http.RoundTripper] that can do without requests and
// responses.
type directTransport interface {
	http.RoundTripper
	// PrepareDirect prepares POSTs to u. The shared fields are those of all of them;
	// their names are in lower case. Neither they nor u change afterwards. If self is
	// not the transport itself, it returns nil and no error.
	PrepareDirect(self http.RoundTripper, u *url.URL, shared [][2]string) (directTarget, error)
}

// directTarget is where direct calls of one kind go. It is an alias, as its type is
// the same wherever its method is spelled out.
type directTarget = interface {
	// RoundTripDirect posts a body. It returns the body of the response, which is a
	// directReply. Neither the call's own fields, whose names are in lower case,
	// nor body are used after it returned. If body is too long for it, it returns nil
	// and no error.
	RoundTripDirect(ctx context.Context, own [][2]string, body []byte) (io.ReadCloser, error)
}

// preparedTarget is the target of a client's calls, and the transport that made it.
type preparedTarget struct {
	transport http.RoundTripper
	target    directTarget
}

// target returns where direct calls with the shared fields go, nil if the transport
// makes none.
func (c *config) target(transport directTransport, shared [][2]string) (directTarget, error) {
	self := http.RoundTripper(transport)
	if len(shared) != len(c.pairs) { // the program names itself
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
	// DirectHead returns the status, the fields and the length of the body,
	// negative if it is not known.
	DirectHead() (status int, fields [][2]string, length int64)
	// DirectTrailer returns the trailers after Read returned io.EOF.
	DirectTrailer() [][2]string
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
	own       [1][2]string // room for a field
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
	case body == nil: // it is not for the transport
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
		_ = post.request.Body.Close() // as the transport has read it
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
	return fields{pairs: pairs}, wireHead{status: int32(status), proto: 2}, x.response, length
}

func (x *directExchange) trailer() fields { return fields{pairs: x.response.DirectTrailer()} }

// isPlain reports whether a header means over the direct path what it means in a
// request. It may have no Host, which a request keeps apart, and nothing that the
// transport would treat in its own way: a field of HTTP/1.1's connections, or any
// under a key that is not canonical.
func isPlain(h http.Header) bool {
	for key := range h {
		switch key {
		case headerConnection, "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade":
			return false
		case headerTE: // of gRPC, where interceptors see it
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

// directFields returns what newRequest puts into a header. Those of the call alone are
// appended to room.
func (c *clientConn) directFields(room [][2]string) (shared, own [][2]string) {
	shared, own = c.config.pairs, room
	if c.compressed && !c.framed {
		own = append(own, [2]string{strings.ToLower(c.encoding), c.config.send.name})
	}
	if timeout := c.timeLeft(); timeout != "" {
		own = append(own, [2]string{strings.ToLower(c.timeout), timeout})
	}
	for key, values := range c.header {
		switch {
		case slices.Equal(values, c.config.header[key]): // interceptors see what all calls have
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
				values = values[:min(len(values), 1)] // as transports send it
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

// responseOf returns a direct response as an [http.Response], with all that a
// transport does to one.
func responseOf(reply directReply) *http.Response {
	status, pairs, length := reply.DirectHead()
	r := &http.Response{
		Status:        statusText(status),
		StatusCode:    status,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
		Header:        headerOf(pairs),
		ContentLength: length,
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

// directBody is the body of such a response. Its end fills in the trailers.
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
