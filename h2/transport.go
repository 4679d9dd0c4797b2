// SPDX-License-Identifier: Apache-2.0

// The client: how requests find a connection, again if need be.

package h2

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
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
	// KeepAlive means never. New calls go to another connection as soon as the answer
	// is a second late. With the default, a connection that has answered three
	// PINGs and sent nothing else gets one every five minutes only: with more, servers
	// of gRPC would end it. After a new call it is asked with an empty SETTINGS frame,
	// which has to be answered, too.
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
	defaultContinue  = time.Second // to wait for "100 Continue"
	// Places on a connection before the peer's SETTINGS say how many it takes: one,
	// so that the first call does not wait for them. Node's server ends connections
	// that begin with more streams than it takes, and others refuse them.
	placesAtFirst = 1
	// Calls that wait for these SETTINGS within an http.Transport, which opens a
	// connection for each of the others: as many as net/http gives places.
	placesWithin = 100
	crowded      = 100 // calls on one connection from which on another helps
	attemptsMax  = 6
	// Bounds of a field section within an http.Transport: that of net/http if it says
	// nothing, and what fits an int.
	headerBytesWithin = 10 << 20
	headerBytesMost   = 1 << 30
	hostsKept         = 1000 // beyond, hosts without connections are forgotten
)

// A Transport is an [http.RoundTripper] that speaks HTTP/2 only: over TLS to https
// URLs, over cleartext with prior knowledge to http URLs. Calls share connections;
// more are opened when the peer's limit on streams or the load asks for it. A call
// that the peer provably did not process, because it said so with GOAWAY or
// REFUSED_STREAM, is tried again on its own. It may be used by any number of
// goroutines.
type Transport struct {
	config             TransportConfig
	limits             limits
	standard           *http.Transport // with ConfigureTransport: who dials
	settled            sync.Once       // config and limits are complete
	keepAliveIsDefault bool            // KeepAlive was left to us
	switchedOff        bool            // GODEBUG=http2client=0

	mu      sync.Mutex
	hosts   map[string]*host // by scheme://host:port
	byURL   map[string]*host // by scheme://host as URLs have it, which is faster to find
	sweepAt int              // number of hosts at which unused ones are forgotten
	conns   map[*clientConn]struct{}
	closed  bool
	drained chan struct{} // closed when closed is set and there are no conns

	breaking sync.WaitGroup // bodies of requests that are about to be closed during a Read
}

// NewTransport returns a transport that manages its own connections. A nil config
// means defaults. With GODEBUG=http2client=0, which turns net/http's HTTP/2 off, all
// its requests fail: it speaks nothing else.
func NewTransport(config *TransportConfig) *Transport {
	return newTransport(config, nil)
}

func newTransport(config *TransportConfig, standard *http.Transport) *Transport {
	t := &Transport{
		standard:    standard,
		switchedOff: standard == nil && switchedOff(switchClient),
		hosts:       make(map[string]*host),
		byURL:       make(map[string]*host),
		sweepAt:     hostsKept,
		conns:       make(map[*clientConn]struct{}),
		drained:     make(chan struct{}),
	}
	if config != nil {
		t.config = *config
	}
	if standard == nil {
		t.settle()
	}
	return t
}

// settle decides what the configuration leaves open, once. Within an http.Transport it
// is called when the first connection is there: until then users may set its fields.
func (t *Transport) settle() { t.settled.Do(t.fillIn) }

