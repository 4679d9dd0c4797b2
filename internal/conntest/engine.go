// SPDX-License-Identifier: Apache-2.0

// This file holds the table of HTTP engines that the modes run on.

package conntest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// An engine is one HTTP implementation and version: a column of the matrix.
type engine struct {
	name string
	// proto is http.Request.Proto as a handler sees it.
	proto string
	// duplex says that a response may be read while the request is written.
	duplex bool
	// memory says that the engine also runs on a memoryNetwork, and therefore
	// inside a synctest bubble.
	memory bool
	start  func(http.Handler, network) (*server, error)
}

// engines is the HTTP column. A new engine needs a row here and nothing else.
var engines = []engine{
	{name: "h1", proto: "HTTP/1.1", memory: true, start: startH1},
	{name: "h2", proto: "HTTP/2.0", duplex: true, memory: true, start: startH2},
	{name: "h2c", proto: "HTTP/2.0", duplex: true, memory: true, start: startH2C},
	{name: "h3", proto: "HTTP/3.0", duplex: true, start: startH3},
}

// A server is an engine that listens, with the transport that reaches it.
type server struct {
	url       string
	transport http.RoundTripper
	// closeIdle drops the transport's unused connections.
	closeIdle func()
	// close ends the listener, all connections and the transport.
	close func()
}

func startH1(handler http.Handler, network network) (*server, error) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return startStd(handler, network, protocols, false)
}

func startH2(handler http.Handler, network network) (*server, error) {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return startStd(handler, network, protocols, true)
}

func startH2C(handler http.Handler, network network) (*server, error) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return startStd(handler, network, protocols, false)
}

// startStd runs net/http on both sides.
func startStd(handler http.Handler, network network, protocols *http.Protocols, encrypted bool) (*server, error) {
	listener, err := network.listen()
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	host := &http.Server{
		Handler:   handler,
		Protocols: protocols,
		// Panics of handlers are part of the tests.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	transport := &http.Transport{
		Protocols:           protocols,
		DialContext:         network.dial,
		MaxIdleConnsPerHost: 100,
	}
	scheme := "http"
	var serving sync.WaitGroup
	if encrypted {
		scheme = "https"
		host.TLSConfig = serverTLS()
		transport.TLSClientConfig = clientTLS()
		serving.Go(func() { _ = host.ServeTLS(listener, "", "") })
	} else {
		serving.Go(func() { _ = host.Serve(listener) })
	}
	return &server{
		url:       scheme + "://" + listener.Addr().String(),
		transport: transport,
		closeIdle: transport.CloseIdleConnections,
		close: func() {
			_ = host.Close()
			serving.Wait()
			transport.CloseIdleConnections()
		},
	}, nil
}

// startH3 runs quic-go on both sides.
func startH3(handler http.Handler, _ network) (*server, error) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	config := func() *quic.Config { return &quic.Config{MaxIncomingStreams: 4096} }
	host := &http3.Server{
		Handler:    handler,
		TLSConfig:  http3.ConfigureTLSConfig(serverTLS()),
		QUICConfig: config(),
	}
	transport := &http3.Transport{TLSClientConfig: clientTLS(), QUICConfig: config()}
	var serving sync.WaitGroup
	serving.Go(func() { _ = host.Serve(socket) })
	return &server{
		url:       "https://" + socket.LocalAddr().String(),
		transport: transport,
		closeIdle: transport.CloseIdleConnections,
		close: func() {
			_ = transport.Close()
			_ = host.Close()
			serving.Wait()
			_ = socket.Close()
		},
	}, nil
}

// A network is what the engines on TCP listen on and dial.
type network interface {
	listen() (net.Listener, error)
	dial(ctx context.Context, network, address string) (net.Conn, error)
}

// loopback is the operating system's network.
type loopback struct{}

func (loopback) listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

func (loopback) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

// memoryNetwork connects one listener with those who dial, without the
// operating system, so that a synctest bubble knows when all of them wait.
type memoryNetwork struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemoryNetwork() *memoryNetwork {
	return &memoryNetwork{accept: make(chan net.Conn), closed: make(chan struct{})}
}

func (m *memoryNetwork) listen() (net.Listener, error) { return (*memoryListener)(m), nil }

func (m *memoryNetwork) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case m.accept <- far:
		return near, nil
	case <-m.closed:
		return nil, errors.New("dialing: the listener is closed")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type memoryListener memoryNetwork

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accept:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return memoryAddr{} }

type memoryAddr struct{}

func (memoryAddr) Network() string { return "memory" }
func (memoryAddr) String() string  { return "memory.test:80" }

// identity is the self-signed certificate that the encrypted engines share. It
// is valid in the year 2000 too, where synctest's clock starts.
var identity = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "conntest"},
		NotBefore:             time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		DNSNames:              []string{"memory.test"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

func serverTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{identity()}, MinVersion: tls.VersionTLS13}
}

func clientTLS() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(identity().Leaf)
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
}
