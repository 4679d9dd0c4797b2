// SPDX-License-Identifier: Apache-2.0

// The server as a whole: addresses, protocols, kinds of calls, and its end.

package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/drain"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/server"
)

// TestCalls makes calls of all kinds in all protocols at addresses of all sorts, which belong
// to one server.
func TestCalls(t *testing.T) {
	authority := newAuthority(t)
	files := authority.write(t, t.TempDir(), "server.test")
	own, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, echo(),
		server.Listen("127.0.0.1:0"),
		server.Listen("unix:"+socketPath(t)),
		server.Listen("127.0.0.1:0", server.TLSFiles(files.certificate, files.key)),
		server.Listen("unix://"+socketPath(t), server.TLSFiles(files.certificate, files.key)),
		server.Listen("127.0.0.1:0", server.TLS(&tls.Config{Certificates: []tls.Certificate{authority.issue(t, "server.test")}})),
		server.Listener(own))
	secure := []bool{false, false, true, true, true, false}
	addrs := s.Addrs()
	if len(addrs) != len(secure) {
		t.Fatalf("got the addresses %v, want %d", addrs, len(secure))
	}
	for i, addr := range addrs {
		var config *tls.Config
		if secure[i] {
			config = &tls.Config{RootCAs: authority.pool}
		}
		for _, http1 := range []bool{false, true} {
			transport := transportTo(t, addr, config, http1)
			for protocol, options := range protocols {
				t.Run(fmt.Sprintf("%d %s, HTTP/1.1 %v, %s", i, addr.Network(), http1, protocol), func(t *testing.T) {
					callAll(t, transport, secure[i], !http1, options...)
				})
			}
		}
	}
	s.stop()
	if err := <-s.ended; err != nil {
		t.Errorf("got %v from Run, want nil", err)
	}
}

// callAll makes a call of each kind.
func callAll(t *testing.T, transport http.RoundTripper, secure, bidi bool, options ...connect.ClientOption) {
	t.Helper()
	ctx := t.Context()
	if err := unary(ctx, newClient(transport, secure, pathUnary, options...), "a"); err != nil {
		t.Error("unary:", err)
	}
	stream, err := newClient(transport, secure, pathServer, options...).CallServerStream(ctx, connect.NewRequest(wrapperspb.String("b")))
	if err != nil {
		t.Fatal("server stream:", err)
	}
	received := 0
	for stream.Receive() {
		received++
	}
	if err := errors.Join(stream.Err(), stream.Close()); err != nil || received != 3 {
		t.Errorf("server stream: got %d messages and %v, want 3 and nil", received, err)
	}
	sender := newClient(transport, secure, pathClient, options...).CallClientStream(ctx)
	for _, text := range []string{"c", "d"} {
		if err := sender.Send(wrapperspb.String(text)); err != nil {
			t.Error("client stream:", err)
		}
	}
	if got, err := sender.CloseAndReceive(); err != nil || got.Msg.Value != "d" {
		t.Errorf("client stream: got %v, %v, want the last text", got, err)
	}
	if !bidi {
		return
	}
	both := newClient(transport, secure, pathBidi, options...).CallBidiStream(ctx)
	if err := both.Send(wrapperspb.String("e")); err != nil {
		t.Error("bidi stream:", err)
	}
	if got, err := both.Receive(); err != nil || got.Value != "e" {
		t.Errorf("bidi stream: got %v, %v, want the text", got, err)
	}
	if err := errors.Join(both.CloseRequest(), both.CloseResponse()); err != nil {
		t.Error("bidi stream:", err)
	}
}

// TestEnd ends a server with a stream that heeds the signal, and with a call that must be cut.
func TestEnd(t *testing.T) {
	for _, c := range []struct {
		path string
		want error
	}{{pathServer, nil}, {pathUnary, drain.ErrCut}} {
		t.Run(c.path, func(t *testing.T) {
			began, drained := make(chan struct{}), 0
			inner := echo()
			s := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(began)
				inner.ServeHTTP(w, r)
			}), server.Listen("127.0.0.1:0"), server.OnDrain(func() { drained++ }), server.Delay(time.Millisecond), server.Grace(50*time.Millisecond))
			transport := transportTo(t, s.Addrs()[0], nil, false)
			result := make(chan error, 1)
			go func() {
				if c.path == pathUnary {
					result <- unary(context.Background(), newClient(transport, false, c.path), "wait")
					return
				}
				stream, err := newClient(transport, false, c.path).CallServerStream(context.Background(), connect.NewRequest(wrapperspb.String("wait")))
				if err == nil {
					for stream.Receive() {
					}
					err = errors.Join(stream.Err(), stream.Close())
				}
				result <- err
			}()
			<-began
			s.stop()
			if err := <-s.ended; !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("got %v from Run, want %v", err, c.want)
			}
			if err := <-result; (err == nil) != (c.want == nil) {
				t.Errorf("got %v from the call, want an error: %v", err, c.want != nil)
			}
			if drained != 1 {
				t.Errorf("got %d calls of OnDrain's function, want 1", drained)
			}
			if err := s.Run(t.Context()); !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("got %v from a second Run, want http.ErrServerClosed", err)
			}
		})
	}
}

