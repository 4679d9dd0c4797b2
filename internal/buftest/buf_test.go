// SPDX-License-Identifier: Apache-2.0

// Package buftest checks that buf runs the plugins from the tool directives of a go.mod, with nothing installed. It is a
// module of its own because buf, which it pins, has many dependencies. Run it with -count=1: the go command's test cache
// does not depend on the plugin.
package buftest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBuf generates code in a copy of this module as a user does, and compiles it; then it generates from the schemas of
// the module gentest, and compares with the golden files there. The first run compiles buf, which takes minutes.
func TestBuf(t *testing.T) {
	module := newModule(t)

	t.Run("user", func(t *testing.T) {
		module.run("tool", "buf", "generate")
		want := []string{
			"ping/v1/ping.pb.go", "ping/v1/pingv1connect/ping.connect.go",
			"store/v1/store.pb.go", "store/v1/storev1connect/store.connect.go",
		}
		if got := files(t, filepath.Join(module.folder, "gen")); !slices.Equal(got, want) {
			t.Fatalf("generated: got %q, want %q", got, want)
		}
		module.run("vet", "./gen/...")
	})

	t.Run("golden", func(t *testing.T) {
		gentest := filepath.Join("..", "gentest")
		schemas := filepath.Join(gentest, "testdata")
		args := []string{"tool", "buf", "generate", absolute(t, schemas), "--template", "buf.golden.yaml"}
		for _, name := range []string{"opaque", "samepackage"} { // have other options
			args = append(args, "--exclude-path", filepath.Join(absolute(t, schemas), name))
		}
		module.run(args...)
		golden := filepath.Join(module.folder, "golden")
		names := files(t, golden)
		if len(names) < 15 {
			t.Errorf("generated: got only %q", names)
		}
		for _, name := range names {
			got, want := read(t, golden, name), read(t, filepath.Join(gentest, "gen"), name)
			if got != want {
				t.Errorf("%s: differs from the golden file of gentest", name)
			}
		}
	})
}

// A module is the copy of this module in which the commands run.
type module struct {
	t      *testing.T
	folder string
	path   string // PATH: the go command, and no plugin
}

func newModule(t *testing.T) *module {
	t.Helper()
	goRoot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	m := &module{t: t, folder: t.TempDir(), path: filepath.Join(strings.TrimSpace(string(goRoot)), "bin")}
	plugins, err := filepath.Glob(filepath.Join(m.path, "protoc*"))
	if err != nil || len(plugins) > 0 {
		t.Fatalf("looking for plugins on PATH: got %q, %v, want none", plugins, err)
	}
	for _, name := range []string{"go.mod", "go.sum", "buf.yaml", "buf.gen.yaml", "buf.golden.yaml"} {
		if err := os.WriteFile(filepath.Join(m.folder, name), []byte(read(t, ".", name)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(m.folder, "proto"), os.DirFS("proto")); err != nil {
		t.Fatal(err)
	}
	root := absolute(t, filepath.Join("..", ".."))
	m.run("mod", "edit", "-replace=github.com/seed-b7c59c10/connect="+root)
	return m
}

// run runs the go command in the module.
func (m *module) run(args ...string) {
	m.t.Helper()
	command := exec.Command(filepath.Join(m.path, "go"), args...)
	command.Dir = m.folder
	command.Env = append(os.Environ(), "PATH="+m.path, "GOWORK=off", "PWD="+m.folder)
	if output, err := command.CombinedOutput(); err != nil {
		m.t.Fatalf("%v: %v\n%s", command, err, output)
	}
}

// files lists the files below a folder, with slashes.
func files(t *testing.T, folder string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func read(t *testing.T, folder, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func absolute(t *testing.T, name string) string {
	t.Helper()
	name, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
