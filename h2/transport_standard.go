// SPDX-License-Identifier: Apache-2.0

// The client within an http.Transport, which dials and keeps HTTP/1.1.
//
// Invariants. net/http finds three things of ours: pooled, registered for https, which
// uses the connections that there are; the functions in TLSNextProto, which take over a
// connection that net/http has dialed; and NewClientConn. A clone of the http.Transport
// has none of them, so its calls never use connections with another client certificate.

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

// ConfigureTransport makes an [http.Transport] speak HTTP/2 with this package, where its
// Protocols allow HTTP/2: negotiated over TLS, or over cleartext with prior knowledge
// [RFC 9113, sections 3.2 and 3.3]. The http.Transport goes on dialing, with its proxies
// and settings, and HTTP/1.1 stays with net/http. Call it once, before the transport is
// used. A nil config means defaults. If transport.Protocols is nil, HTTP/1.1 and HTTP/2
// over TLS are enabled; it is an error if they have no HTTP/2, if transport is nil, or
// if it has been used or configured before. The transport's limits and timeouts are read
// when its first connection is there.
//
// Like net/http, ConfigureTransport sets the NextProtos of transport.TLSClientConfig in
// place, for dialing functions that share the configuration. A transport that Clone
// returns shares no connections with this one: it speaks HTTP/2 with net/http until it
// is configured, too.
//
// With GODEBUG=http2client=0, which turns net/http's HTTP/2 off, ConfigureTransport does
// nothing and returns nil.
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
		if v := recover(); v != nil { // RegisterProtocol panics if there is one already
			err = fmt.Errorf("h2: ConfigureTransport: %v", v)
		}
	}()
	found := &within{t: t}
	transport.RegisterProtocol("https", pooled{found})
	// The first call of a method makes net/http look, once, for another implementation of
	// HTTP/2. It finds ours. If TLSNextProto is nil at that moment, net/http does not copy
	// it to clones later: a clone would hand its connections to our pool, where connections
	// may have another client certificate.
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

// setNextProtos makes a TLS configuration negotiate the protocols that are enabled,
// beside others that it has. Another configuration may share the slice, so a new one
// replaces it.
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

// A within is the value by which an http.Transport finds this implementation.
type within struct {
	t     *Transport
	found atomic.Bool
}

// CloseIdleConnections runs when that of the http.Transport is called.
func (w *within) CloseIdleConnections() {
	w.found.Store(true)
	w.t.CloseIdleConnections()
}

// A pooled is asked first by an http.Transport for https, and uses connections that
// there are. net/http finds its method CloseIdleConnections by the type's shape: a
// struct with one exported field, whose type has that method.
type pooled struct{ Within *within }

// RoundTrip uses a connection that there is, or leaves the request to the
// http.Transport.
func (p pooled) RoundTrip(r *http.Request) (*http.Response, error) {
	p.Within.t.settle()
	response, err := p.Within.t.roundTrip(r, func(trace *httptrace.ClientTrace, h *host) {
		if trace != nil && h.takesMore() { // otherwise net/http reports to the trace
			traceGetConn(trace, h)
		}
	})
	if err == errNoConn {
		return nil, http.ErrSkipAltProtocol
	}
	return response, err
}

// An adopted is what an http.Transport uses for a connection that it has handed over.
// net/http has reported to the trace already.
type adopted struct{ t *Transport }

// RoundTrip uses any connection to the host that has a place.
func (a adopted) RoundTrip(r *http.Request) (*http.Response, error) { return a.t.roundTrip(r, nil) }

// A failing fails all requests.
type failing struct{ err error }

// RoundTrip returns the error.
func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// RoundTripErr returns the error: net/http calls it when it has handed a connection
// over.
func (f failing) RoundTripErr() error { return f.err }

// noConnError makes net/http dial a connection and try again: net/http looks for the
// method.
type noConnError struct{}

func (noConnError) Error() string             { return "h2: no connection with room for the request" }
func (noConnError) IsHTTP2NoCachedConnError() {}

var errNoConn error = noConnError{}

// adopt takes over a connection that net/http has dialed.
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

// adopt adds a connection to the pool, and returns when its greeting is written. If the
// pool takes more calls without it, which happens when many first calls dial at once,
// the connection is closed: calls that share a connection share its writes.
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
