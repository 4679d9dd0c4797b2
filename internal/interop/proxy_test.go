// SPDX-License-Identifier: Apache-2.0

// This file puts haproxy and nginx between our client, over HTTP/1.1, and our server, over HTTP/2: the end of a gRPC call
// must survive the change of version.

package interop_test

import (
	"bytes"
	"context"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/internal/interop/ours"
)

// A proxy is a program that takes HTTP/1.1 and passes it on over HTTP/2.
type proxy struct {
	program, debian string
	arguments       []string // FILE is the configuration, DIR a folder of its own
	configuration   string   // FRONT and BACK are addresses
}

var proxies = []proxy{
	{"haproxy", "haproxy", []string{"-db", "-f", "FILE"}, `
defaults
	mode http
	timeout connect 60s
	timeout client 60s
	timeout server 60s
frontend front
	bind FRONT
	default_backend back
backend back
	server one BACK proto h2
`},
	{"nginx", "nginx-light", []string{"-p", "DIR", "-c", "FILE", "-e", "DIR/error.log"}, `
daemon off;
master_process off;
pid DIR/pid;
events {}
http {
	access_log off;
	client_body_temp_path DIR/body;
	proxy_temp_path DIR/proxy;
	fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi;
	scgi_temp_path DIR/scgi;
	client_max_body_size 0;
	server {
		listen FRONT;
		location / { grpc_pass grpc://BACK; }
	}
}
`},
}

// start runs the proxy in front of a server until the test ends, and returns its URL.
func (p proxy) start(t *testing.T, back string) string {
	t.Helper()
	program := findProgram(t, p.program, p.debian)
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	listener := listen(t) // for a port that is free
	front := listener.Addr().String()
	_ = listener.Close()

	dir := t.TempDir()
	file := filepath.Join(dir, "configuration")
	replace := strings.NewReplacer("FRONT", front, "BACK", u.Host, "FILE", file, "DIR", dir).Replace
	if err := os.WriteFile(file, []byte(replace(p.configuration)), 0o600); err != nil {
		t.Fatal(err)
	}
	var arguments []string
	for _, argument := range p.arguments {
		arguments = append(arguments, replace(argument))
	}
	command := exec.Command(program, arguments...)
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
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if conn, err := new(net.Dialer).DialContext(ctx, "tcp", front); err == nil {
			_ = conn.Close()
			return "http://" + front
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

func TestProxies(t *testing.T) {
	for _, p := range proxies {
		for _, x := range []transport{h2c, engineH2C} {
			t.Run(p.program+"/"+string(x), func(t *testing.T) {
				front := p.start(t, serve(t, x, ours.NewHandler()))
				runCases(t, standardCases, false, ourClients(httpClient(t, http1), front, "grpc", "proto"))
			})
		}
	}
}
