// SPDX-License-Identifier: Apache-2.0

// The guard around a whole mux.

package auth

import (
	"net/http"

	"github.com/seed-b7c59c10/connect"
)

// Handler returns next behind the guard: each request, whether it is a call or not, meets it
// by its path before next does. So a caller without credentials cannot find out which
// procedures there are, and pages, files and reflection beside the services are covered.
// Refusals are in the protocol of the request; a request in none of them gets the JSON of
// unary Connect, with the HTTP status. Pass the options of the handlers, for
// [connect.WithErrorHook] and the like.
//
// Keys of a [Table] are compared with the path as it is: next must not strip a prefix from
// it. Requests have no schema there: Handler panics for a guard with [MethodOption]. Put a
// guard with the authenticators around the mux then, and pass one with [Inherited] and
// MethodOption to the handlers.
//
// Middleware for CORS belongs around the result: browsers send its preflight requests
// without credentials. A handler that is behind Handler alone, on package h2, does not have
// that engine's direct path; one that has the guard as its option does. Handler panics if
// next is nil.
func (g *Guard) Handler(next http.Handler, options ...connect.HandlerOption) http.Handler {
	check(next != nil, "Handler(nil): pass the handler to serve")
	check(!g.methodOption, "Handler: MethodOption needs the schemas of handlers: pass a guard with Inherited and MethodOption to their constructors")
	writer := connect.NewErrorWriter(options...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := Request{connect.Spec{Procedure: r.URL.Path}, connect.PeerOfRequest(r), r.Header}
		access, ok := g.table[r.URL.Path]
		if !ok {
			access = g.wide(r.URL.Path)
		}
		ctx, err := g.admit(r.Context(), request, access)
		if err != nil {
			_ = writer.Write(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
