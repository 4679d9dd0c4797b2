// SPDX-License-Identifier: Apache-2.0

// The index: what the service may answer with, made of the mounted services.

package reflection

import (
	"cmp"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// An index has the services of a server, and the files that describe them. Names that it
// lacks are looked up among the descriptors that are linked into the program: messages of
// google.protobuf.Any, such as the details of errors, are in no file that a service imports.
type index struct {
	services   []protoreflect.ServiceDescriptor // by name, each once
	files      *protoregistry.Files             // of the services, with all that they import
	extensions map[protoreflect.FullName]map[protoreflect.FieldNumber]protoreflect.FileDescriptor
	missing    map[string]string                // paths that a file imports and that no file has, with the path of one that imports it
	hidden     map[protoreflect.FullName]string // services whose file is left out, with its path: another file has that, or a name in it
}

// newIndex returns the index of services, of which the first with a name counts, and of
// further files.
func newIndex(services []protoreflect.ServiceDescriptor, files []protoreflect.FileDescriptor) *index {
	x := &index{
		files:      new(protoregistry.Files),
		extensions: make(map[protoreflect.FullName]map[protoreflect.FieldNumber]protoreflect.FileDescriptor),
		missing:    make(map[string]string),
		hidden:     make(map[protoreflect.FullName]string),
	}
	named := make(map[protoreflect.FullName]protoreflect.ServiceDescriptor, len(services))
	for _, s := range services {
		if named[s.FullName()] == nil {
			named[s.FullName()] = s
			x.add(s.ParentFile())
		}
	}
	for _, f := range files {
		x.add(f)
	}
	for name, s := range named {
		if found, _ := x.files.FindDescriptorByName(name); found == nil {
			x.hidden[name] = s.ParentFile().Path()
		}
	}
	x.services = slices.SortedFunc(maps.Values(named), func(a, b protoreflect.ServiceDescriptor) int { return cmp.Compare(a.FullName(), b.FullName()) })
	return x
}

// add adds a file and all that it imports. If two files have a path or a name in common,
// the first counts.
func (x *index) add(file protoreflect.FileDescriptor) {
	for queue := []protoreflect.FileDescriptor{file}; len(queue) > 0; queue = queue[1:] {
		file := queue[0]
		if _, err := x.files.FindFileByPath(file.Path()); err == nil || x.files.RegisterFile(file) != nil {
			continue
		}
		x.addExtensions(file)
		for i := range file.Imports().Len() {
			imported := file.Imports().Get(i)
			if imported.IsPlaceholder() {
				x.missing[imported.Path()] = file.Path()
				continue
			}
			queue = append(queue, imported.FileDescriptor)
		}
	}
}

// A scope has extensions, and messages that are scopes themselves.
type scope interface {
	Extensions() protoreflect.ExtensionDescriptors
	Messages() protoreflect.MessageDescriptors
}

// addExtensions adds the extensions of a file, also those that are declared in messages.
func (x *index) addExtensions(file protoreflect.FileDescriptor) {
	for queue := []scope{file}; len(queue) > 0; queue = queue[1:] {
		for i := range queue[0].Extensions().Len() {
			extension := queue[0].Extensions().Get(i)
			message := extension.ContainingMessage().FullName()
			if x.extensions[message] == nil {
				x.extensions[message] = make(map[protoreflect.FieldNumber]protoreflect.FileDescriptor)
			}
			x.extensions[message][extension.Number()] = file
		}
		for i := range queue[0].Messages().Len() {
			queue = append(queue, queue[0].Messages().Get(i))
		}
	}
}

// file returns the file with a path, nil if there is none.
func (x *index) file(path string) protoreflect.FileDescriptor {
	if f, err := x.files.FindFileByPath(path); err == nil {
		return f
	}
	if f, err := protoregistry.GlobalFiles.FindFileByPath(path); err == nil {
		return f
	}
	return nil
}

// descriptor returns what has a full name, nil if there is nothing, if it is a service or
// method that is not mounted, or if the name is too long.
func (x *index) descriptor(name protoreflect.FullName) protoreflect.Descriptor {
	if len(name) > nameMax {
		return nil
	}
	found, err := x.files.FindDescriptorByName(name)
	if err != nil {
		if found, err = protoregistry.GlobalFiles.FindDescriptorByName(name); err != nil {
			return nil
		}
	}
	service, _ := found.(protoreflect.ServiceDescriptor)
	if method, ok := found.(protoreflect.MethodDescriptor); ok {
		service, _ = method.Parent().(protoreflect.ServiceDescriptor)
	}
	if service != nil && !x.mounted(service.FullName()) {
		return nil
	}
	return found
}

func (x *index) mounted(service protoreflect.FullName) bool {
	_, found := slices.BinarySearchFunc(x.services, service, func(s protoreflect.ServiceDescriptor, name protoreflect.FullName) int {
		return cmp.Compare(s.FullName(), name)
	})
	return found
}

// extension returns the file that has an extension of a message, nil if there is none.
func (x *index) extension(message protoreflect.FullName, number protoreflect.FieldNumber) protoreflect.FileDescriptor {
	if f := x.extensions[message][number]; f != nil {
		return f
	}
	if found, err := protoregistry.GlobalTypes.FindExtensionByNumber(message, number); err == nil {
		return found.TypeDescriptor().ParentFile()
	}
	return nil
}

// extensionNumbers returns the numbers of the extensions of a message, in their order, and
// false if there is no such message.
func (x *index) extensionNumbers(message protoreflect.FullName) ([]protoreflect.FieldNumber, bool) {
	if _, ok := x.descriptor(message).(protoreflect.MessageDescriptor); !ok {
		return nil, false
	}
	numbers := slices.Collect(maps.Keys(x.extensions[message]))
	protoregistry.GlobalTypes.RangeExtensionsByMessage(message, func(extension protoreflect.ExtensionType) bool {
		numbers = append(numbers, extension.TypeDescriptor().Number())
		return true
	})
	slices.Sort(numbers)
	return slices.Compact(numbers), true
}

// encode returns the bytes of a file's google.protobuf.FileDescriptorProto.
func encode(file protoreflect.FileDescriptor) ([]byte, error) {
	return proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(protodesc.ToFileDescriptorProto(file))
}
