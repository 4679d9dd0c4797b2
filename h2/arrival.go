// SPDX-License-Identifier: Apache-2.0

// An arrival: a connection that a Server has accepted, until it is closed or net/http has
// it.
//
// Invariants. An arrival has one goroutine, which waits for the handshake or the preface,
// then serves HTTP/2 to the connection's end, or hands the connection to net/http and
// ends. No byte is taken from a connection that net/http gets. The goroutine closes the
// connection unless net/http has it.

package h2

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// An arrival is an accepted connection. It is the handler of its HTTP/2 requests, in the
// shape that net/http's handlers have for functions of TLSNextProto.
type arrival struct {
	server  *Server
	queue   *queue
	nc      net.Conn
	ctx     context.Context // of the connection's requests
	decided bool            // the peer's protocol is found, or that it is silent; guarded by server.mu
	left    bool            // net/http has the connection
	failed  error           // of the TLS handshake, which net/http gets again when it asks
}

// run serves the connection, or hands it to net/http.
func (a *arrival) run() {
	defer a.end()
	handed := a.ctx // net/http adds the address itself
	a.ctx = context.WithValue(a.ctx, http.LocalAddrContextKey, a.nc.LocalAddr())
	proto, nc, err := a.ask()
	if err != nil {
		return
	}
	a.server.mu.Lock()
	a.decided = true
	a.server.mu.Unlock()
	_ = a.nc.SetWriteDeadline(time.Time{}) // the one for reading goes on until it is replaced
	if serve := a.server.http.TLSNextProto[proto]; serve != nil {
		if proto == nextProtoUnencrypted {
			if nc = a.greeted(); nc == nil {
				return
			}
		}
		serve(a.server.http, nc, a)
		return
	}
	a.leave(handed)
}

// ask waits until it is known what the peer speaks. It returns a key of TLSNextProto, for
// TLS with the connection, or "" for what net/http serves: HTTP/1.1, other protocols, a
// preface in pieces, and TLS handshakes that failed, which net/http reports and may
// answer. An error ends the connection.
func (a *arrival) ask() (proto string, nc *tls.Conn, err error) {
	nc, ok := a.nc.(*tls.Conn)
	if !ok {
		greets, err := peekPreface(a.nc)
		if greets {
			return nextProtoUnencrypted, nil, nil
		}
		return "", nil, err
	}
	if a.failed = nc.HandshakeContext(a.ctx); a.failed == nil && nc.ConnectionState().NegotiatedProtocol == nextProtoTLS {
		return nextProtoTLS, nc, nil
	}
	return "", nil, nil
}

// greeted reads the preface, which is there, and wraps the connection as net/http does
// for functions of TLSNextProto. It returns nil if the connection is broken.
func (a *arrival) greeted() *tls.Conn {
	var preface [len(wire.ClientPreface)]byte
	if _, err := io.ReadFull(a.nc, preface[:]); err != nil {
		return nil
	}
	return tls.Client(cleartext{inner: a.nc}, nil)
}

// A cleartext is a connection without TLS within a [tls.Conn]. Nothing but
// UnencryptedNetConn may be called.
type cleartext struct {
	net.Conn // nil
	inner    net.Conn
}

func (c cleartext) UnencryptedNetConn() net.Conn { return c.inner }

// leave hands the connection to net/http, with the context for its requests.
func (a *arrival) leave(ctx context.Context) {
	s := a.server
	s.mu.Lock()
	s.handed[a.nc] = ctx
	s.mu.Unlock()
	if a.left = a.queue.hand(a.nc); a.left {
		return
	}
	s.handedContext(a.nc, true)
	if a.failed != nil { // in net/http's words: programs look for them
		s.engine.logf(s.http, "http: TLS handshake error from %v: %v", a.nc.RemoteAddr(), a.failed)
	}
}

// end closes the connection, unless net/http has it. It is deferred, and recovers from a
// panic of a hook as net/http does.
func (a *arrival) end() {
	s := a.server
	if v := recover(); v != nil && v != http.ErrAbortHandler {
		stack := make([]byte, 64<<10)
		stack = stack[:runtime.Stack(stack, false)]
		s.engine.logf(s.http, "h2: panic serving %v: %v\n%s", a.nc.RemoteAddr(), v, stack)
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, a)
		s.checkEmptyLocked()
	}()
	if a.left {
		return
	}
	_ = a.nc.Close()
	if s.connState != nil {
		s.connState(a.nc, http.StateClosed)
	}
}

// ---- the handler ----

// BaseContext returns the context of the connection.
func (a *arrival) BaseContext() context.Context { return a.ctx }

// ServeHTTP calls the http.Server's Handler. It answers OPTIONS for "*" itself unless the
// server leaves that to the Handler.
func (a *arrival) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	server := a.server.http
	switch {
	case r.RequestURI == "*" && r.Method == http.MethodOptions && !server.DisableGeneralOptionsHandler:
		w.Header().Set("Content-Length", "0")
	case server.Handler != nil:
		server.Handler.ServeHTTP(w, r)
	default:
		http.DefaultServeMux.ServeHTTP(w, r)
	}
}
