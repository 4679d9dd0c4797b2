// SPDX-License-Identifier: Apache-2.0

// Exchanges through the types of net/http.

package connect

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
)

// ---- handlers ----

// httpResponse is the handlerExchange of any ResponseWriter.
type httpResponse struct {
	http.ResponseWriter
}

func (x *httpResponse) field(key string, values []string) {
	h := x.Header()
	if protocolOwns(key) {
		h[key] = values
	} else {
		h[key] = append(h[key], values...)
	}
}

func (x *httpResponse) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *httpResponse) trailer(key string, values []string) { x.Header()[trailerKey(key)] = values }

// isOwn reports whether a ResponseWriter is net/http's or the engine's, and not
// middleware's, which may read or change the bytes written to it.
func isOwn(w http.ResponseWriter) bool {
	if _, ok := w.(directCall); ok {
		return true
	}
	t := reflect.TypeOf(w)
	if t == nil || t.Kind() != reflect.Pointer {
		return false
	}
	t = t.Elem()
	return t.PkgPath() == "net/http" && t.Name() != "timeoutWriter" // of http.TimeoutHandler
}

// wholeRequest returns a request without the nil fields that servers always set, but
// adapters and tests may not: URL, Header and Body.
func wholeRequest(r *http.Request) *http.Request {
	if r.URL != nil && r.Header != nil && r.Body != nil {
		return r
	}
	c := *r
	if c.URL == nil {
		c.URL = new(url.URL)
	}
	if c.Header == nil {
		c.Header = make(http.Header)
	}
	if c.Body == nil {
		c.Body, c.ContentLength = http.NoBody, 0
	}
	return &c
}

// readHTTP sets r to a request that is whole.
func (r *inbound) readHTTP(request *http.Request) {
	if request.Header[headerHost] == nil {
		r.host[0] = request.Host // net/http removes it from the header
		request.Header[headerHost] = r.host[:]
	}
	r.lazy.from = fields{header: request.Header}
	r.wireHead = wireHead{fields: &r.lazy.from, tls: request.TLS, proto: uint8(request.ProtoMajor)}
	r.body, r.length = request.Body, request.ContentLength
	r.remote = request.RemoteAddr
	if request.URL.RawQuery != "" {
		r.query = request.URL.Query()
	}
}

// newHTTPConn returns the conn of a call through net/http.
func newHTTPConn(config *config, rt *route, w http.ResponseWriter, r *http.Request) *handlerConn {
	call := new(struct {
		conn     handlerConn
		response httpResponse
	})
	c := &call.conn
	call.response.ResponseWriter = w
	c.config, c.route, c.exchange = config, rt, &call.response
	if config.connectGo {
		delete(r.Header, headerHost) // only requests of tests and adapters have it: it is the request's
	}
	c.request.readHTTP(r)
	c.ctx = handlerContext{r.Context(), c}
	c.own = isOwn(w)
	c.remember(w.Header())
	return c
}

// ---- clients ----

// httpExchange is the clientExchange of any HTTPClient or RoundTripper.
type httpExchange struct {
	request  http.Request
	url      url.URL // of the request: a copy, as HTTP clients may change it
	response *http.Response

	// The body of a request of one message: a copy, or the packed buffer itself.
	body   bytes.Reader
	lent   lentBuffer // empty if it is a copy
	reader lentReader
}

