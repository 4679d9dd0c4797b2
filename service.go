// SPDX-License-Identifier: Apache-2.0

// The handler of a service: all of its procedures below one path.

package connect

import "net/http"

// NewServiceHandler returns a handler that serves each of procedures at its path, as
// [Spec].Procedure has it, and tells clients of all others what
// [NewUnknownProcedureHandler] tells them. Generated code mounts it; give it the
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

// ServeDirect is [Handler.ServeDirect] for the procedure at path.
func (s *serviceHandler) ServeDirect(self http.Handler, path string, call http.ResponseWriter) bool {
	h, ok := s.procedures[path]
	return ok && self == http.Handler(s) && h.ServeDirect(h, path, call)
}
