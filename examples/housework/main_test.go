// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

// runEnv makes this test program act as the program itself.
const runEnv = "HOUSEWORK_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(runEnv) != "" {
		main()
		return
	}
	leaktest.Main(m)
}

// program prepares a run of the program in a folder.
func program(ctx context.Context, dir string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, os.Args[0], args...)
	command.Dir = dir
	command.Env = append(os.Environ(), runEnv+"=1")
	return command
}

// A process is a server that runs.
type process struct {
	command      *exec.Cmd
	url, metrics string
	stderr       log // complete after end
}

// A log is what a process has written so far.
type log struct {
	mu      sync.Mutex
	text    []byte
	written chan struct{} // closed, and replaced, by each Write; nil until a goroutine waits
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if l.written != nil {
		close(l.written)
		l.written = nil
	}
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// wait returns when the log has text.
func (l *log) wait(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		l.mu.Lock()
		if bytes.Contains(l.text, []byte(text)) {
			l.mu.Unlock()
			return
		}
		if l.written == nil {
			l.written = make(chan struct{})
		}
		written := l.written
		l.mu.Unlock()
		select {
		case <-written:
		case <-ctx.Done():
			t.Errorf("got the log %q, want one with %q", l, text)
			return
		}
	}
}

// startServer starts a server on free ports, with the folder housework-data in dir, and
// waits until it listens. A cleanup kills it if it still runs.
func startServer(t *testing.T, dir string) *process {
	t.Helper()
	s := &process{command: program(context.Background(), dir, "serve", "-addr", "127.0.0.1:0", "-metrics", "127.0.0.1:0")}
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.command.Stderr = &s.stderr
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.end(os.Kill) })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	found := regexp.MustCompile(`^listening on (\S+), metrics on (\S+)\n$`).FindStringSubmatch(line)
	if found == nil {
		s.end(os.Kill)
		t.Fatalf("got the line %q and %v, want the server's addresses; its log:\n%s", line, err, &s.stderr)
	}
	s.url, s.metrics = found[1], found[2]
	return s
}

// end sends a signal and waits for the end of the process. It returns its exit status, -1 if
// a signal ended it.
func (s *process) end(signal os.Signal) int {
	if s.command.ProcessState == nil {
		_ = s.command.Process.Signal(signal)
		_ = s.command.Wait()
	}
	return s.command.ProcessState.ExitCode()
}

func TestDemo(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), nil, &out, io.Discard); err != nil {
		t.Fatalf("got %v, want nil\n%s", err, out.String())
	}
	for _, want := range []string{
		"3 \"feed the cat\", added by ada, done by grace\n",
		"GET /housework.v1.RobotMaid/List?connect=v1&encoding=json&message=%7B%22openOnly%22%3Atrue%7D\n{\"chores\":[{\"id\":2",
		"\ninvalid_argument: reading titles: got one of 1 characters, want 1 to 200 that are not all spaces\n",
		"\n== so is a client without a certificate\n",
		"housework_call_seconds_count{procedure=\"/housework.v1.RobotMaid/List\",code=\"ok\"} 1\n",
		"procedure=/housework.v1.RobotMaid/Add kind=unary protocol=grpc codec=proto peer=127.0.0.1 identity=ada code=ok ",
		"procedure=/housework.v1.RobotMaid/Complete kind=unary protocol=grpcweb codec=proto peer=127.0.0.1 identity=grace code=ok ",
		"procedure=/housework.v1.RobotMaid/List kind=unary protocol=connect method=GET peer=127.0.0.1 identity=ada code=ok ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got no %q in\n%s", want, out.String())
		}
	}
}

