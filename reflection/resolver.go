// SPDX-License-Identifier: Apache-2.0

// Resolvers: registries that a server's reflection fills as names are looked up.

package reflection

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/reflectcall"
)

// A Resolver looks up files, descriptors, messages and extensions as a
// [protoregistry.Files] and a [protoregistry.Types] do. It loads a
// missing file from the server, with the files that it imports, once, and takes a file that
// the server does not have from this program, if it is linked. It implements [protodesc.Resolver] and
// [github.com/seed-b7c59c10/connect/dynamic.Types]: codecs and the packages of
// google.golang.org/protobuf take it.
//
// A name that neither has is [protoregistry.NotFound], also for later look-ups, and so is one of
// more than 4 KiB: a peer may have chosen it. Other errors are those of the call, and a later
// look-up makes another call. It is safe for concurrent use; look-ups that need the server wait
// for each other. The answers of a server are bounded as in
// [github.com/seed-b7c59c10/connect/dynamic.Reflect], for all look-ups together.
type Resolver struct {
	ctx    context.Context
	server *reflectcall.Server

	mu     sync.RWMutex
	set    reflectcall.Set
	seen   int                                 // the first so many files of set are in files, or in left
	left   []*descriptorpb.FileDescriptorProto // those that are broken, or lack an import
	tries  int                                 // to add a file, which tests count
	files  *protoregistry.Files
	types  *dynamicpb.Types
	absent map[string]bool // questions whose answer was CodeNotFound, or something else

	loading sync.Mutex // one call at a time
}

// maxAbsent bounds the questions that are kept because they have no answer.
const maxAbsent = 1000

// Resolver returns an empty resolver. All its calls end with ctx at the latest: look-ups
// have no context of their own.
func (c *Client) Resolver(ctx context.Context) *Resolver {
	files := new(protoregistry.Files)
	return &Resolver{ctx: ctx, server: &c.server, files: files, types: dynamicpb.NewTypes(files), absent: make(map[string]bool)}
}

// FindFileByPath returns the file with a path, such as "acme/foo/v1/foo.proto".
func (r *Resolver) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	return find(r, "file "+path,
		func() (protoreflect.FileDescriptor, error) { return r.files.FindFileByPath(path) },
		func() (protoreflect.FileDescriptor, error) { return protoregistry.GlobalFiles.FindFileByPath(path) },
		func(set *reflectcall.Set, call *reflectcall.Call) error { return set.File(call, path) })
}

// FindDescriptorByName returns what has a full name: a message, a service, a method and so on.
func (r *Resolver) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if len(name) > nameMax {
		return nil, protoregistry.NotFound
	}
	return find(r, "symbol "+string(name),
		func() (protoreflect.Descriptor, error) { return r.files.FindDescriptorByName(name) },
		func() (protoreflect.Descriptor, error) { return protoregistry.GlobalFiles.FindDescriptorByName(name) },
		symbol(name))
}

// FindMessageByName returns the type of a message, whose values are of [dynamicpb.Message].
func (r *Resolver) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if len(name) > nameMax {
		return nil, protoregistry.NotFound
	}
	return find(r, "symbol "+string(name),
		func() (protoreflect.MessageType, error) { return r.types.FindMessageByName(name) },
		func() (protoreflect.MessageType, error) { return protoregistry.GlobalTypes.FindMessageByName(name) },
		symbol(name))
}

// FindMessageByURL returns the type of the message in a google.protobuf.Any: the name is what
// follows the last slash of the URL.
func (r *Resolver) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return r.FindMessageByName(protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:]))
}

// FindExtensionByName returns an extension by its full name.
func (r *Resolver) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	if len(name) > nameMax {
		return nil, protoregistry.NotFound
	}
	return find(r, "symbol "+string(name),
		func() (protoreflect.ExtensionType, error) { return r.types.FindExtensionByName(name) },
		func() (protoreflect.ExtensionType, error) { return protoregistry.GlobalTypes.FindExtensionByName(name) },
		symbol(name))
}

