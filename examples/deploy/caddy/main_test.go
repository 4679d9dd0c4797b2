// SPDX-License-Identifier: Apache-2.0

// The program with its Caddyfile, as a process of its own, and calls to it in all protocols.

//go:build unix

package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
	"github.com/seed-b7c59c10/connect/health"
)

// patience ends what should take no time.
const patience = time.Minute

// TestMain runs Caddy in the process that start begins: this program is linked already, and
// a second one costs a minute.
func TestMain(m *testing.M) {
	if os.Getenv("GREET_CADDY") != "" {
		main()
	}
	os.Exit(m.Run())
}

// A site is a running Caddy.
type site struct {
	plain, secure string // the URLs of its two addresses
	roots         *x509.CertPool
	file          string // its Caddyfile
	command       *exec.Cmd
	lines         chan string // of its log, closed at its end
	ended         chan error  // has the end of the process, once
}

// start runs Caddy with the folder's Caddyfile, at ports that are free, until the test ends.
// It returns when Caddy serves.
func start(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{roots: certify(t, dir), file: filepath.Join(dir, "Caddyfile"), lines: make(chan string, 1000), ended: make(chan error, 1)}
	text, err := os.ReadFile("Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	file := string(text)
	for old, url := range map[string]*string{"http://localhost:8080": &s.plain, "https://localhost:8443": &s.secure} {
		if strings.Count(file, old+" ") != 1 {
			t.Fatalf("Caddyfile: got %d of %s, want one", strings.Count(file, old+" "), old)
		}
		scheme, _, _ := strings.Cut(old, ":")
		*url = scheme + "://" + freeAddress(t)
		file = strings.Replace(file, old, *url, 1)
	}
	if err := os.WriteFile(s.file, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	s.command = exec.CommandContext(ctx, os.Args[0], "run", "--config", s.file)
	s.command.Dir = dir
	s.command.Env = append(os.Environ(), "GREET_CADDY=1", "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	output, input := io.Pipe()
	s.command.Stdout, s.command.Stderr = input, input
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		err := s.command.Wait()
		_ = input.Close()
		s.ended <- err
	}()
	read := make(chan struct{})
	t.Cleanup(func() {
		_ = s.command.Process.Kill()
		<-read
	})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			t.Log(lines.Text())
			select {
			case s.lines <- lines.Text():
			default: // no test has so many
			}
		}
		close(s.lines)
		_, _ = io.Copy(io.Discard, output) // after a line that is too long
	}()
	s.wait(t, "serving initial configuration")
	return s
}

// wait returns when Caddy has logged a text.
func (s *site) wait(t *testing.T, text string) {
	t.Helper()
	for line := range s.lines {
		if strings.Contains(line, text) {
			return
		}
	}
	t.Fatalf("Caddy ended before it logged %q", text)
}

// stop asks Caddy to end and checks that it does, without an error.
func (s *site) stop(t *testing.T) {
	t.Helper()
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-s.ended; err != nil {
		t.Errorf("Caddy ended with %v", err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// certify writes a certificate for 127.0.0.1 and its key, as the Caddyfile names them.
func certify(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: certificate}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		data := pem.EncodeToMemory(block)
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		roots.AppendCertsFromPEM(data) // takes certificates only
	}
	return roots
}

// A door is a way into the site: an address and a version of HTTP.
type door struct {
	name      string
	url       string
	transport *http.Transport
	http2     bool
}

func (s *site) doors(t *testing.T) []door {
	var doors []door
	for _, d := range []door{
		{name: "HTTP/1.1", url: s.plain},
		{name: "h2c", url: s.plain, http2: true},
		{name: "TLS, HTTP/1.1", url: s.secure},
		{name: "TLS, HTTP/2", url: s.secure, http2: true},
	} {
		d.transport = &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{RootCAs: s.roots}}
		d.transport.Protocols.SetHTTP1(!d.http2)
		d.transport.Protocols.SetHTTP2(d.http2)
		d.transport.Protocols.SetUnencryptedHTTP2(d.http2)
		t.Cleanup(d.transport.CloseIdleConnections)
		doors = append(doors, d)
	}
	return doors
}

var protocols = map[string]connect.ClientOption{
	"Connect":  connect.WithClientOptions(),
	"gRPC":     connect.WithGRPC(),
	"gRPC-Web": connect.WithGRPCWeb(),
}

