// SPDX-License-Identifier: Apache-2.0

// This file runs published test suites of modules that use connectrpc.com/connect on top of this library.

package compat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// suites are the last versions built on version 1 of the reference. Skip is
// the -skip argument of go test for what cannot run here, on the reference
// neither.
var suites = []struct{ module, version, skip string }{
	{"connectrpc.com/otelconnect", "v0.10.0", ""},
	{"connectrpc.com/validate", "v0.7.0", ""},
	// The example calls demo.connectrpc.com over the Internet.
	{"connectrpc.com/grpcreflect", "v1.3.1", "^ExampleNewClient$"},
}

// foundations are what the suites run on: -replace arguments, with the
// repository as the directory. The first one replaces nothing and is what the
// others are measured by.
var foundations = []struct {
	name     string
	replaces []string
}{
	{"reference", nil},
	{"root", []string{"connectrpc.com/connect=%[1]s"}},
	{"dropin", []string{"connectrpc.com/connect=%[1]s/dropin", "github.com/seed-b7c59c10/connect=%[1]s"}},
}

// referenceRuns is how often a suite may run on the reference until it passes:
// validate's tests of streams send to a server that may have answered already,
// and now and then the reference loses that race. On the library a suite runs
// once.
const referenceRuns = 5

// TestEcosystem wants each suite to pass as it is: the very tests that pass on
// the reference pass on the library in its place, by a plain replacement and
// by the drop-in.
func TestEcosystem(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs nine test suites")
	}
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, suite := range suites {
		t.Run(filepath.Base(suite.module), func(t *testing.T) {
			source := download(t, suite.module, suite.version)
			var want []string
			for _, foundation := range foundations {
				t.Run(foundation.name, func(t *testing.T) {
					var replaces []string
					for _, replace := range foundation.replaces {
						replaces = append(replaces, fmt.Sprintf(replace, repository))
					}
					result := runSuite(t, source, replaces, suite.skip)
					for again := 1; foundation.replaces == nil && len(result.failed) > 0 && again < referenceRuns; again++ {
						t.Logf("failed on the reference itself, run again: %q", result.failed)
						result = runSuite(t, source, replaces, suite.skip)
					}
					t.Logf("%s %s on %s: %d passed, %d failed, %d skipped",
						suite.module, suite.version, foundation.name, len(result.passed), len(result.failed), len(result.skipped))
					if len(result.passed) == 0 || len(result.failed) > 0 || result.err != nil {
						t.Errorf("failed tests: %q, error: %v\n%s", result.failed, result.err, result.output)
					}
					if foundation.replaces == nil {
						want = result.passed
					} else if !slices.Equal(result.passed, want) {
						t.Errorf("passed tests differ from the reference's: got %q, want %q", result.passed, want)
					}
				})
			}
		})
	}
}

// download returns the directory of a module in the module cache.
func download(t *testing.T, module, version string) string {
	t.Helper()
	var info struct{ Dir string }
	if err := json.Unmarshal([]byte(goCommand(t, ".", "mod", "download", "-json", module+"@"+version)), &info); err != nil {
		t.Fatal(err)
	}
	return info.Dir
}

// suiteResult holds test names, qualified with their packages and sorted.
type suiteResult struct {
	passed, failed, skipped []string
	output                  string // of what failed and of the builds
	err                     error  // of go test itself
}

// runSuite runs all tests of a writable copy of the module in source.
func runSuite(t *testing.T, source string, replaces []string, skip string) suiteResult {
	t.Helper()
	dir := t.TempDir()
	copyTree(t, source, dir)
	for _, replace := range replaces {
		goCommand(t, dir, "mod", "edit", "-replace", replace)
	}
	command := command(t, dir, "test", "-mod=mod", "-count=1", "-skip="+skip, "-json", "./...")
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	var result suiteResult
	result.err = command.Run()
	outputs := make(map[string]string) // by test; those of packages and builds under ""
	decoder := json.NewDecoder(&stdout)
	for {
		var event struct{ Action, Package, Test, Output string }
		if err := decoder.Decode(&event); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("reading the output of go test: %v", err)
		}
		if event.Test == "" {
			outputs[""] += event.Output
			continue
		}
		name := event.Package + "." + event.Test
		outputs[name] += event.Output
		switch event.Action {
		case "pass":
			result.passed = append(result.passed, name)
		case "fail":
			result.failed = append(result.failed, name)
		case "skip":
			result.skipped = append(result.skipped, name)
		}
	}
	slices.Sort(result.passed)
	result.output = outputs[""] + stderr.String()
	for _, name := range result.failed {
		result.output += outputs[name]
	}
	return result
}

// copyTree copies the files of a read-only directory into an existing one.
// Workspace files stay behind: they name modules that are not published with it.
func copyTree(t *testing.T, source, target string) {
	t.Helper()
	err := filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		copied := filepath.Join(target, relative)
		if entry.IsDir() {
			return os.MkdirAll(copied, 0o755)
		}
		if entry.Name() == "go.work" || entry.Name() == "go.work.sum" {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(copied, content, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// command returns the go command in dir, outside of any workspace and without
// settings that belong to the run of this test.
func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "GOLANG_PROTOBUF_REGISTRATION_CONFLICT=")
	return command
}

// goCommand runs the go command and returns what it prints.
func goCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	command := command(t, dir, args...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("go %q: %v\n%s%s", args, err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String()
}
