// SPDX-License-Identifier: Apache-2.0

// Tests of the compiler: its errors for wrong schemas, and its requests to
// plugins for right ones.

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// writeTree writes files, given by their slash-separated names, below a
// temporary directory, and returns it.
func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCompileMistakes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		schema string
		want   []string // the beginning of each line, without the directory
	}{
		{
			name:   "syntax",
			schema: "syntax = \"proto3\";\nmessage A {\n  string x = ;\n}\n",
			want:   []string{"a.proto:3:14: syntax error"},
		},
		{
			name:   "unknown type",
			schema: "syntax = \"proto3\";\nmessage A {\n  Missing m = 1;\n}\n",
			want:   []string{"a.proto:3:3: field A.m: unknown type Missing"},
		},
		{
			name:   "same number twice",
			schema: "syntax = \"proto3\";\nmessage A { string x = 1; string y = 1; }\n",
			want:   []string{"a.proto:2:38: message A: fields x and y"},
		},
		{
			name:   "several at once",
			schema: "syntax = \"proto3\";\nmessage A { Missing m = 1; }\nservice S { rpc Do(A) returns (Nothing); }\n",
			want:   []string{"a.proto:2:13: field A.m: unknown type Missing", "a.proto:3:32: method S.Do: unknown response type Nothing"},
		},
		{
			name:   "import that is nowhere",
			schema: "syntax = \"proto3\";\nimport \"no/where.proto\";\n",
			want:   []string{"a.proto:2:8: imported file: file does not exist in the include directories"},
		},
		{
			name:   "edition from the future",
			schema: "edition = \"9999\";\n",
			want:   []string{"a.proto:1:11: edition value \"9999\" not recognized"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := writeTree(t, map[string]string{"a.proto": test.schema})
			_, err := compile(t.Context(), []string{dir}, []string{"a.proto"})
			if err == nil {
				t.Fatal("got no error")
			}
			got := strings.Split(err.Error(), "\n")
			if len(got) != len(test.want) {
				t.Fatalf("got %d lines, want %d:\n%v", len(got), len(test.want), err)
			}
			for i, want := range test.want {
				if !strings.HasPrefix(got[i], dir+string(filepath.Separator)+want) {
					t.Errorf("got line %d %q, want it to begin with %q in %s", i+1, got[i], want, dir)
				}
			}
		})
	}
}

func TestCompileMissingFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := compile(t.Context(), []string{dir}, []string{"missing.proto"})
	if err == nil || !strings.Contains(err.Error(), `looking for schema "missing.proto"`) || !strings.Contains(err.Error(), "-I") {
		t.Errorf("got %v, want the name and the flag to use", err)
	}
}

func TestCompileRequest(t *testing.T) {
	t.Parallel()
	dir := writeTree(t, map[string]string{
		"a/a.proto": "syntax = \"proto3\";\npackage a;\nimport \"b/b.proto\";\nimport \"google/protobuf/any.proto\";\n" +
			"// A has a comment.\nmessage A { b.B first = 1; google.protobuf.Any long_name = 2; }\n",
		"b/b.proto": "syntax = \"proto2\";\npackage b;\nimport \"google/protobuf/timestamp.proto\";\n" +
			"message B { optional google.protobuf.Timestamp at = 1; }\n",
	})
	// By schema name, and by path on disk; the same file twice counts once.
	for _, files := range [][]string{
		{"a/a.proto"},
		{filepath.Join(dir, "a", "a.proto"), "a/a.proto"},
	} {
		request, err := compile(t.Context(), []string{dir}, files)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := request.GetFileToGenerate(), []string{"a/a.proto"}; !slices.Equal(got, want) {
			t.Errorf("files to generate: got %q, want %q", got, want)
		}
		var names []string
		for _, file := range request.GetProtoFile() {
			names = append(names, file.GetName())
			for _, dependency := range file.GetDependency() {
				if !slices.Contains(names, dependency) {
					t.Errorf("%s comes before %s, which it imports", file.GetName(), dependency)
				}
			}
		}
		want := []string{"google/protobuf/timestamp.proto", "b/b.proto", "google/protobuf/any.proto", "a/a.proto"}
		if !slices.Equal(names, want) {
			t.Errorf("files: got %q, want %q", names, want)
		}
		last := request.GetProtoFile()[len(names)-1]
		if got, want := last.GetMessageType()[0].GetField()[1].GetJsonName(), "longName"; got != want {
			t.Errorf("JSON name: got %q, want %q", got, want)
		}
		if !slices.ContainsFunc(last.GetSourceCodeInfo().GetLocation(), func(l *descriptorpb.SourceCodeInfo_Location) bool {
			return l.GetLeadingComments() == " A has a comment.\n"
		}) {
			t.Error("the comment on A is missing from the source information")
		}
		if got := request.GetSourceFileDescriptors(); len(got) != 1 || got[0].GetName() != "a/a.proto" {
			t.Errorf("source files: got %v, want a/a.proto alone", got)
		}
	}
}

// A plugin must not generate code for a schema whose features it does not declare.
func TestRequires(t *testing.T) {
	t.Parallel()
	const (
		none     = 0
		optional = uint64(pluginpb.CodeGeneratorResponse_FEATURE_PROTO3_OPTIONAL)
		editions = uint64(pluginpb.CodeGeneratorResponse_FEATURE_SUPPORTS_EDITIONS)
	)
	tests := []struct {
		name, schema string
		features     uint64
		low, high    descriptorpb.Edition
		want         string // empty: no error
	}{
		{"plain", "syntax = \"proto3\"; message A { string x = 1; }", none, 0, 0, ""},
		{"proto2 optional", "syntax = \"proto2\"; message A { optional string x = 1; }", none, 0, 0, ""},
		{"optional, declared", "syntax = \"proto3\"; message A { optional string x = 1; }", optional, 0, 0, ""},
		{"optional, not declared", "syntax = \"proto3\"; message A { optional string x = 1; }", none, 0, 0, "optional fields"},
		{"nested optional, not declared", "syntax = \"proto3\"; message A { message B { optional string x = 1; } }", editions, 0, 0, "optional fields"},
		{"edition, declared", "edition = \"2023\"; message A { string x = 1; }", editions,
			descriptorpb.Edition_EDITION_PROTO2, descriptorpb.Edition_EDITION_2024, ""},
		{"edition, not declared", "edition = \"2023\"; message A { string x = 1; }", optional,
			descriptorpb.Edition_EDITION_PROTO2, descriptorpb.Edition_EDITION_2024, "support for editions"},
		{"edition too new", "edition = \"2023\"; message A { string x = 1; }", editions,
			descriptorpb.Edition_EDITION_PROTO2, descriptorpb.Edition_EDITION_PROTO3, "EDITION_PROTO2 to EDITION_PROTO3 only"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := writeTree(t, map[string]string{"a.proto": test.schema})
			request, err := compile(t.Context(), []string{dir}, []string{"a.proto"})
			if err != nil {
				t.Fatal(err)
			}
			err = requires(request, &pluginpb.CodeGeneratorResponse{
				SupportedFeatures: proto.Uint64(test.features),
				MinimumEdition:    proto.Int32(int32(test.low)),
				MaximumEdition:    proto.Int32(int32(test.high)),
			})
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case test.want != "" && !strings.Contains(fmt.Sprint(err), test.want):
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}
