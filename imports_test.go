// SPDX-License-Identifier: Apache-2.0

// The imports of the package: they are few, so that it adds nothing to a program's
// dependencies, and none is of this module, so that it can replace another module
// with the same API.

package connect

import (
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestImports looks at all files of the package, whatever their build tags.
func TestImports(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() || !strings.HasSuffix(name, ".go") {
			continue
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		if got := file.Name.Name; got != "connect" {
			t.Errorf("%s: got package %s, want connect: a package of tests would import this module", name, got)
		}
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !mayImport(path, strings.HasSuffix(name, "_test.go")) {
				t.Errorf("%s: got import of %q, want only the standard library and google.golang.org/protobuf", name, path)
			}
		}
	}
	if files < 20 {
		t.Errorf("got %d files, want the whole package", files)
	}
}

// mayImport reports whether a file of the package may import a path. The
// standard library's paths have no dot in their first segment.
func mayImport(path string, test bool) bool {
	first, _, _ := strings.Cut(path, "/")
	switch {
	case path == "C":
		return false
	case !strings.Contains(first, "."):
		return true
	case strings.HasPrefix(path, "google.golang.org/protobuf/"):
		return true
	}
	return test && (path == "github.com/google/go-cmp" || strings.HasPrefix(path, "github.com/google/go-cmp/"))
}

func TestMayImport(t *testing.T) {
	for _, c := range []struct {
		path string
		test bool
		want bool
	}{
		{"net/http", false, true},
		{"google.golang.org/protobuf/proto", false, true},
		{"google.golang.org/grpc", true, false},
		{"github.com/google/go-cmp/cmp", true, true},
		{"github.com/google/go-cmp/cmp", false, false},
		{"github.com/seed-b7c59c10/connect", true, false},
		{"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1", true, false},
		{"golang.org/x/net/http2", true, false},
		{"C", false, false},
	} {
		if got := mayImport(c.path, c.test); got != c.want {
			t.Errorf("mayImport(%q, %t): got %t, want %t", c.path, c.test, got, c.want)
		}
	}
}
