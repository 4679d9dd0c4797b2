// SPDX-License-Identifier: Apache-2.0

// This file runs the tests of net/http in every mode and judges them one by one.

package nethttptest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	wholePatience = 2 * time.Minute  // for all tests of a mode, about 10 seconds in fact
	onePatience   = 10 * time.Second // for one test that is listed, and may hang
	// fewest is how many tests and subtests use HTTP/2 at least. Go 1.26 has 285, with
	// more connections than that.
	fewest = 280
)

// A mode is the side of the tests on which the engine is: server, client, both or none.
// own is set if the connections of the server are accepted by an h2.Server.
type mode struct {
	name                string
	server, client, own bool
}

var modes = []mode{
	{name: "server", server: true},
	{name: "own", server: true, own: true},
	{name: "client", client: true},
	{name: "both", server: true, client: true},
}

// TestNetHTTP fails unless in each mode every test that uses HTTP/2 passes, but for
// those that are listed, which must fail.
func TestNetHTTP(t *testing.T) {
	checkExclusions(t)
	s := build(t)
	var baseline *results
	t.Run("go", func(t *testing.T) {
		baseline = s.run(t, mode{name: "go"}, selection{run: pattern(s.tests), patience: wholePatience})
		baseline.allPass(t)
		baseline.usedEngine(t, mode{})
		if n := len(baseline.using); n < fewest {
			t.Errorf("%d tests use HTTP/2, want %d or more", n, fewest)
		}
		t.Logf("%d tests use HTTP/2", len(baseline.using))
	})
	if t.Failed() {
		t.Fatal("the tests do not pass with Go's own HTTP/2: there is nothing to compare with")
	}
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			listed := m.listed()
			r := s.run(t, m, selection{
				run:      pattern(s.tests),
				skip:     pattern(slices.Collect(maps.Keys(listed))),
				patience: wholePatience,
			})
			r.allPass(t)
			r.usedEngine(t, m)
			r.sameTests(t, baseline, listed)
			faults := 0
			for _, e := range listed {
				s.judge(t, m, e)
				if e.fault {
					faults++
				}
			}
			t.Logf("%d tests pass; %d do not apply, %d fail by faults to mend",
				len(r.using), len(listed)-faults, faults)
		})
	}
}

// results are the results of one run, from its events.
type results struct {
	outcome        map[string]string // pass, fail or skip, by test; those still running fail
	using          map[string]bool   // tests that passed or failed having used HTTP/2
	output         map[string]*strings.Builder
	served, dialed int
	err            error // how the process ended
}

// A selection is the set of tests to run.
type selection struct {
	run, skip string // patterns
	patience  time.Duration
}

// run runs tests in a mode.
func (s *suite) run(t *testing.T, m mode, which selection) *results {
	t.Helper()
	// The test binary's own timeout ends a run that hangs, and prints the stacks. The
	// context ends it if that timeout fails.
	ctx, cancel := context.WithTimeout(t.Context(), which.patience+10*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, s.binary, "-test.v=test2json", "-test.paniconexit0",
		"-test.timeout="+which.patience.String(), "-test.run="+which.run, "-test.skip="+which.skip)
	command.Dir = s.dir
	command.Env = os.Environ()
	if m.server {
		command.Env = append(command.Env, "NETHTTPTEST_SERVER=1")
	}
	if m.own {
		command.Env = append(command.Env, "NETHTTPTEST_OWN=1")
	}
	if m.client {
		command.Env = append(command.Env, "NETHTTPTEST_CLIENT=1")
	}
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	command.WaitDelay = 5 * time.Second
	r := &results{
		outcome: map[string]string{},
		using:   map[string]bool{},
		output:  map[string]*strings.Builder{},
		err:     command.Run(),
	}
	convert := exec.Command(s.test2json)
	convert.Stdin = &out
	events, err := convert.Output()
	if err != nil {
		t.Fatalf("test2json: %v", err)
	}
	r.read(t, events)
	return r
}

