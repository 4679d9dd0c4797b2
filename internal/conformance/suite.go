// SPDX-License-Identifier: Apache-2.0

// This file runs the suite in one mode and judges its output.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// suite is one run of the suite.
type suite struct {
	mode      string    // "client" or "server": the side under test
	engine    bool      // run it on package h2: only the cases of HTTP/2
	nats      bool      // run it over NATS, behind a gateway: only the cases of config-nats.yaml
	race      bool      // build the program under test with the race detector
	arguments []string  // more arguments for the suite
	out       io.Writer // receives the suite's output as it comes
}

// totals has the figures that the suite prints at its end.
type totals struct {
	cases, passed, failed int
	known                 int // cases of a list of those that fail, which have failed
	took                  time.Duration
}

func (t totals) String() string {
	listed := ""
	if t.known > 0 {
		listed = fmt.Sprintf(", %d failed as listed,", t.known)
	}
	return fmt.Sprintf("%d of %d cases passed%s in %v", t.passed, t.cases, listed, t.took)
}

// runSuite builds the program under test and runs the suite against it. It is
// an error if the suite fails, if a case does not pass and is not listed as one that
// fails, or if there is none.
func runSuite(ctx context.Context, s suite) (totals, error) {
	if s.mode != "client" && s.mode != "server" {
		return totals{}, fmt.Errorf("mode %q, expected client or server", s.mode)
	}
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return totals{}, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, s.mode)
	build := exec.CommandContext(ctx, "go", "build", fmt.Sprintf("-race=%v", s.race), "-o", program, "./"+s.mode)
	build.Stdout, build.Stderr = s.out, s.out
	if err := build.Run(); err != nil {
		return totals{}, fmt.Errorf("building the %s: %w", s.mode, err)
	}

	config := "config.yaml"
	under := []string{program}
	if s.engine {
		config = filepath.Join(dir, config)
		if err := writeEngineConfig(config); err != nil {
			return totals{}, err
		}
		under = append(under, "-engine")
	}
	if s.nats {
		config = "config-nats.yaml"
		under = append(under, "-nats")
	}
	arguments := []string{"tool", "connectconformance", "--mode", s.mode, "--conf", config, "-v"}
	arguments = append(arguments, s.arguments...)
	if s.nats {
		arguments = append(arguments, "--known-failing", "@nats-"+s.mode+"-failing.txt")
	}
	arguments = append(append(arguments, "--"), under...)
	var said bytes.Buffer
	run := exec.CommandContext(ctx, "go", arguments...)
	run.Env = append(os.Environ(), "GORACE=halt_on_error=1") // a race fails the cases in flight
	run.Stdout = io.MultiWriter(s.out, &said)
	run.Stderr = run.Stdout
	begin := time.Now()
	ended := run.Run()
	result, err := judge(said.Bytes(), ended)
	result.took = time.Since(begin).Round(time.Second)
	return result, err
}

var otherVersions = regexp.MustCompile(`(?m)^ +- HTTP_VERSION_[13]\n`)

// writeEngineConfig writes config.yaml without the versions of HTTP that the
// engine does not speak.
func writeEngineConfig(path string) error {
	config, err := os.ReadFile("config.yaml")
	if err != nil {
		return err
	}
	narrow := otherVersions.ReplaceAll(config, nil)
	if !bytes.Contains(narrow, []byte("HTTP_VERSION_2")) || bytes.Contains(narrow, []byte("HTTP_VERSION_1")) {
		return errors.New("config.yaml: expected a list with HTTP_VERSION_1 and HTTP_VERSION_2")
	}
	return os.WriteFile(path, narrow, 0o600)
}

// judge reads the totals from the suite's output. It returns an error if these or the
// suite's exit status are not those of a success.
func judge(said []byte, ended error) (totals, error) {
	result, err := readTotals(said)
	switch {
	case err != nil:
		return result, errors.Join(err, ended)
	case result.failed > 0 || result.passed+result.known < result.cases:
		return result, fmt.Errorf("%d of %d cases failed", result.cases-result.passed-result.known, result.cases)
	case result.cases == 0:
		return result, errors.New("no case was run")
	case ended != nil:
		return result, fmt.Errorf("running the suite: %w, though every case passed", ended)
	}
	return result, nil
}

var totalsLines = regexp.MustCompile(`(?m)^Total cases: (\d+)\n(\d+) passed, (\d+) failed\n(?:\(Another (\d+) failed as expected )?`)

// readTotals finds the totals in the suite's output.
func readTotals(said []byte) (totals, error) {
	found := totalsLines.FindSubmatch(said)
	if found == nil {
		return totals{}, errors.New("the suite ended without its totals")
	}
	var numbers [4]int
	for i := range numbers {
		if i == 3 && len(found[i+1]) == 0 {
			break // no case of a list has failed
		}
		n, err := strconv.Atoi(string(found[i+1]))
		if err != nil {
			return totals{}, fmt.Errorf("reading the suite's totals: %w", err)
		}
		numbers[i] = n
	}
	return totals{cases: numbers[0], passed: numbers[1], failed: numbers[2], known: numbers[3]}, nil
}
