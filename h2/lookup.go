// SPDX-License-Identifier: Apache-2.0

// Which handler of an http.ServeMux serves a direct call.

package h2

import (
	"net/http"
	"net/url"
	"sync"
)

// lookUps finds the handlers of one connection's requests in a ServeMux. Programs may
// add patterns at any time, and requests that arrive later must see them. So an answer
// of the mux is good for requests to the same host and path that had arrived when the
// mux was asked, and for no others: in practice, for those of one batch. mu guards last,
// and the mux is asked without it.
type lookUps struct {
	mu   sync.Mutex
	last lookUp
}

// A lookUp is a question to a ServeMux and the answer.
type lookUp struct {
	reads      uint64 // conn.reads before the mux was asked
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

// handlerOf asks mux for the handler of a POST.
func handlerOf(mux *http.ServeMux, host, path string) http.Handler {
	q := muxRequests.Get().(*muxRequest)
	q.request.Host, q.request.RequestURI, q.url.Path = host, path, path
	h, _ := mux.Handler(&q.request)
	muxRequests.Put(q)
	return h
}
