// SPDX-License-Identifier: Apache-2.0

// The plugin under protoc, and the golden files against protoc's reading of the schemas.

package gentest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestProtoc lets protoc run the plugin, which is not on PATH, and compares with the golden files. It needs a protoc of
// any version: schemas with editions, which old versions do not support, are left out.
func TestProtoc(t *testing.T) {
	protoc, err := exec.LookPath("protoc")
	if err != nil {
		t.Skip("NOT TESTED: there is no protoc on PATH; Debian has it in the packages protobuf-compiler and libprotobuf-dev")
	}
	withoutEditions := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return strings.HasPrefix(name, "editions") })
	}
	for _, run := range goldens(t) {
		if run.plugin != connectPlugin {
			continue
		}
		t.Run(run.options, func(t *testing.T) {
			out := t.TempDir()
			args := []string{
				"--plugin=protoc-gen-connect-go=" + filepath.Join(programs, connectPlugin),
				"--connect-go_out=" + out,
				"--connect-go_opt=" + run.options,
				"--proto_path=" + schemas,
			}
			names := withoutEditions(run.schemas)
			command := exec.Command(protoc, append(args, names...)...)
			if output, err := command.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", command, err, output)
			}
			want := run.files - (len(run.schemas) - len(names))
			if got := compareTree(t, out); got != want {
				t.Errorf("got %d files, want %d", got, want)
			}
		})
	}
}

// compareTree compares every file of a folder with the golden file of that name, and returns how many there are.
func compareTree(t *testing.T, folder string) int {
	t.Helper()
	count := 0
	err := filepath.WalkDir(folder, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		count++
		got, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(filepath.Join("gen", below))
		if err != nil {
			t.Errorf("%v", err)
			return nil
		}
		if string(got) != string(want) {
			t.Errorf("%s differs from the golden file\n%s", below, firstDifference(string(got), string(want)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}
