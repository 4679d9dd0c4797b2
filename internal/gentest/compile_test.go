// SPDX-License-Identifier: Apache-2.0

// Schemas to requests: the work of protoc before it starts a plugin.

package gentest

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const schemas = "testdata"

// allSchemas returns the names of the schemas, by which they import each other.
func allSchemas(t *testing.T) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(schemas), ".", func(name string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(name, ".proto") {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// compile returns the request for some schemas, without options.
func compile(t *testing.T, names ...string) *pluginpb.CodeGeneratorRequest {
	t.Helper()
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			ImportPaths: []string{schemas},
			Accessor:    openSchema,
		}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(t.Context(), names...)
	if err != nil {
		t.Fatalf("compiling %q: %v", names, err)
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: names}
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for n := range file.Imports().Len() {
			add(file.Imports().Get(n).FileDescriptor)
		}
		descriptor := proto.CloneOf(protoutil.ProtoFromFileDescriptor(file))
		if slices.Contains(edition2024, file.Path()) {
			descriptor.Edition = descriptorpb.Edition_EDITION_2024.Enum()
		}
		request.ProtoFile = append(request.ProtoFile, descriptor)
	}
	for _, file := range files {
		add(file)
	}
	return request
}

// edition2024 lists the schemas of an edition that protocompile v0.14 does not support yet. They are parsed as edition 2023
// and labelled afterwards: features are resolved by the plugin, and the schemas have no syntax that is new in 2024.
var edition2024 = []string{"editions2024/editions2024.proto"}

func openSchema(name string) (io.ReadCloser, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if below, err := filepath.Rel(schemas, name); err == nil && slices.Contains(edition2024, filepath.ToSlash(below)) {
		content = bytes.Replace(content, []byte(`edition = "2024"`), []byte(`edition = "2023"`), 1)
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}
