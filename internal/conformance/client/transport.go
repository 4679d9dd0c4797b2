// SPDX-License-Identifier: Apache-2.0

// This file makes the HTTP clients: one per server and certificate, so that
// calls share connections as they would in a real program.

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/internal/conformance/bus"
	"github.com/seed-b7c59c10/connect/internal/conformance/conformancev1"
)

// transports keeps an HTTP client for each target.
type transports struct {
	engine  bool
	bus     *bus.Bus // nil: HTTP all the way
	mu      sync.Mutex
	clients map[target]reach
}

// reach is an HTTP client with the URL for it.
type reach struct {
	client *http.Client
	url    string
}

type target struct {
	version                     conformancev1.HTTPVersion
	address                     string
	serverCert, ownCert, ownKey string
}

func newTransports(engine bool) *transports {
	return &transports{engine: engine, clients: make(map[target]reach)}
}

// client returns the HTTP client for a call and the URL to call.
func (t *transports) client(asked *conformancev1.ClientCompatRequest) (*http.Client, string, error) {
	to := target{
		version:    asked.GetHttpVersion(),
		address:    net.JoinHostPort(asked.GetHost(), strconv.Itoa(int(asked.GetPort()))),
		serverCert: string(asked.GetServerTlsCert()),
		ownCert:    string(asked.GetClientTlsCreds().GetCert()),
		ownKey:     string(asked.GetClientTlsCreds().GetKey()),
	}
	url := "http://" + to.address
	if to.serverCert != "" {
		url = "https://" + to.address
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.clients[to]; ok {
		return known.client, known.url, nil
	}
	transport, err := dial(to, t.engine)
	if err == nil && t.bus != nil {
		transport, url, err = t.bus.Dial(url, transport)
	}
	if err != nil {
		return nil, "", err
	}
	client := &http.Client{Transport: transport}
	t.clients[to] = reach{client, url}
	return client, url, nil
}

// close closes all connections: they are idle, because every call has ended.
func (t *transports) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, known := range t.clients {
		known.client.CloseIdleConnections()
	}
}

// dial speaks exactly one version of HTTP.
func dial(to target, engine bool) (http.RoundTripper, error) {
	security, err := to.security()
	if err != nil {
		return nil, err
	}
	var protocols http.Protocols
	switch {
	case to.version == conformancev1.HTTPVersion_HTTP_VERSION_2 && engine:
		return h2.NewTransport(&h2.TransportConfig{TLSClientConfig: security}), nil
	case to.version == conformancev1.HTTPVersion_HTTP_VERSION_1:
		protocols.SetHTTP1(true)
	case to.version == conformancev1.HTTPVersion_HTTP_VERSION_2 && security != nil:
		protocols.SetHTTP2(true)
	case to.version == conformancev1.HTTPVersion_HTTP_VERSION_2:
		protocols.SetUnencryptedHTTP2(true)
	case to.version == conformancev1.HTTPVersion_HTTP_VERSION_3 && security != nil:
		return &http3.Transport{TLSClientConfig: security, Dial: dialQUIC}, nil
	default:
		return nil, fmt.Errorf("no client for %v with TLS: %v", to.version, security != nil)
	}
	return &http.Transport{TLSClientConfig: security, Protocols: &protocols}, nil
}

// dialQUIC connects for all calls that wait for the connection, so it does not stop
// when the first of them is canceled.
func dialQUIC(ctx context.Context, address string, security *tls.Config, config *quic.Config) (*quic.Conn, error) {
	return quic.DialAddrEarly(context.WithoutCancel(ctx), address, security, config)
}

// security returns nil for cleartext.
func (to target) security() (*tls.Config, error) {
	if to.serverCert == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM([]byte(to.serverCert)) {
		return nil, errors.New("reading the server's certificate: no certificate in it")
	}
	if to.ownCert != "" {
		pair, err := tls.X509KeyPair([]byte(to.ownCert), []byte(to.ownKey))
		if err != nil {
			return nil, fmt.Errorf("reading the client's certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
