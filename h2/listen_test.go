// SPDX-License-Identifier: Apache-2.0

// h2.Server: which connections go where, and that programs see what http.Server.Serve
// would show them.

package h2_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// A served is an h2.Server and the way to stop it.
type served struct {
	http   *http.Server
	own    *h2.Server
	addr   string // of a socket
	result chan error
}

// listenOwn serves on a listener with an h2.Server, until the test ends.
func listenOwn(t testing.TB, l net.Listener, secure bool, server *http.Server, config *h2.ServerConfig) *served {
	t.Helper()
	if server.ErrorLog == nil {
		server.ErrorLog = log.New(io.Discard, "", 0)
	}
	if secure && server.TLSConfig == nil {
		server.TLSConfig = testTLS()
	}
	own, err := h2.NewServer(server, config)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{http: server, own: own, addr: l.Addr().String(), result: make(chan error, 1)}
	go func() {
		if secure {
			s.result <- own.ServeTLS(l, "", "")
		} else {
			s.result <- own.Serve(l)
		}
	}()
	t.Cleanup(func() {
		_ = own.Close()
		if err := <-s.result; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("got %v from Serve, want http.ErrServerClosed", err)
		}
	})
	return s
}

// serveOwn is listenOwn on a socket.
func serveOwn(t testing.TB, secure bool, server *http.Server) *served {
	t.Helper()
	return listenOwn(t, loopback(t), secure, server, nil)
}

func loopback(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// testTLS has a certificate.
var testTLS = func() func() *tls.Config {
	certificates := sync.OnceValue(func() []tls.Certificate {
		s := httptest.NewUnstartedServer(nil)
		s.StartTLS()
		defer s.Close()
		return s.TLS.Certificates
	})
	return func() *tls.Config { return &tls.Config{Certificates: certificates()} }
}()

// clientOf returns a client of net/http that speaks one version of HTTP.
func clientOf(t testing.TB, secure, two bool) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!two)
	transport.Protocols.SetHTTP2(two && secure)
	transport.Protocols.SetUnencryptedHTTP2(two && !secure)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: socketPatience}
}

func urlOf(secure bool, addr string) string {
	return map[bool]string{false: "http://", true: "https://"}[secure] + addr
}

// TestListenShows makes two requests of each version, over TLS and without, to an
// h2.Server and to an http.Server on the engine. Handlers and hooks see the same.
func TestListenShows(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		for _, two := range []bool{false, true} {
			t.Run(fmt.Sprintf("TLS %v, HTTP/2 %v", secure, two), func(t *testing.T) {
				t.Parallel()
				own, standard := showListen(t, secure, two, true), showListen(t, secure, two, false)
				if own != standard {
					t.Errorf("got with an h2.Server:\n%s\nwant what an http.Server shows:\n%s", own, standard)
				}
				if two != strings.Contains(own, "HTTP/2.0") || !strings.Contains(own, "closed") {
					t.Errorf("got:\n%s\nwant the version of HTTP that was asked for, and an end", own)
				}
			})
		}
	}
}

// showListen serves two requests and returns what a program sees of them.
func showListen(t *testing.T, secure, two, own bool) string {
	t.Helper()
	var n lineList
	closed, idle := make(chan struct{}, 1), make(chan struct{}, 1)
	var answered atomic.Bool
	l := loopback(t)
	type key string
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := r.Context()
			server, _ := ctx.Value(http.ServerContextKey).(*http.Server)
			local, _ := ctx.Value(http.LocalAddrContextKey).(net.Addr)
			body, err := io.ReadAll(r.Body)
			n.add("%s %s %s, body %q %v, TLS %v, from %v to %v, base %v, conn %v, own server %v", r.Proto, r.Method, r.RequestURI, body, err,
				r.TLS != nil && r.TLS.HandshakeComplete, strings.HasPrefix(r.RemoteAddr, "127.0.0.1:"), local.String() == l.Addr().String(),
				ctx.Value(key("base")), ctx.Value(key("conn")), server != nil && server.Handler != nil)
			answered.Store(true)
		}),
		TLSConfig: testTLS(),
		ErrorLog:  log.New(io.Discard, "", 0),
		BaseContext: func(l net.Listener) context.Context {
			n.add("base for %T", l)
			return context.WithValue(context.Background(), key("base"), l.Addr() != nil)
		},
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			n.add("context for %T", nc)
			return context.WithValue(ctx, key("conn"), ctx.Value(key("base")) != nil && ctx.Value(http.ServerContextKey) != nil)
		},
		ConnState: func(nc net.Conn, state http.ConnState) {
			n.add("%T is %v", nc, state)
			if state == http.StateClosed {
				closed <- struct{}{}
			} else if state == http.StateIdle && answered.Swap(false) {
				idle <- struct{}{}
			}
		},
	}
	result := make(chan error, 1)
	serve, serveTLS, stop := server.Serve, server.ServeTLS, server.Close
	if own {
		s, err := h2.NewServer(server, nil)
		if err != nil {
			t.Fatal(err)
		}
		serve, serveTLS, stop = s.Serve, s.ServeTLS, s.Close
	} else if err := h2.ConfigureServer(server, nil); err != nil {
		t.Fatal(err)
	}
	go func() {
		if secure {
			result <- serveTLS(l, "", "")
		} else {
			result <- serve(l)
		}
	}()
	client := clientOf(t, secure, two)
	for range 2 {
		res, err := client.Post(urlOf(secure, l.Addr().String())+"/path?q", "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		receive(t, "an idle connection", idle)
	}
	_ = stop()
	receive(t, "the connection's end", closed)
	n.add("Serve: %v", errors.Is(<-result, http.ErrServerClosed))
	return strings.Join(n.all(), "\n")
}

