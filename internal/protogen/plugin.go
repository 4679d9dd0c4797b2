// SPDX-License-Identifier: Apache-2.0

// The two plugins: built from pinned sources into a temporary directory, run
// as protoc would run them.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

// A plugin is an executable that speaks protoc's plugin protocol on its
// standard input and output.
type plugin struct {
	name string // for messages
	path string // absolute
}

// buildPlugins builds protoc-gen-go, at the version that this module's go.mod
// pins, and the checkout's protoc-gen-connect-go into dir. When connect is not
// empty, that executable takes the place of the latter.
func buildPlugins(ctx context.Context, checkout, dir, connect string) (messages, services plugin, err error) {
	messages, err = buildPlugin(ctx, filepath.Join(checkout, "internal", "protogen"), dir,
		"protoc-gen-go", "google.golang.org/protobuf/cmd/protoc-gen-go")
	if err != nil {
		return plugin{}, plugin{}, err
	}
	if connect != "" {
		if connect, err = filepath.Abs(connect); err != nil {
			return plugin{}, plugin{}, err
		}
		return messages, plugin{name: filepath.Base(connect), path: connect}, nil
	}
	services, err = buildPlugin(ctx, checkout, dir,
		"protoc-gen-connect-go", "./cmd/protoc-gen-connect-go")
	return messages, services, err
}

// buildPlugin builds one package of the module in which moduleDir lies. A
// workspace file around the checkout does not change the versions, and no
// version-control stamp reaches the generated headers.
func buildPlugin(ctx context.Context, moduleDir, dir, name, pkg string) (plugin, error) {
	built := filepath.Join(dir, name)
	if runtime.GOOS == "windows" {
		built += ".exe"
	}
	command := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", built, pkg)
	command.Dir = moduleDir
	command.Env = append(os.Environ(), "GOWORK=off", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	if output, err := command.CombinedOutput(); err != nil {
		return plugin{}, fmt.Errorf("building %s in %s: %w\n%s", pkg, moduleDir, err, bytes.TrimSpace(output))
	}
	return plugin{name: name, path: built}, nil
}

// run gives the request to the plugin and returns the files it generates. The
// options become the request's parameter.
func (p plugin) run(ctx context.Context, request *pluginpb.CodeGeneratorRequest, options []string) ([]output, error) {
	request = proto.CloneOf(request)
	if len(options) > 0 {
		request.Parameter = proto.String(strings.Join(options, ","))
	}
	input, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encoding the request for %s: %w", p.name, err)
	}

	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, p.path)
	command.Stdin = bytes.NewReader(input)
	command.Stdout = &stdout
	command.Stderr = &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("running %s: %w\n%s", p.name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	_, _ = os.Stderr.Write(stderr.Bytes()) // warnings of a plugin that succeeded

	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(stdout.Bytes(), &response); err != nil {
		return nil, fmt.Errorf("decoding the response of %s: %w", p.name, err)
	}
	if response.Error != nil {
		return nil, fmt.Errorf("%s: %s", p.name, response.GetError())
	}
	if err := requires(request, &response); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	outputs := make([]output, 0, len(response.File))
	for _, file := range response.File {
		if file.GetInsertionPoint() != "" {
			return nil, fmt.Errorf("%s: insertion point %q in %q: insertion points are not supported",
				p.name, file.GetInsertionPoint(), file.GetName())
		}
		if file.GetName() == "" {
			return nil, errors.New(p.name + ": a generated file has no name")
		}
		outputs = append(outputs, output{
			name:    file.GetName(),
			plugin:  p.name,
			content: []byte(file.GetContent()),
		})
	}
	return outputs, nil
}
