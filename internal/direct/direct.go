// SPDX-License-Identifier: Apache-2.0

// Package direct has the interfaces of the direct path, which h2/DESIGN.md describes, and
// helps handlers around other handlers to leave engines that path. Packages connect and h2
// have interfaces of their own with the same methods: the root package imports nothing of
// this module, and the engine nothing but its own packages. TestHooks in internal/conntest
// compares all of them. Other types are held by assertions beside them.
package direct

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"sync"
)

// A Handler serves a POST without an [http.Request], or returns false and does nothing:
// also if self, the handler as it was found, is not itself, but embeds it.
type Handler interface {
	http.Handler
	ServeDirect(self http.Handler, path string, w http.ResponseWriter) bool
}

// A Call is the ResponseWriter of a direct call.
type Call interface {
	http.ResponseWriter
	DirectRequest() (ctx context.Context, fields [][2]string, body io.Reader, length int64, host, remoteAddr string)
	DirectClientTLS() *tls.ConnectionState
	DirectField(name, value string)
	DirectTrailer(name, value string)
}

// A Transport makes calls without [http.Request] and [http.Response]. PrepareDirect returns
// nil without an error for what needs these: also if self, the transport as it was found,
// is not itself, but embeds it.
type Transport interface {
	http.RoundTripper
	PrepareDirect(self http.RoundTripper, u *url.URL, shared [][2]string) (Target, error)
}

// A Target makes calls to one URL. The body that it returns is a [Reply]. It is an alias,
// because packages that do not import each other write the same type.
type Target = interface {
	RoundTripDirect(ctx context.Context, own [][2]string, body []byte) (io.ReadCloser, error)
}

// A Reply is the response to a direct call.
type Reply interface {
	io.ReadCloser
	DirectHead() (status int, fields [][2]string, length int64)
	DirectTrailer() [][2]string
	DirectServerTLS() *tls.ConnectionState
}

// A ContextHeeder is a transport whose calls may return when their contexts end.
type ContextHeeder interface {
	HeedsContext(self http.RoundTripper) bool
}

// A MemoryBody is a request's body whose Read may never wait.
type MemoryBody interface {
	InMemory(self io.Reader) bool
}

// A HeaderLimiter is a ResponseWriter that may know how large a header the client takes.
type HeaderLimiter interface {
	MaxHeaderListSize() int
}

// Under returns the handler that serves a direct call to path under next: next itself, or
// what next has for it if it is an [http.ServeMux]. The result is nil if that handler
// serves no direct calls.
func Under(next http.Handler, path string, call Call) Handler {
	if mux, ok := next.(*http.ServeMux); ok {
		_, _, _, _, host, _ := call.DirectRequest()
		next = InMux(mux, host, path)
	}
	h, _ := next.(Handler)
	return h
}

// A muxRequest is an [http.Request] that serves only to ask an [http.ServeMux].
type muxRequest struct {
	request http.Request
	url     url.URL
}

var muxRequests = sync.Pool{New: func() any {
	q := &muxRequest{request: http.Request{Method: http.MethodPost, Proto: "HTTP/2.0", ProtoMajor: 2}}
	q.request.URL = &q.url
	return q
}}

// InMux returns the handler that mux has for a POST now: programs may add patterns at any
// time.
func InMux(mux *http.ServeMux, host, path string) http.Handler {
	q := muxRequests.Get().(*muxRequest)
	q.request.Host, q.request.RequestURI, q.url.Path = host, path, path
	h, _ := mux.Handler(&q.request)
	muxRequests.Put(q)
	return h
}
