// SPDX-License-Identifier: Apache-2.0

// Loopback TCP, and HTTP servers and clients on it.

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"

	"github.com/seed-b7c59c10/connect/h2"
)

// network makes the connections of one contender, on both sides. They are plain
// sockets and not a type of ours around them: package h2 writes to a wrapped socket in
// another way, because it must call the wrapper's Write.
type network struct{}

func (n *network) listen() (net.Listener, error) {
	return net.Listen("tcp", "127.0.0.1:0")
}

func (n *network) dial(ctx context.Context, address string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", address)
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
