// SPDX-License-Identifier: Apache-2.0

// The README's example as a stranger would use it: taken out of the page,
// generated, built and run in a module of its own.

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The README marks each block of its example with a comment on the line
// before it: <!-- example: NAME -->. The server listens on readmeAddr and the
// client calls it there; the test puts a free port in its place. All files
// lie in the root of a module named readmeModule.
const (
	readmeAddr   = "localhost:8080"
	readmeModule = "example.com/greet"
)

// readmeBlocks names the blocks that must be there, and how they are fenced.
var readmeBlocks = map[string]string{
	"greet.proto": "```protobuf",
	"server.go":   "```go",
	"client.go":   "```go",
	"output":      "```text",
}

func TestReadme(t *testing.T) {
	t.Parallel()
	checkout, err := findCheckout("")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(checkout, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := exampleBlocks(string(page))
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(blocks["server.go"]+blocks["client.go"], "\n"); lines > 80 {
		t.Errorf("got %d lines of Go in the example, want at most 80: a first example is short", lines)
	}
	addr := freeAddr(t)
	for _, name := range []string{"server.go", "client.go"} {
		if !strings.Contains(blocks[name], readmeAddr) {
			t.Fatalf("%s does not use the address %s", name, readmeAddr)
		}
		blocks[name] = strings.ReplaceAll(blocks[name], readmeAddr, addr)
	}

	dir := writeTree(t, map[string]string{
		"go.mod":      exampleModule(t, checkout),
		"go.sum":      readFile(t, filepath.Join(checkout, "go.sum")),
		"greet.proto": blocks["greet.proto"],
		"server.go":   blocks["server.go"],
		"client.go":   blocks["client.go"],
	})
	if err := run(t.Context(), []string{"-I", dir, "-out", dir, "-opt", "module=" + readmeModule, "greet.proto"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"server", "client"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program+".exe", program+".go")
		build.Dir = dir
		build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
		if output, err := build.CombinedOutput(); err != nil {
			t.Fatalf("building the README's %s.go: %v\n%s", program, err, output)
		}
	}

	server := exec.CommandContext(t.Context(), filepath.Join(dir, "server.exe"))
	server.Stdout, server.Stderr = os.Stderr, os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	defer func() {
		_ = server.Process.Kill()
		<-ended
	}()
	if err := waitFor(t.Context(), addr, ended); err != nil {
		t.Fatal(err)
	}
	client := exec.CommandContext(t.Context(), filepath.Join(dir, "client.exe"))
	output, err := client.Output()
	if err != nil {
		stderr := ""
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			stderr = string(exit.Stderr)
		}
		t.Fatalf("running the README's client.go: %v\n%s%s", err, output, stderr)
	}
	if got, want := strings.TrimSpace(string(output)), strings.TrimSpace(blocks["output"]); got != want {
		t.Errorf("output of the README's client.go: got\n%s\nwant\n%s", got, want)
	}
}

// exampleBlocks returns the content of each marked block of a page. It fails
// when one is missing, there twice, or not fenced as readmeBlocks says.
func exampleBlocks(page string) (map[string]string, error) {
	blocks := make(map[string]string)
	scanner := bufio.NewScanner(strings.NewReader(page))
	for scanner.Scan() {
		name, ok := strings.CutPrefix(strings.TrimSpace(scanner.Text()), "<!-- example: ")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, " -->")
		fence, ok := readmeBlocks[name]
		if !ok {
			return nil, fmt.Errorf("README.md marks an example %q, want one of %v", name, readmeBlocks)
		}
		if _, ok := blocks[name]; ok {
			return nil, fmt.Errorf("README.md marks the example %q twice", name)
		}
		if !scanner.Scan() || scanner.Text() != fence {
			return nil, fmt.Errorf("README.md: got %q after the mark of the example %q, want %s", scanner.Text(), name, fence)
		}
		var block strings.Builder
		closed := false
		for !closed && scanner.Scan() {
			if closed = scanner.Text() == "```"; !closed {
				block.WriteString(scanner.Text() + "\n")
			}
		}
		if !closed {
			return nil, fmt.Errorf("README.md: the example %q has no end", name)
		}
		blocks[name] = block.String()
	}
	if err := scanner.Err(); err != nil {
		return nil, err
	}
	for name, fence := range readmeBlocks {
		if blocks[name] == "" {
			return nil, fmt.Errorf("README.md has no example %q: want the line <!-- example: %s --> before a block fenced with %s", name, name, fence)
		}
	}
	return blocks, nil
}

func TestExampleBlocks(t *testing.T) {
	t.Parallel()
	var page strings.Builder
	for name, fence := range readmeBlocks {
		fmt.Fprintf(&page, "Words.\n\n<!-- example: %s -->\n%s\n// %s\n```\n\n%s\nother\n```\n", name, fence, name, fence)
	}
	good := page.String()
	blocks, err := exampleBlocks(good)
	if err != nil {
		t.Fatal(err)
	}
	for name := range readmeBlocks {
		if got, want := blocks[name], "// "+name+"\n"; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for name, bad := range map[string]string{
		"has no example":   strings.ReplaceAll(good, "<!-- example: client.go -->", ""),
		"twice":            good + "<!-- example: client.go -->\n```go\n```\n",
		"after the mark":   strings.ReplaceAll(good, "<!-- example: server.go -->\n", "<!-- example: server.go -->\n\n"),
		"has no end":       "<!-- example: server.go -->\n```go\npackage main\n",
		"marks an example": good + "<!-- example: other.go -->\n",
	} {
		if _, err := exampleBlocks(bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want an error with %q", err, name)
		}
	}
}

// exampleModule returns a go.mod that has the checkout's requirements and
// takes this library from the checkout.
func exampleModule(t *testing.T, checkout string) string {
	t.Helper()
	_, requirements, ok := strings.Cut(readFile(t, filepath.Join(checkout, "go.mod")), "module "+modulePath+"\n")
	if !ok {
		t.Fatalf("the go.mod of %s does not begin with its module line", checkout)
	}
	return fmt.Sprintf("module %s\n%s\nrequire %s v0.0.0\n\nreplace %[3]s => %s\n", readmeModule, requirements, modulePath, checkout)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// freeAddr returns an address of this machine on which nothing listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// waitFor returns once something accepts connections on addr, or an error
// when the server ended or ctx does.
func waitFor(ctx context.Context, addr string, ended chan error) error {
	for again := time.NewTicker(10 * time.Millisecond); ; {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return connection.Close()
		}
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("the README's server.go ended: %v", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}
