// SPDX-License-Identifier: Apache-2.0

// This file builds the tests of net/http with the engine laid in.

package nethttptest_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	engineDir  = "../../h2"
	enginePath = "github.com/seed-b7c59c10/connect/h2" // the engine's own import path
	laidPath   = "net/http/internal/h2"                // its import path as a part of net/http
)

// A change replaces a text in clientserver_test.go, which must be there so many times.
type change struct {
	times    int
	old, new string
}

var changes = []change{
	{
		1,
		"\tfor _, mode := range modes {\n\t\tt.Run(string(mode), func(t T) {\n",
		"\tfor _, mode := range http2Only(modes) {\n\t\tt.Run(string(mode), func(t T) {\n",
	},
	{
		2,
		"\t\tExportHttp2ConfigureServer(cst.ts.Config, nil)\n",
		"\t\tconfigureServer(t, cst.ts)\n",
	},
	{
		1,
		"\t\tif err := ExportHttp2ConfigureTransport(cst.tr); err != nil {\n",
		"\t\tif err := configureTransportFirst(cst.tr); err != nil {\n",
	},
	{
		1,
		"\t\tcst.close()\n\t})\n\treturn cst\n}\n",
		"\t\tcst.close()\n\t})\n\tconfigureTransportLast(t, mode, cst.tr)\n\treturn cst\n}\n",
	},
	{
		1,
		"\tif err := ExportHttp2ConfigureTransport(tr); err != nil {\n",
		"\tif err := configureTransport(t, tr); err != nil {\n",
	},
}

// A suite is the tests of net/http, built.
type suite struct {
	dir       string   // of net/http, where the tests must run
	binary    string   // of the tests
	test2json string   // the program that makes events of their output
	tests     []string // those at the top that come to the changed code
}

// build makes the suite in a temporary directory.
func build(t *testing.T) *suite {
	t.Helper()
	root := strings.TrimSpace(goCommand(t, "env", "GOROOT"))
	temp := t.TempDir()
	s := &suite{
		dir:       filepath.Join(root, "src", "net", "http"),
		binary:    filepath.Join(temp, "nethttp.test"),
		test2json: filepath.Join(temp, "test2json"),
	}
	overlay := map[string]string{}
	layEngine(t, overlay, temp, filepath.Join(root, "src", filepath.FromSlash(laidPath)))
	layTests(t, overlay, temp, s.dir)
	s.tests = append(selectTests(t, s.dir), "TestEngineConnections")

	spec, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(temp, "overlay.json")
	write(t, file, spec)
	goCommand(t, "test", "-c", "-vet=off", "-overlay", file, "-o", s.binary, "net/http")
	goCommand(t, "build", "-o", s.test2json, "cmd/test2json")
	return s
}

// layEngine adds the engine and the packages below it to the overlay, without their
// tests and with their imports of each other changed.
func layEngine(t *testing.T, overlay map[string]string, temp, dir string) {
	t.Helper()
	engine, err := filepath.Abs(engineDir)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(engine, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "testdata":
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		rel, err := filepath.Rel(engine, file)
		if err != nil {
			return err
		}
		source, err := relocate(file)
		if err != nil {
			return err
		}
		laid := filepath.Join(temp, "engine", rel)
		if err := os.MkdirAll(filepath.Dir(laid), 0o777); err != nil {
			return err
		}
		overlay[filepath.Join(dir, rel)] = laid
		return os.WriteFile(laid, source, 0o666)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// relocate returns a file of the engine with the import paths that it needs as a part
// of net/http.
func relocate(file string) ([]byte, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	// From the last to the first, so that the offsets stay true.
	for _, spec := range slices.Backward(parsed.Imports) {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		rest, ours := strings.CutPrefix(imported, enginePath)
		switch {
		case ours && (rest == "" || rest[0] == '/'):
			start, end := files.Position(spec.Path.Pos()).Offset, files.Position(spec.Path.End()).Offset
			source = slices.Replace(source, start, end, []byte(strconv.Quote(laidPath+rest))...)
		case strings.HasPrefix(imported, path.Dir(enginePath)):
			return nil, fmt.Errorf("%s imports %s, which is not a part of the engine", file, imported)
		}
	}
	return source, nil
}

// layTests adds two files of the tests to the overlay: the changed helper, and the
// file whose functions the helper calls.
func layTests(t *testing.T, overlay map[string]string, temp, dir string) {
	t.Helper()
	const helper, added = "clientserver_test.go", "zz_engine_test.go"
	source, err := os.ReadFile(filepath.Join(dir, helper))
	if err != nil {
		t.Fatalf("reading the tests of net/http: %v", err)
	}
	text := string(source)
	for _, c := range changes {
		if n := strings.Count(text, c.old); n != c.times {
			t.Fatalf("%s of this Go has this text %d times, want %d: adapt the changes to it\n%s", helper, n, c.times, c.old)
		}
		text = strings.ReplaceAll(text, c.old, c.new)
	}
	changed := filepath.Join(temp, helper)
	write(t, changed, []byte(text))
	overlay[filepath.Join(dir, helper)] = changed
	if overlay[filepath.Join(dir, added)], err = filepath.Abs(filepath.Join("testdata", added)); err != nil {
		t.Fatal(err)
	}
}

// selectTests returns the names of the tests from which the changed code can be
// reached: a function reaches each function that it names, and all that these reach.
// The result may have too many tests; the marks that tests print when they run decide.
func selectTests(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]map[string]bool{} // by function, the names in it
	for _, file := range paths {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Name.Name != "http_test" {
			continue
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			used := names[f.Name.Name]
			if used == nil {
				used = map[string]bool{}
				names[f.Name.Name] = used
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					used[id.Name] = true
				}
				return true
			})
		}
	}
	reach := map[string]bool{"newClientServerTest": true, "ExportHttp2ConfigureTransport": true}
	for grown := true; grown; {
		grown = false
		for name, used := range names {
			if reach[name] {
				continue
			}
			for target := range reach {
				if used[target] {
					reach[name], grown = true, true
					break
				}
			}
		}
	}
	return slices.Sorted(func(yield func(string) bool) {
		for name := range maps.Keys(reach) {
			if strings.HasPrefix(name, "Test") && !yield(name) {
				return
			}
		}
	})
}

// goCommand runs the go command and returns its output.
func goCommand(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.Command("go", args...)
	command.Env = append(os.Environ(), "GOWORK=off")
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o666); err != nil {
		t.Fatal(err)
	}
}
