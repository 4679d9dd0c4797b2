// SPDX-License-Identifier: Apache-2.0

// This file is laid beside the tests of net/http, last in the order of files. It
// decides which HTTP/2 the servers and clients of a test get.

package http_test

import (
	"crypto/tls"
	"net"
	. "net/http"
	"net/http/httptest"
	"net/http/internal/h2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	engineServes  = os.Getenv("NETHTTPTEST_SERVER") != "" // the engine is the server
	engineAccepts = os.Getenv("NETHTTPTEST_OWN") != ""    // and its h2.Server accepts
	engineCalls   = os.Getenv("NETHTTPTEST_CLIENT") != "" // the engine is the client

	served, dialed atomic.Int64 // connections that the engine was given
)

// http2Only leaves of a test's modes those that use HTTP/2.
func http2Only(modes []testMode) []testMode {
	return slices.DeleteFunc(slices.Clone(modes), func(m testMode) bool {
		return m != http2Mode && m != http2UnencryptedMode
	})
}

// configureServer gives a server its HTTP/2, after its fields are set. It marks the
// test as one that uses HTTP/2.
func configureServer(t testing.TB, ts *httptest.Server) {
	t.Helper()
	server := ts.Config
	t.Attr("http2", "server")
	if !engineServes {
		if err := ExportHttp2ConfigureServer(server, nil); err != nil {
			t.Fatal(err)
		}
		return
	}
	if engineAccepts {
		own, err := h2.NewServer(server, nil)
		if err != nil {
			t.Fatal(err)
		}
		ts.Listener = &acceptsNone{Listener: ts.Listener, server: ts, own: own, ended: make(chan struct{})}
	} else if err := h2.ConfigureServer(server, nil); err != nil {
		t.Fatal(err)
	}
	for proto, serve := range server.TLSNextProto {
		server.TLSNextProto[proto] = func(server *Server, nc *tls.Conn, handler Handler) {
			served.Add(1)
			serve(server, nc, handler)
		}
	}
}

// An acceptsNone is the listener that the tests' http.Server has beside the h2.Server,
// which accepts from the real one. The http.Server closes both.
type acceptsNone struct {
	net.Listener // the real one
	server       *httptest.Server
	own          *h2.Server
	begin, end   sync.Once
	ended        chan struct{}
}

func (l *acceptsNone) Accept() (net.Conn, error) {
	l.begin.Do(func() {
		real := l.Listener
		if l.server.TLS != nil {
			real = tls.NewListener(real, l.server.TLS)
		}
		go l.own.Serve(real)
	})
	<-l.ended
	return nil, net.ErrClosed
}

func (l *acceptsNone) Close() error {
	l.end.Do(func() { close(l.ended) })
	return l.Listener.Close()
}

// configureTransportFirst gives a transport its HTTP/2 before its fields are set,
// which is the order that the tests have. Go's own HTTP/2 reads the fields later.
func configureTransportFirst(transport *Transport) error {
	if engineCalls {
		return nil
	}
	return ExportHttp2ConfigureTransport(transport)
}

// configureTransportLast gives a transport the engine after its fields are set,
// which is what the engine asks for.
func configureTransportLast(t testing.TB, mode testMode, transport *Transport) {
	t.Helper()
	if !engineCalls || mode != http2Mode && mode != http2UnencryptedMode {
		return
	}
	if err := configureEngine(transport); err != nil {
		t.Fatal(err)
	}
}

// configureTransport gives a transport that has its fields its HTTP/2.
func configureTransport(t testing.TB, transport *Transport) error {
	t.Helper()
	t.Attr("http2", "client")
	if engineCalls {
		return configureEngine(transport)
	}
	return ExportHttp2ConfigureTransport(transport)
}

func configureEngine(transport *Transport) error {
	if err := h2.ConfigureTransport(transport, nil); err != nil {
		return err
	}
	for proto, adopt := range transport.TLSNextProto {
		transport.TLSNextProto[proto] = func(authority string, nc *tls.Conn) RoundTripper {
			dialed.Add(1)
			return adopt(authority, nc)
		}
	}
	return nil
}

// TestEngineConnections runs last and reports how many connections the engine was
// given.
func TestEngineConnections(t *testing.T) {
	t.Attr("served", strconv.FormatInt(served.Load(), 10))
	t.Attr("dialed", strconv.FormatInt(dialed.Load(), 10))
}