func (t *Transport) fillIn() {
	c := &t.config
	if standard := t.standard; standard != nil {
		if c.HTTP2 == nil {
			c.HTTP2 = standard.HTTP2
		}
		c.IdleConnTimeout = standard.IdleConnTimeout
		if c.IdleConnTimeout == 0 {
			c.IdleConnTimeout = -1 // zero means no limit there
		}
		c.MaxResponseHeaderBytes = standard.MaxResponseHeaderBytes
		if c.MaxResponseHeaderBytes <= 0 {
			c.MaxResponseHeaderBytes = headerBytesWithin
		}
		c.DisableCompression = standard.DisableCompression
	}
	if c.KeepAlive == 0 && c.HTTP2 != nil && c.HTTP2.SendPingTimeout > 0 {
		c.KeepAlive = c.HTTP2.SendPingTimeout
	}
	if c.KeepAlive == 0 {
		c.KeepAlive, t.keepAliveIsDefault = defaultKeepAlive, true
	}
	if c.KeepAliveTimeout <= 0 {
		c.KeepAliveTimeout = defaultKeepAlive
		if c.HTTP2 != nil && c.HTTP2.PingTimeout > 0 {
			c.KeepAliveTimeout = c.HTTP2.PingTimeout
		}
	}
	if c.IdleConnTimeout == 0 {
		c.IdleConnTimeout = defaultIdleConn
	}
	if c.DialContext == nil {
		c.DialContext = new(net.Dialer).DialContext
	}
	t.limits = limitsOf(c.HTTP2, int(min(c.MaxResponseHeaderBytes, headerBytesMost)))
}

// errTransportClosed is for requests after Close or Shutdown.
var errTransportClosed = errors.New("h2: transport is closed")

// errSwitchedOff is for requests where the operator does not allow HTTP/2.
var errSwitchedOff = errors.New("h2: GODEBUG=http2client=0 turns HTTP/2 off, and this transport speaks nothing else")

// RoundTrip sends a request and returns the head of its response.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.roundTrip(r, traceGetConn)
}

// traceGetConn tells a trace that a connection is looked for.
func traceGetConn(trace *httptrace.ClientTrace, h *host) {
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(h.address)
	}
}

// roundTrip is RoundTrip. It calls asked with each host that it asks for a
// connection. The request's body is closed when it returns, or soon after, except
// with errNoConn: then net/http tries again.
func (t *Transport) roundTrip(r *http.Request, asked func(*httptrace.ClientTrace, *host)) (*http.Response, error) {
	if err := check(r); err != nil {
		closeBody(r)
		return nil, err
	}
	original := r
	for attempt := 1; ; attempt++ {
		patient := r != original && r.GetBody == nil // net/http could not send the body again
		c, err := t.place(r.Context(), r.URL, canceledOf(r), patient, asked)
		if err != nil {
			if err != errNoConn || r != original {
				closeBody(r)
			}
			return nil, err
		}
		response, err := c.roundTrip(r)
		if err == nil {
			response.Request = original
			return response, nil
		}
		failed, ok := err.(unprocessedError)
		if !ok {
			return nil, err
		}
		next, err := replay(r, failed)
		if err != nil {
			return nil, err
		}
		r = next
		switch {
		case failed.error == errNoPlace:
			attempt-- // there was none
		case attempt == attemptsMax:
			err = failed.error
		default:
			err = backOff(r.Context(), canceledOf(r), attempt)
		}
		if err != nil {
			closeBody(r)
			return nil, err
		}
	}
}

// place returns a connection on which a place is reserved for a request to u. A
// patient call waits for one where another would have net/http dial.
func (t *Transport) place(ctx context.Context, u *url.URL, canceled <-chan struct{}, patient bool, asked func(*httptrace.ClientTrace, *host)) (*clientConn, error) {
	if ctx.Err() != nil {
		return nil, contextEnded(ctx, canceled)
	}
	for {
		h, err := t.host(u)
		if err != nil {
			return nil, err
		}
		if asked != nil {
			asked(httptrace.ContextClientTrace(ctx), h)
		}
		c, err := h.get(ctx, canceled, patient)
		if err != errHostGone {
			return c, err
		}
	}
}

