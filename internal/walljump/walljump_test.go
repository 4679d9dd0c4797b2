// SPDX-License-Identifier: Apache-2.0

// The wall clock may be set at any time, by hand or by a time server. These tests check
// that it decides nothing that depends on how long something is ago.

package walljump

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// jump is added to package time: JumpWall sets the wall clock of the process, as another
// program would set that of the machine. The monotonic clock goes on.
const jump = `
var wallJump struct{ seconds [1]int64 }

func JumpWall(d Duration) { wallJump.seconds[0] += int64(d / Second) }

func Now() Time {
	t := realNow()
	mono := t.ext
	jumped := t.Add(Duration(wallJump.seconds[0]) * Second)
	if jumped.wall&hasMonotonic != 0 {
		jumped.ext = mono
	}
	return jumped
}
`

// TestWallClock runs the tests with the build tag walljump, in packages that keep moments
// as numbers: with a package time whose wall clock they can set.
func TestWallClock(t *testing.T) {
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	const now = "func Now() Time {"
	if n := strings.Count(string(source), now); n != 1 {
		t.Fatalf("got %d times %q in %s, want it once: adapt this test to this version of Go", n, now, original)
	}
	changed := filepath.Join(t.TempDir(), "time.go")
	text := strings.Replace(string(source), now, "func realNow() Time {", 1) + jump
	if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"h2", "overload"} {
		t.Run(dir, func(t *testing.T) {
			test := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-overlay", list, "-tags", "walljump", "-run", "^TestWallClock", ".")
			test.Dir = filepath.Join("..", "..", dir)
			out, err := test.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: TestWallClock") {
				t.Errorf("got %v, want tests that pass:\n%s", err, out)
			}
		})
	}
}

// wanted are the files that take the wall clock as a number, with the reason.
var wanted = map[string]string{
	"auth/peers.go":                  "Peer.Unix is a socket",
	"consul/consultest/authority.go": "a serial number",
	"examples/shop/token.go":         "a token's expiry, for others",
	"h2/response_head.go":            "the field Date",
	"inprocess/response.go":          "the field Date",
}

// TestSources looks for times as numbers in all modules: such a number has lost the reading
// of the monotonic clock.
func TestSources(t *testing.T) {
	root, seen, found := filepath.Join("..", ".."), 0, make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		name = filepath.ToSlash(name)
		if entry.IsDir() {
			if base := entry.Name(); name != "." && (base[0] == '.' || base == "testdata" || name == "internal" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".pb.go") {
			return nil
		}
		seen++
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 0 {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || method.Sel.Name != "Unix" && method.Sel.Name != "UnixMilli" && method.Sel.Name != "UnixMicro" && method.Sel.Name != "UnixNano" {
				return true
			}
			found[name] = true
			if wanted[name] == "" {
				t.Errorf("%s:%d: got %s(), want no number of the wall clock: keep a time.Time, or a difference to one, or add the file to this list with the reason",
					name, set.Position(call.Pos()).Line, method.Sel.Name)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range wanted {
		if !found[name] {
			t.Errorf("%s: got no number of the wall clock, want this list without it", name)
		}
	}
	if seen < 300 {
		t.Errorf("got %d files, want all modules", seen)
	}
}
