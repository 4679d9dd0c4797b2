// SPDX-License-Identifier: Apache-2.0

// Loopback TCP that counts socket writes, and HTTP servers and clients on it.

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"

	"github.com/seed-b7c59c10/connect/h2"
)

// network makes the connections of one contender, on both sides.
type network struct {
	writes atomic.Int64 // calls of Write that all connections had
}

// conn counts writes. It hides the methods of [net.TCPConn] beyond [net.Conn].
type conn struct {
	net.Conn
	network *network
}

func (c conn) Write(b []byte) (int, error) {
	c.network.writes.Add(1)
	return c.Conn.Write(b)
}

// SyscallConn makes the socket itself available, whose writes are counted too.
func (c conn) SyscallConn() (syscall.RawConn, error) {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	raw, err := socket.SyscallConn()
	return rawConn{raw, c.network}, err
}

type rawConn struct {
	syscall.RawConn
	network *network
}

// Write counts one write for each call of f, which is what a call of the system is.
func (r rawConn) Write(f func(fd uintptr) bool) error {
	r.network.writes.Add(1)
	return r.RawConn.Write(f)
}

// listener accepts counted connections.
type listener struct {
	net.Listener
	network *network
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return conn{c, l.network}, nil
}

// CloseWrite ends our half of the connection.
func (c conn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

func (n *network) listen() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return listener{l, n}, nil
}

func (n *network) dial(ctx context.Context, address string) (net.Conn, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return conn{c, n}, nil
}

// httpPair is an HTTP server and a client that speaks the same version with it.
type httpPair struct {
	base      string // URL without a path
	client    *http.Client
	server    *http.Server
	transport interface{ CloseIdleConnections() }
	served    chan error
}

func newHTTPPair(n *network, transport string, handler http.Handler, callers int) (*httpPair, error) {
	l, err := n.listen()
	if err != nil {
		return nil, err
	}
	var protocols http.Protocols
	protocols.SetHTTP1(transport == overHTTP1)
	protocols.SetUnencryptedHTTP2(transport == overH2C)
	server := &http.Server{Handler: handler, Protocols: &protocols}
	if transport == overEngine {
		server.Protocols = nil
		if err := h2.ConfigureServer(server, nil); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		return serve(server, l, h2.NewTransport(&h2.TransportConfig{
			DialContext:        func(ctx context.Context, _, address string) (net.Conn, error) { return n.dial(ctx, address) },
			DisableCompression: true,
		})), nil
	}
	return serve(server, l, &http.Transport{
		DialContext:         func(ctx context.Context, _, address string) (net.Conn, error) { return n.dial(ctx, address) },
		Protocols:           &protocols,
		MaxIdleConnsPerHost: callers,
		DisableCompression:  true,
	}), nil
}

// idleTransport is a transport that can drop its connections.
type idleTransport interface {
	http.RoundTripper
	CloseIdleConnections()
}

func serve(server *http.Server, l net.Listener, transport idleTransport) *httpPair {
	p := &httpPair{
		base:      "http://" + l.Addr().String(),
		client:    &http.Client{Transport: transport},
		server:    server,
		transport: transport,
		served:    make(chan error, 1),
	}
	go func() { p.served <- server.Serve(l) }()
	return p
}

// Close ends the connections of both sides.
func (p *httpPair) Close() error {
	p.transport.CloseIdleConnections()
	if err := p.server.Close(); err != nil {
		return err
	}
	if err := <-p.served; err != http.ErrServerClosed {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
