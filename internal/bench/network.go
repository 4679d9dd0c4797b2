// SPDX-License-Identifier: Apache-2.0

// Loopback TCP, and HTTP servers and clients on it.

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/inprocess"
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
	options   []connect.ClientOption // of clients
	served    chan error
}

func newHTTPPair(n *network, transport string, handler http.Handler, callers int) (*httpPair, error) {
	if transport == overNATS {
		return newNATSPair(handler)
	}
	server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	if transport == inProcess {
		p := &httpPair{base: "http://in.process", server: server, served: make(chan error, 1)}
		p.served <- http.ErrServerClosed // there is nothing to serve
		p.transport, p.client = new(http.Transport), &http.Client{Transport: inprocess.NewTransport(handler)}
		return p, nil
	}
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
	switch {
	case transport == overBalance:
		lb, err := balance.New(balance.Static(l.Addr().String()), balance.DialContext(dial))
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		p.transport, p.client, p.options = balanced{lb}, lb.HTTPClient(), []connect.ClientOption{lb.Options()}
	case onEngine(transport):
		p.use(h2.NewTransport(&h2.TransportConfig{DialContext: dial, TLSClientConfig: trusting, DisableCompression: true}))
	default:
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

// balanced is a balancer as an idleTransport. Calls do not go through it.
type balanced struct{ *balance.Balancer }

func (b balanced) CloseIdleConnections() { b.Close() }

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
