// SPDX-License-Identifier: Apache-2.0

// This file runs every case of h2spec against internal/h2specserver.

package h2spec_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
)

const (
	// server is the program under test.
	server = "github.com/seed-b7c59c10/connect/internal/h2specserver"
	// patience bounds h2spec's wait for an answer. It is long, so that a case
	// fails by the server's answer and not by a slow machine.
	patience = 10 * time.Second
	// headerLength is h2spec's own default for the length of a long value.
	headerLength = 4000
)

// TestH2spec fails unless each case passes and their number is that of this version
// of h2spec (2.6.0 has a case more than 2.2): a case that is skipped, or not run, is
// a failure.
func TestH2spec(t *testing.T) {
	host, port := start(t)
	for _, mode := range []struct {
		name   string
		strict bool
		cases  int
	}{{"normal", false, 146}, {"strict", true, 147}} {
		t.Run(mode.name, func(t *testing.T) {
			settings := &config.Config{
				Host: host, Port: port, Path: "/",
				Timeout: patience, MaxHeaderLen: headerLength, Strict: mode.strict,
			}
			passed := 0
			for _, part := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
				part.Test(settings)
				passed += check(t, part, mode.strict)
			}
			if passed != mode.cases {
				t.Errorf("got %d cases that passed, want %d", passed, mode.cases)
			}
			t.Logf("h2spec, %s mode: %d of %d cases passed", mode.name, passed, mode.cases)
		})
	}
}

// check reports each case of the group that did not pass, and returns how many
// did.
func check(t *testing.T, group *spec.TestGroup, strict bool) int {
	passed := 0
	cases := append(append([]*spec.TestCase(nil), group.Tests...), group.StrictTests...)
	for i, c := range cases {
		name := fmt.Sprintf("%s/%d %s", group.ID(), i+1, c.Desc)
		switch {
		case c.Strict && !strict:
		case c.Result == nil:
			t.Errorf("%s: was not run", name)
		case c.Result.Skipped:
			t.Errorf("%s: was skipped", name)
		case c.Result.Failed:
			t.Errorf("%s: %s\n%s", name, c.Requirement, reason(c.Result.Error))
		default:
			passed++
		}
	}
	for _, part := range group.Groups {
		passed += check(t, part, strict)
	}
	return passed
}

// reason returns h2spec's text for a failure.
func reason(err error) string {
	if e, ok := err.(*spec.TestError); ok {
		return fmt.Sprintf("got %s, want %s", e.Actual, strings.Join(e.Expected, " or "))
	}
	return err.Error()
}

// start builds the server and starts it on a free port. A cleanup of the test
// interrupts the server, and fails the test if it does not exit with 0.
func start(t *testing.T) (host string, port int) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "h2specserver")
	if out, err := exec.Command("go", "build", "-o", binary, server).CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", server, err, out)
	}
	command := exec.CommandContext(context.Background(), binary, "-addr", "127.0.0.1:0")
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
		if err := command.Wait(); err != nil {
			t.Errorf("the server ended with %v, want status 0", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("reading the server's address: %v", err)
	}
	host, digits, err := net.SplitHostPort(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if port, err = strconv.Atoi(digits); err != nil {
		t.Fatal(err)
	}
	return host, port
}
