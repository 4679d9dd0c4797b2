// SPDX-License-Identifier: Apache-2.0

// Generate writes the code below gen anew: messages and our stubs with
// internal/protogen, then the stubs of the other libraries with their own
// generators, pinned as tools of this module. Run it from internal/bench, twice after a
// change of the schema, because it links the schema that it gives to those generators:
//
//	go run ./generate
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	benchv1 "github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1"
)

const (
	module = "github.com/seed-b7c59c10/connect/internal/bench"
	schema = "bench/v1/bench.proto"

	license = "// SPDX-License-Identifier: Apache-2.0\n\n"
)

// A generator is a protoc plugin that is a tool of this module.
type generator struct {
	name      string
	parameter string
	unaryOnly bool // streams are left out of the schema that it sees
}

var generators = []generator{
	{"protoc-gen-connect-go", "module=" + module + ",package_suffix=connectgo", false},
	{"protoc-gen-go-grpc", "module=" + module, false},
	{"protoc-gen-go-drpc", "paths=source_relative", false},
	{"protoc-gen-twirp", "module=" + module, true},
	{"protoc-gen-go-vtproto", "module=" + module + ",features=marshal+unmarshal+size+pool,pool=" + module + "/gen/bench/v1.Payload", false},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ours := exec.Command("go", "run", ".", "-I", "../bench/proto", "-out", "../bench", "-opt", "module="+module, schema)
	ours.Dir = filepath.Join("..", "protogen")
	if output, err := ours.CombinedOutput(); err != nil {
		return fmt.Errorf("running internal/protogen: %w\n%s", err, output)
	}
	// The other generators take the schema from the code that protogen wrote.
	file := protodesc.ToFileDescriptorProto(benchv1.File_bench_v1_bench_proto)
	for _, g := range generators {
		if err := g.run(file); err != nil {
			return fmt.Errorf("running %s: %w", g.name, err)
		}
	}
	return nil
}

// imports appends the files that a file imports, each after those that it imports itself.
func imports(file protoreflect.FileDescriptor, all []*descriptorpb.FileDescriptorProto) []*descriptorpb.FileDescriptorProto {
	for i := range file.Imports().Len() {
		imported := file.Imports().Get(i).FileDescriptor
		if slices.ContainsFunc(all, func(f *descriptorpb.FileDescriptorProto) bool { return f.GetName() == imported.Path() }) {
			continue
		}
		all = append(imports(imported, all), protodesc.ToFileDescriptorProto(imported))
	}
	return all
}

// run gives the schema to the generator and writes the files that it returns.
func (g generator) run(file *descriptorpb.FileDescriptorProto) error {
	file = proto.CloneOf(file)
	if g.unaryOnly {
		for _, service := range file.Service {
			var unary []*descriptorpb.MethodDescriptorProto
			for _, method := range service.Method {
				if !method.GetClientStreaming() && !method.GetServerStreaming() {
					unary = append(unary, method)
				}
			}
			service.Method = unary
		}
	}
	request, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{schema},
		Parameter:      proto.String(g.parameter),
		ProtoFile:      append(imports(benchv1.File_bench_v1_bench_proto, nil), file),
	})
	if err != nil {
		return err
	}
	command := exec.Command("go", "tool", g.name)
	command.Stdin = bytes.NewReader(request)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(output, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return errors.New(response.GetError())
	}
	for _, f := range response.File {
		path := filepath.FromSlash(f.GetName())
		if !strings.HasPrefix(f.GetName(), "gen/") {
			path = filepath.Join("gen", path)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(license+f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