// TestReadme runs the blocks of README.md that are marked sh, and compares the output of each
// with the block that follows, if that is one of text or JSON.
func TestReadme(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	dir := t.TempDir()
	var running *process
	ran := 0
	for i, block := range blocks {
		script := strings.ReplaceAll(block[2], "go run ./examples/housework", "program")
		if block[1] != "sh" {
			continue
		}
		if strings.Contains(script, "curl") && !hasCurl(t) {
			break // the last blocks
		}
		if script == "program serve\n" {
			running = startServer(t, dir)
			continue
		}
		if running != nil {
			script = regexp.MustCompile(`program (add|complete|list)`).ReplaceAllString(script, "program $1 -url "+running.url)
			script = strings.ReplaceAll(script, "https://localhost:8443", running.url)
			script = strings.ReplaceAll(script, "http://localhost:9090/metrics", running.metrics)
		}
		got := shell(t, dir, script)
		ran++
		if i+1 < len(blocks) && blocks[i+1][1] != "sh" {
			compare(t, block[2], blocks[i+1][1], got, blocks[i+1][2])
		}
	}
	if want := 2; ran < want {
		t.Errorf("got %d blocks that ran, want %d or more", ran, want)
	}
	if status := running.end(syscall.SIGTERM); status != 0 {
		t.Errorf("got exit status %d, want 0; the server's log:\n%s", status, &running.stderr)
	}
}

// hasCurl reports whether curl is there, as it is where .ci/run runs.
func hasCurl(t *testing.T) bool {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Logf("without curl: %v; its blocks do not run", err)
		return false
	}
	return true
}

// shell runs a script and returns what it prints.
func shell(t *testing.T, dir, script string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "sh", "-e", "-c", `program() { `+runEnv+`=1 "$PROGRAM" "$@"; }; `+script)
	command.Dir = dir
	command.Env = append(os.Environ(), "PROGRAM="+os.Args[0])
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("running %s: %v\n%s%s", script, err, output, &stderr)
	}
	return string(output)
}

func compare(t *testing.T, script, kind, got, want string) {
	t.Helper()
	equal := got == want
	if kind == "json" {
		var a, b any
		err := errors.Join(json.Unmarshal([]byte(got), &a), json.Unmarshal([]byte(want), &b))
		equal = err == nil && reflect.DeepEqual(a, b)
	}
	if !equal {
		t.Errorf("%s: got\n%s\nwant\n%s", script, got, want)
	}
}

// TestCommandLine has the exit status and the error of each command line.
func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	if err := writeCerts(io.Discard, filepath.Join(dir, "housework-data"), []string{"ada"}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   string
		status int
		stderr string
	}{
		{"sing", 2, "usage: housework COMMAND"},
		{"add", 2, "usage: housework COMMAND"},
		{"list chores", 2, "usage: housework COMMAND"},
		{"list -all", 2, "flag provided but not defined: -all"},
		{"certs ada", 1, `making certificates: "housework-data" has some already`},
		{"certs -dir other server", 1, `making certificates: got the name "server", want different ones`},
		{"certs -dir other ../ada", 1, `making certificates: got the name "../ada", want different ones`},
		{"certs -dir other eve eve", 1, `making certificates: got the name "eve", want different ones`},
		{"list -as eve", 1, `reading the certificate of "eve": open housework-data/eve.pem: no such file or directory; make one with the command certs`},
		{"list -protocol soap", 1, `choosing a protocol: got "soap", want connect, grpc or grpcweb`},
		{"complete one", 1, `reading the number of a chore: strconv.ParseInt: parsing "one": invalid syntax`},
		{"serve -dir other -addr 127.0.0.1:0", 1, `listening at "127.0.0.1:0": stat other/server.pem: no such file or directory`},
		{"serve -addr 127.0.0.1:99999", 1, "address 99999: invalid port"},
	} {
		t.Run(test.args, func(t *testing.T) {
			command := program(t.Context(), dir, strings.Fields(test.args)...)
			var stderr bytes.Buffer
			command.Stderr = &stderr
			_ = command.Run()
			if got := command.ProcessState.ExitCode(); got != test.status || !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("got exit status %d and %q, want %d and %q", got, &stderr, test.status, test.stderr)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "other")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v for the folder of the certificates that were refused, want that there is none", err)
	}
}
