// SPDX-License-Identifier: Apache-2.0

// Package gentest holds the golden files of protoc-gen-connect-go, the schemas that they come from, and the tests that
// compare, compile and call them. The tests build the plugin themselves, and the go command's test cache does not
// depend on it: run them with -count=1, to get no result from before a change of the plugin.
//
//	go test -count=1 ./...                            compare and call
//	go test -count=1 -run TestGolden -rewrite ./...   write the golden files anew
package gentest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

const (
	goPlugin      = "protoc-gen-go"
	connectPlugin = "protoc-gen-connect-go"
)

var (
	rewrite = flag.Bool("rewrite", false, "write what the plugins generate to gen, instead of comparing it")

	// programs is the folder of the two plugins, built for this run.
	programs string
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	folder, err := os.MkdirTemp("", "gentest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	programs = folder
	build := exec.Command("go", "build", "-o", folder+string(filepath.Separator),
		"google.golang.org/protobuf/cmd/protoc-gen-go",
		"github.com/seed-b7c59c10/connect/cmd/protoc-gen-connect-go")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the plugins: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

// runPlugin gives a request to one of the plugins as a compiler does, and returns the response.
func runPlugin(t *testing.T, name string, request *pluginpb.CodeGeneratorRequest) *pluginpb.CodeGeneratorResponse {
	t.Helper()
	stdout, stderr, err := startPlugin(t, name, request)
	if err != nil {
		t.Fatalf("running %s with %q: %v\n%s", name, request.GetParameter(), err, stderr)
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(stdout, response); err != nil {
		t.Fatalf("reading the answer of %s: %v", name, err)
	}
	if response.Error != nil {
		t.Fatalf("running %s with %q: %s", name, request.GetParameter(), response.GetError())
	}
	return response
}

// startPlugin is runPlugin for requests that may fail.
func startPlugin(t *testing.T, name string, request *pluginpb.CodeGeneratorRequest) (stdout, stderr []byte, err error) {
	t.Helper()
	input, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	command := exec.Command(filepath.Join(programs, name))
	command.Stdin = bytes.NewReader(input)
	command.Stdout = &out
	command.Stderr = &errs
	err = command.Run()
	return out.Bytes(), errs.Bytes(), err
}
