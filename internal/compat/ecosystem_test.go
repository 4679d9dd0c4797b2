// SPDX-License-Identifier: Apache-2.0

// This file runs published test suites on top of this library: the reference's own, and those of modules that use connectrpc.com/connect.

package compat

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// suite is the tests of a published module.
type suite struct {
	module, version string
	packages        string                                 // the packages that go test runs
	skip            string                                 // -skip argument for tests that cannot run here, not even on the reference
	lay             func(t *testing.T, source, dir string) // writes the module in source and its tests into dir
	differences     []difference                           // tests that fail on the library; lines are where: "file:line"
}

// suites are the reference's tests and the last versions built on its version 1.
var suites = []suite{
	{"connectrpc.com/connect", "v1.21.1", ".", "", layBlackBox, blackBoxDifferences},
	{"connectrpc.com/otelconnect", "v0.10.0", "./...", "", copyTree, nil},
	{"connectrpc.com/validate", "v0.7.0", "./...", "", copyTree, nil},
	// The example calls demo.connectrpc.com over the Internet.
	{"connectrpc.com/grpcreflect", "v1.3.1", "./...", "^ExampleNewClient$", copyTree, nil},
	{"connectrpc.com/grpchealth", "v1.4.0", "./...", "", copyTree, nil},
	{"connectrpc.com/authn", "v0.2.0", "./...", "", copyTree, nil},
	{"connectrpc.com/vanguard", "v0.4.0", "./...", "", copyTree, nil},
}

// foundations are the libraries that the suites run on: arguments of go mod edit, with
// DIR for the repository. The test measures the others by the first one.
var foundations = []struct {
	name  string
	edits []string
}{
	{"reference", []string{"-require=connectrpc.com/connect@v1.21.1"}},
	{"root", []string{"-replace=connectrpc.com/connect=DIR"}},
	{"dropin", []string{"-replace=connectrpc.com/connect=DIR/dropin", "-replace=github.com/seed-b7c59c10/connect=DIR"}},
}

// referenceRuns is how often a suite may run on the reference until it passes:
// validate's tests of streams send to a server that may have answered already,
// and now and then the reference loses that race. On the library a suite runs
// once.
const referenceRuns = 5

// TestEcosystem runs each suite on the reference, and on the library in its
// place, by a plain replacement and by the drop-in. The same tests must run and
// pass, except those that the suite's table lists with a reason: each of them
// must fail at the line that the table has, and nowhere else.
func TestEcosystem(t *testing.T) {
	if testing.Short() {
		t.Skip("builds each suite for three foundations")
	}
	t.Parallel()
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, suite := range suites {
		t.Run(filepath.Base(suite.module), func(t *testing.T) {
			source := download(t, suite.module, suite.version)
			var want []string
			for i, foundation := range foundations {
				t.Run(foundation.name, func(t *testing.T) {
					dir := t.TempDir()
					suite.lay(t, source, dir)
					for _, edit := range foundation.edits {
						goCommand(t, dir, "mod", "edit", strings.ReplaceAll(edit, "DIR", repository))
					}
					if i > 0 {
						if want == nil {
							t.Fatal("the suite has not passed on the reference")
						}
						here := slices.DeleteFunc(slices.Clone(suite.differences), func(d difference) bool { return d.on != "" && d.on != foundation.name })
						judgeSuite(t, here, runSuite(t, suite, dir), want)
						return
					}
					run := runSuite(t, suite, dir)
					for again := 1; len(run.named("fail")) > 0 && again < referenceRuns; again++ {
						t.Logf("failed on the reference itself, run again: %q", run.named("fail"))
						run = runSuite(t, suite, dir)
					}
					want = run.named("pass")
					judgeSuite(t, nil, run, want)
				})
			}
		})
	}
}

// judgeSuite checks the results of a suite's tests against the table of wanted
// differences. It also checks that the tests in want ran: those that pass on the
// reference.
func judgeSuite(t *testing.T, differences []difference, run *suiteRun, want []string) {
	t.Helper()
	passed, failed := run.named("pass"), run.named("fail")
	t.Logf("%d passed, %d failed, %d skipped", len(passed), len(failed), len(run.named("skip")))
	if len(passed) == 0 {
		t.Errorf("no test passed: %v\n%s", run.err, run.output)
	}
	for _, name := range run.incomplete() {
		t.Errorf("%s: the process ended before its tests did, or was not built: %v\n%s", name, run.err, run.output)
	}
	got := slices.Sorted(slices.Values(slices.Concat(passed, failed)))
	if !slices.Equal(got, want) {
		t.Errorf("the tests that ran differ from the reference's: got %d %q, want %d %q", len(got), only(got, want), len(want), only(want, got))
	}
	tb := &table{differences: differences, used: make(map[*string]bool)}
	for _, name := range got {
		places, ok := run.places(name)
		if !ok {
			continue // its subtests failed
		}
		unlisted, absent := tb.match(name, places)
		if len(unlisted) > 0 {
			t.Errorf("%s fails at %q, not listed: %q\n%s", name, places, unlisted, run.outputOf(name))
		}
		for _, d := range absent {
			t.Errorf("%s is listed and does not fail at any of %q: item %s, %s", name, d.lines, d.item, d.reason)
		}
	}
	for _, unused := range tb.unused() {
		t.Error(unused)
	}
}

// only returns the elements of list that are not in other.
func only(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}