// newRequest returns an exchange for a POST without its body.
func (c *clientConn) newRequest() *httpExchange {
	var fixed, h http.Header
	switch {
	case c.cancel != nil && c.header == nil:
		h = maps.Clone(c.config.streamHead)
		c.header = h
	case c.cancel != nil:
		fixed, h = c.config.streamHead, c.header
	case len(c.header) == 0 && !c.asGiven:
		h = maps.Clone(c.config.header)
	default: // the headers of a Request stay as the caller left them
		fixed, h = c.config.header, make(http.Header, len(c.config.header)+len(c.header)+1)
		maps.Copy(h, c.header)
	}
	x, ok := c.exchange.(*httpExchange)
	if !ok {
		x = new(httpExchange)
	}
	x.url = *c.config.url
	x.request = *(&http.Request{ // copied, so that the one of WithContext is not allocated
		Method:     c.method,
		URL:        &x.url,
		Host:       x.url.Host,
		Header:     h,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
	}).WithContext(c.ctx)
	r := &x.request
	if fixed != nil {
		if host := first(h, headerHost); host != "" {
			r.Host = host
		}
	}
	if c.asGiven {
		fixed = nil
	} else if fixed != nil {
		maps.DeleteFunc(h, func(key string, _ []string) bool {
			return !isUserAgent(key) && ownsOfRequest(key)
		})
	}
	for key, values := range fixed {
		if _, given := h[key]; !given || !isUserAgent(key) {
			h[key] = values
		}
	}
	if timeout := c.timeLeft(); timeout != "" && !(c.asGiven && c.cancel != nil) { // RequestHeader has set it
		h[c.timeout] = []string{timeout}
	}
	if c.chosen && c.framed {
		delete(h, c.encoding)
		if encoding := c.named(); encoding != nil {
			h[c.encoding] = encoding
		}
	}
	return x
}

// newPost returns an exchange for a POST of a packed message, which it frees.
func (c *clientConn) newPost(b *buffer) *httpExchange {
	x := c.newRequest()
	if c.compressed && !c.framed {
		x.request.Header[c.encoding] = c.out.compression.value
	}
	x.setBody(b, c.overHTTP2)
	return x
}

// newGet returns an exchange for a GET of a URL.
func (c *clientConn) newGet(u *url.URL) *httpExchange {
	x := c.newRequest()
	c.dialect = dialectGet
	x.url = *u
	x.request.Method = c.method
	deleteInQuery(x.request.Header)
	return x
}

// deleteInQuery deletes the headers of a POST that the query of a GET has instead.
func deleteInQuery(h http.Header) {
	for _, key := range []string{headerContentType, headerContentEncoding, headerContentLength, headerConnectVersion} {
		delete(h, key)
	}
}

// setBody sets the request's body to a packed message. A transport may read the body
// after Do has returned. So the body is a copy, or the buffer itself, which is freed
// after the transport has closed the body.
func (x *httpExchange) setBody(b *buffer, lend bool) {
	r := &x.request
	if len(b.data) >= bufferSize || lend {
		x.lent.lend(b)
		_ = x.lent.open(&x.reader) // cannot fail while the owner has the buffer
		r.ContentLength, r.Body, r.GetBody = int64(len(b.data)), &x.reader, x.lent.reader
		return
	}
	data := slices.Clone(b.data)
	b.free()
	r.ContentLength = int64(len(data))
	if len(data) == 0 {
		r.Body = http.NoBody
		return
	}
	// Over HTTP/1.1 net/http sends headers and a small body in one write if the body is
	// of a type that it has a case for.
	x.body.Reset(data)
	r.Body = io.NopCloser(&x.body)
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

func (x *httpExchange) send(c *clientConn) (clientExchange, error) {
	transport := c.config.transport()
	if transport == nil || c.pipe != nil {
		response, err := c.config.http.Do(&x.request)
		if err == nil && response == nil {
			err = errorf(CodeInternal, "%T returned neither a response nor an error", c.config.http)
		}
		return x.receive(response, err)
	}
	response, err := transport.RoundTrip(&x.request)
	return x.receive(likeDo(&x.request, transport, response, err))
}

// receive sets the response and gives the request's buffer back.
func (x *httpExchange) receive(response *http.Response, err error) (clientExchange, error) {
	if x.lent.b != nil {
		x.lent.giveBack()
	}
	x.response = response
	return x, err
}

func (x *httpExchange) reply() (f fields, head wireHead, body io.ReadCloser, length int64) {
	r := x.response
	if body = r.Body; body == nil {
		body = http.NoBody
	}
	head = wireHead{tls: r.TLS, proto: uint8(r.ProtoMajor), protoMinor: uint8(r.ProtoMinor), status: int32(r.StatusCode), statusLine: r.Status}
	return fields{header: r.Header}, head, body, r.ContentLength
}

func (x *httpExchange) trailer() fields { return fields{header: x.response.Trailer} }
