// SPDX-License-Identifier: Apache-2.0

// This file lays out published test suites, runs them and keeps each test's result.

package compat

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// suiteTime is the longest that a package's tests may take: some ten times their usual time.
const suiteTime = "4m"

// suiteRounds is how often a package's tests run at most: once, and again after
// each panic. More than a few panics have one cause.
const suiteRounds = 6

// suiteRun holds the results of a suite's tests.
type suiteRun struct {
	module   string // packages are named relative to it
	packages map[string]*packageRun
	output   string // of builds, and of processes that ended before their tests did
	err      error  // of the last go test
}

// packageRun holds the results of a package's tests, by their names.
type packageRun struct {
	actions map[string]string // the last event of go test: pass, fail and skip are final
	outputs map[string]string
	died    bool // a process ended before its tests did, or there was none
}

// runSuite runs the tests in dir. Where their process ends early, for a panic or
// after suiteTime, it runs the others again: one test hides no other.
func runSuite(t *testing.T, s suite, dir string) *suiteRun {
	t.Helper()
	module := strings.TrimSpace(goCommand(t, dir, "list", "-m"))
	run := &suiteRun{module: module, packages: make(map[string]*packageRun)}
	unended := run.goTest(t, dir, s.skip, s.packages)
	for rounds := 1; len(unended) > 0; rounds++ {
		path := unended[0]
		p := run.packages[path]
		p.died = true
		if len(p.actions) == 0 || rounds >= suiteRounds {
			unended = unended[1:] // not built, or without end
			continue
		}
		before := len(p.finished())
		skip := strings.Join(slices.DeleteFunc([]string{s.skip, skipping(p.finished())}, func(s string) bool { return s == "" }), "|")
		again := run.goTest(t, dir, skip, path)
		if len(again) == 0 || len(p.finished()) == before && !p.blame() {
			unended = unended[1:]
		}
	}
	return run
}

// goTest runs tests and adds their results. It returns the packages whose tests
// did not all end.
func (run *suiteRun) goTest(t *testing.T, dir, skip, packages string) (unended []string) {
	t.Helper()
	command := command(t, dir, "test", "-mod=mod", "-vet=off", "-count=1", "-timeout="+suiteTime, "-skip="+skip, "-json", packages)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	run.err = command.Run()
	ended := make(map[string]bool)
	decoder := json.NewDecoder(&stdout)
	for {
		var event struct{ Action, Package, Test, Output string }
		if err := decoder.Decode(&event); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("reading the output of go test: %v", err)
		}
		switch {
		case event.Package == "": // a build
			run.output += event.Output
		case event.Test != "":
			p := run.packages[event.Package]
			p.outputs[event.Test] += event.Output
			if event.Action != "output" && !final(p.actions[event.Test]) {
				p.actions[event.Test] = event.Action
			}
		case event.Action == "start":
			if run.packages[event.Package] == nil {
				run.packages[event.Package] = &packageRun{actions: make(map[string]string), outputs: make(map[string]string)}
			}
			ended[event.Package] = false
		case event.Action == "skip", event.Output == "PASS\n", event.Output == "FAIL\n":
			ended[event.Package] = true // package testing prints it when all tests have ended
		default:
			run.output += event.Output
		}
	}
	run.output += stderr.String()
	for path, ended := range ended {
		if !ended {
			unended = append(unended, path)
		}
	}
	return unended
}

func final(action string) bool { return action == "pass" || action == "fail" || action == "skip" }

// finished returns the tests that need not run again: those with a result, except
// failed ones that have subtests.
func (p *packageRun) finished() (names []string) {
	for name, action := range p.actions {
		if final(action) && (action != "fail" || !p.surrounds(name, "")) {
			names = append(names, name)
		}
	}
	return names
}

// surrounds reports whether a test has subtests with an action, or with any if it is "".
func (p *packageRun) surrounds(name, action string) bool {
	for inner, a := range p.actions {
		if strings.HasPrefix(inner, name+"/") && (action == "" || a == action) {
			return true
		}
	}
	return false
}

// blame fails the tests that ran when the process ended. It reports whether there
// were any.
func (p *packageRun) blame() bool {
	blamed := false
	for name, action := range p.actions {
		if !final(action) && action != "pause" && !p.surrounds(name, "") {
			p.actions[name], blamed = "fail", true
		}
	}
	return blamed
}

// skipping returns the -skip argument of go test that leaves tests out.
func skipping(names []string) string {
	inner := make(map[string][]string) // last elements of names, by what precedes them
	for _, name := range names {
		outer, last, pattern := "", name, ""
		if i := strings.LastIndexByte(name, '/'); i >= 0 {
			outer, last = name[:i], name[i+1:]
			for element := range strings.SplitSeq(outer, "/") {
				pattern += "^" + regexp.QuoteMeta(element) + "$/"
			}
		}
		inner[pattern] = append(inner[pattern], regexp.QuoteMeta(last))
	}
	var patterns []string
	for outer, last := range inner {
		patterns = append(patterns, outer+"^("+strings.Join(last, "|")+")$")
	}
	return strings.Join(patterns, "|")
}

