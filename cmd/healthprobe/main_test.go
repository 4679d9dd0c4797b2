// SPDX-License-Identifier: Apache-2.0

// This file runs the program against servers that are well and others, and as a process for each of its codes.

package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/health"
)

// asProgram is the variable that makes the test binary the program.
const asProgram = "HEALTHPROBE_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// probe runs the program, and returns its code and what it printed.
func probe(t *testing.T, args ...string) (code int, printed string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second) // ends a program that hangs
	defer cancel()
	command := exec.CommandContext(ctx, program, args...)
	command.Env = append(os.Environ(), asProgram+"=1")
	output, err := command.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), string(output)
}

// start serves the service over HTTP/1.1 and HTTP/2.
func start(t *testing.T, handler http.Handler, change func(*httptest.Server)) *httptest.Server {
	s := httptest.NewUnstartedServer(handler)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetHTTP2(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true // in TLS
	change(s)
	t.Cleanup(s.Close)
	return s
}

func TestProbe(t *testing.T) {
	status := health.New("acme.v1.Up", "acme.v1.Down")
	status.Set("acme.v1.Down", health.StatusNotServing)
	var seen atomic.Value // the http.Header of the last call
	note := connect.WithRequestGate(func(ctx context.Context, _ connect.Spec, _ connect.Peer, header http.Header) (context.Context, error) {
		seen.Store(header.Clone())
		return ctx, nil
	})
	mux := http.NewServeMux()
	mux.Handle(health.NewHandler(status, note))
	plain := start(t, mux, (*httptest.Server).Start)
	secure := start(t, mux, (*httptest.Server).StartTLS)
	folder := t.TempDir()
	ca := filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(folder, "s")
	start(t, mux, func(s *httptest.Server) {
		_ = s.Listener.Close()
		var err error
		if s.Listener, err = net.Listen("unix", socket); err != nil {
			t.Fatal(err)
		}
		s.Start()
	})
	bare := start(t, connect.NewUnknownProcedureHandler(), (*httptest.Server).Start)
	hangs := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), (*httptest.Server).Start)
	closed := start(t, mux, (*httptest.Server).Start)
	closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	address := func(s *httptest.Server) string { return strings.SplitAfter(s.URL, "://")[1] }

	asProcess := make(map[int]bool) // by code
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-addr", address(plain)}, 0, "SERVING"},
		{[]string{"-addr", plain.URL, "-service", "acme.v1.Up"}, 0, "SERVING"},
		{[]string{"-addr", plain.URL, "-service", "acme.v1.Down"}, 4, "NOT_SERVING"},
		{[]string{"-addr", plain.URL, "-service", "acme.v1.Missing"}, 3, "not_found"},
		{[]string{"-addr", plain.URL, "-protocol", "connect"}, 0, "SERVING"},
		{[]string{"-addr", plain.URL, "-protocol", "grpcweb", "-service", "acme.v1.Down"}, 4, "NOT_SERVING"},
		{[]string{"-addr", "unix://" + socket}, 0, "SERVING"},
		{[]string{"-addr", "unix:" + socket}, 0, "SERVING"},
		{[]string{"-addr", "unix://" + socket + "-missing"}, 2, "no such file"},
		{[]string{"-addr", secure.URL, "-tls-ca-cert", ca}, 0, "SERVING"},
		{[]string{"-addr", address(secure), "-tls", "-tls-no-verify", "-protocol", "connect"}, 0, "SERVING"},
		{[]string{"-addr", secure.URL}, 2, "certificate"},
		{[]string{"-addr", secure.URL, "-tls-ca-cert", ca, "-tls-server-name", "other.test"}, 2, "other.test"},
		{[]string{"-addr", "https://" + silent.Addr().String(), "-connect-timeout", "50ms"}, 2, "timeout"},
		{[]string{"-addr", closed.URL}, 2, "refused"},
		{[]string{"-addr", bare.URL}, 3, "unimplemented"},
		{[]string{"-addr", hangs.URL, "-rpc-timeout", "50ms"}, 3, "no answer within -rpc-timeout 50ms"},
		{[]string{"-version"}, 0, connect.ModuleVersion},
		{[]string{"-help"}, 0, "-tls-server-name"},
		{nil, 1, "-addr is missing"},
		{[]string{"-nonsense"}, 1, "-nonsense"},
		{[]string{"-addr", plain.URL, "more"}, 1, "expected flags alone"},
		{[]string{"-addr", "ftp://a"}, 1, "expected http, https or unix"},
		{[]string{"-addr", "unix:"}, 1, "expected host:port"},
		{[]string{"-addr", "http://a", "-tls"}, 1, "expected https://"},
		{[]string{"-addr", "a:1", "-tls-no-verify"}, 1, "without TLS"},
		{[]string{"-addr", "a:1", "-tls", "-tls-no-verify", "-tls-ca-cert", ca}, 1, "expected one of them"},
		{[]string{"-addr", "a:1", "-tls", "-tls-client-key", ca}, 1, "expected both or none"},
		{[]string{"-addr", "a:1", "-tls", "-tls-client-key", ca, "-tls-client-cert", ca}, 1, "-tls-client-cert"},
		{[]string{"-addr", "a:1", "-tls", "-tls-ca-cert", ca + "-missing"}, 1, "no such file"},
		{[]string{"-addr", "a:1", "-protocol", "soap"}, 1, "expected grpc, grpcweb or connect"},
		{[]string{"-addr", "a:1", "-rpc-timeout", "0s"}, 1, "expected positive times"},
		{[]string{"-addr", "a:1", "-rpc-header", "none"}, 1, "expected name:value"},
		{[]string{"-addr", plain.URL, "-rpc-header", "a b:1"}, 1, "expected name:value"},
		{[]string{"-addr", plain.URL, "-rpc-header", "größe:1"}, 1, "expected name:value"},
		{[]string{"-addr", plain.URL, "-rpc-header", "a:1\n2"}, 1, "expected name:value"},
		{[]string{"-addr", plain.URL, "-rpc-header", "a: 1, \"2:3\""}, 0, "SERVING"},
		{[]string{"-addr", plain.URL, "-user-agent", "a\nb"}, 1, "-user-agent"},
		{[]string{"-addr", plain.URL, "-service", "a\xff"}, 1, "in UTF-8"},
		{[]string{"-addr", plain.URL + "?a=b"}, 1, "expected host:port"},
		{[]string{"-addr", plain.URL + "/#a"}, 1, "expected host:port"},
	} {
		c.args = append([]string{"-connect-timeout", "1m", "-rpc-timeout", "1m"}, c.args...) // a slow machine decides nothing
		var printed bytes.Buffer
		code := run(t.Context(), c.args, &printed, &printed)
		if code != c.code || !strings.Contains(printed.String(), c.want) {
			t.Errorf("%q: got code %d and %q, want %d and %q", c.args, code, printed.String(), c.code, c.want)
		}
		if asProcess[c.code] {
			continue
		}
		asProcess[c.code] = true
		if code, printed := probe(t, c.args...); code != c.code || !strings.Contains(printed, c.want) {
			t.Errorf("%q as a process: got code %d and %q, want %d and %q", c.args, code, printed, c.code, c.want)
		}
	}
	if len(asProcess) != 5 {
		t.Errorf("got processes with the codes %v, want all five", asProcess)
	}
	probe(t, "-addr", plain.URL, "-user-agent", "kubelet", "-rpc-header", "Acme: 1")
	if got := seen.Load().(http.Header); !strings.HasPrefix(got.Get("User-Agent"), "kubelet") || got.Get("Acme") != "1" {
		t.Errorf("got headers %v, want kubelet and Acme: 1", got)
	}
}

// The context of the process ends the call.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}), (*httptest.Server).Start)
	var printed bytes.Buffer
	if code := run(ctx, []string{"-addr", s.URL, "-rpc-timeout", "1h"}, &printed, &printed); code != exitCall || !strings.Contains(printed.String(), "canceled") {
		t.Errorf("got code %d and %q, want %d and canceled", code, printed.String(), exitCall)
	}
}
