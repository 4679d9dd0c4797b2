// SPDX-License-Identifier: Apache-2.0

// A server in memory, and HTTP clients that reach it.

package connecttest

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/internal/direct"
)

// A Server serves a handler over HTTP on connections in memory. Its methods are safe for
// concurrent use.
type Server struct {
	// URL is the base URL, without a slash at its end: that of a name which is in no
	// network. Clients of the server send all requests to the server, whatever their host.
	URL string

	network   *network
	server    *http.Server
	transport interface {
		http.RoundTripper
		CloseIdleConnections()
	}
	handler counted
	conns   sync.WaitGroup // of the server, until the server's goroutine for them has ended
	serving sync.WaitGroup
	close   sync.Once
}

// An Option changes how a [Server] and its clients speak HTTP.
type Option func(*settings)

type settings struct {
	http1, engine bool
	changes       []func(*http.Server)
}

// WithHTTP1 makes the server's Client speak HTTP/1.1. The server always takes both
// versions. Bidirectional streams and gRPC need HTTP/2, which is the default.
func WithHTTP1() Option { return func(s *settings) { s.http1 = true } }

// WithEngine puts package h2 in the place of net/http's HTTP/2, on both sides. Calls take
// its direct path.
func WithEngine() Option { return func(s *settings) { s.engine = true } }

// WithServer calls change with the server's settings before it starts, for example to set
// timeouts or the ErrorLog. Handler, Protocols and TLSConfig are the Server's own. Several
// changes are made one after the other, in the order of the options. A nil one is ignored.
func WithServer(change func(*http.Server)) Option {
	return func(s *settings) {
		if change != nil {
			s.changes = append(s.changes, change)
		}
	}
}

// NewServer starts a server for handler. The caller must close it. It panics if handler is
// nil, or if the change of WithServer has made settings that package h2 cannot serve with.
func NewServer(handler http.Handler, options ...Option) *Server {
	if handler == nil {
		panic("connecttest: NewServer: handler is nil: pass the handler to serve, such as an http.ServeMux")
	}
	var set settings
	for _, option := range options {
		if option == nil {
			panic("connecttest: NewServer: an option is nil")
		}
		option(&set)
	}
	s := &Server{URL: "http://server.test", network: newNetwork(), server: new(http.Server)}
	for _, change := range set.changes {
		change(s.server)
	}
	s.handler.Handler = handler
	s.server.Handler = &s.handler
	s.server.Protocols = new(http.Protocols)
	s.server.Protocols.SetHTTP1(true)
	s.server.Protocols.SetUnencryptedHTTP2(true)
	s.countConns()
	if set.engine {
		if err := h2.ConfigureServer(s.server, nil); err != nil {
			panic("connecttest: NewServer: configuring package h2: " + err.Error())
		}
	}
	dial := s.DialContext
	switch {
	case set.engine && !set.http1:
		s.transport = h2.NewTransport(&h2.TransportConfig{DialContext: dial})
	default:
		protocols := new(http.Protocols)
		protocols.SetHTTP1(set.http1)
		protocols.SetUnencryptedHTTP2(!set.http1)
		s.transport = &http.Transport{DialContext: dial, Protocols: protocols}
	}
	s.serving.Go(func() { _ = s.server.Serve(s.network) })
	return s
}

// countConns makes conns count the server's connections.
func (s *Server) countConns() {
	next := s.server.ConnState
	s.server.ConnState = func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.conns.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.conns.Done()
		}
		if next != nil {
			next(c, state)
		}
	}
}

// Client returns an HTTP client of the server, each time another one with the same
// connections.
func (s *Server) Client() *http.Client { return &http.Client{Transport: s.transport} }

// DialContext connects to the server, whatever the network and the address. Transports and
// grpc-go's clients take such a function.
func (s *Server) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return s.network.dial(ctx)
}

// Close ends the server and its connections: calls in flight fail, on both sides. It waits
// for the goroutines of the server, also for those that run handlers: a handler that does
// not return when its context ends keeps it.
func (s *Server) Close() {
	s.close.Do(func() {
		if closer, ok := s.transport.(io.Closer); ok {
			_ = closer.Close()
		}
		s.transport.CloseIdleConnections()
		_ = s.server.Close()
		s.serving.Wait()
		s.conns.Wait()
		s.handler.end()
		s.transport.CloseIdleConnections()
	})
}

// A counted handler counts the calls that run. It leaves package h2 its direct path. After
// the end it runs none: an engine may begin a request that it had read before its
// connection was closed.
type counted struct {
	http.Handler
	mu      sync.Mutex
	ended   bool           // guarded by mu, which is held to add to running
	running sync.WaitGroup // calls
}

// enter counts a call, which must end with running.Done. It returns false after the end.
func (h *counted) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		h.running.Add(1)
	}
	return !h.ended
}

// end waits for the calls that run.
func (h *counted) end() {
	h.mu.Lock()
	h.ended = true
	h.mu.Unlock()
	h.running.Wait()
}

func (h *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.enter() {
		panic(http.ErrAbortHandler)
	}
	defer h.running.Done()
	h.Handler.ServeHTTP(w, r)
}

var _ direct.Handler = (*counted)(nil)

// ServeDirect is ServeHTTP for package h2, whose DESIGN.md describes it.
func (h *counted) ServeDirect(self http.Handler, path string, w http.ResponseWriter) bool {
	call, ok := w.(direct.Call)
	if !ok || self != http.Handler(h) {
		return false
	}
	next := direct.Under(h.Handler, path, call)
	if next == nil {
		return false
	}
	if !h.enter() {
		return false
	}
	defer h.running.Done()
	return next.ServeDirect(next, path, w)
}