// TestListenBytes begins connections with all kinds of bytes, in one piece and one by
// one: each is answered by the version of HTTP that it speaks, or closed.
func TestListenBytes(t *testing.T) {
	t.Parallel()
	var begin bytes.Buffer
	begin.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&begin, nil)
	_ = framer.WriteSettings()
	two := begin.String()
	for _, c := range []struct{ name, bytes, answer string }{
		{"HTTP/2", two, "\x00\x00"}, // a frame: SETTINGS
		{"HTTP/1.1", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK"},
		{"HTTP/1.1 with P", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK"},
		{"almost a preface", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "HTTP/1.1 200 OK"},
		{"garbage", "\x16\x03\x01\x00\x05hello\r\n\r\n", "HTTP/1.1 400"},
		{"half a preface", http2.ClientPreface[:11], "HTTP/1.1 400"},
		{"nothing", "", ""},
	} {
		for _, pieces := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, pieces %v", c.name, pieces), func(t *testing.T) {
				t.Parallel()
				s := serveOwn(t, false, &http.Server{Handler: http.HandlerFunc(answerOK)})
				nc, err := net.Dial("tcp", s.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				_ = nc.SetDeadline(time.Now().Add(socketPatience))
				step := max(len(c.bytes), 1)
				if pieces {
					step = 1
				}
				for piece := range slices.Chunk([]byte(c.bytes), step) {
					if _, err := nc.Write(piece); err != nil {
						break // the server may have seen enough
					}
				}
				if c.name != "HTTP/2" {
					_ = nc.(*net.TCPConn).CloseWrite()
				}
				got := make([]byte, len(c.answer))
				if _, err := io.ReadFull(nc, got); err != nil && c.answer != "" || string(got) != c.answer {
					t.Errorf("got %q, %v, want %q", got, err, c.answer)
				}
				if c.name != "HTTP/2" {
					wantServerCloses(t, nc)
				}
			})
		}
	}
}

// TestListenTLSMistakes meets a TLS server without TLS, and with protocols that it does
// not have.
func TestListenTLSMistakes(t *testing.T) {
	t.Parallel()
	logged := make(lines, 2)
	s := serveOwn(t, true, &http.Server{Handler: http.HandlerFunc(answerOK), ErrorLog: log.New(logged, "", 0)})
	res, err := http.Get("http://" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "HTTP request to an HTTPS server") {
		t.Errorf("got status %d and %q, want net/http's answer", res.StatusCode, body)
	}
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"spdy/1"}}
	if nc, err := tls.Dial("tcp", s.addr, config); err == nil {
		_ = nc.Close()
		t.Error("got a connection with an unknown protocol, want an error")
	}
	for _, want := range []string{"client sent an HTTP request to an HTTPS server", "unsupported application protocols"} {
		if got := receive(t, "a log", logged); !strings.Contains(got, want) {
			t.Errorf("got the log %q, want one with %q", got, want)
		}
	}
}

