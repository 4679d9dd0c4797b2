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

	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/inprocess"
)

// An engine is one HTTP implementation and version: a column of the matrix.
type engine struct {
	name string
	// proto is http.Request.Proto as a handler sees it.
	proto string
	// duplex is true if a client may read the response while it writes the request.
	duplex bool
	// memory is true if the engine also runs on a memoryNetwork, and therefore
	// inside a synctest bubble.
	memory bool
	// inprocess is true if there is no network: nothing to dial, to lose or to trace.
	inprocess bool
	// part is true if the full matrix has the engine in a third of its cells only:
	// other rows cover its code in full.
	part bool
	// single is true if a URL has no path before that of the procedure, so that a server
	// cannot be several sites.
	single bool
	// untraced is true if the transport has no connection to report to package httptrace.
	untraced bool
	// foreign is true if the library does not know the engine's http.ResponseWriter, and
	// takes it for that of middleware: it sets no Content-Length.
	foreign bool
	// drains is true if the server is net/http's with HTTP/2: a handler that refuses a
	// request reads the rest of it.
	drains bool
	start  func(http.Handler, network) (*server, error)
}

// engines is the HTTP column. A new engine needs a row here and nothing else.
// Names with "engine" stand for package h2 of this module, on both sides or on the
// one that is named, with net/http on the other, and net/http's types between the
// engine and the library. Names with "direct" stand for it on both sides with the
// direct path, without these types. The server of "direct-h2" is an h2.Server, the others
// are an http.Server. The row "direct-h2-balance" has a balance.Balancer in the client. Names with "inprocess" stand for package inprocess; with "http" in
// the name, net/http's types are between it and the library. The row "nats" has package nats:
// what does not apply to it is in its columns, and where those are true the tests that look at
// them check that too.
var engines = []engine{
	{name: "h1", proto: "HTTP/1.1", memory: true, start: startH1},
	{name: "h2", proto: "HTTP/2.0", duplex: true, memory: true, drains: true, start: startH2},
	{name: "h2c", proto: "HTTP/2.0", duplex: true, memory: true, drains: true, start: startH2C},
	{name: "h3", proto: "HTTP/3.0", duplex: true, foreign: true, start: startH3},
	{name: "engine-h2", proto: "HTTP/2.0", duplex: true, memory: true, part: true, start: startEngineH2},
	{name: "engine-h2c", proto: "HTTP/2.0", duplex: true, memory: true, part: true, start: startEngineH2C},
	{name: "direct-h2", proto: "HTTP/2.0", duplex: true, memory: true, part: true, start: startDirectH2},
	{name: "direct-h2c", proto: "HTTP/2.0", duplex: true, memory: true, start: startDirectH2C},
	{name: "engine-server-h2c", proto: "HTTP/2.0", duplex: true, memory: true, part: true, start: startEngineServer},
	{name: "engine-client-h2", proto: "HTTP/2.0", duplex: true, memory: true, part: true, drains: true, start: startEngineClient},
	{name: "direct-h2-balance", proto: "HTTP/2.0", duplex: true, memory: true, part: true, start: startBalance},
	{name: "inprocess", proto: "HTTP/2.0", duplex: true, memory: true, inprocess: true, start: startInprocess},
	{name: "inprocess-http", proto: "HTTP/2.0", duplex: true, memory: true, part: true, inprocess: true, start: startInprocessHTTP},
	{name: "nats", proto: "HTTP/2.0", duplex: true, part: true, single: true, untraced: true, foreign: true, start: startNATS},
}

// A server is an engine that listens, with the transport that reaches it.
type server struct {
	url       string
	transport http.RoundTripper
	// close ends the listener, all connections and the transport.
	close func()
}

func startH1(handler http.Handler, network network) (*server, error) {
	return tcp{http1: true}.start(handler, network)
}

func startH2(handler http.Handler, network network) (*server, error) {
	return tcp{encrypted: true}.start(handler, network)
}

func startH2C(handler http.Handler, network network) (*server, error) {
	return tcp{}.start(handler, network)
}

func startEngineH2(handler http.Handler, network network) (*server, error) {
	return tcp{encrypted: true, engineServer: true, engineClient: newTransport}.start(handler, network)
}

func startEngineH2C(handler http.Handler, network network) (*server, error) {
	return tcp{engineServer: true, engineClient: newTransport}.start(handler, network)
}

func startDirectH2(handler http.Handler, network network) (*server, error) {
	return tcp{encrypted: true, engineServer: true, own: true, engineClient: newTransport, direct: true}.start(handler, network)
}

func startDirectH2C(handler http.Handler, network network) (*server, error) {
	return tcp{engineServer: true, engineClient: newTransport, direct: true}.start(handler, network)
}

func startEngineServer(handler http.Handler, network network) (*server, error) {
	return tcp{engineServer: true}.start(handler, network)
}

func startEngineClient(handler http.Handler, network network) (*server, error) {
	return tcp{encrypted: true, engineClient: configureTransport}.start(handler, network)
}

// startBalance has a balancer of one endpoint between the library and the engine's
// transport.
func startBalance(handler http.Handler, network network) (*server, error) {
	return tcp{encrypted: true, engineServer: true, engineClient: newBalancer, direct: true}.start(handler, network)
}

// startInprocess calls the handler without a network. Unary calls take the direct path.
func startInprocess(handler http.Handler, _ network) (*server, error) {
	transport := inprocess.NewTransport(handler)
	transport.ErrorLog = log.New(io.Discard, "", 0) // panics of handlers are part of the tests
	return &server{url: "http://in.process", transport: transport, close: func() {}}, nil
}