// replay returns the request for another attempt, if its body allows one.
func replay(r *http.Request, failed unprocessedError) (*http.Request, error) {
	switch {
	case !failed.bodyUsed:
		return r, nil
	case failed.body != nil:
		next := *r
		next.Body = io.NopCloser(bytes.NewReader(failed.body))
		return &next, nil
	case r.GetBody == nil:
		return nil, failed.error
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	next := *r
	next.Body = body
	return &next, nil
}

// backOff waits before another attempt: not at all before the second, as the
// peer has said that it did nothing.
func backOff(ctx context.Context, canceled <-chan struct{}, attempt int) error {
	if attempt == 1 {
		if ctx.Err() != nil {
			return contextEnded(ctx, canceled)
		}
		return nil
	}
	timer := time.NewTimer(10 * time.Millisecond << attempt)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return contextEnded(ctx, canceled)
	case <-canceled:
		return channelClosed(ctx)
	}
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// ---- hosts ----

// host returns the host that a request to u goes to.
func (t *Transport) host(u *url.URL) (*host, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return nil, errTransportClosed
	case t.switchedOff:
		return nil, errSwitchedOff
	}
	// The common key is found without building a string.
	var buf [128]byte
	key := append(append(append(buf[:0], u.Scheme...), "://"...), u.Host...)
	if h := t.byURL[string(key)]; h != nil {
		return h, nil
	}
	authority, err := asciiHost(u.Host)
	if err != nil {
		return nil, err
	}
	h := t.hostLocked(u.Scheme, withPort(u.Scheme, authority))
	if len(t.byURL) < hostsKept {
		t.byURL[string(key)] = h
	}
	return h, nil
}

// hostLocked returns the host for an address. With mu held.
func (t *Transport) hostLocked(scheme, address string) *host {
	key := scheme + "://" + address
	h := t.hosts[key]
	if h == nil {
		if len(t.hosts) >= t.sweepAt {
			t.sweepLocked()
		}
		h = newHost(t, scheme == "https", address)
		t.hosts[key] = h
	}
	return h
}

// sweep forgets the hosts that nobody uses. With mu held.
func (t *Transport) sweepLocked() {
	for key, h := range t.hosts {
		if h.forget() {
			delete(t.hosts, key)
		}
	}
	clear(t.byURL)
	t.sweepAt = max(hostsKept, 2*len(t.hosts))
}

// withPort returns host:port for an authority that may lack the port.
func withPort(scheme, authority string) string {
	if _, port, err := net.SplitHostPort(authority); err == nil && port != "" {
		return authority
	} else if err == nil {
		authority = authority[:len(authority)-1] // "host:"
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

// ---- the end ----

// CloseIdleConnections closes the connections without calls. It returns when they are
// closed, or after a second, where peers take no goodbye.
func (t *Transport) CloseIdleConnections() {
	all := t.list()
	closing := all[:0]
	for _, c := range all {
		if c.closeIfIdle() {
			closing = append(closing, c)
		}
	}
	if len(closing) == 0 {
		return
	}
	patience := time.NewTimer(closeLinger)
	defer patience.Stop()
	for _, c := range closing {
		select {
		case <-c.done:
		case <-patience.C:
			return
		}
	}
}

// Shutdown ends the transport gracefully: it takes no more requests, and returns
// when the responses of all calls have arrived, or with ctx's error.
func (t *Transport) Shutdown(ctx context.Context) error {
	t.end()
	for _, c := range t.list() {
		c.retire()
	}
	select {
	case <-t.drained:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close ends the transport and all its connections at once. Calls that are under
// way fail.
func (t *Transport) Close() error {
	t.end()
	for _, c := range t.list() {
		c.mu.Lock()
		c.failLocked(errTransportClosed)
		c.mu.Unlock()
	}
	<-t.drained
	t.breaking.Wait()
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
	if len(t.conns) == 0 {
		close(t.drained)
	}
}

func (t *Transport) list() []*clientConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*clientConn, 0, len(t.conns))
	for c := range t.conns {
		all = append(all, c)
	}
	return all
}

// opened counts a connection, and ended counts it off. The first reports false
// once the transport is closed: then there is nothing to count off.
func (t *Transport) opened(c *clientConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.conns[c] = struct{}{}
	return true
}

func (t *Transport) ended(c *clientConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
	if len(t.conns) == 0 && t.closed {
		close(t.drained)
	}
}
