// SPDX-License-Identifier: Apache-2.0

// The golden files: everything below gen, which this module compiles.

package gentest

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// module is the option that puts a schema's code below gen, according to its go_package.
const module = "module=github.com/seed-b7c59c10/connect/internal/gentest/gen"

// A golden is one run of one plugin.
type golden struct {
	plugin  string
	schemas []string
	options string
	files   int // how many it generates
}

func goldens(t *testing.T) []golden {
	same := []string{"samepackage/declared/declared.proto", "samepackage/samepackage.proto"}
	separate := append([]string{"opaque/opaque.proto"}, same...)
	common := slices.DeleteFunc(allSchemas(t), func(name string) bool { return slices.Contains(separate, name) })
	kinds := []string{"kinds/v1/kinds.proto"}
	return []golden{
		{goPlugin, common, module, len(common) + 1},      // one has the hybrid API: two files
		{connectPlugin, common, module, len(common) - 1}, // one has no service
		{connectPlugin, kinds, module + ",package_suffix=simple,simple", 1},
		{connectPlugin, kinds, module + ",package_suffix=all,register,fakes", 1},
		{connectPlugin, kinds, module + ",package_suffix=iterators,simple,iterators,register,fakes", 1},
		{connectPlugin, kinds, module + ",package_suffix=iteratorspeer,simple,iterators,register,fakes,runtime_package=connectrpc.com/connect", 1},
		{connectPlugin, kinds, module + ",package_suffix=peer,runtime_package=connectrpc.com/connect", 1},
		{connectPlugin, kinds, module + ",package_suffix=simplepeer,simple=true,runtime_package=connectrpc.com/connect", 1},

		{goPlugin, same, module, len(same)},
		{connectPlugin, same, module + ",package_suffix", len(same)},
		{connectPlugin, []string{"twofiles/a.proto", "twofiles/b.proto", "twofiles/c.proto"}, module + ",package_suffix", 3},

		{goPlugin, []string{"opaque/opaque.proto"}, module + ",default_api_level=API_OPAQUE", 1},
		{connectPlugin, []string{"opaque/opaque.proto"}, module + ",default_api_level=API_OPAQUE,simple", 1},
	}
}

func TestGolden(t *testing.T) {
	generated := map[string]bool{}
	for _, run := range goldens(t) {
		request := compile(t, run.schemas...)
		request.Parameter = proto.String(run.options)
		response := runPlugin(t, run.plugin, request)
		if got := len(response.File); got != run.files {
			t.Errorf("%s with %q: got %d files, want %d", run.plugin, run.options, got, run.files)
		}
		for _, file := range response.File {
			name := filepath.Join("gen", filepath.FromSlash(file.GetName()))
			if generated[name] {
				t.Errorf("%s: generated twice, the second time with %q", name, run.options)
			}
			generated[name] = true
			checkGolden(t, name, file.GetContent())
		}
	}
	checkStale(t, generated)
}

// checkGolden compares a generated file with the golden file, or replaces the golden file.
func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Errorf("%v: generate it with go test -count=1 -run TestGolden -rewrite", err)
		return
	}
	if got != string(want) {
		t.Errorf("%s differs; after checking the difference, update it with go test -count=1 -run TestGolden -rewrite\n%s",
			name, firstDifference(got, string(want)))
	}
}

// checkStale finds files in gen that no run generates any more.
func checkStale(t *testing.T, generated map[string]bool) {
	t.Helper()
	err := filepath.WalkDir("gen", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || generated[name] {
			return err
		}
		if *rewrite {
			return os.Remove(name)
		}
		t.Errorf("%s: no run generates it", name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// firstDifference shows the first line in which two texts differ.
func firstDifference(got, want string) string {
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	n := 0
	for n < len(gotLines) && n < len(wantLines) && gotLines[n] == wantLines[n] {
		n++
	}
	line := func(lines []string) string {
		if n < len(lines) {
			return lines[n]
		}
		return "(end of file)"
	}
	return "got  " + line(gotLines) + "\nwant " + line(wantLines)
}

// TestAnnounced checks the features and editions that the plugin declares to the compiler.
func TestAnnounced(t *testing.T) {
	response := runPlugin(t, connectPlugin, compile(t, "noservice/noservice.proto"))
	if len(response.File) != 0 {
		t.Errorf("schema without services: got %d files, want none", len(response.File))
	}
	const features = uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL |
		pluginpb.CodeGeneratorResponse_FEATURE_SUPPORTS_EDITIONS)
	if got := response.GetSupportedFeatures(); got != features {
		t.Errorf("supported features: got %d, want %d", got, features)
	}
	if got, want := descriptorpb.Edition(response.GetMinimumEdition()), descriptorpb.Edition_EDITION_PROTO2; got != want {
		t.Errorf("minimum edition: got %v, want %v", got, want)
	}
	if got, want := descriptorpb.Edition(response.GetMaximumEdition()), descriptorpb.Edition_EDITION_2024; got != want {
		t.Errorf("maximum edition: got %v, want %v", got, want)
	}
}
