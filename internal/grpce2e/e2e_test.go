// SPDX-License-Identifier: Apache-2.0

// This file holds the tests: grpc-go's on Go's HTTP/2, to list those that pass there,
// and on the engine, where the same must pass.

package grpce2e

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
)

var rewrite = flag.Bool("rewrite", false, "with -run Baseline: write the list of what passes on Go's HTTP/2")

// listed is the file with the names of the tests that pass on Go's HTTP/2, one in a
// line. A "*" before the name marks a test in which a grpc.Server got requests from an
// HTTP/2 server.
const listed = "testdata/passes.txt"

// runsMax bounds the runs of a test until it passes, if no request of it reaches an
// HTTP/2 server. That test is about grpc-go alone, and its timeouts can be too short
// on a busy machine. On the engine a test runs once.
const runsMax = 3

// TestBaseline runs the tests on Go's HTTP/2, unchanged but for a line of output,
// and writes the list.
func TestBaseline(t *testing.T) {
	if !*rewrite {
		t.Skip("runs with -rewrite only; what it found is in " + listed)
	}
	var lines []string
	for _, p := range build(t, lay(t, report, false)) {
		for name, r := range p.run(t, nil, nil) {
			switch {
			case r.action == "skip", !strings.Contains(name, "/"): // the latter is the function that runs them
			case r.action != "pass":
				t.Errorf("%s: %s\n%s", name, r.action, r.output)
			case strings.Contains(r.output, servedBy):
				lines = append(lines, "*"+name)
			default:
				lines = append(lines, name)
			}
		}
	}
	slices.SortFunc(lines, func(a, b string) int {
		return strings.Compare(strings.TrimPrefix(a, "*"), strings.TrimPrefix(b, "*"))
	})
	if err := os.WriteFile(listed, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("grpc-go %s: %d tests pass on Go's HTTP/2", grpc.Version, len(lines))
}

// TestEngine fails unless each test that passes on Go's HTTP/2 passes on the engine,
// and each exception does not. A grpc.Server that gets requests from an HTTP/2 server
// must get them from the engine. A test that hangs has failed.
func TestEngine(t *testing.T) {
	list := readList(t)
	var skip []string
	for _, e := range exceptions {
		if _, ok := list[e.name]; !ok || e.reason == "" || strings.Count(e.name, "/") != 1 || slices.Contains(skip, e.name) {
			t.Errorf("exception %s: want a test of the list that is no subtest, once, with a reason", e.name)
		}
		skip = append(skip, e.name)
	}
	programs := build(t, lay(t, slices.Concat(report, engine), true))
	var c count
	for _, p := range programs {
		results := p.run(t, nil, skip)
		c.serve(t, results)
		for name, r := range results {
			if _, ok := list[name]; !ok && r.action != "skip" && strings.Contains(name, "/") {
				t.Errorf("%s: %s, want a test of the list: write it anew with -run Baseline -rewrite", name, r.action)
			}
		}
		for name := range list {
			if strings.HasPrefix(name, p.name+".") && strings.Count(name, "/") == 1 && !slices.Contains(skip, name) {
				c.judge(t, p, name, list, results)
			}
		}
	}
	t.Run("exceptions", func(t *testing.T) {
		for _, e := range exceptions {
			t.Run(e.name, func(t *testing.T) {
				t.Parallel() // they wait more than they work
				checkException(t, programs, e)
			})
		}
	})
	if c.passed == 0 || c.served == 0 || c.requests < c.served {
		t.Errorf("got %d tests, %d of them on the engine, and %d requests to it, want at least one for each",
			c.passed, c.served, c.requests)
	}
	t.Logf("grpc-go %s: %d tests passed, %d of them on the engine with %d requests; %d are exceptions",
		grpc.Version, c.passed, c.served, c.requests, len(exceptions))
}

// A count has TestEngine's sums: tests that passed, those of them that make
// requests to an HTTP/2 server, and the requests that the engine got. A test may end
// before its request arrives: then the next one's output has it.
type count struct{ passed, served, requests int }

// judge reports the faults in the results of a test and its subtests.
func (c *count) judge(t *testing.T, p program, test string, list map[string]bool, results map[string]result) {
	t.Helper()
	names, served := []string{test}, false
	for name := range list {
		if strings.HasPrefix(name, test+"/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	unhappy := func(name string) bool { return results[name].action != "pass" }
	for _, name := range names {
		served = served || list[name]
	}
	for again := 1; !served && again < runsMax && slices.ContainsFunc(names, unhappy); again++ {
		t.Logf("%s: failed with no part of the engine, run again", test)
		results = p.run(t, []string{test}, nil)
	}
	for _, name := range names {
		r, ok := results[name]
		switch {
		case !ok:
			t.Errorf("%s: was not run", name)
		case r.action != "pass":
			t.Errorf("%s: %s, want pass as on Go's HTTP/2\n%s", name, r.action, r.output)
		default:
			c.passed++
			if list[name] {
				c.served++
			}
		}
	}
}

// serve counts the requests that the results report, and reports those that the
// engine did not serve.
func (c *count) serve(t *testing.T, results map[string]result) {
	t.Helper()
	for name, r := range results {
		for line := range strings.Lines(r.output) {
			by, ok := strings.CutPrefix(strings.TrimSpace(line), servedBy)
			if !ok {
				continue
			}
			c.requests++
			if by != ours+"/h2" && !strings.HasPrefix(by, ours+"/h2/") {
				t.Errorf("%s: a request was served by %s, want the engine", name, by)
			}
		}
	}
}

// exceptionRuns is how often an exception must pass in a row for its entry to be out
// of date: some faults are races.
const exceptionRuns = 10

// checkException fails if the test passes, or did not run.
func checkException(t *testing.T, programs []program, e exception) {
	t.Helper()
	for _, p := range programs {
		if !strings.HasPrefix(e.name, p.name+".") {
			continue
		}
		for range exceptionRuns {
			switch r := p.run(t, []string{e.name}, nil)[e.name]; r.action {
			case "pass":
			case "":
				t.Errorf("%s: was not run", e.name)
				return
			default:
				t.Logf("%s: %s, and is an exception: %s", e.name, r.action, e.reason)
				return
			}
		}
		t.Errorf("%s: passes, so its entry must go", e.name)
		return
	}
	t.Errorf("%s: no test program has it", e.name)
}

// readList returns the names of the list, each with whether it has a "*".
func readList(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(listed)
	if err != nil {
		t.Fatal(err)
	}
	list := make(map[string]bool)
	for _, line := range strings.Fields(string(text)) {
		name, served := strings.CutPrefix(line, "*")
		list[name] = served
	}
	return list
}
