// SPDX-License-Identifier: Apache-2.0

// Server is the server under test of the conformance suite: it reads one
// configuration from standard input, listens, writes its address to standard
// output, and serves until the suite stops it.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/quic-go/quic-go/http3"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/internal/conformance/bus"
	"github.com/seed-b7c59c10/connect/internal/conformance/conformancev1"
	"github.com/seed-b7c59c10/connect/internal/conformance/conformancev1/conformancev1connect"
	"github.com/seed-b7c59c10/connect/internal/conformance/wire"
)

const host = "127.0.0.1"

func main() {
	engine := flag.Bool("engine", false, "serve HTTP/2 with package h2")
	nats := flag.Bool("nats", false, "serve over NATS, behind a gateway")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *engine, *nats, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "conformance server:", err)
		os.Exit(1)
	}
}

// run serves with the suite's configuration until the context ends.
func run(ctx context.Context, engine, nats bool, in io.Reader, out io.Writer) error {
	asked := &conformancev1.ServerCompatRequest{}
	if err := wire.Read(in, asked); err != nil {
		return err
	}
	handler, err := newHandler(asked)
	if err != nil {
		return err
	}
	if nats {
		b, err := bus.Open()
		if err != nil {
			return err
		}
		if handler, err = b.Handler(handler); err != nil {
			return err
		}
	}
	security, err := newTLSConfig(asked)
	if err != nil {
		return err
	}
	s, err := listen(asked.GetHttpVersion(), handler, security, engine)
	if err != nil {
		return err
	}
	err = wire.Write(out, &conformancev1.ServerCompatResponse{
		Host:    host,
		Port:    uint32(s.port),
		PemCert: asked.GetServerCreds().GetCert(),
	})
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- s.serve() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return s.close()
	}
}

// newHandler returns the service with every compression and the configuration's limit.
func newHandler(asked *conformancev1.ServerCompatRequest) (http.Handler, error) {
	options := []connect.HandlerOption{connect.WithCompressMinBytes(0)} // the suite's messages are small
	for number := range conformancev1.Compression_name {
		_, option, err := wire.Compression(conformancev1.Compression(number))
		if err != nil {
			return nil, err
		}
		if option != nil {
			options = append(options, option)
		}
	}
	if limit := asked.GetMessageReceiveLimit(); limit > 0 {
		options = append(options, connect.WithReadMaxBytes(int(limit)))
	}
	mux := http.NewServeMux()
	mux.Handle(conformancev1connect.NewConformanceServiceHandler(service{}, options...))
	return mux, nil
}

// newTLSConfig returns nil if the configuration has no TLS.
func newTLSConfig(asked *conformancev1.ServerCompatRequest) (*tls.Config, error) {
	if !asked.GetUseTls() {
		return nil, nil
	}
	pair, err := tls.X509KeyPair(asked.GetServerCreds().GetCert(), asked.GetServerCreds().GetKey())
	if err != nil {
		return nil, fmt.Errorf("reading the server's certificate: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if trusted := asked.GetClientTlsCert(); len(trusted) > 0 {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(trusted) {
			return nil, errors.New("reading the clients' certificate: no certificate in it")
		}
	}
	return config, nil
}

// listening is a server that has its port.
type listening struct {
	port  int
	serve func() error
	close func() error
}

// listen offers one version of HTTP, so that a client cannot fall back to
// another.
func listen(version conformancev1.HTTPVersion, handler http.Handler, security *tls.Config, engine bool) (listening, error) {
	var protocols http.Protocols
	switch {
	case version == conformancev1.HTTPVersion_HTTP_VERSION_1:
		protocols.SetHTTP1(true)
	case version == conformancev1.HTTPVersion_HTTP_VERSION_2 && security != nil:
		protocols.SetHTTP2(true)
	case version == conformancev1.HTTPVersion_HTTP_VERSION_2:
		protocols.SetUnencryptedHTTP2(true)
	case version == conformancev1.HTTPVersion_HTTP_VERSION_3 && security != nil:
		return listenQUIC(handler, security)
	default:
		return listening{}, fmt.Errorf("no server for %v with TLS: %v", version, security != nil)
	}
	server := &http.Server{Handler: handler, TLSConfig: security, Protocols: &protocols}
	if engine {
		if err := h2.ConfigureServer(server, nil); err != nil {
			return listening{}, err
		}
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return listening{}, err
	}
	return listening{
		port: listener.Addr().(*net.TCPAddr).Port,
		serve: func() error {
			if security != nil {
				return server.ServeTLS(listener, "", "")
			}
			return server.Serve(listener)
		},
		close: server.Close,
	}, nil
}

func listenQUIC(handler http.Handler, security *tls.Config) (listening, error) {
	conn, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		return listening{}, err
	}
	server := &http3.Server{Handler: handler, TLSConfig: http3.ConfigureTLSConfig(security)}
	return listening{
		port:  conn.LocalAddr().(*net.UDPAddr).Port,
		serve: func() error { return server.Serve(conn) },
		close: server.Close,
	}, nil
}
