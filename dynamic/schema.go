// SPDX-License-Identifier: Apache-2.0

// Schemas: descriptors that were loaded at run time.

package dynamic

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/seed-b7c59c10/connect"
)

// A Schema is a set of Protobuf files that refer only to each other. It does not
// change, and is safe for concurrent use.
type Schema struct {
	files *protoregistry.Files
	types *types
}

// LoadSet returns the schema in an encoded google.protobuf.FileDescriptorSet, as
// "protoc --include_imports --descriptor_set_out=FILE" and "buf build -o FILE"
// write it. The files may come in any order. A file that others import and that is
// not in the set is taken from the program, if it is linked into it: the files of
// google/protobuf usually are. LoadSet returns an error for bytes that are not a
// set, for imports that are missing or go in a circle, and for names that are
// defined twice or not at all. It registers nothing globally.
func LoadSet(set []byte) (*Schema, error) {
	files := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(set, files); err != nil {
		return nil, fmt.Errorf("load descriptor set: decode: %w: expected a google.protobuf.FileDescriptorSet in binary form", err)
	}
	return NewSchema(files)
}

// NewSchema is [LoadSet] for a decoded set. It does not change the set.
func NewSchema(set *descriptorpb.FileDescriptorSet) (*Schema, error) {
	whole, err := withImports(set)
	if err != nil {
		return nil, fmt.Errorf("load descriptor set: %w", err)
	}
	files, err := protodesc.NewFiles(whole)
	if err != nil {
		return nil, fmt.Errorf("load descriptor set: %w", err)
	}
	return FromFiles(files), nil
}

// FromFiles returns the schema of a registry: [protoregistry.GlobalFiles] has the
// files that are linked into the program. No file may be added to the registry
// while the schema is in use.
func FromFiles(files *protoregistry.Files) *Schema {
	return &Schema{files, newTypes(files)}
}

// withImports returns the set with those imports added that it lacks and that are
// linked into the program.
func withImports(set *descriptorpb.FileDescriptorSet) (*descriptorpb.FileDescriptorSet, error) {
	whole := &descriptorpb.FileDescriptorSet{File: slices.Clone(set.GetFile())}
	has := make(map[string]bool, len(whole.File))
	for _, f := range whole.File {
		has[f.GetName()] = true
	}
	for i := 0; i < len(whole.File); i++ { // the set grows meanwhile
		f := whole.File[i]
		for _, path := range f.GetDependency() {
			if has[path] {
				continue
			}
			linked, err := protoregistry.GlobalFiles.FindFileByPath(path)
			if err != nil {
				return nil, fmt.Errorf("file %q imports %q, which is not in the set: build the set with its imports", f.GetName(), path)
			}
			has[path] = true
			whole.File = append(whole.File, protodesc.ToFileDescriptorProto(linked))
		}
	}
	return whole, nil
}

// Files returns the registry of the schema's files. Do not change it.
func (s *Schema) Files() *protoregistry.Files { return s.files }

// Types returns the schema's messages and extensions for [WithTypes], [NewJSONCodec]
// and the packages of google.golang.org/protobuf. A name that the schema lacks is
// looked up among the types that are linked into the program. One of more than 4 KiB is
// not looked up, because a peer may have chosen it.
func (s *Schema) Types() Types { return s.types }

// Method returns the method of a procedure, which is a path such as
// "/acme.foo.v1.FooService/Bar", or a full name such as
// "acme.foo.v1.FooService.Bar". The error names the methods that the service has.
func (s *Schema) Method(procedure string) (protoreflect.MethodDescriptor, error) {
	if len(procedure) > nameMax { // that of a request's path, say
		return nil, fmt.Errorf("find procedure: its name has %d bytes: expected at most %d", len(procedure), nameMax)
	}
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(procedure, "/"), "/", "."))
	found, err := s.files.FindDescriptorByName(name)
	if err == nil {
		if method, ok := found.(protoreflect.MethodDescriptor); ok {
			return method, nil
		}
		return nil, fmt.Errorf("find procedure %q: %s is no method", procedure, name)
	}
	if found, err := s.files.FindDescriptorByName(name.Parent()); err == nil {
		if service, ok := found.(protoreflect.ServiceDescriptor); ok {
			return nil, fmt.Errorf("find procedure %q: %s has the methods %v", procedure, service.FullName(), namesOf(service.Methods()))
		}
	}
	return nil, fmt.Errorf("find procedure %q: the schema has no service %q", procedure, name.Parent())
}

func namesOf(methods protoreflect.MethodDescriptors) []protoreflect.Name {
	names := make([]protoreflect.Name, 0, methods.Len())
	for i := range methods.Len() {
		names = append(names, methods.Get(i).Name())
	}
	return names
}

// Methods returns the methods of all services, in the order of their full names.
func (s *Schema) Methods() iter.Seq[protoreflect.MethodDescriptor] {
	var all []protoreflect.MethodDescriptor
	s.files.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				all = append(all, methods.Get(j))
			}
		}
		return true
	})
	slices.SortFunc(all, func(a, b protoreflect.MethodDescriptor) int {
		return strings.Compare(string(a.FullName()), string(b.FullName()))
	})
	return slices.Values(all)
}

// Procedure returns the path of a method: "/acme.foo.v1.FooService/Bar".
func Procedure(method protoreflect.MethodDescriptor) string {
	return "/" + string(method.Parent().FullName()) + "/" + string(method.Name())
}

// KindOf returns the kind of a method.
func KindOf(method protoreflect.MethodDescriptor) connect.StreamType {
	kind := connect.StreamTypeUnary
	if method.IsStreamingClient() {
		kind |= connect.StreamTypeClient
	}
	if method.IsStreamingServer() {
		kind |= connect.StreamTypeServer
	}
	return kind
}

// idempotencyOf returns the promise of a method's option idempotency_level.
func idempotencyOf(method protoreflect.MethodDescriptor) connect.IdempotencyLevel {
	options, _ := method.Options().(*descriptorpb.MethodOptions)
	switch options.GetIdempotencyLevel() {
	case descriptorpb.MethodOptions_NO_SIDE_EFFECTS:
		return connect.IdempotencyNoSideEffects
	case descriptorpb.MethodOptions_IDEMPOTENT:
		return connect.IdempotencyIdempotent
	}
	return connect.IdempotencyUnknown
}

// MethodOptions returns the options of a method, with the extensions that types has
// decoded: an option that a program does not link, such as an access rule of the
// schema's authors, is otherwise an unknown field. Read them with the method Range
// of the message's ProtoReflect, or with [proto.GetExtension]. Nil types are those that
// are linked into the program. The result is a copy; it is empty, and not nil, for a
// method without options.
func MethodOptions(method protoreflect.MethodDescriptor, types Types) (*descriptorpb.MethodOptions, error) {
	if types == nil {
		types = protoregistry.GlobalTypes
	}
	options := new(descriptorpb.MethodOptions)
	encoded, err := proto.MarshalOptions{AllowPartial: true}.Marshal(method.Options())
	if err == nil {
		err = proto.UnmarshalOptions{Resolver: types, AllowPartial: true}.Unmarshal(encoded, options)
	}
	if err != nil {
		return nil, fmt.Errorf("read the options of %s: %w", method.FullName(), err)
	}
	return options, nil
}
