// SPDX-License-Identifier: Apache-2.0

// This file generates conformancev1 from the schemas in the suite's module,
// whose own generated code cannot be imported.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

const (
	modulePath  = "github.com/seed-b7c59c10/connect/internal/conformance"
	suiteModule = "connectrpc.com/conformance"
	generated   = "conformancev1"
	licenseLine = "// SPDX-License-Identifier: Apache-2.0\n"
)

// schemas are the files that the programs under test need, and their imports.
var schemas = []string{"config.proto", "service.proto", "client_compat.proto", "server_compat.proto"}

// generate runs the project's generator on the schemas of the version of the
// suite in go.mod.
func generate(ctx context.Context, out io.Writer) error {
	download := exec.CommandContext(ctx, "go", "mod", "download", "-json", suiteModule)
	download.Stderr = out
	answer, err := download.Output()
	if err != nil {
		return fmt.Errorf("downloading the module %s: %w", suiteModule, err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(answer, &module); err != nil {
		return fmt.Errorf("downloading the module %s: %w", suiteModule, err)
	}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	arguments := []string{
		"run", "-C", filepath.Join("..", "protogen"), ".",
		"-I", filepath.Join(module.Dir, "proto"),
		"-out", here,
		"-opt", "module=" + modulePath,
	}
	var files []string
	for _, schema := range schemas {
		file := path.Join("connectrpc/conformance/v1", schema)
		files = append(files, file)
		// The schemas have no go_package option.
		arguments = append(arguments, "-opt", "M"+file+"="+modulePath+"/"+generated)
	}
	run := exec.CommandContext(ctx, "go", append(arguments, files...)...)
	run.Stdout, run.Stderr = out, out
	if err := run.Run(); err != nil {
		return fmt.Errorf("generating from the suite's schemas: %w", err)
	}
	return filepath.WalkDir(generated, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return addLicenseLine(name)
	})
}

// addLicenseLine puts the line that every file of the project begins with in
// front of the schema's own license.
func addLicenseLine(name string) error {
	data, err := os.ReadFile(name)
	if err != nil || bytes.HasPrefix(data, []byte(licenseLine)) {
		return err
	}
	return os.WriteFile(name, append([]byte(licenseLine+"\n"), data...), 0o644)
}
