// SPDX-License-Identifier: Apache-2.0

// The client within an http.Transport, which dials and keeps HTTP/1.1.

package h2

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
)

// ConfigureTransport makes an [http.Transport] speak HTTP/2 with this package,
// where its Protocols allow HTTP/2: negotiated over TLS, or unencrypted with prior
// knowledge. It goes on dialing, with its proxies and settings; HTTP/1.1 stays with
// net/http. It is called once, after the transport's other fields are set and
// before it is used; a nil config means defaults. If transport.Protocols is nil,
// HTTP/1.1 and HTTP/2 over TLS are enabled.
func ConfigureTransport(transport *http.Transport, config *TransportConfig) (err error) {
	if transport == nil {
		return errors.New("h2: ConfigureTransport: nil transport")
	}
	t := newTransport(config, transport)
	defer func() {
		if v := recover(); v != nil { // that is how RegisterProtocol says no
			err = fmt.Errorf("h2: ConfigureTransport: %v", v)
		}
	}()
	transport.RegisterProtocol("https", pooled{t})
	if transport.Protocols == nil {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP1(true)
		transport.Protocols.SetHTTP2(true)
	}
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = new(tls.Config)
	} else {
		transport.TLSClientConfig = transport.TLSClientConfig.Clone() // it may be shared
	}
	protos := slices.Clone(transport.TLSClientConfig.NextProtos)
	if !slices.Contains(protos, nextProtoTLS) && transport.Protocols.HTTP2() {
		protos = append([]string{nextProtoTLS}, protos...)
	}
	if !slices.Contains(protos, "http/1.1") && transport.Protocols.HTTP1() {
		protos = append(protos, "http/1.1")
	}
	transport.TLSClientConfig.NextProtos = protos
	if transport.TLSNextProto == nil {
		transport.TLSNextProto = make(map[string]func(string, *tls.Conn) http.RoundTripper)
	}
	transport.TLSNextProto[nextProtoTLS] = func(authority string, nc *tls.Conn) http.RoundTripper {
		return t.adopt("https", authority, nc)
	}
	transport.TLSNextProto[nextProtoUnencrypted] = func(authority string, nc *tls.Conn) http.RoundTripper {
		inner, ok := nc.NetConn().(interface{ UnencryptedNetConn() net.Conn })
		if !ok {
			return failing{errors.New("h2: got a TLS connection where a cleartext one was expected")}
		}
		return t.adopt("http", authority, inner.UnencryptedNetConn())
	}
	return nil
}

// pooled is what an http.Transport asks first for https: it uses connections that
// are there. The type's shape, a struct of one exported field with a method
// CloseIdleConnections, is how http.Transport finds that method.
type pooled struct{ *Transport }

// RoundTrip uses a connection that is there, or leaves the request to the
// http.Transport.
func (p pooled) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := p.roundTrip(r, func(trace *httptrace.ClientTrace, h *host) {
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

// adopt adds a connection to the pool, or closes it if the pool needs no other.
func (h *host) adopt(nc net.Conn) error {
	h.adopting.Lock()
	defer h.adopting.Unlock()
	if h.takesMore() {
		go nc.Close() // may wait for the network
		return nil
	}
	return h.add(nc)
}
