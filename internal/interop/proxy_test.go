// SPDX-License-Identifier: Apache-2.0

// This file puts nginx, HAProxy and Caddy between our client and our server, with the files of examples/deploy: TLS with HTTP/2
// and HTTP/1.1 in front, h2c behind. All kinds of calls pass in all protocols; those with both directions at once need HTTP/2.

package interop_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/internal/interop"
	"github.com/seed-b7c59c10/connect/internal/interop/ours"
)

// A proxy is a program with a file of examples/deploy.
type proxy struct {
	program, debian string
	file            string
	front           string   // in the file: where the proxy listens, with PORT for its port
	arguments       []string // FILE is the configuration, DIR the folder that it is in
}

// back is the server's address in all files.
const back = "127.0.0.1:8080"

var proxies = []proxy{
	{"haproxy", "haproxy", "haproxy.cfg", ":PORT ssl", []string{"-db", "-f", "FILE"}},
	{"nginx", "nginx-light", "nginx.conf", "listen PORT ssl http2", []string{"-p", "DIR", "-c", "FILE", "-e", "DIR/error.log", "-g", "daemon off; master_process off;"}},
	{"caddy", "caddy", "Caddyfile", "localhost:PORT", []string{"run", "--config", "FILE", "--adapter", "caddyfile"}},
}

// start runs the proxy in front of a server until the test ends, and returns its URL.
func (p proxy) start(t *testing.T, server string) string {
	t.Helper()
	program := findProgram(t, p.program, p.debian)
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	listener := listen(t) // for a port that is free
	front := listener.Addr().String()
	_ = listener.Close()

	dir := t.TempDir()
	file := filepath.Join(dir, p.file)
	p.configure(t, file, front, u.Host)
	p.certify(t, dir)
	replace := strings.NewReplacer("FILE", file, "DIR", dir).Replace
	var arguments []string
	for _, argument := range p.arguments {
		arguments = append(arguments, replace(argument))
	}
	command := exec.Command(program, arguments...)
	command.Dir = dir
	command.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s wrote:\n%s", p.program, tail(output.String(), 20))
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if conn, err := new(net.Dialer).DialContext(ctx, "tcp", front); err == nil {
			_ = conn.Close()
			return "https://" + front
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", p.program, err, output.String())
		case <-ctx.Done():
			t.Fatalf("%s does not listen", p.program)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// configure writes the file with the test's addresses in the place of its own.
func (p proxy) configure(t *testing.T, file, front, server string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "deploy", p.file))
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(front)
	if err != nil {
		t.Fatal(err)
	}
	configured := string(text)
	for old, replacement := range map[string]string{
		strings.Replace(p.front, "PORT", "8443", 1): strings.NewReplacer("localhost", host, "listen PORT", "listen "+front, ":PORT ssl", front+" ssl", "PORT", port).Replace(p.front),
		back: server,
	} {
		if strings.Count(configured, old) != 1 {
			t.Fatalf("%s: got %d of %q, want one", p.file, strings.Count(configured, old), old)
		}
		configured = strings.Replace(configured, old, replacement, 1)
	}
	if err := os.WriteFile(file, []byte(configured), 0o600); err != nil {
		t.Fatal(err)
	}
}

// certify writes the certificate and its key under the names that the files have.
func (p proxy) certify(t *testing.T, dir string) {
	t.Helper()
	certificate, err := os.ReadFile(authorityFile(t))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(keyFile(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"tls.crt": certificate, "tls.key": key, "tls.pem": append(certificate, key...)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// withHealth adds the path that HAProxy asks.
func withHealth(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", next)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux
}

func TestProxies(t *testing.T) {
	for _, p := range proxies {
		for _, server := range []transport{engineH2C, h2c} {
			t.Run(fmt.Sprintf("%s/%s", p.program, server), func(t *testing.T) {
				front := p.start(t, serve(t, server, withHealth(ours.NewHandler())))
				for _, x := range []transport{http1, h2tls} {
					for _, protocol := range []string{"connect", "grpc", "grpcweb"} {
						t.Run(fmt.Sprintf("%s/%s", x, protocol), func(t *testing.T) {
							client := &http.Client{Transport: interop.WatchTransport(proxyTransport(t, x))}
							runCases(t, standardCases, x.bidi(), ourClients(client, front, protocol, "proto"))
						})
					}
				}
			})
		}
	}
}

// proxyTransport speaks one version of HTTP over TLS. Over HTTP/1.1 it has one connection a call: a proxy that passes on an answer
// before it has read the whole request closes the connection, maybe under the next call.
func proxyTransport(t *testing.T, x transport) *http.Transport {
	_, pool := certificate()
	transport := &http.Transport{
		Protocols:         new(http.Protocols),
		TLSClientConfig:   &tls.Config{RootCAs: pool},
		DisableKeepAlives: x == http1,
	}
	transport.Protocols.SetHTTP1(x == http1)
	transport.Protocols.SetHTTP2(x != http1)
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}
