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

// ServeDirect is ServeHTTP for HTTP engines that can serve a POST without making an
// [http.Request] of it, such as package h2. It reports false, and does nothing, if
// call has not the methods that it needs, or if self is not the handler itself: a
// type that embeds a Handler may have a ServeHTTP of its own, which must not be
// passed over. Programs do not call it; a router may, for what it routes.
func (h *Handler) ServeDirect(self http.Handler, _ string, call http.ResponseWriter) bool {
	direct, ok := call.(directCall)
	if !ok || self != http.Handler(h) {
		return false
	}
	c := &handlerConn{config: h.config, w: call, direct: direct}
	request := &c.request
	request.method, request.proto = http.MethodPost, 2
	c.ctx.Context, request.pairs, request.body, request.length, c.host[0], c.remote = direct.DirectRequest()
	c.ctx.conn = c
	if c.route = h.routes.find(request.first(headerContentType)); c.route == nil {
		h.refuseType(call)
		return true
	}
	h.serveConn(c)
	return true
}

// beginDirect completes the response headers of a direct call: those that the
// protocol needs.
func (c *handlerConn) beginDirect() {
	answer := c.answer()
	for _, value := range answer.contentType {
		c.direct.DirectField(headerContentType, value)
	}
	for _, value := range answer.encoding {
		c.direct.DirectField(c.encoding, value)
	}
	for _, value := range answer.accept {
		c.direct.DirectField(c.accept, value)
	}
}

// ---- clients ----

// directTransport is an [http.RoundTripper] that can do without requests and
// responses.
type directTransport interface {
	// PrepareDirect prepares POSTs to u. The shared fields are those of all of them;
	// their names are in lower case. Neither they nor u change afterwards. If self is
	// not the transport itself, it returns nil and no error.
	PrepareDirect(self http.RoundTripper, u *url.URL, shared [][2]string) (directTarget, error)
}

// directTarget is where direct calls of one kind go. It is an alias, as its type is
// the same wherever its method is spelled out.
type directTarget = interface {
	// RoundTripDirect posts a body. It returns the body of the response, which is a
	// directResponse. Neither the call's own fields, whose names are in lower case,
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
func (c *config) target(transport directTransport, self http.RoundTripper, shared [][2]string) (directTarget, error) {
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

// directResponse is the response to a direct call.
type directResponse interface {
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

// exchangeDirect sends a unary request without the types of net/http, and takes the
// response. It frees the packed message. If that is not possible it reports false,
// and has done nothing.
func (c *clientConn) exchangeDirect(b *buffer, compressed bool) bool {
	transport := c.config.transport()
	direct, ok := transport.(directTransport)
	if !ok || c.cancel != nil || c.mayGet() || !isPlain(c.header) {
		return false
	}
	shared, own := c.directFields(compressed)
	target, err := c.config.target(direct, transport, shared)
	var body io.ReadCloser
	if err == nil && target != nil {
		body, err = target.RoundTripDirect(c.ctx, own, b.data)
	}
	if body == nil && err == nil {
		return false
	}
	c.post = true
	if err != nil {
		b.free()
		c.settle(doError(http.MethodPost, c.config.url, err))
		return true
	}
	reply, ok := body.(directResponse)
	if !ok {
		b.free()
		_ = body.Close()
		c.settle(errorf(CodeInternal, "%T: RoundTripDirect returned a %T, which does not tell its head", transport, body))
		return true
	}
	status, pairs, length := reply.DirectHead()
	head := wireHead{fields: fields{pairs: pairs}, status: status}
	switch {
	case status == http.StatusOK && head.first(headerTrailer) == "":
		b.free()
		c.direct, c.incoming, c.reply = true, reply, head
		c.settle(c.readHead(length))
	case isRedirect(status):
		r := c.newRequest()
		if compressed && !c.framed {
			r.Header[c.encoding] = c.config.send.value
		}
		c.setBody(r, b)
		_ = r.Body.Close() // as the transport has read it
		c.take(c.likeDo(r, transport, responseOf(reply, &head, length), nil))
	default:
		b.free()
		c.take(responseOf(reply, &head, length), nil)
	}
	return true
}

// isPlain reports whether a header means over the direct path what it means in a
// request. It may have no Host, which a request keeps apart, and nothing that the
// transport would leave out and newRequest does not: a field of HTTP/1.1, or any
// under a key that is not canonical.
func isPlain(h http.Header) bool {
	for key := range h {
		if key == "Proxy-Connection" || http.CanonicalHeaderKey(key) != key {
			return false
		}
	}
	return first(h, headerHost) == ""
}

// directFields returns what newRequest puts into a header.
func (c *clientConn) directFields(compressed bool) (shared, own [][2]string) {
	shared, own = c.config.pairs, c.own[:0]
	if compressed && !c.framed {
		own = append(own, [2]string{strings.ToLower(c.encoding), c.config.send.name})
	}
	if timeout := c.timeLeft(); timeout != "" {
		own = append(own, [2]string{strings.ToLower(c.timeout), timeout})
	}
	for key, values := range c.header {
		switch {
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
		case protocolOwns(key):
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

// succeededDirect reports whether a direct call is at its end, and this says success
// and nothing else: then no header need be made of what came. It returns the trailers.
func (c *clientConn) succeededDirect(p piece, err error) (fields, bool) {
	if !c.direct || c.succeeded == nil || p.end || err != io.EOF {
		return fields{}, false
	}
	trailer := c.trailers()
	return trailer, c.succeeded(c.reply.fields, trailer)
}

// responseOf returns a direct response as an [http.Response], with all that a
// transport does to one.
func responseOf(reply directResponse, head *wireHead, length int64) *http.Response {
	r := &http.Response{
		Status:        strings.TrimSpace(head.statusText()),
		StatusCode:    head.status,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
		Header:        headerOf(head.pairs),
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
	directResponse
	response *http.Response
}

func (b *directBody) Read(p []byte) (int, error) {
	n, err := b.directResponse.Read(p)
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
