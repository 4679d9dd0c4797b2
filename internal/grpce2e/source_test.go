// SPDX-License-Identifier: Apache-2.0

// This file makes a copy of grpc-go whose tests serve on the engine.

package grpce2e

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	module = "google.golang.org/grpc"
	ours   = "github.com/seed-b7c59c10/connect"
)

// A patch replaces the one place in a file where old stands.
type patch struct{ file, old, new string }

// report makes grpc-go print, for each request, the package that serves it.
var report = []patch{
	{"internal/transport/handler_server.go",
		"\tif r.Method != http.MethodPost {\n",
		"\tfmt.Printf(\"" + servedBy + "%s\\n\", reflect.TypeOf(w).Elem().PkgPath())\n\tif r.Method != http.MethodPost {\n"},
	{"internal/transport/handler_server.go", "\t\"net/http\"\n", "\t\"net/http\"\n\t\"reflect\"\n"},
}

// servedBy begins the lines that report prints.
const servedBy = "request served by "

// engine puts the engine below each http.Server that the tests make of a
// grpc.Server.
var engine = []patch{
	{"test/end2end_test.go",
		"\t\tte.srv = wrapHS{hs}\n",
		"\t\tif err := h2.ConfigureServer(hs, nil); err != nil {\n\t\t\tte.t.Fatal(err)\n\t\t}\n\t\tte.srv = wrapHS{hs}\n"},
	{"test/end2end_test.go", importNet, importEngine + importNet},
	{"test/gracefulstop_test.go",
		"\tts.EnableHTTP2 = true\n",
		"\tts.EnableHTTP2 = true\n\tif err := h2.ConfigureServer(ts.Config, nil); err != nil {\n\t\tt.Fatal(err)\n\t}\n"},
	{"test/gracefulstop_test.go", importGRPC, importEngine + importGRPC},
	{"internal/stubserver/stubserver.go",
		"\tgo hs.Serve(lis)\n",
		"\tif err := h2.ConfigureServer(hs, nil); err != nil {\n\t\treturn err\n\t}\n\tgo hs.Serve(lis)\n"},
	{"internal/stubserver/stubserver.go", importGRPC, importEngine + importGRPC},
}

const (
	importNet    = "\t\"golang.org/x/net/http2\"\n"
	importGRPC   = "\t\"google.golang.org/grpc\"\n"
	importEngine = "\t\"" + ours + "/h2\"\n"
)

// lay copies grpc-go to a directory of its own and applies the patches. With
// replaced, the copy gets this checkout as the module that it finds the engine in.
func lay(t *testing.T, patches []patch, replaced bool) string {
	t.Helper()
	var info struct{ Version, Dir string }
	if err := json.Unmarshal([]byte(goCommand(t, ".", "list", "-m", "-json", module)), &info); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s %s", module, info.Version)
	dir := t.TempDir()
	copyTree(t, info.Dir, dir)
	for _, p := range patches {
		path := filepath.Join(dir, p.file)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(content), p.old); n != 1 {
			t.Fatalf("%s of %s has %d places to patch, want 1: %q", p.file, info.Version, n, p.old)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(content), p.old, p.new, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if replaced {
		repository, err := filepath.Abs("../..")
		if err != nil {
			t.Fatal(err)
		}
		goCommand(t, dir, "mod", "edit", "-require", ours+"@v0.0.0", "-replace", ours+"="+repository)
	}
	return dir
}

// copyTree copies the files of a read-only directory into an existing one.
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

// goCommand runs the go command in dir, outside of any workspace and without
// settings that belong to the run of this test, and returns its output.
func goCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("go %q: %v\n%s%s", args, err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String()
}