// TestCaddy makes each kind of call in all protocols through both addresses with both
// versions of HTTP, and requests that are no calls of a client.
func TestCaddy(t *testing.T) {
	s := start(t)
	for _, d := range s.doors(t) {
		for name, protocol := range protocols {
			t.Run(d.name+"/"+name, func(t *testing.T) { testCalls(t, d, protocol) })
		}
		t.Run(d.name+"/other paths", func(t *testing.T) {
			for path, want := range map[string]int{
				"/": http.StatusNotFound, // of the directive after greet
				greetv1connect.GreetServiceGreetProcedure + "?encoding=json&connect=v1&message=%7B%22name%22%3A%22Ada%22%7D": http.StatusOK,
			} {
				response, err := (&http.Client{Transport: d.transport}).Get(d.url + path)
				if err != nil {
					t.Fatal(err)
				}
				_ = response.Body.Close()
				if response.StatusCode != want {
					t.Errorf("%s: got status %d, want %d", path, response.StatusCode, want)
				}
			}
		})
	}

	s.stop(t)
}

// TestWatchers checks that streams which last as long as the server do not hold Caddy up:
// when it loads another configuration, and when it stops.
func TestWatchers(t *testing.T) {
	s := start(t)
	statuses := s.watch(t)
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.file, []byte(strings.Replace(string(text), "greet Hello", "greet Welcome", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.command.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	ends(t, statuses)
	s.wait(t, "successfully reloaded config")
	client := greetv1connect.NewGreetServiceClient(&http.Client{Transport: s.doors(t)[0].transport}, s.plain)
	response, err := client.Greet(t.Context(), connect.NewRequest(&greetv1.GreetRequest{Name: "Ada"}))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := response.Msg.Greeting, "Welcome, Ada!"; got != want {
		t.Errorf("got %q from the other configuration, want %q", got, want)
	}

	statuses = s.watch(t)
	s.stop(t)
	ends(t, statuses)
}

// watch returns the statuses of the service, after the first one.
func (s *site) watch(t *testing.T) <-chan health.Status {
	t.Helper()
	client := health.NewClient(&http.Client{Transport: s.doors(t)[1].transport}, s.plain, connect.WithGRPC())
	statuses := make(chan health.Status, 10)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	go func() {
		defer close(statuses)
		for status, err := range client.Watch(ctx, greetv1connect.GreetServiceName) {
			if err != nil {
				return
			}
			statuses <- status
		}
	}()
	if got := <-statuses; got != health.StatusServing {
		t.Fatalf("got the status %v, want %v", got, health.StatusServing)
	}
	return statuses
}

// ends checks that a watcher learns of the end, and ends.
func ends(t *testing.T, statuses <-chan health.Status) {
	t.Helper()
	if got := <-statuses; got != health.StatusNotServing {
		t.Errorf("got the status %v at the end, want %v", got, health.StatusNotServing)
	}
	if got, more := <-statuses; more {
		t.Errorf("got the status %v after the end", got)
	}
}

// testCalls makes a unary call, one that fails, and a stream in both directions.
func testCalls(t *testing.T, d door, protocol connect.ClientOption) {
	client := greetv1connect.NewGreetServiceClient(&http.Client{Transport: d.transport}, d.url, protocol)
	response, err := client.Greet(t.Context(), connect.NewRequest(&greetv1.GreetRequest{Name: "Ada"}))
	if err != nil {
		t.Fatal(err)
	}
	if got := response.Msg.Greeting; got != "Hello, Ada!" {
		t.Errorf("got %q, want %q", got, "Hello, Ada!")
	}
	many := client.GreetAll(t.Context())
	if _, err := many.CloseAndReceive(); connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Errorf("got error %v, want %v", err, connect.CodeUnimplemented)
	}
	if !d.http2 {
		return
	}
	chat := client.Chat(t.Context())
	for _, name := range []string{"Ada", "Grace"} {
		if err := chat.Send(&greetv1.GreetRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
		answer, err := chat.Receive() // before the next is sent
		if err != nil {
			t.Fatal(err)
		}
		if want := "Hello, " + name + "!"; answer.Greeting != want {
			t.Errorf("got %q, want %q", answer.Greeting, want)
		}
	}
	if err := chat.CloseRequest(); err != nil {
		t.Fatal(err)
	}
	if _, err := chat.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("got error %v, want the end", err)
	}
	if err := chat.CloseResponse(); err != nil {
		t.Error(err)
	}
}

// TestMistakes checks that Caddy refuses wrong directives.
func TestMistakes(t *testing.T) {
	for _, directive := range []string{"greet Hello World", "greet {\n loud\n }"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "Caddyfile"), []byte("http://localhost:1 {\n"+directive+"\n}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		command := exec.CommandContext(t.Context(), os.Args[0], "adapt")
		command.Dir = dir
		command.Env = append(os.Environ(), "GREET_CADDY=1", "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
		output, err := command.CombinedOutput()
		if err == nil || !strings.Contains(string(output), "argument") {
			t.Errorf("%s: got %v and %s, want an error about its arguments", directive, err, output)
		}
	}
}
