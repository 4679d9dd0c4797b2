// SPDX-License-Identifier: Apache-2.0

// Targets: a set of schemas whose code goes to one directory, and the table of
// the targets that are checked in.

package main

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/types/pluginpb"
)

// A target is a set of schema files that is generated together.
type target struct {
	includes       []string // directories that files and imports are relative to
	files          []string // schemas, relative to one of includes
	out            string   // directory that receives the output
	owned          string   // directory that holds nothing but this output, or empty
	messageOptions []string // for protoc-gen-go
	serviceOptions []string // for protoc-gen-connect-go

	request *pluginpb.CodeGeneratorRequest // set once compiled
}

// generate runs both plugins and writes their files. Nothing is written
// unless both succeed.
func (t target) generate(ctx context.Context, messages, services plugin) ([]change, error) {
	outputs, err := messages.run(ctx, t.request, t.messageOptions)
	if err != nil {
		return nil, err
	}
	more, err := services.run(ctx, t.request, t.serviceOptions)
	if err != nil {
		return nil, err
	}
	changes, err := write(t.out, append(outputs, more...))
	if err != nil || t.owned == "" {
		return changes, err
	}
	removed, err := prune(t.owned, changes)
	return append(changes, removed...), err
}

// checkedIn lists the targets of -all. A schema's go_package option decides
// where below the checkout its code goes; owned names the directory in which
// code without a schema is removed.
func checkedIn(checkout string) ([]target, error) {
	table := []struct {
		schemas, owned string
		services       []string // further options of protoc-gen-connect-go
	}{
		{"internal/proto", "internal/gen", nil},
		{"examples/quickstart/proto", "examples/quickstart/gen", nil},
		{"examples/housework/proto", "examples/housework/gen", []string{"simple"}},
		{"examples/shop/proto", "examples/shop/gen", []string{"simple"}},
		{"methodoption/proto", "methodoption", nil},
		{"validate/internal/proto", "validate/internal/gen", nil},
	}
	var targets []target
	for _, row := range table {
		include := filepath.Join(checkout, filepath.FromSlash(row.schemas))
		files, err := schemas(include)
		if err != nil {
			return nil, err
		}
		options := []string{"module=" + modulePath}
		targets = append(targets, target{
			includes:       []string{include, filepath.Join(checkout, "methodoption", "proto")},
			files:          files,
			out:            checkout,
			owned:          filepath.Join(checkout, filepath.FromSlash(row.owned)),
			messageOptions: options,
			serviceOptions: append(options, row.services...),
		})
	}
	return targets, nil
}

// schemas returns the names of all .proto files below dir, sorted.
func schemas(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".proto") {
			return err
		}
		name, err := filepath.Rel(dir, path)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for schemas: %w", err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("looking for schemas: no .proto file below %s", dir)
	}
	return names, nil
}
