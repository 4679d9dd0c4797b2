// SPDX-License-Identifier: Apache-2.0

// Loopback TCP that counts socket writes, and HTTP servers and clients on it.

package main

import (
	"context"
	"crypto/tls"
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
	transport idleTransport
	served    chan error
}

func newHTTPPair(n *network, transport string, handler http.Handler, callers int) (*httpPair, error) {
	server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(transport == overHTTP1)
	server.Protocols.SetHTTP2(wire(transport) == overTLS)
	server.Protocols.SetUnencryptedHTTP2(wire(transport) == overH2C)
	var trusting *tls.Config
	if secure(transport) {
		var err error
		if server.TLSConfig, trusting, err = tlsConfigs(); err != nil {
			return nil, err
		}
	}
	if onEngine(transport) {
		if err := h2.ConfigureServer(server, nil); err != nil {
			return nil, err
		}
	}
	l, err := n.listen()
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, _, address string) (net.Conn, error) { return n.dial(ctx, address) }
	p := &httpPair{base: "http://" + l.Addr().String(), server: server, served: make(chan error, 1)}
	if onEngine(transport) {
		p.use(h2.NewTransport(&h2.TransportConfig{DialContext: dial, TLSClientConfig: trusting, DisableCompression: true}))
	} else {
		p.use(&http.Transport{
			DialContext:         dial,
			TLSClientConfig:     trusting,
			Protocols:           server.Protocols,
			MaxIdleConnsPerHost: callers,
			DisableCompression:  true,
		})
	}
	if trusting == nil {
		go func() { p.served <- server.Serve(l) }()
		return p, nil
	}
	p.base = "https://" + l.Addr().String()
	go func() { p.served <- server.ServeTLS(l, "", "") }()
	return p, nil
}

// idleTransport is a transport that can drop its connections.
type idleTransport interface {
	http.RoundTripper
	CloseIdleConnections()
}

func (p *httpPair) use(t idleTransport) { p.transport, p.client = t, &http.Client{Transport: t} }

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
