// SPDX-License-Identifier: Apache-2.0

// Package protofile makes descriptors of Protobuf files that the library serves itself,
// without registering them: a program may link other packages that register the same
// names, and the second registration would end it.
package protofile

import (
	"fmt"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Parse returns the descriptor of a file without imports, from a
// google.protobuf.FileDescriptorProto in text form. It panics if the text is not one:
// the texts are constants of this module.
func Parse(text string) protoreflect.FileDescriptor {
	file := new(descriptorpb.FileDescriptorProto)
	err := prototext.Unmarshal([]byte(text), file)
	if err == nil {
		var made protoreflect.FileDescriptor
		if made, err = protodesc.NewFile(file, new(protoregistry.Files)); err == nil {
			return made
		}
	}
	panic(fmt.Sprintf("protofile: parse the text of %q: %v", file.GetName(), err))
}