// startInprocessHTTP is startInprocess with net/http's types in all calls.
func startInprocessHTTP(handler http.Handler, network network) (*server, error) {
	s, err := startInprocess(indirectHandler{handler}, network)
	if err == nil {
		s.transport = indirectInprocess{s.transport}
	}
	return s, err
}

// indirectInprocess hides the direct path of a transport.
type indirectInprocess struct{ inner http.RoundTripper }

func (t indirectInprocess) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.inner.RoundTrip(r)
}

func (t indirectInprocess) HeedsContext(http.RoundTripper) bool { return true }

// tcp holds the differences between the engines on TCP. The zero value is net/http on
// both sides with HTTP/2 in cleartext.
type tcp struct {
	http1        bool
	encrypted    bool
	engineServer bool
	own          bool // an h2.Server accepts
	engineClient func(standard *http.Transport, address string) (http.RoundTripper, func(), error)
	direct       bool
	writeTimeout time.Duration // of the server

	// Of tests that need their own; nil for those of all engines.
	serverTLS, clientTLS *tls.Config
	connContext          func(context.Context, net.Conn) context.Context
}

// indirectHandler and indirectTransport keep the engine and the library from
// finding each other's direct path.
type indirectHandler struct{ inner http.Handler }

func (h indirectHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.inner.ServeHTTP(w, r) }

type indirectTransport struct{ inner *h2.Transport }

func (t indirectTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.inner.RoundTrip(r)
}

func (t indirectTransport) HeedsContext(http.RoundTripper) bool {
	return t.inner.HeedsContext(t.inner)
}
func (t indirectTransport) CloseIdleConnections() { t.inner.CloseIdleConnections() }

// newTransport replaces an http.Transport by one of the engine's own.
func newTransport(standard *http.Transport, _ string) (http.RoundTripper, func(), error) {
	transport := h2.NewTransport(&h2.TransportConfig{
		DialContext:     standard.DialContext,
		TLSClientConfig: standard.TLSClientConfig,
	})
	return transport, func() { _ = transport.Close() }, nil
}

// configureTransport puts the engine below an http.Transport.
func configureTransport(standard *http.Transport, _ string) (http.RoundTripper, func(), error) {
	return standard, standard.CloseIdleConnections, h2.ConfigureTransport(standard, nil)
}

// newBalancer puts a balance.Balancer in the place of an http.Transport.
func newBalancer(standard *http.Transport, address string) (http.RoundTripper, func(), error) {
	balancer, err := balance.New(balance.Static(address),
		balance.DialContext(standard.DialContext), balance.TLS(standard.TLSClientConfig))
	if err != nil {
		return nil, nil, err
	}
	return balancer, balancer.Close, nil
}

func (x tcp) start(handler http.Handler, network network) (*server, error) {
	listener, err := network.listen()
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(x.http1)
	protocols.SetHTTP2(!x.http1 && x.encrypted)
	protocols.SetUnencryptedHTTP2(!x.http1 && !x.encrypted)
	if !x.direct {
		handler = indirectHandler{handler}
	}
	host := &http.Server{
		Handler:   handler,
		Protocols: protocols,
		// Panics of handlers are part of the tests.
		ErrorLog:     log.New(io.Discard, "", 0),
		WriteTimeout: x.writeTimeout,
		ConnContext:  x.connContext,
	}
	standard := &http.Transport{
		Protocols:           protocols,
		DialContext:         network.dial,
		MaxIdleConnsPerHost: 100,
	}
	scheme := "http"
	if x.encrypted {
		scheme = "https"
		host.TLSConfig, standard.TLSClientConfig = x.serverTLS.Clone(), x.clientTLS.Clone()
		if x.serverTLS == nil {
			host.TLSConfig, standard.TLSClientConfig = serverTLS(), clientTLS()
		}
	}
	serve, serveTLS, end := host.Serve, host.ServeTLS, host.Close
	switch {
	case x.own:
		var own *h2.Server
		if own, err = h2.NewServer(host, nil); err == nil {
			serve, serveTLS, end = own.Serve, own.ServeTLS, own.Close
		}
	case x.engineServer:
		err = h2.ConfigureServer(host, nil)
	}
	var transport http.RoundTripper = standard
	closeTransport := standard.CloseIdleConnections
	if x.engineClient != nil && err == nil {
		transport, closeTransport, err = x.engineClient(standard, listener.Addr().String())
	}
	if own, ok := transport.(*h2.Transport); ok && !x.direct {
		transport = indirectTransport{own}
	}
	if err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("configuring the engine: %w", err)
	}
	var serving sync.WaitGroup
	if x.encrypted {
		serving.Go(func() { _ = serveTLS(listener, "", "") })
	} else {
		serving.Go(func() { _ = serve(listener) })
	}
	return &server{
		url:       scheme + "://" + listener.Addr().String(),
		transport: transport,
		close: func() {
			_ = end()
			serving.Wait()
			closeTransport()
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
	// The first request completes the transport, and may come together with Close: that
	// would be a data race of the transport. This one is not sent.
	first, err := http.NewRequest(http.MethodGet, "https://"+socket.LocalAddr().String(), nil)
	if err == nil {
		_, err = transport.RoundTripOpt(first, http3.RoundTripOpt{OnlyCachedConn: true})
	}
	if !errors.Is(err, http3.ErrNoCachedConn) {
		return nil, fmt.Errorf("first request: got %w, want %w", err, http3.ErrNoCachedConn)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = host.Serve(socket) })
	return &server{
		url:       "https://" + socket.LocalAddr().String(),
		transport: transport,
		close: func() {
			_ = transport.Close()
			_ = host.Close()
			serving.Wait()
			_ = socket.Close()
		},
	}, nil
}

// A network is where the engines on TCP listen and dial.
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

// memoryNetwork connects clients with one listener in memory, without the operating
// system, so that the clock of a synctest bubble moves when all goroutines wait.
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
