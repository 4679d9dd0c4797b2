// SPDX-License-Identifier: Apache-2.0

// This file calls our server with the programs of nghttp2: nghttp, which shows every frame, and h2load, which sends many requests.

package interop_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// runProgram runs a program of nghttp2 and returns what it writes.
func runProgram(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("running %s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// bodyFile writes a request's body to a file.
func bodyFile(t *testing.T, size int) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(name, bytes.Repeat([]byte("b"), size), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// The frames that nghttp shows: each pattern must match as often as the number beside it.
func TestNghttp(t *testing.T) {
	program := findProgram(t, "nghttp", "nghttp2-client")
	body := bodyFile(t, 300<<10)
	for _, tc := range []struct {
		name string
		path string
		args []string
		want map[string]int
	}{
		{"get", "/hello", nil, map[string]int{
			`:status: 200`: 1, `content-length: 5`: 1, `content-type: text/plain`: 1, `recv RST_STREAM`: 0, `recv GOAWAY`: 0,
		}},
		{"multiplexed", "/hello", []string{"--multiply=300"}, map[string]int{
			`:status: 200`: 300, `recv RST_STREAM`: 0, `recv GOAWAY`: 0,
		}},
		{"small_windows", "/echo", []string{"--data=" + body, "--window-bits=10", "--connection-window-bits=16", "--null-out"}, map[string]int{
			`:status: 200`: 1, `recv RST_STREAM`: 0, `recv GOAWAY`: 0,
		}},
		{"padding", "/echo", []string{"--data=" + body, "--padding=200", "--null-out"}, map[string]int{
			`:status: 200`: 1, `recv RST_STREAM`: 0, `recv GOAWAY`: 0,
		}},
		{"no_table", "/hello", []string{"--header-table-size=0", "--multiply=3"}, map[string]int{
			`:status: 200`: 3, `recv GOAWAY`: 0,
		}},
		{"small_table", "/hello", []string{"--header-table-size=100", "--encoder-header-table-size=50", "--multiply=3"}, map[string]int{
			`:status: 200`: 3, `recv GOAWAY`: 0,
		}},
		{"trailers", "/echo", []string{"--data=" + bodyFile(t, 3), "--trailer=x-sum: 42", "--header=trailer: x-sum"}, map[string]int{
			`:status: 200`: 1, `recv \(stream_id=\d+\) x-sum: 42`: 1,
		}},
		{"continue", "/echo", []string{"--data=" + bodyFile(t, 3), "--expect-continue"}, map[string]int{
			`:status: 100`: 1, `:status: 200`: 1,
		}},
		{"early_hints", "/hints", nil, map[string]int{`:status: 103`: 1, `:status: 204`: 1}},
		{"head", "/hello", []string{"--header=:method: HEAD"}, map[string]int{
			`:status: 200`: 1, `content-length: 5`: 1, `recv DATA`: 0,
		}},
		{"priorities", "/hello", []string{"--multiply=20", "--weight=256"}, map[string]int{`:status: 200`: 20, `recv GOAWAY`: 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, x := range []transport{h2c, h2tls, engineH2C, engineTLS} {
				t.Run(string(x), func(t *testing.T) {
					args := append([]string{"--verbose", "--no-verify-peer", "--timeout=30s"}, tc.args...)
					out := runProgram(t, program, append(args, serve(t, x, nodeHandler())+tc.path)...)
					for pattern, want := range tc.want {
						if got := len(regexp.MustCompile(pattern).FindAllString(out, -1)); got != want {
							t.Errorf("%q: got it %d times, want %d, in:\n%s", pattern, got, want, tail(out, 60))
						}
					}
				})
			}
		})
	}
}

// tail returns the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Thousands of requests on few connections, none of which may fail.
func TestH2load(t *testing.T) {
	program := findProgram(t, "h2load", "nghttp2-client")
	for _, tc := range []struct {
		name string
		path string
		args []string
		want string
	}{
		{"get", "/hello", []string{"--requests=10000", "--clients=4", "--max-concurrent-streams=100"}, "10000"},
		{"post", "/echo", []string{"--requests=300", "--clients=3", "--max-concurrent-streams=10", "--data=" + bodyFile(t, 100<<10)}, "300"},
		{"small_windows", "/echo", []string{
			"--requests=100", "--clients=2", "--max-concurrent-streams=10", "--window-bits=12", "--connection-window-bits=16",
			"--data=" + bodyFile(t, 20<<10),
		}, "100"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, x := range []transport{engineH2C, engineTLS} {
				t.Run(string(x), func(t *testing.T) {
					out := runProgram(t, program, append(tc.args, serve(t, x, nodeHandler())+tc.path)...)
					for _, want := range []string{
						tc.want + " succeeded, 0 failed, 0 errored, 0 timeout",
						"status codes: " + tc.want + " 2xx, 0 3xx, 0 4xx, 0 5xx",
					} {
						if !strings.Contains(out, want) {
							t.Errorf("want %q in:\n%s", want, out)
						}
					}
				})
			}
		})
	}
}
