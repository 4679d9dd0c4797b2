// SPDX-License-Identifier: Apache-2.0

// Types: the messages and extensions that codecs look up by name.

package dynamic

import (
	"fmt"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect"
)

// Types finds messages and extensions by name and number. [protoregistry.GlobalTypes]
// implements it, and so does the result of [Schema.Types]. It must be safe for
// concurrent use.
type Types interface {
	protoregistry.MessageTypeResolver
	protoregistry.ExtensionTypeResolver
}

// types looks names up in files, and then among the types that are linked into the
// program.
type types struct{ own func() *dynamicpb.Types }

func newTypes(files *protoregistry.Files) *types {
	own := dynamicpb.NewTypes(files)
	return &types{func() *dynamicpb.Types { return own }}
}

// typesOf returns the types of a file and of all files that it imports. They are collected
// when a name is looked up first: each method has its own, and most never need them.
func typesOf(file protoreflect.FileDescriptor) *types {
	return &types{sync.OnceValue(func() *dynamicpb.Types { return dynamicpb.NewTypes(filesOf(file)) })}
}

// filesOf returns a file and all files that it imports.
func filesOf(file protoreflect.FileDescriptor) *protoregistry.Files {
	files := new(protoregistry.Files)
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if file == nil || file.IsPlaceholder() {
			return
		}
		if _, err := files.FindFileByPath(file.Path()); err == nil {
			return
		}
		_ = files.RegisterFile(file) // fails only for a name that another of these files has, too
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
	}
	add(file)
	return files
}

// nameMax is the most bytes of a name that is looked up: peers choose those of
// google.protobuf.Any and of extensions in JSON, and the registry of a schema takes a time
// that grows with the square of their length.
const nameMax = 4 << 10

func (t *types) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if len(name) > nameMax {
		return nil, protoregistry.NotFound
	}
	if found, err := t.own().FindMessageByName(name); err == nil {
		return found, nil
	}
	return protoregistry.GlobalTypes.FindMessageByName(name)
}

func (t *types) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return t.FindMessageByName(protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:]))
}

func (t *types) FindExtensionByName(field protoreflect.FullName) (protoreflect.ExtensionType, error) {
	if len(field) > nameMax {
		return nil, protoregistry.NotFound
	}
	if found, err := t.own().FindExtensionByName(field); err == nil {
		return found, nil
	}
	return protoregistry.GlobalTypes.FindExtensionByName(field)
}

func (t *types) FindExtensionByNumber(message protoreflect.FullName, field protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	if found, err := t.own().FindExtensionByNumber(message, field); err == nil {
		return found, nil
	}
	return protoregistry.GlobalTypes.FindExtensionByNumber(message, field)
}

// WithTypes sets where the codecs look up the content of google.protobuf.Any and
// extensions: for a handler in the codecs "proto" and "json", for a client in
// "proto", which it makes the client's codec. A client that shall use JSON takes
// connect.WithCodec([NewJSONCodec](types)) in its place.
//
// [NewClient], [NewHandler] and [WithMethod] apply it with the types of the method's
// file and its imports; a later option replaces that. Pass [Schema.Types] if messages
// carry types of other files.
func WithTypes(types Types) connect.Option {
	return option{
		connect.WithHandlerOptions(connect.WithCodec(NewProtoCodec(types)), connect.WithCodec(NewJSONCodec(types))),
		connect.WithClientOptions(connect.WithCodec(NewProtoCodec(types))),
	}
}

// option is a connect.Option by embedding one option of each side.
type option struct {
	connect.HandlerOption
	connect.ClientOption
}

// NewProtoCodec returns the codec "proto" with the extensions of types.
func NewProtoCodec(types Types) connect.Codec { return protoCodec{types} }

type protoCodec struct{ types Types }

func (protoCodec) Name() string   { return "proto" }
func (protoCodec) IsBinary() bool { return true }

func (c protoCodec) Marshal(message any) ([]byte, error) { return c.MarshalAppend(nil, message) }

func (protoCodec) MarshalAppend(dst []byte, message any) ([]byte, error) {
	m, err := protoOf(message)
	if err != nil {
		return nil, err
	}
	return proto.MarshalOptions{}.MarshalAppend(dst, m)
}

func (protoCodec) MarshalStable(message any) ([]byte, error) {
	m, err := protoOf(message)
	if err != nil {
		return nil, err
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

func (c protoCodec) Unmarshal(data []byte, message any) error {
	m, err := protoOf(message)
	if err != nil {
		return err
	}
	return proto.UnmarshalOptions{Resolver: c.types}.Unmarshal(data, m)
}

// NewJSONCodec returns the codec "json", Protobuf's JSON mapping, with the messages
// and extensions of types. As the codec of package connect it ignores unknown fields,
// and refuses a message with more than 100 levels of google.protobuf.Any:
// [connect.NewJSONCodec] has other options.
func NewJSONCodec(types Types) connect.Codec {
	return connect.NewJSONCodec(connect.JSONOptions{Resolver: types})
}

func protoOf(message any) (proto.Message, error) {
	if m, ok := message.(proto.Message); ok {
		return m, nil
	}
	return nil, fmt.Errorf("%T is not a proto.Message", message)
}
