// SPDX-License-Identifier: Apache-2.0

// Bounds over real sockets, which the engine writes to in a way of its own, and
// over TLS, where it cannot. Nothing here depends on the clock but how long a
// failure takes to be seen.

package h2_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// socketPatience bounds waits that are not in a bubble.
const socketPatience = 30 * time.Second

// A socketServer listens on the loopback, in cleartext or with TLS.
type socketServer struct {
	*http.Server
	addr    string
	started atomic.Int64
	running atomic.Int64
}

func startSocketServer(t *testing.T, how way, handler http.HandlerFunc, configure func(*http.Server)) *socketServer {
	t.Helper()
	s := new(socketServer)
	s.Server = &http.Server{Protocols: new(http.Protocols)}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.started.Add(1)
		s.running.Add(1)
		defer s.running.Add(-1)
		handler(w, r)
	})
	s.Protocols.SetUnencryptedHTTP2(true)
	s.Protocols.SetHTTP2(true)
	if how.secure {
		certificate := httptest.NewUnstartedServer(nil)
		certificate.StartTLS()
		s.TLSConfig = &tls.Config{Certificates: certificate.TLS.Certificates}
		certificate.Close()
	}
	if configure != nil {
		configure(s.Server)
	}
	serve, serveTLS, end := s.Serve, s.ServeTLS, s.Close
	if how.own {
		own, err := h2.NewServer(s.Server, nil)
		if err != nil {
			t.Fatal(err)
		}
		serve, serveTLS, end = own.Serve, own.ServeTLS, own.Close
	} else if err := h2.ConfigureServer(s.Server, nil); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	served := make(chan error, 1)
	go func() {
		if how.secure {
			served <- serveTLS(listener, "", "")
		} else {
			served <- serve(listener)
		}
	}()
	t.Cleanup(func() {
		_ = end()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("got %v from Serve, want http.ErrServerClosed", err)
		}
	})
	return s
}

// dial opens a connection, with TLS if the server has it.
func (s *socketServer) dial(t *testing.T, how way) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(socketPatience))
	if how.secure {
		conn = tls.Client(conn, &tls.Config{NextProtos: []string{"h2"}, InsecureSkipVerify: true})
	}
	return conn
}

// client returns an http.Client of net/http for the server.
func (s *socketServer) client(t *testing.T, how way) (c *http.Client, url string) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols)}
	t.Cleanup(transport.CloseIdleConnections)
	if how.secure {
		transport.Protocols.SetHTTP2(true)
		return &http.Client{Transport: transport, Timeout: socketPatience}, "https://" + s.addr
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: transport, Timeout: socketPatience}, "http://" + s.addr
}

// A way to serve: over TLS or not, with an h2.Server or an http.Server.
type way struct{ secure, own bool }

func overSockets(t *testing.T, f func(t *testing.T, how way)) {
	for name, how := range map[string]way{
		"cleartext": {}, "TLS": {secure: true},
		"own/cleartext": {own: true}, "own/TLS": {secure: true, own: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, how)
		})
	}
}

// TestServerSockets has net/http's client send bodies of all sizes, many at a
// time, and expects them back.
func TestServerSockets(t *testing.T) {
	overSockets(t, func(t *testing.T, how way) {
		s := startSocketServer(t, how, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.Header().Set("Trailer", "X-Sum")
			n, err := io.Copy(w, r.Body)
			w.Header().Set("X-Sum", strconv.FormatInt(n, 10))
			if err != nil || r.ProtoMajor != 2 {
				t.Errorf("got %v and %s, want a body over HTTP/2", err, r.Proto)
			}
		}, nil)
		client, url := s.client(t, how)
		var calls sync.WaitGroup
		for _, size := range []int{0, 1, 100, 16 << 10, 64<<10 - 1, 64 << 10, 300_000, 5 << 20} {
			for range 4 {
				calls.Go(func() {
					sent := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
					res, err := client.Post(url, "text/plain", bytes.NewReader(sent))
					if err != nil {
						t.Errorf("%d bytes: %v", size, err)
						return
					}
					defer res.Body.Close()
					got, err := io.ReadAll(res.Body)
					if err != nil || !bytes.Equal(got, sent) || res.Trailer.Get("X-Sum") != strconv.Itoa(size) {
						t.Errorf("got %d bytes, %v and trailer %q, want %d bytes", len(got), err, res.Trailer, size)
					}
				})
			}
		}
		calls.Wait()
	})
}

// TestServerSocketDeaf stops reading. The handlers are freed, and the connection
// is closed, because of the write timeout; the server has not kept much.
func TestServerSocketDeaf(t *testing.T) {
	overSockets(t, func(t *testing.T, how way) {
		const handlers = 20
		freed := make(chan struct{}, handlers)
		s := startSocketServer(t, how, func(w http.ResponseWriter, _ *http.Request) {
			defer func() { freed <- struct{}{} }()
			buf := make([]byte, 32<<10)
			for {
				if _, err := w.Write(buf); err != nil {
					return
				}
			}
		}, func(s *http.Server) { s.HTTP2 = &http.HTTP2Config{WriteByteTimeout: 100 * time.Millisecond} })
		conn := s.dial(t, how)
		var program bytes.Buffer
		program.WriteString(http2.ClientPreface)
		framer := http2.NewFramer(&program, nil)
		_ = framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		_ = framer.WriteWindowUpdate(0, 1<<30)
		for id := uint32(1); id < 2*handlers; id += 2 {
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: true, BlockFragment: staticHead()})
		}
		if _, err := conn.Write(program.Bytes()); err != nil {
			t.Fatal(err)
		}
		late := time.After(socketPatience)
		for n := range handlers {
			select {
			case <-freed:
			case <-late:
				t.Fatalf("got %d handlers freed, want %d", n, handlers)
			}
		}
		wantServerCloses(t, conn)
	})
}

// TestServerSocketRapidReset repeats the attack over sockets, where time passes:
// the connection ends all the same.
func TestServerSocketRapidReset(t *testing.T) {
	overSockets(t, func(t *testing.T, how way) {
		s := startSocketServer(t, how, untilGone, nil)
		conn := s.dial(t, how)
		var program bytes.Buffer
		program.WriteString(http2.ClientPreface)
		framer := http2.NewFramer(&program, nil)
		_ = framer.WriteSettings()
		for id := uint32(1); id < 20*controlBurst; id += 2 {
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: true, BlockFragment: staticHead()})
			_ = framer.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		go func() { _, _ = conn.Write(program.Bytes()) }()
		wantServerCloses(t, conn)
		wantAtMost(t, "handlers started", s.started.Load(), 4*controlBurst)
	})
}

// wantServerCloses reads until the connection ends, in whatever way.
func wantServerCloses(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := io.Copy(io.Discard, conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("got %v, want the server to close the connection", err)
	}
}
