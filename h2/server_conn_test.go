// SPDX-License-Identifier: Apache-2.0

// Listeners whose connections are not plain sockets, and programs that stand between
// net/http and the engine.

package h2_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// A wrappingListener gives out the connections of another in a type of its own.
type wrappingListener struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (l wrappingListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(nc), nil
}

// startWrapped is startServer with connections that are wrapped. It returns the
// network, to which a client connects as always.
func startWrapped(t *testing.T, handler http.HandlerFunc, wrap func(net.Conn) net.Conn) *memoryNetwork {
	t.Helper()
	network := newMemoryNetwork()
	server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	if err := h2.ConfigureServer(server, nil); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(wrappingListener{network, wrap}) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return network
}

// A namelessConn has no addresses.
type namelessConn struct{ net.Conn }

func (namelessConn) RemoteAddr() net.Addr { return nil }

func TestServerWithoutRemoteAddr(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		network := startWrapped(t, func(w http.ResponseWriter, r *http.Request) {
			if r.RemoteAddr != "unknown" {
				t.Errorf("got RemoteAddr %q, want \"unknown\"", r.RemoteAddr)
			}
		}, func(nc net.Conn) net.Conn { return namelessConn{nc} })
		p := dial(t, &testServer{network: network})
		p.get(1)
		p.wantAnswer(1, "200")
	})
}

// A lateConn keeps what is written last until more is written, or it is closed. It
// has the CloseWrite of the connection that it embeds, which passes over that.
type lateConn struct {
	*memoryConn
	mu   sync.Mutex
	kept []byte
}

func (c *lateConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.memoryConn.Write(c.kept); err != nil {
		return 0, err
	}
	c.kept = append(c.kept[:0], p...)
	return len(p), nil
}

func (c *lateConn) Close() error {
	c.mu.Lock()
	_, _ = c.memoryConn.Write(c.kept)
	c.kept = nil
	c.mu.Unlock()
	return c.memoryConn.Close()
}

// TestServerPromotedCloseWrite ends a connection whose type has CloseWrite by embedding
// only: its own Close is what ends it, so that nothing is lost.
func TestServerPromotedCloseWrite(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		network := startWrapped(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			_, _ = io.WriteString(w, "body")
		}, func(nc net.Conn) net.Conn { return &lateConn{memoryConn: nc.(*memoryConn)} })
		p := connect(t, &testServer{network: network}, false)
		p.preface()
		p.get(1)
		if a := p.wantAnswer(1, "200"); string(a.body) != "body" {
			t.Errorf("got body %q", a.body)
		}
		p.await("the last GOAWAY", func(f *frame) bool { return f.Type == http2.FrameGoAway && f.last == 1 })
		p.wantClosed()
	})
}

// A slowHalf takes as long as a tls.Conn may to send its last alert.
type slowHalf struct {
	net.Conn
	closed chan time.Time
}

func (c slowHalf) CloseWrite() error {
	time.Sleep(5 * time.Second)
	return nil
}

func (c slowHalf) Close() error {
	c.closed <- time.Now()
	return c.Conn.Close()
}

// TestServerSlowCloseWrite closes a connection from both sides, of which the server's takes
// its time: the connection does not wait for it.
func TestServerSlowCloseWrite(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		closed := make(chan time.Time, 3)
		network := startWrapped(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
		}, func(nc net.Conn) net.Conn { return slowHalf{nc, closed} })
		p := connect(t, &testServer{network: network}, false)
		p.preface()
		p.get(1)
		p.wantAnswer(1, "200")
		p.await("the last GOAWAY", func(f *frame) bool { return f.Type == http2.FrameGoAway && f.last == 1 })
		time.Sleep(time.Second) // for the server's CloseWrite to begin
		now := time.Now()
		_ = p.conn.Close()
		if at := <-closed; at.Sub(now) > 0 {
			t.Errorf("got the connection closed %v after the peer's end, want it closed at once", at.Sub(now))
		}
		time.Sleep(5 * time.Second) // for the end of CloseWrite
	})
}

// A directly is a handler that serves direct calls.
type directly struct{ direct atomic.Int64 }

func (d *directly) ServeHTTP(w http.ResponseWriter, _ *http.Request) {}

func (d *directly) ServeDirect(self http.Handler, _ string, _ http.ResponseWriter) bool {
	d.direct.Add(1)
	return self == http.Handler(d)
}

// TestServerHandlerBetween puts a handler between net/http's and the engine, as programs
// do that replace what is in TLSNextProto: no request passes it over.
func TestServerHandlerBetween(t *testing.T) {
	t.Parallel()
	for _, between := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			var seen atomic.Int64
			handler := new(directly)
			network := newMemoryNetwork()
			server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
			server.Protocols.SetUnencryptedHTTP2(true)
			if err := h2.ConfigureServer(server, nil); err != nil {
				t.Fatal(err)
			}
			const proto = "unencrypted_http2"
			if next := server.TLSNextProto[proto]; between {
				server.TLSNextProto[proto] = func(s *http.Server, c *tls.Conn, h http.Handler) {
					next(s, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						seen.Add(1)
						h.ServeHTTP(w, r)
					}))
				}
			}
			served := make(chan error, 1)
			go func() { served <- server.Serve(network) }()
			defer func() {
				_ = server.Close()
				<-served
			}()
			p := dial(t, &testServer{network: network})
			p.post(1)
			p.data(1, true, nil)
			p.wantAnswer(1, "200")
			_ = p.conn.Close()
			if got := seen.Load() == 1; got != between {
				t.Errorf("got %d requests through the handler between, which is there: %v", seen.Load(), between)
			}
			if got := handler.direct.Load() == 1; got == between {
				t.Errorf("got %d direct calls, want one only if no handler is between", handler.direct.Load())
			}
		})
	}
}

// TestServerStateClosedLast has a handler return after its connection has ended: nothing
// is reported behind the end.
func TestServerStateClosedLast(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		var states lineList
		held := newGate(t)
		s := startServer(t, func(http.ResponseWriter, *http.Request) { held.wait() }, func(s *http.Server, _ *h2.ServerConfig) {
			s.ConnState = func(_ net.Conn, state http.ConnState) { states.add("%v", state) }
		})
		p := dial(t, s)
		p.get(1)
		settle()
		_ = p.conn.Close()
		settle()
		held.open()
		settle()
		if got, want := states.all(), []string{"new", "active", "idle", "active", "closed"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