// read takes in the events.
func (r *results) read(t *testing.T, events []byte) {
	t.Helper()
	marked := map[string]bool{}
	for d := json.NewDecoder(bytes.NewReader(events)); ; {
		var e struct{ Action, Test, Output, Key, Value string }
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		switch e.Action {
		case "run":
			r.outcome[e.Test] = "fail" // until it ends
		case "pass", "fail", "skip":
			if e.Test != "" {
				r.outcome[e.Test] = e.Action
			}
		case "attr":
			n, _ := strconv.Atoi(e.Value)
			switch e.Key {
			case "http2":
				marked[e.Test] = true
			case "served":
				r.served = n
			case "dialed":
				r.dialed = n
			}
		case "output":
			b := r.output[e.Test]
			if b == nil {
				b = new(strings.Builder)
				r.output[e.Test] = b
			}
			b.WriteString(e.Output)
		}
	}
	for name := range marked {
		if r.outcome[name] != "skip" {
			r.using[name] = true
		}
	}
}

// allPass reports each test that failed, or how the process failed without one.
func (r *results) allPass(t *testing.T) {
	t.Helper()
	failed := r.failed()
	for _, name := range failed {
		t.Errorf("%s failed:\n%s", name, r.output[name])
	}
	if r.err != nil && len(failed) == 0 {
		t.Errorf("no test failed, but the process: %v\n%s", r.err, r.output[""])
	}
}

// failed returns the names of the tests that failed, without those that did so
// because of a subtest.
func (r *results) failed() (names []string) {
	for name, outcome := range r.outcome {
		if outcome == "fail" && !slices.ContainsFunc(slices.Collect(maps.Keys(r.outcome)), func(other string) bool {
			return r.outcome[other] == "fail" && strings.HasPrefix(other, name+"/")
		}) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// sameTests reports tests of the baseline that did not run.
func (r *results) sameTests(t *testing.T, baseline *results, listed map[string]exclusion) {
	t.Helper()
	for name := range baseline.using {
		if !r.using[name] && !covered(listed, name) {
			t.Errorf("%s was not run: %q", name, r.outcome[name])
		}
	}
}

// usedEngine fails the test unless the engine got enough connections on each side of
// the mode, and none on the other.
func (r *results) usedEngine(t *testing.T, m mode) {
	t.Helper()
	for _, side := range []struct {
		name  string
		used  bool
		conns int
	}{{"server", m.server, r.served}, {"client", m.client, r.dialed}} {
		switch {
		case side.used && side.conns < fewest-len(m.listed()):
			t.Errorf("the engine was given %d connections as %s, want one for each test", side.conns, side.name)
		case !side.used && side.conns > 0:
			t.Errorf("the engine was given %d connections as %s, want none", side.conns, side.name)
		}
	}
	t.Logf("the engine was given %d connections as server and %d as client", r.served, r.dialed)
}

// judge reports a listed test unless the test fails, or the process because of it. A
// test that fails now and then is reported if it never passes.
func (s *suite) judge(t *testing.T, m mode, e exclusion) {
	t.Helper()
	name := e.test
	for range max(e.tries, 1) {
		r := s.run(t, m, selection{run: pattern([]string{name}), patience: onePatience})
		switch outcome := r.outcome[name]; {
		case outcome == "":
			t.Errorf("%s is listed, but there is no such test", name)
			return
		case e.tries > 0 && r.err == nil:
			return
		case r.err == nil:
			t.Errorf("%s is listed, but its result is %q: take it from the list", name, outcome)
			return
		}
	}
	if e.tries > 0 {
		t.Errorf("%s is listed as one that fails now and then, and has failed in each of %d tries", name, e.tries)
	}
}

// pattern returns the argument of -test.run and -test.skip for exactly these tests.
func pattern(names []string) string {
	var b strings.Builder
	for i, name := range slices.Sorted(slices.Values(names)) {
		if i > 0 {
			b.WriteByte('|')
		}
		for j, part := range strings.Split(name, "/") {
			if j > 0 {
				b.WriteByte('/')
			}
			b.WriteString("^" + regexp.QuoteMeta(part) + "$")
		}
	}
	return b.String()
}
