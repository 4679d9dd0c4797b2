// SPDX-License-Identifier: Apache-2.0

//go:build unix

// This file calls our server with Chromium: a script in a browser has only fetch(), and the browser writes its own requests.

package interop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/seed-b7c59c10/connect/internal/interop/ours"
)

// The cases of testdata/chromium.html. The last is for HTTP/2 only.
var chromiumCases = []string{
	"unary_json", "unary_proto", "get", "unary_error", "unknown_procedure", "stream_json", "stream_proto", "stream_error",
	"client_stream", "web_unary", "web_stream", "web_error", "web_stream_error", "large_compressed", "large_response",
	"large_request", "many", "abort_stream", "abort_web_stream", "upload",
}

func TestChromium(t *testing.T) {
	program := findChromium(t)
	for _, tc := range []struct {
		x        transport
		protocol string
		cases    []string
	}{
		{http1, "http/1.1", chromiumCases[:len(chromiumCases)-1]},
		{h2tls, "h2", chromiumCases},
		{engineTLS, "h2", chromiumCases},
	} {
		t.Run(string(tc.x), func(t *testing.T) {
			s := newChromiumServer()
			failures, requests := s.run(t, program, serve(t, tc.x, s.handler()))
			for _, name := range tc.cases {
				t.Run(name, func(t *testing.T) {
					if failure, ok := failures[name]; !ok {
						t.Error("the page did not report this case")
					} else if failure != "" {
						t.Error(failure)
					}
				})
				delete(failures, name)
			}
			if len(failures) > 0 {
				t.Errorf("got %q beside the cases, want nothing", failures)
			}
			// Each case makes a request and reports with another.
			if got, want := len(requests), 2*len(tc.cases); got < want {
				t.Errorf("got the protocols of %d requests, want at least %d", got, want)
			}
			for _, request := range requests {
				if request.Protocol != tc.protocol {
					t.Errorf("%s: got protocol %q, want %q", request.Name, request.Protocol, tc.protocol)
				}
			}
		})
	}
}

// findChromium skips the test when Chromium is not installed under any of its names.
func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if program, err := exec.LookPath(name); err == nil {
			return program
		}
	}
	return findProgram(t, "chromium", "chromium")
}

// chromiumServer serves the page and the test service, and collects what the page reports.
type chromiumServer struct {
	reports chan chromiumReport
	done    chan []chromiumRequest // the last report
	gone    chan error             // the error of a watched call's context when its handler returned
}

// chromiumReport is the outcome of a case.
type chromiumReport struct{ Name, Failure string }

// chromiumRequest is a request that the page has made, and the version of HTTP as the browser calls it.
type chromiumRequest struct{ Name, Protocol string }

func newChromiumServer() *chromiumServer {
	return &chromiumServer{
		reports: make(chan chromiumReport, 100),
		done:    make(chan []chromiumRequest, 1),
		gone:    make(chan error, 100),
	}
}

func (s *chromiumServer) handler() http.Handler {
	mux := http.NewServeMux()
	rpc := ours.NewHandler()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		rpc.ServeHTTP(w, r)
		if r.Header.Get("X-Interop-Watched") != "" {
			s.gone <- r.Context().Err()
		}
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "testdata/chromium.html")
	})
	mux.HandleFunc("GET /gone", func(w http.ResponseWriter, r *http.Request) {
		select {
		case err := <-s.gone:
			_, _ = fmt.Fprint(w, err)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /report", func(w http.ResponseWriter, r *http.Request) { receive(w, r, s.reports) })
	mux.HandleFunc("POST /done", func(w http.ResponseWriter, r *http.Request) { receive(w, r, s.done) })
	return mux
}

// receive passes on a value that the page has posted.
func receive[T any](w http.ResponseWriter, r *http.Request, to chan<- T) {
	var value T
	if err := json.NewDecoder(r.Body).Decode(&value); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	to <- value
	w.WriteHeader(http.StatusNoContent)
}

// run has Chromium load the page and returns the cases' failures and the requests that were made.
func (s *chromiumServer) run(t *testing.T, program, url string) (map[string]string, []chromiumRequest) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	exited, wrote := startChromium(ctx, t, program, url)
	failures := make(map[string]string)
	for {
		select {
		case report := <-s.reports:
			failures[report.Name] = report.Failure
		case requests := <-s.done:
			// The page waits for the answer to each report before it goes on.
			for len(s.reports) > 0 {
				report := <-s.reports
				failures[report.Name] = report.Failure
			}
			cancel()
			<-exited
			return failures, requests
		case err := <-exited:
			t.Errorf("Chromium ended with %v (%v) before the page was done; it wrote:\n%s", err, ctx.Err(), tail(wrote.String(), 60))
			return failures, nil
		}
	}
}

// startChromium runs a headless Chromium until the context ends. Its output is to be read once it has exited.
func startChromium(ctx context.Context, t *testing.T, program, url string) (exited <-chan error, output *bytes.Buffer) {
	t.Helper()
	// t.TempDir does not fit: Chromium opens a socket in it, whose path must be short, and a file that it leaves is no failure.
	home, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Logf("removing what Chromium has written: %v", err)
		}
	})
	command := exec.CommandContext(ctx, program,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-breakpad", "--no-first-run",
		"--disable-quic", "--no-proxy-server", "--ignore-certificate-errors",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--enable-logging=stderr", "--user-data-dir="+home, url)
	command.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "TMPDIR="+home)
	output = new(bytes.Buffer)
	command.Stdout, command.Stderr = output, output
	// Chromium is a group of processes. They share the pipe that the output comes by, so that Wait waits for them all.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = patience
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()
	return done, output
}
