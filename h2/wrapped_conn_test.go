// SPDX-License-Identifier: Apache-2.0

// Connections that wrap a socket: what they do in Write and Read is not passed over,
// although embedding gives them the socket's other methods.

package h2_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect/h2"
)

// An invertedConn has every bit inverted on the wire.
type invertedConn struct {
	*net.TCPConn
	wrote *atomic.Int64
}

func (c invertedConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	for i := range p[:n] {
		p[i] = ^p[i]
	}
	return n, err
}

func (c invertedConn) Write(p []byte) (int, error) {
	inverted := make([]byte, len(p))
	for i := range p {
		inverted[i] = ^p[i]
	}
	c.wrote.Add(int64(len(p))) // before the peer can answer
	return c.TCPConn.Write(inverted)
}

// An invertedListener accepts inverted connections.
type invertedListener struct {
	net.Listener
	wrote atomic.Int64
}

func (l *invertedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return invertedConn{c.(*net.TCPConn), &l.wrote}, nil
}

func TestWrappedConn(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &invertedListener{Listener: inner}
	server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})}
	server.Protocols.SetUnencryptedHTTP2(true)
	if err := h2.ConfigureServer(server, nil); err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	defer server.Close()

	var wrote atomic.Int64
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return invertedConn{c.(*net.TCPConn), &wrote}, nil
	}
	own := h2.NewTransport(&h2.TransportConfig{DialContext: dial})
	defer own.Close()
	standard := &http.Transport{DialContext: dial, Protocols: new(http.Protocols)}
	standard.Protocols.SetUnencryptedHTTP2(true)
	if err := h2.ConfigureTransport(standard, nil); err != nil {
		t.Fatal(err)
	}
	defer standard.CloseIdleConnections()
	for name, transport := range map[string]http.RoundTripper{"NewTransport": own, "ConfigureTransport": standard} {
		for _, size := range []int{100, 1 << 20} {
			body := bytes.Repeat([]byte{'x'}, size)
			served, sent := l.wrote.Load(), wrote.Load()
			res, err := (&http.Client{Transport: transport}).Post("http://"+inner.Addr().String(), "text/plain", bytes.NewReader(body))
			if err != nil {
				t.Errorf("%s, %d bytes: %v", name, size, err)
				continue
			}
			got, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%s, %d bytes: got %d, %v", name, size, len(got), err)
			}
			if served, sent := l.wrote.Load()-served, wrote.Load()-sent; served < int64(size) || sent < int64(size) {
				t.Errorf("%s: got %d and %d bytes through the connections' own Write, want at least %d", name, served, sent, size)
			}
		}
	}
}
