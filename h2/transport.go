// SPDX-License-Identifier: Apache-2.0

// The client: how a request finds a connection, and another one if need be.
//
// Invariants. Transport.mu guards the maps; it is taken before host.mu. A request is
// sent again only if the peer did not process it. [RFC 9113, section 8.7]

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

// A TransportConfig has the settings of a client. The zero value is a good choice. A
// Transport copies it; the values that it refers to must not change afterwards.
type TransportConfig struct {
	// HTTP2 has the settings for which net/http has fields: frame size, windows, HPACK
	// tables, WriteByteTimeout (30 seconds if zero), CountError,
	// StrictMaxConcurrentRequests, and SendPingTimeout and PingTimeout, which stand for
	// KeepAlive and KeepAliveTimeout where these are zero. With ConfigureTransport, nil
	// means that of the http.Transport.
	HTTP2 *http.HTTP2Config

	// KeepAlive is how long a connection with open calls may be silent before it is
	// asked with a PING whether it is alive, and KeepAliveTimeout how long the answer
	// may take until the connection ends and its calls fail. Zero means 5 seconds each;
	// a negative KeepAlive means never. As soon as an answer is a second late, new calls
	// go to another connection.
	//
	// gRPC's servers end connections that send many PINGs while they themselves send
	// nothing [gRPC A8]. So, if KeepAlive is left to the default, a connection that
	// answered three PINGs and sent nothing else is then asked every five minutes only;
	// when there was a new call, it is asked with an empty SETTINGS frame, which has to
	// be acknowledged, too.
	KeepAlive, KeepAliveTimeout time.Duration

	// MaxAttempts bounds how often a request is sent whose peers report that they did not
	// process it [RFC 9113, section 8.7]. Zero means 6. With 1 the first report is the
	// call's error, for callers that can send the request to another host.
	MaxAttempts int

	// ConfigureTransport does not use the fields below: those of the http.Transport apply,
	// and OnReady is not called.

	// DialContext opens connections, also for https; nil means a zero [net.Dialer]. Its
	// context has the values of a call that waits, and ends after 30 seconds. It must be
	// safe for concurrent use.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// TLSClientConfig is used for https URLs; nil means the zero Config. Each connection
	// has a copy, with NextProtos set to "h2".
	TLSClientConfig *tls.Config
	// MaxConnsPerHost bounds the connections to one host. Zero means one for each 100
	// calls in flight, at most GOMAXPROCS, and beyond that only as many as the peer's
	// limit on streams requires.
	MaxConnsPerHost int
	// IdleConnTimeout is how long a connection without calls stays open. Zero means 90
	// seconds, a negative value no limit.
	IdleConnTimeout time.Duration
	// MaxResponseHeaderBytes bounds each field section of a response, header or
	// trailers, counted as SETTINGS_MAX_HEADER_LIST_SIZE counts [RFC 9113, section
	// 6.5.2]. A larger one fails its call and no other. Zero means 64 KiB.
	MaxResponseHeaderBytes int64
	// DisableCompression keeps the transport from adding "Accept-Encoding: gzip" to
	// requests that have no such field, and from inflating their responses.
	DisableCompression bool
	// OnReady, if not nil, is called when a host becomes ready for calls, and when it is
	// so no longer. A host, given as host:port, is ready while it has a connection that
	// has received the peer's SETTINGS and no GOAWAY, and on which no answer to a PING is
	// late. The calls for one host come one after another, in goroutines of their own. If
	// the state changes during a call, the next call has the newest state.
	OnReady func(host string, ready bool)
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
	placesWithin    = 100
	callsBeforeDial = 100 // on each connection, from which on another one helps
	defaultAttempts = 6
	// Bounds of a field section within an http.Transport: // net/http's
	// own default, and the most that fits an int.
	headerBytesWithin = 10 << 20
	headerBytesMost   = 1 << 30
	hostsKept         = 1000 // hosts without connections are forgotten when there are more
)

// A Transport is an [http.RoundTripper] that speaks HTTP/2 only: over TLS to https URLs,
// over cleartext with prior knowledge to http URLs [RFC 9113, section 3.3]. Calls share
// connections; it opens more when the peer's limit on streams or the load requires it.
// When a call's peer reports that it did not process a request, by GOAWAY or
// REFUSED_STREAM, the transport sends the request again, as often as
// TransportConfig.MaxAttempts allows, if it can send its body again [RFC 9113, section
// 8.7]. RoundTrip and reads of response
// bodies return when the request's context ends. All methods are safe for concurrent
// use. A program that is done with a Transport calls Shutdown or Close.
type Transport struct {
	config             TransportConfig
	limits             limits
	standard           *http.Transport // of ConfigureTransport, which dials; nil otherwise
	settled            sync.Once       // completes config and limits
	keepAliveIsDefault bool            // the program left KeepAlive to the default
	switchedOff        bool            // by GODEBUG=http2client=0

	mu      sync.Mutex
	hosts   map[string]*host // by scheme://host:port
	byURL   map[string]*host // by scheme://host as URLs have it, which is faster to find
	sweepAt int              // number of hosts at which unused ones are forgotten
	conns   map[*clientConn]struct{}
	closed  bool
	drained chan struct{} // closed when closed is set and there are no conns

	breaking sync.WaitGroup // bodies of requests that are about to be closed during a Read
}

