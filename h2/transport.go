// SPDX-License-Identifier: Apache-2.0

// The client: how requests find a connection.

package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A TransportConfig tunes a client. The zero value is a good choice.
type TransportConfig struct {
	// HTTP2 holds what the standard library has a field for. ConfigureTransport
	// takes that of the http.Transport if it is nil.
	HTTP2 *http.HTTP2Config

	// KeepAlive is how long a connection with open calls may be silent before a
	// PING asks whether it is alive, and KeepAliveTimeout how long the answer may
	// take before the connection is given up. Zero means 5 seconds each; a negative
	// KeepAlive means never.
	KeepAlive, KeepAliveTimeout time.Duration

	// The rest is for NewTransport; ConfigureTransport leaves it to the
	// http.Transport.

	// DialContext opens connections; nil means a [net.Dialer] without settings.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// TLSClientConfig is for https URLs. NextProtos is set to "h2".
	TLSClientConfig *tls.Config
	// MaxConnsPerHost bounds the connections to one host. Zero means that there is
	// one for each 100 calls under way, at most one for each core, and more only if
	// the peer's limit on streams asks for it.
	MaxConnsPerHost int
	// IdleConnTimeout closes connections without calls. Zero means 90 seconds, a
	// negative value never.
	IdleConnTimeout time.Duration
	// MaxResponseHeaderBytes bounds one field section of a response. Zero means 64 KiB.
	MaxResponseHeaderBytes int64
	// DisableCompression keeps the transport from asking for gzip, and from
	// inflating it, where the request does not say what it accepts.
	DisableCompression bool
}

const (
	defaultKeepAlive = 5 * time.Second
	defaultIdleConn  = 90 * time.Second
	streamsAtFirst   = 100 // before the peer's SETTINGS say how many it takes
	crowded          = 100 // calls on one connection from which on another helps
	attemptsMax      = 6
)

// A Transport is an [http.RoundTripper] that speaks HTTP/2 only: over TLS to https
// URLs, over cleartext with prior knowledge to http URLs. Calls share connections;
// more are opened when the peer's limit on streams or the load asks for it. A call
// that the peer provably did not process, because it said so with GOAWAY or
// REFUSED_STREAM, is tried again on its own. It may be used by any number of
// goroutines.
type Transport struct {
	config   TransportConfig
	limits   limits
	standard *http.Transport // with ConfigureTransport: who dials

	mu     sync.Mutex
	hosts  map[string]*host
	closed bool
	open   int           // connections
	empty  chan struct{} // closed when open is 0 and closed is set
}

// NewTransport returns a transport that manages its own connections. A nil config
// means defaults.
func NewTransport(config *TransportConfig) *Transport {
	return newTransport(config, nil)
}

func newTransport(config *TransportConfig, standard *http.Transport) *Transport {
	t := &Transport{standard: standard, hosts: make(map[string]*host), empty: make(chan struct{})}
	if config != nil {
		t.config = *config
	}
	c := &t.config
	if c.HTTP2 == nil && standard != nil {
		c.HTTP2 = standard.HTTP2
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = defaultKeepAlive
		if c.HTTP2 != nil && c.HTTP2.SendPingTimeout > 0 {
			c.KeepAlive = c.HTTP2.SendPingTimeout
		}
	}
	if c.KeepAliveTimeout == 0 {
		c.KeepAliveTimeout = defaultKeepAlive
		if c.HTTP2 != nil && c.HTTP2.PingTimeout > 0 {
			c.KeepAliveTimeout = c.HTTP2.PingTimeout
		}
	}
	if standard != nil {
		c.IdleConnTimeout = standard.IdleConnTimeout
		if c.IdleConnTimeout == 0 {
			c.IdleConnTimeout = -1 // zero means no limit there
		}
		c.MaxResponseHeaderBytes = standard.MaxResponseHeaderBytes
		c.DisableCompression = standard.DisableCompression
	}
	if c.IdleConnTimeout == 0 {
		c.IdleConnTimeout = defaultIdleConn
	}
	if c.DialContext == nil {
		c.DialContext = new(net.Dialer).DialContext
	}
	t.limits = limitsOf(c.HTTP2, int(c.MaxResponseHeaderBytes))
	return t
}

// ConfigureTransport makes an [http.Transport] speak HTTP/2 with this package,
// where its Protocols allow HTTP/2: negotiated over TLS, or unencrypted with prior
// knowledge. It goes on dialing, with its proxies and settings; HTTP/1.1 stays with
// net/http. It is called once, before the transport is used; a nil config means
// defaults. If transport.Protocols is nil, HTTP/1.1 and HTTP/2 over TLS are enabled.
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
	}
	protos := transport.TLSClientConfig.NextProtos
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
	response, err := p.Transport.RoundTrip(r)
	if err == errNoConn {
		return nil, http.ErrSkipAltProtocol
	}
	return response, err
}

// failing fails all requests. net/http asks it at once.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// RoundTripErr is what net/http looks for after handing a connection over.
func (f failing) RoundTripErr() error { return f.err }

// noConnError tells net/http to dial a connection and try again.
type noConnError struct{}

func (noConnError) Error() string                  { return "h2: no connection with room for the request" }
func (noConnError) IsHTTP2NoCachedConnError() bool { return true }

var errNoConn error = noConnError{}

// errTransportClosed is for requests after Close or Shutdown.
var errTransportClosed = errors.New("h2: transport is closed")

// adopt takes a connection that net/http has opened.
func (t *Transport) adopt(scheme, authority string, nc net.Conn) http.RoundTripper {
	t.mu.Lock()
	h := t.hostLocked(scheme, withPort(scheme, authority))
	closed := t.closed
	t.mu.Unlock()
	if closed {
		_ = nc.Close()
		return failing{errTransportClosed}
	}
	h.add(t.newClientConn(h, nc))
	return t
}

