// SPDX-License-Identifier: Apache-2.0

// Schema files to a code generator request, in process: parsing, linking and
// the order that plugins expect.

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate" // for linkedIn
	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// compile parses and links files, which are named relative to one of the
// include directories, and returns the request that asks a plugin to generate
// code for them. Imports of google/protobuf and buf/validate need no include directory.
//
// A wrong schema yields one line per mistake, each beginning with
// path:line:column.
func compile(ctx context.Context, includes, files []string) (*pluginpb.CodeGeneratorRequest, error) {
	names := make([]string, 0, len(files))
	for _, file := range files {
		name, err := schemaName(includes, file)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}

	var mistakes []error
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{
			&protocompile.SourceResolver{ImportPaths: includes},
			protocompile.ResolverFunc(linkedIn),
		}),
		SourceInfoMode: protocompile.SourceInfoStandard,
		Reporter: reporter.NewReporter(func(mistake reporter.ErrorWithPos) error {
			mistakes = append(mistakes, locate(includes, mistake))
			return nil // go on: one run shows every mistake
		}, nil),
	}
	linked, err := compiler.Compile(ctx, names...)
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	if mistake, ok := errors.AsType[reporter.ErrorWithPos](err); ok {
		// A missing import does not pass through the reporter.
		return nil, locate(includes, mistake)
	}
	if err != nil {
		return nil, fmt.Errorf("compiling %s: %w", strings.Join(names, ", "), err)
	}

	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: names}
	seen := make(map[string]bool)
	for _, file := range linked {
		appendFile(request, file, seen)
	}
	for _, file := range request.ProtoFile {
		if slices.Contains(names, file.GetName()) {
			request.SourceFileDescriptors = append(request.SourceFileDescriptors, file)
		}
	}
	return request, nil
}

// linkedIn finds the schemas of other projects that this program links, and that a
// checkout need not have: buf/validate.
func linkedIn(name string) (protocompile.SearchResult, error) {
	if !strings.HasPrefix(name, "buf/validate/") {
		return protocompile.SearchResult{}, protoregistry.NotFound
	}
	file, err := protoregistry.GlobalFiles.FindFileByPath(name)
	return protocompile.SearchResult{Desc: file}, err
}

// appendFile adds file to the request after everything it imports. The
// standard imports come without source information. Comments of files that are
// not generated stay, which does no harm.
func appendFile(request *pluginpb.CodeGeneratorRequest, file protoreflect.FileDescriptor, seen map[string]bool) {
	if seen[file.Path()] {
		return
	}
	seen[file.Path()] = true
	imports := file.Imports()
	for i := range imports.Len() {
		appendFile(request, imports.Get(i).FileDescriptor, seen)
	}
	descriptor := proto.CloneOf(protoutil.ProtoFromFileDescriptor(file))
	request.ProtoFile = append(request.ProtoFile, descriptor)
}

// schemaName turns an argument into the name by which other schemas import
// it: relative to an include directory, with slashes. A path on disk that
// lies below an include directory is accepted too, as with protoc.
func schemaName(includes []string, file string) (string, error) {
	name := path.Clean(filepath.ToSlash(file))
	for _, include := range includes {
		if _, err := os.Stat(filepath.Join(include, filepath.FromSlash(name))); err == nil && !path.IsAbs(name) {
			return name, nil
		}
	}
	for _, include := range includes {
		below, err := relative(include, file)
		if err != nil || below == ".." || strings.HasPrefix(below, "../") {
			continue
		}
		if _, err := os.Stat(file); err == nil {
			return below, nil
		}
	}
	return "", fmt.Errorf("looking for schema %q: %w in the include directories %q; name it relative to one of them (-I)",
		file, fs.ErrNotExist, includes)
}

// relative is filepath.Rel on absolute paths, with slashes.
func relative(base, target string) (string, error) {
	base, err := filepath.Abs(base)
	if err != nil {
		return "", err
	}
	if target, err = filepath.Abs(target); err != nil {
		return "", err
	}
	below, err := filepath.Rel(base, target)
	return filepath.ToSlash(below), err
}

// locate names the file on disk in a mistake, so that editors and terminals
// can jump to it, and keeps the schema's own name where there is none.
func locate(includes []string, mistake reporter.ErrorWithPos) error {
	position := mistake.GetPosition()
	name := position.Filename
	for _, include := range includes {
		onDisk := filepath.Join(include, filepath.FromSlash(name))
		if _, err := os.Stat(onDisk); err == nil {
			name = onDisk
			break
		}
	}
	if position.Line > 0 {
		name = fmt.Sprintf("%s:%d:%d", name, position.Line, position.Col)
	}
	cause := mistake.Unwrap()
	if errors.Is(cause, fs.ErrNotExist) {
		cause = fmt.Errorf("imported file: %w in the include directories %q", fs.ErrNotExist, includes)
	}
	return fmt.Errorf("%s: %w", name, cause)
}

// requires returns an error if the files to generate use a feature that the
// plugin, in its response, does not declare.
func requires(request *pluginpb.CodeGeneratorRequest, response *pluginpb.CodeGeneratorResponse) error {
	features := response.GetSupportedFeatures()
	optional := uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL)
	editions := uint64(pluginpb.CodeGeneratorResponse_FEATURE_SUPPORTS_EDITIONS)
	for _, file := range request.ProtoFile {
		if !slices.Contains(request.FileToGenerate, file.GetName()) {
			continue
		}
		switch file.GetSyntax() {
		case "editions":
			edition := file.GetEdition()
			if features&editions == 0 {
				return fmt.Errorf("%s uses %s, and the plugin does not declare support for editions", file.GetName(), edition)
			}
			low, high := response.GetMinimumEdition(), response.GetMaximumEdition()
			if int32(edition) < low || int32(edition) > high {
				return fmt.Errorf("%s uses %s, and the plugin declares support for %s to %s only", file.GetName(), edition,
					descriptorpb.Edition(low), descriptorpb.Edition(high))
			}
		case "proto3":
			if features&optional == 0 && hasOptional(file.MessageType) {
				return fmt.Errorf("%s has optional fields, and the plugin does not declare support for them in proto3", file.GetName())
			}
		}
	}
	return nil
}

// hasOptional reports whether any message, nested ones included, has a field
// marked optional in proto3.
func hasOptional(messages []*descriptorpb.DescriptorProto) bool {
	for _, message := range messages {
		for _, field := range message.Field {
			if field.GetProto3Optional() {
				return true
			}
		}
		if hasOptional(message.NestedType) {
			return true
		}
	}
	return false
}
