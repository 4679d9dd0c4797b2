// SPDX-License-Identifier: Apache-2.0

// This file runs the raw-wire tests on package h2: once more, in a process of their own, with the engine in the place of net/http's
// HTTP/2 on both sides.

package conntest

import (
	"flag"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/seed-b7c59c10/connect/h2"
)

var onEngine = flag.String("engine", "", "run the raw-wire tests on package h2 instead of net/http's HTTP/2: http, or direct without net/http's types")

// configureEngine makes a server speak HTTP/2 with the engine if the tests run on it.
func configureEngine(t *testing.T, server *http.Server) {
	t.Helper()
	if *onEngine == "" {
		return
	}
	if *onEngine != "direct" {
		server.Handler = indirectHandler{server.Handler}
	}
	if err := h2.ConfigureServer(server, nil); err != nil {
		t.Fatal(err)
	}
}

// engineTransport makes the transport speak one version of HTTP until the test ends. With HTTP/2, an engine's own takes its place
// if the tests run on it.
func engineTransport(t *testing.T, http1 bool, standard *http.Transport) http.RoundTripper {
	t.Helper()
	if *onEngine != "" && !http1 {
		transport := h2.NewTransport(&h2.TransportConfig{
			TLSClientConfig:    standard.TLSClientConfig,
			DisableCompression: standard.DisableCompression,
		})
		t.Cleanup(func() { transport.Close() })
		if *onEngine != "direct" {
			return indirectTransport{transport}
		}
		return transport
	}
	standard.Protocols = new(http.Protocols)
	standard.Protocols.SetHTTP1(http1)
	standard.Protocols.SetHTTP2(!http1)
	standard.Protocols.SetUnencryptedHTTP2(!http1)
	t.Cleanup(standard.CloseIdleConnections)
	return standard
}

// TestItemsOnEngine runs this program's other raw-wire tests with -engine. Each has to pass, and there is at least one for each of
// the checklist's 90 items.
func TestItemsOnEngine(t *testing.T) {
	if *onEngine != "" {
		t.Skip("this is the run on the engine")
	}
	for _, way := range []string{"http", "direct"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			command := exec.CommandContext(t.Context(), os.Args[0], "-engine", way, "-test.v", "-test.run=^Test(Item[0-9]|Decision_)")
			out, err := command.CombinedOutput()
			if err != nil {
				t.Fatalf("%v:\n%s", err, out)
			}
			passed := regexp.MustCompile(`(?m)^--- PASS: Test`).FindAll(out, -1)
			if skipped := regexp.MustCompile(`(?m)^ *--- SKIP: .*`).FindAll(out, -1); len(skipped) > 0 || len(passed) < 90 {
				t.Errorf("got %d tests that pass and %q skipped, want 90 or more and none", len(passed), skipped)
			}
		})
	}
}
