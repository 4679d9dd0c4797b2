// SPDX-License-Identifier: Apache-2.0

// The handler of a service: all of its procedures below one path.

package connect

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// NewServiceHandler returns a handler that serves each procedure at its path,
// which is its [Spec].Procedure, and answers all other paths as
// [NewUnknownProcedureHandler] does, with the paths of its procedures in the error,
// or with the handler of [WithUnknownProcedureHandler].
// Generated code uses it; call it with the options of the procedures. It is safe
// for concurrent use.
func NewServiceHandler(procedures []*Handler, options ...HandlerOption) http.Handler {
	s := &serviceHandler{procedures: make(map[string]*Handler, len(procedures))}
	for _, h := range procedures {
		s.procedures[h.config.spec.Procedure] = h
	}
	s.unknown = unknownProcedure(s.known(), options)
	return s
}

// Procedures returns the handlers of a service's procedures, in the order of their
// paths, if service is the result of [NewServiceHandler], as that of a generated
// constructor is. For a [*Handler] it returns that handler alone, and for any other
// value nil: middleware hides the procedures.
func Procedures(service http.Handler) []*Handler {
	switch s := service.(type) {
	case *serviceHandler:
		handlers := make([]*Handler, 0, len(s.procedures))
		for _, path := range slices.Sorted(maps.Keys(s.procedures)) {
			handlers = append(handlers, s.procedures[path])
		}
		return handlers
	case *Handler:
		return []*Handler{s}
	}
	return nil
}

// namedMax is how many procedures an error names.
const namedMax = 20

// known returns what the error for an unknown procedure adds: which there are.
func (s *serviceHandler) known() string {
	paths := slices.Sorted(maps.Keys(s.procedures))
	more := ""
	if n := len(paths) - namedMax; n > 0 {
		paths, more = paths[:namedMax], fmt.Sprintf(" and %d more", n)
	}
	if len(paths) == 0 {
		return ""
	}
	return ": it has " + strings.Join(paths, ", ") + more
}

type serviceHandler struct {
	procedures map[string]*Handler // by path
	unknown    http.Handler
}

// ServeHTTP serves one call.
func (s *serviceHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = wholeRequest(r)
	if h, ok := s.procedures[r.URL.Path]; ok {
		h.ServeHTTP(w, r)
		return
	}
	s.unknown.ServeHTTP(w, r)
}

// ServeDirect is ServeHTTP for HTTP engines that serve a POST without an
// [http.Request], such as package h2. It does nothing and returns false if there is
// no procedure at path, or if call lacks a method of directCall. It also returns
// false if self is not s: then s is embedded in another type, which may have a
// ServeHTTP of its own, and the engine must call that.
func (s *serviceHandler) ServeDirect(self http.Handler, path string, call http.ResponseWriter) bool {
	h, found := s.procedures[path]
	direct, able := call.(directCall)
	if !found || !able || self != http.Handler(s) {
		return false
	}
	h.serveDirect(direct)
	return true
}