// TestClose ends servers at once: before they are open, open, and while they serve and drain.
func TestClose(t *testing.T) {
	for _, phase := range []string{"fresh", "open", "serves", "drains"} {
		t.Run(phase, func(t *testing.T) {
			path := socketPath(t)
			began := make(chan struct{})
			handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				close(began)
				<-r.Context().Done()
			})
			draining := make(chan struct{})
			s := server.New(handler, withoutLog(), server.Listen("unix:"+path), server.OnDrain(func() { close(draining) }), server.Grace(time.Hour))
			if phase != "fresh" {
				if err := s.Open(); err != nil {
					t.Fatal(err)
				}
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan error, 1)
			if phase == "serves" || phase == "drains" {
				go func() { ended <- s.Run(ctx) }()
				transport := transportTo(t, &net.UnixAddr{Name: path, Net: "unix"}, nil, false)
				called := make(chan struct{})
				go func() {
					defer close(called)
					_ = unary(context.Background(), newClient(transport, false, pathUnary), "a")
				}()
				<-began
				if phase == "drains" {
					stop()
					<-draining
				}
				defer func() { <-called }()
			}
			if err := s.Close(); err != nil {
				t.Errorf("got %v from Close, want nil", err)
			}
			if phase == "fresh" || phase == "open" {
				go func() { ended <- s.Run(ctx) }()
			}
			if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("got %v from Run, want http.ErrServerClosed", err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("got %v for the socket's file, want it removed", err)
			}
		})
	}
}

// TestBadAddress has addresses that cannot be used. The one before is closed again.
func TestBadAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for name, c := range map[string]struct {
		address string
		option  server.ListenOption
		want    string
	}{
		"empty":                 {address: "", want: "expected"},
		"no port":               {address: "localhost", want: "missing port"},
		"a URL":                 {address: "https://localhost:1", want: "expected no scheme"},
		"a port beyond":         {address: "127.0.0.1:65536", want: "invalid port"},
		"in use":                {address: taken.Addr().String(), want: "in use"},
		"no path":               {address: "unix:", want: "expected a path"},
		"no folder":             {address: "unix:" + filepath.Join(t.TempDir(), "missing", "s"), want: "no such file"},
		"a path that is long":   {address: "unix:/" + strings.Repeat("x", 200), want: "expected less than"},
		"a mode for TCP":        {address: "127.0.0.1:0", option: server.Mode(0o660), want: `begin with "unix:"`},
		"a group for TCP":       {address: "127.0.0.1:0", option: server.Group("0"), want: `begin with "unix:"`},
		"no such group":         {address: "unix:" + socketPath(t), option: server.Group("no-such-group"), want: "no-such-group"},
		"a mode without a file": {address: "unix:@name", option: server.Mode(0o660), want: "no mode"},
		"nothing from systemd":  {address: "systemd:web", want: `"web"`},
		"no certificate":        {address: "127.0.0.1:0", option: server.TLSFiles(missing, missing), want: "missing.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			path := socketPath(t)
			var options []server.ListenOption
			if c.option != nil {
				options = append(options, c.option)
			}
			err := server.Run(t.Context(), echo(), withoutLog(), server.Listen("unix:"+path), server.Listen(c.address, options...))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", c.address)) {
				t.Errorf("got %v, want an error with the address and %q", err, c.want)
			}
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("got %v for the file of the address before, want it removed", err)
			}
		})
	}
}

// TestListenerFails ends the server when one of its listeners fails.
func TestListenerFails(t *testing.T) {
	broken := &brokenListener{fail: make(chan struct{})}
	s := start(t, echo(), server.Listen("127.0.0.1:0"), server.Listener(broken))
	if err := unary(t.Context(), newClient(transportTo(t, s.Addrs()[0], nil, false), false, pathUnary), "a"); err != nil {
		t.Error(err)
	}
	close(broken.fail)
	if err := <-s.ended; !errors.Is(err, errBroken) {
		t.Errorf("got %v from Run, want the listener's error", err)
	}
}

