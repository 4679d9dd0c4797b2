// SPDX-License-Identifier: Apache-2.0

// The Reflector: it keeps the index, and makes a new one when services were added.

package reflection

import (
	"net/http"
	"slices"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
	"github.com/seed-b7c59c10/connect/registry"
)

// A Reflector describes the services of a server: make one with [New], and serve it with its
// method Mount, or with [NewHandler] and [NewHandlerV1Alpha]. It is safe for concurrent use.
type Reflector struct {
	procedures *registry.Registry

	mu       sync.Mutex
	schemas  []*dynamic.Schema
	made     *index
	madeOf   []protoreflect.ServiceDescriptor // the mounted services then
	encoding sync.Map                         // of a protoreflect.FileDescriptor to its []byte
}

// New returns a reflector of the services whose procedures are in the registry, also of
// those that are added later: calls that begin after an addition see it. A service is named
// once, however many handlers it has. Procedures without a Protobuf schema are left out: see
// [connect.WithSchema]; generated handlers have theirs. New panics if procedures is nil.
func New(procedures *registry.Registry) *Reflector {
	if procedures == nil {
		panic("reflection: New: the registry is nil: pass the one to which handlers are added")
	}
	return &Reflector{procedures: procedures}
}

// AddSchema adds all services of a schema to those of the registry, with all of its files:
// for services that this program does not serve itself, such as those behind a proxy. Of
// files that have a path or a name in common the first counts, those of the registry before
// others. It panics if schema is nil.
func (r *Reflector) AddSchema(schema *dynamic.Schema) {
	if schema == nil {
		panic("reflection: AddSchema: the schema is nil")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schemas = append(r.schemas, schema)
	r.made = nil
}

// A Router mounts handlers by pattern, as [http.ServeMux] and [connect.MountFunc] do.
type Router interface {
	Handle(pattern string, handler http.Handler)
}

// Mount mounts both versions of the service, v1 and v1alpha, and adds them to the registry.
// There are programs that call one of them alone.
func (r *Reflector) Mount(router Router, options ...connect.HandlerOption) {
	router.Handle(r.procedures.Add(NewHandler(r, options...)))
	router.Handle(r.procedures.Add(NewHandlerV1Alpha(r, options...)))
}

// index returns the index of the services that are mounted now.
func (r *Reflector) index() *index {
	var mounted []protoreflect.ServiceDescriptor
	for p := range r.procedures.Procedures() {
		if method, ok := p.Method(); ok {
			if service, ok := method.Parent().(protoreflect.ServiceDescriptor); ok && (len(mounted) == 0 || mounted[len(mounted)-1] != service) {
				mounted = append(mounted, service)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.made != nil && slices.Equal(mounted, r.madeOf) {
		return r.made
	}
	services := slices.Clone(mounted)
	var files []protoreflect.FileDescriptor
	for _, schema := range r.schemas {
		first := len(files)
		schema.Files().RangeFiles(func(file protoreflect.FileDescriptor) bool {
			files = append(files, file)
			return true
		})
		slices.SortFunc(files[first:], byPath)
		for _, file := range files[first:] {
			for i := range file.Services().Len() {
				services = append(services, file.Services().Get(i))
			}
		}
	}
	r.made, r.madeOf = newIndex(services, files), mounted
	return r.made
}

// encoded returns the bytes of a file. There are as many as there are files: what clients
// ask for does not add to them.
func (r *Reflector) encoded(file protoreflect.FileDescriptor) ([]byte, error) {
	if known, ok := r.encoding.Load(file); ok {
		return known.([]byte), nil
	}
	made, err := encode(file)
	if err != nil {
		return nil, err
	}
	r.encoding.Store(file, made)
	return made, nil
}
