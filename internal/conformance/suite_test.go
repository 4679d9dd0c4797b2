// SPDX-License-Identifier: Apache-2.0

// This file runs the suite as tests, which pass only if every case passes and
// their number is not below a floor.

package main

import (
	"errors"
	"os/exec"
	"runtime/debug"
	"testing"
)

// The numbers of cases that the suite of connectrpc.com/conformance v1.0.6 derives
// from config.yaml. A smaller number means that the configuration has become
// narrower.
const (
	serverCases       = 12490
	clientCases       = 15145
	engineServerCases = 6704
	engineClientCases = 8176
	natsServerCases   = 1289
	natsClientCases   = 1688
)

func TestServer(t *testing.T) { test(t, suite{mode: "server"}, serverCases) }

func TestClient(t *testing.T) { test(t, suite{mode: "client"}, clientCases) }

// TestServerOnEngine and TestClientOnEngine are the cases of HTTP/2 once more, with
// package h2 in the place of net/http's.
func TestServerOnEngine(t *testing.T) {
	test(t, suite{mode: "server", engine: true}, engineServerCases)
}

func TestClientOnEngine(t *testing.T) {
	test(t, suite{mode: "client", engine: true}, engineClientCases)
}

// TestServerOverNATS and TestClientOverNATS are the cases of config-nats.yaml over a bus:
// see package bus. The cases that fail there have to, and are listed with their reasons.
func TestServerOverNATS(t *testing.T) {
	test(t, suite{mode: "server", nats: true}, natsServerCases)
}

func TestClientOverNATS(t *testing.T) {
	test(t, suite{mode: "client", nats: true}, natsClientCases)
}

func test(t *testing.T, s suite, floor int) {
	s.race, s.out = underRace(), t.Output()
	totals, err := runSuite(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(totals)
	if totals.passed < floor {
		t.Errorf("got %d passed cases, want at least %d", totals.passed, floor)
	}
}

// underRace reports whether this test was built with the race detector. The
// programs under test are then built with it, too.
func underRace() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, setting := range info.Settings {
		if setting.Key == "-race" {
			return setting.Value == "true"
		}
	}
	return false
}

func TestReadTotals(t *testing.T) {
	for _, test := range []struct {
		said string
		want totals
		ok   bool
	}{
		{"Running 3 tests...\nTotal cases: 3\n2 passed, 1 failed\n", totals{cases: 3, passed: 2, failed: 1}, true},
		{"Total cases: 0\n0 passed, 0 failed\n", totals{}, true},
		{"Total cases: 9\n7 passed, 0 failed\n(Another 2 failed as expected due to being known failures/flakes.)\n", totals{cases: 9, passed: 7, known: 2}, true},
		{"", totals{}, false},
		{"Total cases: 3\n", totals{}, false},
		{"3 passed, 0 failed\n", totals{}, false},
		{"FAILED: Total cases: 3\n2 passed, 0 failed\n", totals{}, false},
	} {
		got, err := readTotals([]byte(test.said))
		if got != test.want || (err == nil) != test.ok {
			t.Errorf("%q: got %+v, %v, want %+v, ok %v", test.said, got, err, test.want, test.ok)
		}
	}
}

// A run with a case that does not pass is an error.
func TestJudge(t *testing.T) {
	exit := &exec.ExitError{}
	for name, test := range map[string]struct {
		said   string
		result error
		ok     bool
	}{
		"all passed":         {"Total cases: 3\n3 passed, 0 failed\n", nil, true},
		"one failed":         {"Total cases: 3\n2 passed, 1 failed\n", exit, false},
		"one failed, exit 0": {"Total cases: 3\n2 passed, 1 failed\n", nil, false},
		"one as listed":      {"Total cases: 3\n2 passed, 0 failed\n(Another 1 failed as expected due to it)\n", nil, true},
		"one not listed":     {"Total cases: 4\n2 passed, 0 failed\n(Another 1 failed as expected due to it)\n", nil, false},
		"one missing":        {"Total cases: 3\n2 passed, 0 failed\n", nil, false},
		"no case":            {"Total cases: 0\n0 passed, 0 failed\n", nil, false},
		"broken off":         {"Running 3 tests...\n", exit, false},
		"silent":             {"", nil, false},
		"failed otherwise":   {"Total cases: 3\n3 passed, 0 failed\n", errors.New("killed"), false},
	} {
		if _, err := judge([]byte(test.said), test.result); (err == nil) != test.ok {
			t.Errorf("%s: got %v, want ok %v", name, err, test.ok)
		}
	}
}
