// SPDX-License-Identifier: Apache-2.0

// The handler of a service: all of its procedures below one path.

package connect

import "net/http"

// NewServiceHandler returns a handler that serves each of procedures at its path, as
// [Spec].Procedure has it, and answers all other paths as
// [NewUnknownProcedureHandler] does. Generated code mounts it; give it the
// options of the procedures.
func NewServiceHandler(procedures []*Handler, options ...HandlerOption) http.Handler {
	s := &serviceHandler{procedures: make(map[string]*Handler, len(procedures)), unknown: NewUnknownProcedureHandler(options...)}
	for _, h := range procedures {
		s.procedures[h.config.spec.Procedure] = h
	}
	return s
}

type serviceHandler struct {
	procedures map[string]*Handler // by path
	unknown    http.Handler
}

// ServeHTTP serves one call.
func (s *serviceHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := s.procedures[r.URL.Path]; ok {
		h.ServeHTTP(w, r)
		return
	}
	s.unknown.ServeHTTP(w, r)
}

// ServeDirect is ServeHTTP for HTTP engines that can serve a POST without making an
// [http.Request] of it, such as package h2. It reports false, and does nothing, if
// there is no procedure at path, if call has not the methods that it needs, or if
// self is not s itself: a type that embeds s may have a ServeHTTP of its own, which
// must not be left out.
func (s *serviceHandler) ServeDirect(self http.Handler, path string, call http.ResponseWriter) bool {
	h, found := s.procedures[path]
	direct, able := call.(directCall)
	if !found || !able || self != http.Handler(s) {
		return false
	}
	h.serveDirect(direct)
	return true
}
