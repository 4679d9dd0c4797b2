// SPDX-License-Identifier: Apache-2.0

// Package registry lists the procedures that a server has mounted, with the options
// of their schemas: for access control by option, for metrics of procedures that were
// not called yet, and for pages and services that describe a server.
//
// A [Registry] stands beside the mux, and not around it: calls do not pass it.
//
//	var procedures registry.Registry
//	mux.Handle(procedures.Add(greetv1connect.NewGreetServiceHandler(greeter{})))
package registry

import (
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
)

// A Registry holds the procedures of the handlers that were added. The zero value is
// empty and ready. It is safe for concurrent use.
type Registry struct {
	mu         sync.RWMutex
	procedures map[string]Procedure // by path
}

// A Procedure is one that is mounted. It does not change.
type Procedure struct {
	connect.Spec
	// Pattern is the pattern of the handler to which the procedure belongs, as it was
	// given to Add.
	Pattern string
}

// Add adds the procedures of a handler, and returns its arguments, which are those of
// [http.ServeMux.Handle]. The handler is the value of a generated constructor, of
// [connect.NewServiceHandler], or a [*connect.Handler]: add it before middleware is
// put around it. A procedure that was added before is replaced.
//
// Add panics if the handler lists no procedures: see [connect.Procedures]. Those that
// connect-go's generator has made for connectrpc.com/connect do not.
func (r *Registry) Add(pattern string, handler http.Handler) (string, http.Handler) {
	handlers := connect.Procedures(handler)
	if handlers == nil {
		panic(fmt.Sprintf("registry: Add of %q: a %T lists no procedures: add the value of a generated constructor, and put middleware around it afterwards", pattern, handler))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.procedures == nil {
		r.procedures = make(map[string]Procedure)
	}
	for _, h := range handlers {
		spec := h.Spec()
		r.procedures[spec.Procedure] = Procedure{spec, pattern}
	}
	return pattern, handler
}

// Procedures returns the procedures that were added until now, in the order of their
// paths.
func (r *Registry) Procedures() iter.Seq[Procedure] {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := slices.Collect(maps.Values(r.procedures))
	slices.SortFunc(all, func(a, b Procedure) int {
		if a.Spec.Procedure < b.Spec.Procedure {
			return -1
		}
		return 1
	})
	return slices.Values(all)
}

// Find returns the procedure at a path such as "/acme.foo.v1.FooService/Bar". It
// returns false if there is none.
func (r *Registry) Find(path string) (Procedure, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p, ok := r.procedures[path]
	return p, ok
}

// Method returns the procedure's descriptor. It returns false if its handler has no
// Protobuf schema: see [connect.WithSchema].
func (p Procedure) Method() (protoreflect.MethodDescriptor, bool) {
	method, ok := p.Schema.(protoreflect.MethodDescriptor)
	return method, ok
}

// Options returns the options that the schema gives the procedure. Types decodes
// extensions that are not linked into the program, and may be nil: see
// [dynamic.MethodOptions]. Without a schema the options are empty.
func (p Procedure) Options(types dynamic.Types) (*descriptorpb.MethodOptions, error) {
	method, ok := p.Method()
	if !ok {
		return new(descriptorpb.MethodOptions), nil
	}
	return dynamic.MethodOptions(method, types)
}
