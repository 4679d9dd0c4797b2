// SPDX-License-Identifier: Apache-2.0

// The kit of the tests: a check that nothing is left behind, and a server over a network
// to compare with.

package inprocess_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect/inprocess"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// withoutLog returns a transport that does not log.
func withoutLog(handler http.Handler) *inprocess.Transport {
	t := inprocess.NewTransport(handler)
	t.ErrorLog = log.New(io.Discard, "", 0)
	return t
}

// overHTTP2 returns a transport that reaches the handler over net/http's HTTP/2.
func overHTTP2(t *testing.T, handler http.Handler) http.RoundTripper {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: handler, Protocols: protocols, ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	transport := &http.Transport{Protocols: protocols, DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		serving.Wait()
	})
	return transport
}

// header returns a header as text, in a fixed order and without what differs each time.
func header(h http.Header) string {
	var lines []string
	for key, values := range h {
		if key == "Date" && len(values) == 1 {
			values = []string{"now"}
		}
		lines = append(lines, fmt.Sprintf("%s: %q", key, values))
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

// outcome reads a response and returns all of it as text.
func outcome(r *http.Response, err error) string {
	if err != nil {
		return "failed: " + kindOf(err)
	}
	announced := header(r.Trailer)
	body, err := io.ReadAll(r.Body)
	closed := r.Body.Close()
	return fmt.Sprintf("%s %s %d {%s} %q %s, announced {%s} trailer {%s} %v", r.Proto, r.Status, r.ContentLength, header(r.Header),
		body, kindOf(err), announced, header(r.Trailer), closed)
}

// kindOf returns what two errors of different packages have in common.
func kindOf(err error) string {
	switch {
	case err == nil:
		return "<nil>"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "deadline"
	}
	return "an error"
}

func newRequest(t *testing.T, method, path string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://in.process"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
