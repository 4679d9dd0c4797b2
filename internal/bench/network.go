// SPDX-License-Identifier: Apache-2.0

// Loopback TCP that counts socket writes, and HTTP servers and clients on it.

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
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
	transport *http.Transport
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
	p := &httpPair{
		base:   "http://" + l.Addr().String(),
		server: &http.Server{Handler: handler, Protocols: &protocols},
		transport: &http.Transport{
			DialContext:         func(ctx context.Context, _, address string) (net.Conn, error) { return n.dial(ctx, address) },
			Protocols:           &protocols,
			MaxIdleConnsPerHost: callers,
			DisableCompression:  true,
		},
		served: make(chan error, 1),
	}
	p.client = &http.Client{Transport: p.transport}
	go func() { p.served <- p.server.Serve(l) }()
	return p, nil
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
