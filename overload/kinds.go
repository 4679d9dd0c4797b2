// SPDX-License-Identifier: Apache-2.0

// Which procedures are streams.

package overload

import (
	"maps"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/direct"
)

const (
	streamType  = "application/connect+" // followed by a codec
	wrappersMax = 16                     // handlers around each other that are looked through
)

// kinds has the services that were seen. Readers need no lock; mu is held to add one.
type kinds struct {
	known atomic.Pointer[known] // nil: none
	mu    sync.Mutex
}

// A known is a set of services. It does not change.
type known struct {
	services   map[http.Handler]bool
	procedures map[string]bool // by path; true: a stream
}

// isStream reports whether a call to path is a stream. next is the handler, of which a
// service is learned at the first call of one of its procedures.
func (k *kinds) isStream(path string, next http.Handler, host, contentType string) bool {
	stream, ok := k.find(path)
	if !ok {
		k.learn(below(next, host, path))
		stream, ok = k.find(path) // maybe another call has learned it meanwhile
	}
	if !ok {
		return strings.HasPrefix(contentType, streamType)
	}
	return stream
}

func (k *kinds) find(path string) (stream, ok bool) {
	if known := k.known.Load(); known != nil {
		stream, ok = known.procedures[path]
	}
	return stream, ok
}

// below returns the handler that serves a POST to path under next: it looks through muxes,
// and through handlers with a method Unwrap, as those of this package and of package drain
// have.
func below(next http.Handler, host, path string) http.Handler {
	for range wrappersMax {
		switch h := next.(type) {
		case *http.ServeMux:
			next = direct.InMux(h, host, path)
		case interface{ Unwrap() http.Handler }:
			next = h.Unwrap()
		default:
			return next
		}
	}
	return next
}

// learn adds the procedures of a service, if it has any.
func (k *kinds) learn(service http.Handler) {
	if t := reflect.TypeOf(service); t == nil || t.Kind() != reflect.Pointer { // as services are; others may not be the key of a map
		return
	}
	if known := k.known.Load(); known != nil && known.services[service] {
		return
	}
	handlers := connect.Procedures(service)
	if handlers == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	next := &known{make(map[http.Handler]bool), make(map[string]bool)}
	if known := k.known.Load(); known != nil {
		maps.Copy(next.services, known.services)
		maps.Copy(next.procedures, known.procedures)
	}
	next.services[service] = true
	for _, h := range handlers {
		spec := h.Spec()
		next.procedures[spec.Procedure] = spec.StreamType != connect.StreamTypeUnary
	}
	k.known.Store(next)
}