// TestListenConfigForClient has a server offer HTTP/1.1 only to some of its clients, and
// take both kinds of connections from one listener.
func TestListenConfigForClient(t *testing.T) {
	t.Parallel()
	config := testTLS()
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.Context().Value(http.ServerContextKey) == nil {
			return nil, errors.New("got a context without the server's values")
		}
		if hello.ServerName != "old.test" {
			return nil, nil
		}
		old := testTLS()
		old.NextProtos = []string{"http/1.1"}
		return old, nil
	}
	s := serveOwn(t, true, &http.Server{Handler: http.HandlerFunc(sayProto), TLSConfig: config})
	for name, want := range map[string]string{"old.test": "HTTP/1.1 ", "new.test": "HTTP/2.0 "} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: name}, ForceAttemptHTTP2: true}
		res, err := (&http.Client{Transport: transport}).Get("https://" + s.addr)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if string(body) != want {
			t.Errorf("%s: got %q, want %q", name, body, want)
		}
		transport.CloseIdleConnections()
	}
}

// TestListenHijack takes over a connection of HTTP/1.1, which net/http has as the type
// that the listener returned.
func TestListenHijack(t *testing.T) {
	t.Parallel()
	s := serveOwn(t, false, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = fmt.Fprintf(nc, "%T", nc)
		_ = nc.Close()
	})})
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if got, err := io.ReadAll(nc); err != nil || string(got) != "*net.TCPConn" {
		t.Errorf("got %q, %v, want the type of a socket", got, err)
	}
}

// TestListenOtherTypes serves connections whose first bytes cannot be looked at: HTTP/2
// works by way of net/http.
func TestListenOtherTypes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		var n lineList
		network := newMemoryNetwork()
		listenOwn(t, network, false, &http.Server{
			Handler:     http.HandlerFunc(answerOK),
			ConnContext: func(ctx context.Context, _ net.Conn) context.Context { n.add("context"); return ctx },
			ConnState:   func(_ net.Conn, state http.ConnState) { n.add("%v", state) },
		}, nil)
		p := dial(t, &testServer{network: network})
		p.get(1)
		p.wantAnswer(1, "200")
		_ = p.conn.Close()
		settle()
		want := []string{"context", "new", "active", "idle", "active", "idle", "closed"}
		if got := n.all(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestListenUnixSocket serves both versions on a Unix socket.
func TestListenUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Skipf("no Unix sockets: %v", err)
	}
	listenOwn(t, l, false, &http.Server{Handler: http.HandlerFunc(sayProto)}, nil)
	for _, two := range []bool{false, true} {
		client := clientOf(t, false, two)
		client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		res, err := client.Get("http://unix.test")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if got := string(body) == "HTTP/2.0 "; got != two {
			t.Errorf("got %q over HTTP/2: %v", body, two)
		}
	}
}

// TestListenBetween replaces what is in TLSNextProto after NewServer: no connection
// passes it over. Without that, calls are direct.
func TestListenBetween(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		for _, between := range []bool{false, true} {
			handler := new(directly)
			server := &http.Server{Handler: handler, TLSConfig: testTLS()}
			own, err := h2.NewServer(server, nil)
			if err != nil {
				t.Fatal(err)
			}
			var seen lineList
			for proto, next := range server.TLSNextProto {
				if between {
					server.TLSNextProto[proto] = func(s *http.Server, c *tls.Conn, h http.Handler) {
						next(s, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							seen.add("request")
							h.ServeHTTP(w, r)
						}))
					}
				}
			}
			l := loopback(t)
			result := make(chan error, 1)
			go func() {
				if secure {
					result <- own.ServeTLS(l, "", "")
				} else {
					result <- own.Serve(l)
				}
			}()
			res, err := clientOf(t, secure, true).Post(urlOf(secure, l.Addr().String()), "text/plain", nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if err := own.Close(); err != nil {
				t.Error(err)
			}
			<-result
			if got := len(seen.all()) == 1; got != between {
				t.Errorf("got %q through the handler between, which is there: %v", seen.all(), between)
			}
			if got := handler.direct.Load() == 1; got == between {
				t.Errorf("got %d direct calls, want one only if no handler is between", handler.direct.Load())
			}
		}
	}
}

// TestListenOptions asks for the server's own abilities, which net/http answers.
func TestListenOptions(t *testing.T) {
	t.Parallel()
	for _, disabled := range []bool{false, true} {
		s := serveOwn(t, false, &http.Server{DisableGeneralOptionsHandler: disabled, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
		})})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, "http://"+s.addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Opaque = "*"
		r.URL.Path = ""
		res, err := clientOf(t, false, true).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if want := map[bool]int{false: 200, true: 418}[disabled]; res.StatusCode != want {
			t.Errorf("disabled %v: got status %d, want %d", disabled, res.StatusCode, want)
		}
	}
}

// lines gets what is logged.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}
