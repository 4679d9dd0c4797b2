// SPDX-License-Identifier: Apache-2.0

// The handler: preflight requests, headers for scripts, and calls that need neither.

package cors

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rs/cors"

	"github.com/seed-b7c59c10/connect/internal/direct"
)

// Handler returns next as a handler that scripts of the origins may call. It needs [Origins]
// or [OriginFunc], and panics without them, with options that do not fit each other, and if
// next is nil. It is for a whole mux or for one service.
func Handler(next http.Handler, options ...Option) http.Handler {
	if next == nil {
		panic("cors: Handler: next is nil: pass the handler to call")
	}
	s := settings{maxAge: defaultMaxAge}
	for _, option := range options {
		if option == nil {
			panic("cors: Handler: an option is nil")
		}
		option(&s)
	}
	c := cors.New(s.options())
	return &handler{next: next, around: c.Handler(next)}
}

type handler struct {
	next   http.Handler
	around http.Handler // next with CORS
}

// Unwrap returns the handler inside: package overload looks there for procedures.
func (h *handler) Unwrap() http.Handler { return h.next }

// ServeHTTP serves one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.around.ServeHTTP(w, r) }

var _ direct.Handler = (*handler)(nil)

// ServeDirect is ServeHTTP for engines that serve a POST without an [http.Request], such as
// package h2. Calls of scripts go to ServeHTTP. The others need no Vary: caches do not keep
// responses to a POST.
func (h *handler) ServeDirect(self http.Handler, path string, w http.ResponseWriter) bool {
	call, ok := w.(direct.Call)
	if !ok || self != http.Handler(h) {
		return false
	}
	_, fields, _, _, _, _ := call.DirectRequest()
	for _, field := range fields {
		if strings.EqualFold(field[0], "origin") {
			return false
		}
	}
	next := direct.Under(h.next, path, call)
	if next == nil {
		return false
	}
	return next.ServeDirect(next, path, call)
}

// options returns the settings as those of the library.
func (s settings) options() cors.Options {
	o := cors.Options{
		AllowedMethods:   AllowedMethods(),
		AllowedHeaders:   append(AllowedHeaders(), s.requestHeaders...),
		ExposedHeaders:   append(ExposedHeaders(), s.exposed...),
		AllowCredentials: s.credentials,
		MaxAge:           int(s.maxAge / time.Second),
	}
	if o.MaxAge == 0 {
		o.MaxAge = -1 // the library's value for no time
	}
	switch {
	case !s.every && len(s.exact) == 0 && len(s.below) == 0 && len(s.ask) == 0:
		panic(`cors: Handler: no origin: pass an option such as cors.Origins("https://app.example.com")`)
	case s.every && s.credentials:
		panic(`cors: Handler: Origins("*") with Credentials: any page could call with its visitor's cookies; name the origins`)
	case s.every:
		o.AllowedOrigins = []string{"*"}
	default:
		o.AllowOriginVaryRequestFunc = s.allows
	}
	return o
}

// allows reports whether the origin of a request is allowed. The answer depends on no other
// header.
func (s settings) allows(r *http.Request, origin string) (bool, []string) {
	if len(r.Header["Origin"]) != 1 {
		return false, nil // browsers send one
	}
	if s.exact[origin] {
		return true, nil
	}
	for _, b := range s.below {
		if b.has(origin) {
			return true, nil
		}
	}
	return origin != null && slices.ContainsFunc(s.ask, func(f func(string) bool) bool { return f(origin) }), nil
}
