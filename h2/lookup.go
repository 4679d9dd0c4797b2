// SPDX-License-Identifier: Apache-2.0

// Which handler of an http.ServeMux a direct call is for.

package h2

import (
	"net/http"
	"net/url"
	"sync"
)

// lookUps asks a ServeMux for the handlers of one connection's requests. Patterns
// may be added at any time, and count for all requests that arrive afterwards. So
// what was found for one request is good for others to the same host and path if
// they had arrived by then, and only for them: those of one batch, mostly.
type lookUps struct {
	mu   sync.Mutex
	last lookUp
}

// A lookUp is what a ServeMux was asked, and its answer.
type lookUp struct {
	reads      uint64 // of the connection, before the mux was asked
	host, path string
	handler    http.Handler
}

// find returns the handler that mux has for a POST.
func (l *lookUps) find(mux *http.ServeMux, s *serverStream) http.Handler {
	l.mu.Lock()
	last := l.last
	l.mu.Unlock()
	if s.readsAtArrival <= last.reads && s.path == last.path && s.host == last.host {
		return last.handler
	}
	next := lookUp{s.sc.reads.Load(), s.host, s.path, nil}
	next.handler = handlerOf(mux, next.host, next.path)
	l.mu.Lock()
	l.last = next
	l.mu.Unlock()
	return next.handler
}

// A question is an [http.Request] that is only good for asking an [http.ServeMux].
type muxRequest struct {
	request http.Request
	url     url.URL
}

var muxRequests = sync.Pool{New: func() any {
	q := &muxRequest{request: http.Request{Method: http.MethodPost, Proto: "HTTP/2.0", ProtoMajor: 2}}
	q.request.URL = &q.url
	return q
}}

func handlerOf(mux *http.ServeMux, host, path string) http.Handler {
	q := muxRequests.Get().(*muxRequest)
	q.request.Host, q.request.RequestURI, q.url.Path = host, path, path
	h, _ := mux.Handler(&q.request)
	muxRequests.Put(q)
	return h
}
