// SPDX-License-Identifier: Apache-2.0

// Connections that a Transport opens itself: dialing and the TLS handshake.

package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptrace"
	"reflect"
	"syscall"
)

// alertNoProtocol is the TLS alert of a server that shares no protocol with the client.
// [RFC 7301, section 3.2]
const alertNoProtocol = 120

// isAlert reports whether an error is a TLS alert from the peer. Package tls has these
// alerts as numbers of a type that it does not export.
func isAlert(err error, number uint64) bool {
	remote, ok := errors.AsType[*net.OpError](err)
	if !ok {
		return false
	}
	v := reflect.ValueOf(remote.Err)
	return v.Kind() == reflect.Uint8 && v.Uint() == number
}

// dialTimedOut is the error after dialTimeout. It is a net.Error with a Timeout, and not
// context.DeadlineExceeded: no deadline of the caller's has passed.
type dialTimedOut struct{}

func (dialTimedOut) Error() string   { return "no connection after " + dialTimeout.String() }
func (dialTimedOut) Timeout() bool   { return true }
func (dialTimedOut) Temporary() bool { return true }

var errDialTimeout error = dialTimedOut{}

// errDialGone is the error of a dial whose goroutine has ended, with runtime.Goexit, in a
// function of the program.
var errDialGone = errors.New("dialing ended its goroutine")

// connect dials, with a TLS handshake for https. The server has to select HTTP/2 with
// ALPN. [RFC 9113, section 3.2]
func (h *host) connect(ctx context.Context) (net.Conn, error) {
	nc, err := h.t.config.DialContext(ctx, "tcp", h.address)
	if nc == nil && err == nil {
		err = errors.New("DialContext returned neither a connection nor an error")
	}
	if err != nil || !h.secure {
		return nc, err
	}
	config := new(tls.Config)
	if c := h.t.config.TLSClientConfig; c != nil {
		config = c.Clone()
	}
	config.NextProtos = []string{nextProtoTLS}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(h.address)
	}
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	secure := tls.Client(nc, config)
	err = secure.HandshakeContext(ctx)
	state := secure.ConnectionState()
	if trace != nil && trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(state, err)
	}
	switch {
	case isAlert(err, alertNoProtocol):
		err = fmt.Errorf("the server does not speak HTTP/2: let it, or use an http.Transport, which speaks HTTP/1.1, too: %w", err)
	case errors.As(err, new(tls.RecordHeaderError)):
		err = fmt.Errorf("the server has no TLS, as it seems: use a URL with http: %w", err)
	case err == io.EOF:
		err = errors.New("the server closed the connection in the TLS handshake: if it has no TLS, use a URL with http")
	case errors.Is(err, syscall.ECONNRESET):
		err = fmt.Errorf("the server closed the connection in the TLS handshake: if it has no TLS, use a URL with http: %v", err)
	case err == nil && state.NegotiatedProtocol != nextProtoTLS:
		err = fmt.Errorf("the server does not speak HTTP/2: it negotiated %q: let it, or use an http.Transport, which speaks HTTP/1.1, too", state.NegotiatedProtocol)
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return secure, nil
}