// FindExtensionByNumber returns the extension of a message that has a number.
func (r *Resolver) FindExtensionByNumber(message protoreflect.FullName, number protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return find(r, fmt.Sprintf("extension %s %d", message, number),
		func() (protoreflect.ExtensionType, error) { return r.types.FindExtensionByNumber(message, number) },
		func() (protoreflect.ExtensionType, error) {
			return protoregistry.GlobalTypes.FindExtensionByNumber(message, number)
		},
		func(set *reflectcall.Set, call *reflectcall.Call) error {
			return set.Extension(call, string(message), int32(number))
		})
}

func symbol(name protoreflect.FullName) func(*reflectcall.Set, *reflectcall.Call) error {
	return func(set *reflectcall.Set, call *reflectcall.Call) error { return set.Symbol(call, string(name)) }
}

// find looks something up, and loads it if it is not there.
func find[T any](r *Resolver, question string, look, linked func() (T, error), load func(*reflectcall.Set, *reflectcall.Call) error) (T, error) {
	known := func() (found T, err error, final bool) {
		r.mu.RLock()
		defer r.mu.RUnlock()
		found, err = look()
		if err != protoregistry.NotFound { // found, or something of another kind
			return found, err, true
		}
		if r.absent[question] {
			found, err = linked()
			return found, err, true
		}
		return found, err, false
	}
	found, err, final := known()
	if final {
		return found, err
	}
	r.loading.Lock()
	defer r.loading.Unlock()
	if found, err, final = known(); final { // another goroutine has loaded it
		return found, err
	}
	failed := r.load(load)
	if found, err, final = known(); final { // an error of the call is about other files
		return found, err
	}
	if failed != nil && connect.CodeOf(failed) != connect.CodeNotFound {
		return found, failed
	}
	r.mu.Lock() // the server does not have it, or has answered with something else
	if len(r.absent) >= maxAbsent {
		clear(r.absent)
	}
	r.absent[question] = true
	r.mu.Unlock()
	return linked()
}

// load makes a call, and adds the files that it brings. The caller has the lock loading.
func (r *Resolver) load(load func(*reflectcall.Set, *reflectcall.Call) error) error {
	asked := false
	err := r.server.Call(r.ctx, func(call *reflectcall.Call) error {
		if err := load(&r.set, call); err != nil {
			return err
		}
		err := r.set.Imports(call)
		asked = err == nil
		if connect.CodeOf(err) == connect.CodeNotFound { // not the code for what is looked up, which is there
			asked = true
			err = connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("the server lacks a file that another one imports: %w", err))
		}
		return err
	})
	if !asked {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	files := append(r.left, r.set.Files[r.seen:]...)
	r.left, r.seen = nil, len(r.set.Files)
	broken := make(map[string]error)
	for _, file := range files {
		if failed := r.add(file, broken); failed != nil {
			r.left = append(r.left, file)
			if err == nil {
				err = connect.NewError(connect.CodeInternal, fmt.Errorf("reflect %s: %w", r.server.Host(), failed))
			}
		}
	}
	return err
}

// add adds a file after those that it imports. broken has the error of each file that was
// tried and could not be added, so that files that import it are not tried over and over.
func (r *Resolver) add(file *descriptorpb.FileDescriptorProto, broken map[string]error) error {
	name := file.GetName()
	if _, err := r.files.FindFileByPath(name); err == nil {
		return nil
	}
	if err := broken[name]; err != nil {
		return err
	}
	broken[name] = fmt.Errorf("file %q imports itself, by way of others", name) // if it is met below
	err := r.addAfterImports(file, broken)
	if delete(broken, name); err != nil {
		broken[name] = err
	}
	return err
}

func (r *Resolver) addAfterImports(file *descriptorpb.FileDescriptorProto, broken map[string]error) error {
	r.tries++
	for _, imported := range file.GetDependency() {
		if next := r.set.Find(imported); next != nil {
			if err := r.add(next, broken); err != nil {
				return err
			}
		}
	}
	made, err := protodesc.NewFile(file, imports{r.files})
	if err != nil {
		return err
	}
	return r.files.RegisterFile(made)
}

// imports finds what a file imports: in the files that were loaded, and then among those that
// are linked into the program.
type imports struct{ files *protoregistry.Files }

func (i imports) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if found, err := i.files.FindFileByPath(path); err == nil {
		return found, nil
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

func (i imports) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if found, err := i.files.FindDescriptorByName(name); err == nil {
		return found, nil
	}
	return protoregistry.GlobalFiles.FindDescriptorByName(name)
}