// withPort returns host:port for an authority that may lack the port.
func withPort(scheme, authority string) string {
	if _, port, err := net.SplitHostPort(authority); err == nil && port != "" {
		return authority
	}
	port := "80"
	if scheme == "https" {
		port = "443"
	}
	if n := len(authority); n > 2 && authority[0] == '[' && authority[n-1] == ']' {
		authority = authority[1 : n-1]
	}
	return net.JoinHostPort(authority, port)
}

// hostLocked returns the host for an address, with mu held.
func (t *Transport) hostLocked(scheme, address string) *host {
	key := scheme + "://" + address
	h := t.hosts[key]
	if h == nil {
		h = &host{t: t, secure: scheme == "https", address: address, changed: make(chan struct{})}
		t.hosts[key] = h
	}
	return h
}

// host returns the host that a request goes to.
func (t *Transport) host(r *http.Request) (*host, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errTransportClosed
	}
	// The common key is found without building a string.
	var buf [128]byte
	key := append(append(append(buf[:0], r.URL.Scheme...), "://"...), r.URL.Host...)
	if h := t.hosts[string(key)]; h != nil {
		return h, nil
	}
	h := t.hostLocked(r.URL.Scheme, withPort(r.URL.Scheme, r.URL.Host))
	if len(t.hosts) < 1000 {
		t.hosts[string(key)] = h
	}
	return h, nil
}

// RoundTrip sends a request and returns the head of its response.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := check(r); err != nil {
		closeBody(r)
		return nil, err
	}
	h, err := t.host(r)
	if err != nil {
		closeBody(r)
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		c, err := h.get(r.Context(), traceOf(r))
		if err != nil {
			if err != errNoConn { // then net/http tries again, with the body
				closeBody(r)
			}
			return nil, err
		}
		response, err := c.roundTrip(r)
		if err == nil {
			return response, nil
		}
		var again unprocessedError
		if !errors.As(err, &again) {
			return nil, err
		}
		if attempt == attemptsMax {
			return nil, again.error
		}
		next, ok := replay(r, again)
		if !ok {
			return nil, again.error
		}
		r = next
		if err := backOff(r.Context(), attempt); err != nil {
			closeBody(r)
			return nil, err
		}
	}
}

// check looks for what net/http's own transport looks for.
func check(r *http.Request) error {
	switch {
	case r.URL == nil:
		return errors.New("h2: request without a URL")
	case r.URL.Scheme != "http" && r.URL.Scheme != "https":
		return fmt.Errorf("h2: unsupported URL scheme %q, want \"http\" or \"https\"", r.URL.Scheme)
	case r.URL.Host == "":
		return errors.New("h2: request without a host in its URL")
	case r.Header == nil:
		return errors.New("h2: request with a nil Header")
	case r.Method != "" && !validMethod(r.Method):
		return fmt.Errorf("h2: invalid method %q", r.Method)
	}
	for _, fields := range []http.Header{r.Header, r.Trailer} {
		for key, values := range fields {
			if !validName(lower(key)) {
				return fmt.Errorf("h2: invalid field name %q", key)
			}
			for _, value := range values {
				if !validValue(value) {
					return fmt.Errorf("h2: the value of field %q has control characters", key)
				}
			}
		}
	}
	return nil
}

// replay returns the request for another attempt, if its body allows one.
func replay(r *http.Request, failed unprocessedError) (*http.Request, bool) {
	switch {
	case r.Body == nil || r.Body == http.NoBody || !failed.bodyUsed:
		return r, true
	case r.GetBody == nil:
		return nil, false
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, false
	}
	next := *r
	next.Body = body
	return &next, true
}

// backOff waits before an attempt: not at all before the second, as the peer has
// said that it did nothing.
func backOff(ctx context.Context, attempt int) error {
	if attempt == 1 {
		return ctx.Err()
	}
	timer := time.NewTimer(10 * time.Millisecond << attempt)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// ---- the end ----

// CloseIdleConnections closes the connections without calls.
func (t *Transport) CloseIdleConnections() {
	for _, c := range t.conns() {
		c.closeIfIdle("idle connections are closed")
	}
}

// Shutdown ends the transport gracefully: it takes no more requests, and returns
// when the responses of all calls have arrived, or with ctx's error.
func (t *Transport) Shutdown(ctx context.Context) error {
	t.end()
	for _, c := range t.conns() {
		c.retire()
	}
	select {
	case <-t.empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close ends the transport and all its connections at once. Calls that are under
// way fail.
func (t *Transport) Close() error {
	t.end()
	for _, c := range t.conns() {
		c.mu.Lock()
		c.fail(errTransportClosed)
		c.mu.Unlock()
	}
	<-t.empty
	return nil
}

// end lets no new request in.
func (t *Transport) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	for _, h := range t.hosts {
		h.stop()
	}
	if t.open == 0 {
		close(t.empty)
	}
}

func (t *Transport) conns() []*clientConn {
	t.mu.Lock()
	hosts := make(map[*host]bool)
	for _, h := range t.hosts {
		hosts[h] = true
	}
	t.mu.Unlock()
	var all []*clientConn
	for h := range hosts {
		all = append(all, h.list()...)
	}
	return all
}

// opened and ended count connections.
func (t *Transport) opened() {
	t.mu.Lock()
	t.open++
	t.mu.Unlock()
}

func (t *Transport) ended() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open--; t.open == 0 && t.closed {
		close(t.empty)
	}
}