// NewTransport returns a transport that manages its own connections. A nil config means
// defaults. With GODEBUG=http2client=0, which turns net/http's HTTP/2 off, all its
// requests fail, as it speaks nothing else.
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

// settle completes the configuration, once. With ConfigureTransport it runs with the
// first request or connection: until then the program may set fields of the
// http.Transport.
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
	if c.MaxAttempts <= 0 {
		c.MaxAttempts = defaultAttempts
	}
	if c.DialContext == nil {
		c.DialContext = new(net.Dialer).DialContext
	}
	t.limits = limitsOf(c.HTTP2, int(min(c.MaxResponseHeaderBytes, headerBytesMost))) // an int may have 32 bits
}

// errTransportClosed is the error of requests after Close or Shutdown.
var errTransportClosed = errors.New("h2: transport is closed")

// errSwitchedOff is the error of requests that GODEBUG forbids.
var errSwitchedOff = errors.New("h2: GODEBUG=http2client=0 turns HTTP/2 off, and this transport speaks nothing else")

// RoundTrip sends a request and returns the response when its head has arrived. Errors
// of the stream and of the connection can be found with [errors.As] as [StreamError] and
// [ConnError]. An error of a request that no peer has processed, because a connection
// could not be opened, or a GOAWAY or REFUSED_STREAM reports it, has a method that
// returns true; find it with errors.As and an interface:
//
//	Unprocessed() bool
//
// Such a request may be sent again without running twice. RoundTrip closes the request's
// body, maybe after it has returned; the caller closes the response's body.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.roundTrip(r, traceGetConn)
}

// traceGetConn reports to a trace that a connection is looked for.
func traceGetConn(trace *httptrace.ClientTrace, h *host) {
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(h.address)
	}
}

// roundTrip is RoundTrip. It calls getConn for each host that it asks for a connection.
// It closes the request's body, now or soon, except with errNoConn: then net/http tries
// again with the same body.
func (t *Transport) roundTrip(r *http.Request, getConn func(*httptrace.ClientTrace, *host)) (*http.Response, error) {
	if err := check(r); err != nil {
		closeBody(r)
		return nil, err
	}
	original := r
	for attempt := 1; ; attempt++ {
		patient := r != original && r.GetBody == nil // net/http could not send the body again
		c, err := t.place(r.Context(), r.URL, canceledOf(r), patient, getConn)
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
		case attempt >= t.config.MaxAttempts:
			err = failed.last()
		default:
			err = backOff(r.Context(), canceledOf(r), attempt)
		}
		if err != nil {
			closeBody(r)
			return nil, err
		}
	}
}

// place returns a connection on which a place is reserved for a request to u. A patient
// call waits for a place where another gets errNoConn.
func (t *Transport) place(ctx context.Context, u *url.URL, canceled <-chan struct{}, patient bool, getConn func(*httptrace.ClientTrace, *host)) (*clientConn, error) {
	if ctx.Err() != nil {
		return nil, contextEnded(ctx, canceled)
	}
	for {
		h, err := t.host(u)
		if err != nil {
			return nil, err
		}
		if getConn != nil {
			getConn(httptrace.ContextClientTrace(ctx), h)
		}
		c, err := h.get(ctx, canceled, patient)
		if err != errHostGone {
			return c, err
		}
	}
}

// replay returns the request for another attempt, or the error of the last one if its
// body cannot be sent again.
func replay(r *http.Request, failed unprocessedError) (*http.Request, error) {
	switch {
	case !failed.bodyUsed:
		return r, nil
	case failed.body != nil:
		next := *r
		next.Body = io.NopCloser(bytes.NewReader(failed.body))
		return &next, nil
	case r.GetBody == nil:
		return nil, failed.last()
	}
	body, err := r.GetBody()
	if body == nil && err == nil {
		err = errors.New("h2: GetBody returned neither a body nor an error") // the request would be sent without one
	}
	if err != nil {
		return nil, err
	}
	next := *r
	next.Body = body
	return &next, nil
}

// backOff waits before another attempt. The second attempt is made at once, because the
// peer did nothing for the first; the third waits 40 ms, and each further one twice as
// long.
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

// host returns the host for requests to u.
func (t *Transport) host(u *url.URL) (*host, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return nil, errTransportClosed
	case t.switchedOff:
		return nil, errSwitchedOff
	}
	// The usual look-up allocates no string.
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

// hostLocked returns the host for an address, and makes it if need be.
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

// sweepLocked forgets the hosts without connections and calls.
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