// named returns the names of tests with an action, sorted. Tests of the module's
// first package have only their own, others that of their package before it.
func (run *suiteRun) named(action string) (names []string) {
	for path, p := range run.packages {
		for name, a := range p.actions {
			if a == action {
				names = append(names, run.prefix(path)+name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func (run *suiteRun) prefix(path string) string {
	if relative := strings.TrimPrefix(strings.TrimPrefix(path, run.module), "/"); relative != "" {
		return relative + "."
	}
	return ""
}

// find returns the package of a test, and the test's name in it.
func (run *suiteRun) find(name string) (*packageRun, string) {
	for path, p := range run.packages {
		if own, ok := strings.CutPrefix(name, run.prefix(path)); ok && p.actions[own] != "" {
			return p, own
		}
	}
	return nil, ""
}

// place is where a test logged or failed, as package testing prints it.
var place = regexp.MustCompile(`(?m)^ +(\w+\.go:\d+): `)

// places returns where a test failed, none if it passed. It returns false for a
// test that failed because a subtest did.
func (run *suiteRun) places(name string) ([]string, bool) {
	p, own := run.find(name)
	if p.actions[own] != "fail" {
		return nil, true
	}
	var places []string
	for _, match := range place.FindAllStringSubmatch(p.outputs[own], -1) {
		if !slices.Contains(places, match[1]) {
			places = append(places, match[1])
		}
	}
	if places == nil {
		places = []string{"nowhere"}
		if p.surrounds(own, "fail") {
			return nil, false
		}
	}
	return places, true
}

func (run *suiteRun) outputOf(name string) string {
	p, own := run.find(name)
	return p.outputs[own]
}

// incomplete returns the packages whose process ended before its tests did.
func (run *suiteRun) incomplete() []string {
	var paths []string
	for path, p := range run.packages {
		if p.died {
			paths = append(paths, path)
		}
	}
	return paths
}

// download returns the directory of a module in the module cache.
func download(t *testing.T, module, version string) string {
	t.Helper()
	var info struct{ Dir string }
	if err := json.Unmarshal([]byte(goCommand(t, ".", "mod", "download", "-json", module+"@"+version)), &info); err != nil {
		t.Fatal(err)
	}
	return info.Dir
}

// layBlackBox makes a module of the reference's black-box tests, without the
// package that they test. They use packages below connectrpc.com/connect/internal,
// so that is the module's name. The rest of the reference lies beside it, to be
// the foundation until another one takes its place.
func layBlackBox(t *testing.T, source, dir string) {
	t.Helper()
	reference := t.TempDir()
	copyTree(t, source, reference)
	copyTree(t, filepath.Join(source, "internal"), dir)
	if err := os.RemoveAll(filepath.Join(reference, "internal")); err != nil {
		t.Fatal(err)
	}
	tests, err := filepath.Glob(filepath.Join(source, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(tests, filepath.Join(source, "go.mod"), filepath.Join(source, "go.sum")) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		if strings.HasSuffix(name, "_test.go") && !bytes.Contains(content, []byte("\npackage connect_test\n")) {
			continue // a test of the package's inside
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	goCommand(t, dir, "mod", "edit", "-module=connectrpc.com/connect/internal",
		"-require=connectrpc.com/connect@v1.21.1", "-replace=connectrpc.com/connect="+reference)
}

// copyTree copies the files of a read-only directory into an existing one.
// Workspace files stay behind: they name modules that are not published with it.
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
		if entry.Name() == "go.work" || entry.Name() == "go.work.sum" {
			return nil
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

// command returns the go command in dir, outside of any workspace and without
// settings that belong to the run of this test.
func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "GOLANG_PROTOBUF_REGISTRATION_CONFLICT=")
	return command
}

// goCommand runs the go command and returns what it prints.
func goCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	command := command(t, dir, args...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("go %q: %v\n%s%s", args, err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String()
}

// TestSuiteRun runs a suite in which one test fails and one panics: the others
// run all the same, and the end of the process is not overlooked.
func TestSuiteRun(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a suite")
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module example.com/suite\n\ngo 1.26\n",
		"suite_test.go": `package suite

import "testing"

func TestA(t *testing.T) { t.Error("A") }

func TestB(t *testing.T) {
	t.Run("a", func(t *testing.T) { panic("B/a") })
	t.Run("b", func(t *testing.T) {})
	t.Run("c", func(t *testing.T) { t.Skip() })
}

func TestC(t *testing.T) {}
`,
		"inner/inner_test.go": "package inner\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {}\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := runSuite(t, suite{packages: "./..."}, dir)
	for _, test := range []struct {
		what      string
		got, want []string
	}{
		{"passed", run.named("pass"), []string{"TestB/b", "TestC", "inner.TestA"}},
		{"failed", run.named("fail"), []string{"TestA", "TestB", "TestB/a"}},
		{"skipped", run.named("skip"), []string{"TestB/c"}},
		{"incomplete", run.incomplete(), []string{"example.com/suite"}},
	} {
		if !slices.Equal(test.got, test.want) {
			t.Errorf("%s: got %q, want %q", test.what, test.got, test.want)
		}
	}
	for _, test := range []struct {
		name   string
		places []string
		ok     bool
	}{
		{"TestA", []string{"suite_test.go:5"}, true},
		{"TestB", nil, false},
		{"TestB/a", []string{"nowhere"}, true},
		{"inner.TestA", nil, true},
	} {
		if places, ok := run.places(test.name); !slices.Equal(places, test.places) || ok != test.ok {
			t.Errorf("places of %s: got %q, %v, want %q, %v", test.name, places, ok, test.places, test.ok)
		}
	}
}