var errBroken = errors.New("broken")

type brokenListener struct {
	net.TCPListener
	fail chan struct{}
}

func (l *brokenListener) Accept() (net.Conn, error) { <-l.fail; return nil, errBroken }
func (l *brokenListener) Close() error              { return nil }
func (l *brokenListener) Addr() net.Addr            { return &net.TCPAddr{} }

// TestPanics has mistakes of programs, whose message names the function.
func TestPanics(t *testing.T) {
	for name, f := range map[string]func(){
		"New: handler":             func() { server.New(nil, server.Listen(":0")) },
		"New: an option is nil":    func() { server.New(http.NotFoundHandler(), server.Listen(":0"), nil) },
		"Listen: an option is nil": func() { server.Listen(":0", nil) },
		"New: no addr":             func() { server.New(echo()) },
		"New: h2":                  func() { server.New(echo(), server.Listen(":0"), server.HTTP(onlyHTTP1)) },
		"New: TLSConfig": func() {
			server.New(echo(), server.Listen(":0"), server.HTTP(func(s *http.Server) { s.TLSConfig = new(tls.Config) }))
		},
		"Listener":       func() { server.Listener(nil) },
		"HTTP":           func() { server.HTTP(nil) },
		"Logger":         func() { server.Logger(nil) },
		"OnDrain":        func() { server.OnDrain(nil) },
		"Delay":          func() { server.Delay(-1) },
		"Grace":          func() { server.Grace(-1) },
		"Mode":           func() { server.Mode(os.ModeSetuid) },
		"Group":          func() { server.Group("") },
		"TLS":            func() { server.TLS(nil) },
		"TLS:":           func() { server.TLS(&tls.Config{}) },
		"certificate":    func() { server.TLSFiles("", "key.pem") },
		"key":            func() { server.TLSFiles("cert.pem", "") },
		"ClientCA":       func() { server.ClientCA("") },
		"TLSBase":        func() { server.TLSBase(nil) },
		"TLSBase: files": func() { server.TLSBase(&tls.Config{Certificates: make([]tls.Certificate, 1)}) },
		"OnReload":       func() { server.OnReload(nil) },
		"ReloadEvery":    func() { server.ReloadEvery(0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				function, _, _ := strings.Cut(name, ":")
				if got := fmt.Sprint(recover()); !strings.Contains(got, function) {
					t.Errorf("got the panic %q, want one that names %s", got, function)
				}
			}()
			f()
		})
	}
}

func onlyHTTP1(s *http.Server) {
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
}

// TestSlow has peers that are silent at each point of a connection. Others are served, and
// the server ends their connections.
func TestSlow(t *testing.T) {
	authority := newAuthority(t)
	files := authority.write(t, t.TempDir(), "server.test")
	s := start(t, echo(),
		server.Listen("127.0.0.1:0"),
		server.Listen("127.0.0.1:0", server.TLSFiles(files.certificate, files.key)),
		server.HTTP(func(s *http.Server) { s.ReadHeaderTimeout = 100 * time.Millisecond }),
		server.Engine(h2.ServerConfig{FirstRequestTimeout: 100 * time.Millisecond}))
	for name, c := range map[string]struct {
		address int
		begin   string
	}{
		"nothing":          {0, ""},
		"half a preface":   {0, "PRI * HT"},
		"a preface":        {0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
		"half of headers":  {0, "POST " + pathUnary + " HTTP/1.1\r\nHost: a\r\nContent-Ty"},
		"no handshake":     {1, ""},
		"half a handshake": {1, "\x16\x03\x01\x02\x00\x01"},
		"no TLS":           {1, "POST " + pathUnary + " HTTP/1.1\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.Addrs()[c.address].String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.begin); err != nil {
				t.Fatal(err)
			}
			if err := unary(t.Context(), newClient(transportTo(t, s.Addrs()[0], nil, false), false, pathUnary), "a"); err != nil {
				t.Error("another client:", err)
			}
			_, _ = io.Copy(io.Discard, conn) // returns when the server has closed the connection
		})
	}
	s.stop()
	if err := <-s.ended; err != nil {
		t.Errorf("got %v from Run, want nil", err)
	}
}
