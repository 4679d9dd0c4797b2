// SPDX-License-Identifier: Apache-2.0

// The client within an http.Transport, which dials and keeps HTTP/1.1.

package h2

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// ConfigureTransport makes an [http.Transport] speak HTTP/2 with this package,
// where its Protocols allow HTTP/2: negotiated over TLS, or unencrypted with prior
// knowledge. It goes on dialing, with its proxies and settings; HTTP/1.1 stays with
// net/http. It is called once, before the transport is used; a nil config means
// defaults. If transport.Protocols is nil, HTTP/1.1 and HTTP/2 over TLS are enabled;
// if it has no HTTP/2, that is an error. The transport's limits and timeouts are read
// when its first connection is there.
//
// As net/http does, it sets the NextProtos of transport.TLSClientConfig in place, for
// dialing functions that share it. A transport that Clone returns shares nothing with
// this one: it speaks HTTP/2 with net/http until it is configured, too. Of
// TLSNextProto it has none of the entries.
//
// With GODEBUG=http2client=0, which turns net/http's HTTP/2 off, ConfigureTransport
// does nothing.
func ConfigureTransport(transport *http.Transport, config *TransportConfig) (err error) {
	if transport == nil {
		return errors.New("h2: ConfigureTransport: nil transport")
	}
	if p := transport.Protocols; p != nil && !p.HTTP2() && !p.UnencryptedHTTP2() {
		return errors.New("h2: ConfigureTransport: the transport's Protocols have no HTTP/2: set HTTP2 for TLS, UnencryptedHTTP2 for cleartext, or leave Protocols nil")
	}
	if switchedOff(switchClient) {
		return nil
	}
	t := newTransport(config, transport)
	defer func() {
		if v := recover(); v != nil { // that is how RegisterProtocol says no
			err = fmt.Errorf("h2: ConfigureTransport: %v", v)
		}
	}()
	found := &within{t: t}
	transport.RegisterProtocol("https", pooled{found})
	// Whatever is called first makes net/http look, once, for another implementation.
	// It finds ours, and without TLSNextProto at that moment it does not copy it to
	// clones: those would hand their connections to our pool, whose connections may
	// have another client's certificate.
	others := transport.TLSNextProto
	transport.TLSNextProto = nil
	transport.CloseIdleConnections()
	transport.TLSNextProto = others
	if !found.found.Load() {
		return errors.New("h2: ConfigureTransport: the transport has been used before")
	}
	if transport.Protocols == nil {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP1(true)
		transport.Protocols.SetHTTP2(true)
	}
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = new(tls.Config)
	}
	setNextProtos(transport.TLSClientConfig, transport.Protocols)
	next := maps.Clone(others)
	if next == nil {
		next = make(map[string]func(string, *tls.Conn) http.RoundTripper)
	}
	next[nextProtoTLS] = func(authority string, nc *tls.Conn) http.RoundTripper {
		return t.adopt("https", authority, nc)
	}
	next[nextProtoUnencrypted] = func(authority string, nc *tls.Conn) http.RoundTripper {
		inner, ok := nc.NetConn().(interface{ UnencryptedNetConn() net.Conn })
		if !ok {
			return failing{errors.New("h2: got a TLS connection where a cleartext one was expected")}
		}
		return t.adopt("http", authority, inner.UnencryptedNetConn())
	}
	transport.TLSNextProto = next
	return nil
}

// setNextProtos makes a configuration negotiate what is enabled, beside what else it
// has. The slice may be shared, so it is not written to.
func setNextProtos(config *tls.Config, enabled *http.Protocols) {
	var protos []string
	if enabled.HTTP2() {
		protos = append(protos, nextProtoTLS)
	}
	for _, proto := range config.NextProtos {
		if proto != nextProtoTLS && proto != nextProtoHTTP1 {
			protos = append(protos, proto)
		}
	}
	if enabled.HTTP1() {
		protos = append(protos, nextProtoHTTP1)
	}
	config.NextProtos = protos
}

const nextProtoHTTP1 = "http/1.1"

// within is what an http.Transport finds of ours.
type within struct {
	t     *Transport
	found atomic.Bool
}

// CloseIdleConnections is called by that of the http.Transport.
func (w *within) CloseIdleConnections() {
	w.found.Store(true)
	w.t.CloseIdleConnections()
}

// pooled is what an http.Transport asks first for https: it uses connections that
// are there. The type's shape, a struct of one exported field with a method
// CloseIdleConnections, is how http.Transport finds that method.
type pooled struct{ Within *within }

// RoundTrip uses a connection that is there, or leaves the request to the
// http.Transport.
func (p pooled) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := p.Within.t.roundTrip(r, func(trace *httptrace.ClientTrace, h *host) {
		if trace != nil && h.takesMore() { // otherwise net/http tells the trace
			traceGetConn(trace, h)
		}
	})
	if err == errNoConn {
		return nil, http.ErrSkipAltProtocol
	}
	return response, err
}

// adopted is what an http.Transport uses for a connection that it has handed
// over. It has told the trace already.
type adopted struct{ t *Transport }

// RoundTrip uses any connection to the host that has room.
func (a adopted) RoundTrip(r *http.Request) (*http.Response, error) { return a.t.roundTrip(r, nil) }

// failing fails all requests. net/http asks it at once.
type failing struct{ err error }

// RoundTrip fails.
func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// RoundTripErr is what net/http looks for after handing a connection over.
func (f failing) RoundTripErr() error { return f.err }

// noConnError tells net/http to dial a connection and try again.
type noConnError struct{}

func (noConnError) Error() string             { return "h2: no connection with room for the request" }
func (noConnError) IsHTTP2NoCachedConnError() {}

var errNoConn error = noConnError{}

// adopt takes a connection that net/http has opened. One that is not needed, as
// happens when many first calls dial at once, is closed: calls that share a
// connection share its writes.
func (t *Transport) adopt(scheme, authority string, nc net.Conn) http.RoundTripper {
	t.settle()
	for {
		t.mu.Lock()
		h := t.hostLocked(scheme, withPort(scheme, authority))
		closed := t.closed
		t.mu.Unlock()
		if closed {
			_ = nc.Close()
			return failing{errTransportClosed}
		}
		if err := h.adopt(nc); err != errHostGone {
			if err != nil {
				return failing{err}
			}
			return adopted{t}
		}
	}
}

// adopt adds a connection to the pool, once what it says first has been written, or closes it if the pool needs no other.
func (h *host) adopt(nc net.Conn) error {
	h.adopting.Lock()
	defer h.adopting.Unlock()
	if h.takesMore() {
		go nc.Close() // may wait for the network
		return nil
	}
	c, err := h.add(nc)
	if err != nil {
		return err
	}
	return c.greetingWritten()
}
