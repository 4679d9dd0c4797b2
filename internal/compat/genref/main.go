// SPDX-License-Identifier: Apache-2.0

// Genref runs the reference's own code generator on the schema of
// internal/conntest, so that a test can compare the result with our generator's
// code. It runs in the directory of the compat module.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const (
	plugin = "connectrpc.com/connect/cmd/protoc-gen-connect-go"
	target = "theirs/conntestv1connect"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "genref:", err)
		os.Exit(1)
	}
}

func run() error {
	schema := conntestv1.File_conntest_v1_conntest_proto
	request, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{schema.Path()},
		ProtoFile:      withImports(schema, make(map[string]bool)),
	})
	if err != nil {
		return err
	}
	command := exec.Command("go", "run", plugin)
	command.Stdin, command.Stderr = bytes.NewReader(request), os.Stderr
	output, err := command.Output()
	if err != nil {
		return fmt.Errorf("running %s: %w", plugin, err)
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(output, &response); err != nil {
		return fmt.Errorf("reading what %s wrote: %w", plugin, err)
	}
	if response.Error != nil || len(response.GetFile()) != 1 {
		return fmt.Errorf("%s: error %q, %d files: expected no error and 1 file", plugin, response.GetError(), len(response.GetFile()))
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	content := "// SPDX-License-Identifier: Apache-2.0\n\n" + response.GetFile()[0].GetContent()
	name := filepath.Base(response.GetFile()[0].GetName())
	return os.WriteFile(filepath.Join(target, name), []byte(content), 0o644)
}

// withImports returns a file after everything that it imports.
func withImports(file protoreflect.FileDescriptor, seen map[string]bool) []*descriptorpb.FileDescriptorProto {
	if seen[file.Path()] {
		return nil
	}
	seen[file.Path()] = true
	var files []*descriptorpb.FileDescriptorProto
	for i := range file.Imports().Len() {
		files = append(files, withImports(file.Imports().Get(i), seen)...)
	}
	return append(files, protodesc.ToFileDescriptorProto(file))
}
