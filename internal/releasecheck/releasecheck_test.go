// SPDX-License-Identifier: Apache-2.0

// Tests that the check fails when it must: each case breaks a copy of the tree in one
// place.

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// copyModules returns a copy of the public modules, without their tests.
func copyModules(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	for _, name := range []string{"auth", "methodoption", "compress", "cors", "dropin", "grpcadapter", "nats", "overload", "validate", "consul", "telemetry", "cmd", "h2", "health", "dynamic", "internal/direct", "internal/protofile", "internal/reflectcall"} {
		copied := os.DirFS(filepath.Join("..", "..", name))
		if err := os.CopyFS(filepath.Join(tree, name), copied); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob("../../*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.IsDir() || strings.HasPrefix(filepath.Base(file), ".") {
			continue // .git of a worktree is a file
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tree, filepath.Base(file)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// edit puts one text in the place of another in a file of the tree.
func edit(t *testing.T, tree, name, old, text string) {
	t.Helper()
	path := filepath.Join(tree, name)
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(was), old) {
		t.Fatalf("%s: got no %q:\n%s", name, old, was)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(was), old, text, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestModules(t *testing.T) {
	version, err := readVersion("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := checkModules("../..", version); err != nil {
		t.Errorf("the tree: %v", err)
	}
	requirement := rootPath + " " + version
	for _, c := range []struct{ name, file, old, text, want string }{
		{"placeholder", "compress/go.mod", requirement, rootPath + " v0.0.0", "compress/go.mod requires " + rootPath + " v0.0.0"},
		{"pseudo placeholder", "dropin/go.mod", requirement, rootPath + " v0.0.0-00010101000000-000000000000", "want " + version},
		{"other version", "dropin/go.mod", requirement, rootPath + " v0.0.9", "requires " + rootPath + " v0.0.9, want " + version},
		{"replace in the root", "go.mod", "\nrequire", "\nreplace golang.org/x/net => ../net\n\nrequire", "./go.mod replaces golang.org/x/net"},
		{"replace of others", "compress/go.mod", "\nreplace", "\nreplace go.uber.org/goleak => ../goleak\n\nreplace", "replaces go.uber.org/goleak"},
		{"placeholder of others", "go.mod", "golang.org/x/net v0", "golang.org/x/net v0.0.0 // v0", "requires golang.org/x/net v0.0.0"},
		{"wrong name", "dropin/go.mod", "module connectrpc.com/connect", "module " + rootPath + "/dropin", "want connectrpc.com/connect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := copyModules(t)
			if err := checkModules(tree, version); err != nil {
				t.Fatalf("before the edit: %v", err)
			}
			edit(t, tree, c.file, c.old, c.text)
			if err := checkModules(tree, version); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	t.Run("unlisted module", func(t *testing.T) {
		tree := copyModules(t)
		if err := os.WriteFile(filepath.Join(tree, "cmd", "go.mod"), []byte("module "+rootPath+"/cmd\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := checkModules(tree, version); err == nil || !strings.Contains(err.Error(), "does not publish") {
			t.Errorf("got %v, want an error on the unlisted module", err)
		}
	})
}

// TestPublished shows that the steps alone find a requirement that cannot be
// downloaded, and code that was released with one module missing it: the go
// command does not see the replace directives of a tree.
func TestPublished(t *testing.T) {
	version, err := readVersion("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, step, file, old, text, want string }{
		{"placeholder of compress", "compress", "compress/go.mod", rootPath + " " + version, rootPath + " v0.0.9", rootPath + "@v0.0.9"},
		{"placeholder of the drop-in", "dropin", "dropin/go.mod", rootPath + " " + version, rootPath + " v0.0.9", rootPath + "@v0.0.9"},
		{"replace in the root", "install", "go.mod", "\nrequire", "\nreplace golang.org/x/net => ../net\n\nrequire", "replace directives"},
		{"a name that is not released", "packages", "compress/compress.go", "\nimport", "\nimport _ \"" + rootPath + "/missing\"\n\nimport", rootPath + "/missing"},
		{"another version printed", "install", "cmd/protoc-gen-connect-go/main.go", "connect.ModuleVersion", "connect.Version", "want"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := copyModules(t)
			edit(t, tree, c.file, c.old, c.text)
			i := slices.IndexFunc(steps, func(s step) bool { return s.name == c.step })
			err := runStep(t, tree, version, steps[i])
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// runStep publishes the tree without checking its go.mod files, and runs a step.
func runStep(t *testing.T, tree, version string, s step) error {
	t.Helper()
	work := t.TempDir()
	for _, m := range public {
		if err := publish(filepath.Join(work, "proxy"), tree, m, version); err != nil {
			t.Fatal(err)
		}
	}
	u := &user{version: version, tree: tree, home: filepath.Join(work, "home")}
	if err := u.setUp(t.Context(), filepath.Join(work, "proxy")); err != nil {
		t.Fatal(err)
	}
	return s.run(t.Context(), u, filepath.Join(work, "step"))
}

func TestSet(t *testing.T) {
	tree := copyModules(t)
	for _, version := range []string{"", "v0.2.0", "0.2", "0.0.0", "0.2.0+meta", "next"} {
		if err := setVersion(tree, version); err == nil {
			t.Errorf("%q: got no error", version)
		}
	}
	if err := setVersion(tree, "0.2.0-rc.1"); err != nil {
		t.Fatal(err)
	}
	version, err := readVersion(tree)
	if err != nil || version != "v0.2.0-rc.1" {
		t.Fatalf("got %s, %v", version, err)
	}
	if err := checkModules(tree, version); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(filepath.Join(tree, "dropin", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := modfile.Parse("go.mod", text, nil)
	if err != nil || len(file.Replace) != 1 {
		t.Errorf("got %v and %d replace directives, want the one that was there", err, len(file.Replace))
	}
}

// TestRef exports a tag that another version of the tree has.
func TestRef(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal(err)
	}
	tree := copyModules(t)
	for _, args := range [][]string{
		{"init", "-q"},
		{"add", "."},
		{"-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "test"},
		{"tag", "v9.9.9"},
	} {
		git := exec.Command("git", args...)
		git.Dir, git.Env = tree, append(os.Environ(), "GIT_DIR="+filepath.Join(tree, ".git"), "GIT_WORK_TREE="+tree)
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	err := run(t.Context(), []string{"-root", tree, "-ref", "v9.9.9"})
	if err == nil || !strings.Contains(err.Error(), "says that it is v") {
		t.Errorf("got %v, want an error on the version of the tag", err)
	}
	if err := run(t.Context(), []string{"-root", tree, "-ref", "v9.9.8"}); err == nil {
		t.Error("a tag that does not exist: got no error")
	}
	if err := run(t.Context(), []string{"-root", tree, "-only", "nothing"}); err == nil || !strings.Contains(err.Error(), `"nothing"`) {
		t.Errorf("got %v, want an error on the step's name", err)
	}
}

func TestParseReadme(t *testing.T) {
	const page = "    go get " + rootPath + "\n" +
		"```sh\ngo get -tool x\nprotoc --a \\\n  --b\ngo run ./server\n```\n" +
		"<!-- example: file s/main.go -->\n```go\nfunc main() {}\n```\n" +
		"<!-- example: client.go -->\n```go\nfunc main() {}\n```\n" +
		"<!-- example: output -->\n```text\nHello\n```\n    go get later\n"
	r, err := parseReadme(page)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(r.commands, ";"), "go get "+rootPath+";go get -tool x;protoc --a --b"; got != want {
		t.Errorf("commands: got %q, want %q", got, want)
	}
	if r.server != "s/main.go" || r.client != "client.go" || r.output != "Hello\n" {
		t.Errorf("got %+v", r)
	}
	for _, missing := range []string{"go get -tool x\n", "protoc --a", "example: client.go", "example: output", rootPath} {
		if _, err := parseReadme(strings.Replace(page, missing, "", 1)); err == nil {
			t.Errorf("without %q: got no error", missing)
		}
	}
}
