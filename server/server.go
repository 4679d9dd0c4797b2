// SPDX-License-Identifier: Apache-2.0

// The server: it opens its listeners, serves until its context ends, and drains.

package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/drain"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/server/systemd"
)

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 5 * time.Minute
)

// A Server runs one handler on one or more addresses, once. Its methods are safe for
// concurrent use.
type Server struct {
	http     *http.Server
	engine   *h2.Server
	drainer  *drain.Drainer
	settings settings

	mu        sync.Mutex
	phase     phase
	listeners []listener
}

// A phase is how far a Server has come.
type phase int

const (
	fresh  phase = iota
	open         // its listeners take connections, which wait
	serves       // Run was called
	closed       // Close was called, or Run has returned
)

// A listener is an address that is open.
type listener struct {
	net.Listener
	certificates *Certificates // nil without TLS from files
}

// New returns a Server of handler. The options need at least one address, by [Listen] or
// [Listener]. New panics if there is none, if handler is nil, and if a function of [HTTP] has
// set HTTP/2 off, or TLSConfig.
func New(handler http.Handler, options ...Option) *Server {
	if handler == nil {
		panic("server: New: handler is nil: pass the handler to serve, such as an http.ServeMux")
	}
	s := &Server{settings: settings{logger: slog.Default()}}
	for _, option := range options {
		if option == nil {
			panic("server: New: an option is nil")
		}
		option(&s.settings)
	}
	if len(s.settings.addresses) == 0 {
		panic(`server: New: no address: pass an option such as server.Listen("localhost:8080")`)
	}
	s.http = &http.Server{
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		ConnContext:       connect.UnixConnContext,
		ErrorLog:          slog.NewLogLogger(s.settings.logger.Handler(), slog.LevelWarn),
	}
	for _, change := range s.settings.http {
		change(s.http)
	}
	if s.http.TLSConfig != nil { // the addresses would serve without TLS
		panic("server: New: a function of HTTP has set TLSConfig: pass the configuration to an address, as in server.Listen(name, server.TLS(config))")
	}
	engine, err := h2.NewServer(s.http, &s.settings.engine)
	if err != nil {
		panic(fmt.Sprintf("server: New: %v", err))
	}
	s.engine = engine
	s.drainer = drain.New(engine, s.settings.drain...)
	s.http.Handler = s.drainer.Handler(handler)
	return s
}

// Run is [New] and [Server.Run].
func Run(ctx context.Context, handler http.Handler, options ...Option) error {
	return New(handler, options...).Run(ctx)
}

// Open opens the listeners and reads the certificates. Connections that come before Run is
// called wait. If one address fails, those before it are closed, and those of [Listener], and
// the error names it. A program that drops privileges does so between Open and Run. Later calls
// do nothing.
func (s *Server) Open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.phase {
	case closed:
		return http.ErrServerClosed
	case fresh:
	default:
		return nil
	}
	for i, a := range s.settings.addresses {
		opened, err := a.open(s.settings.logger)
		if err != nil {
			s.closeListenersLocked()
			s.listeners = nil
			s.closeOwnLocked(i)
			return err
		}
		s.listeners = append(s.listeners, opened...)
	}
	s.phase = open
	return nil
}

// Addrs returns the addresses of the listeners, in the order of the options: an address of
// systemd may be several. There are none before Open or Run has opened them.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var addrs []net.Addr
	for _, l := range s.listeners {
		addrs = append(addrs, l.Addr())
	}
	return addrs
}

// Run opens the listeners if Open has not, and serves until ctx ends. Then it drains, as the
// package's comment describes, which takes at most the time of [Delay] and [Grace] and a
// little more. It returns nil if every call has ended, an error that wraps [drain.ErrCut] if
// calls had to be cut, and [http.ErrServerClosed] after Close and after an earlier Run. When
// a listener fails while the server serves, Run drains, too, and returns its error.
//
// Under systemd, with Type=notify, Run reports when it serves and when it ends.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Open(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.phase != open {
		s.mu.Unlock()
		return http.ErrServerClosed
	}
	s.phase = serves
	listeners := s.listeners
	s.mu.Unlock()

	var working sync.WaitGroup
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx)) // also while it drains
	failed := make(chan error, len(listeners))
	for i, l := range listeners {
		// The sockets of an address share certificates, and a change needs two reads in a row.
		if l.certificates != nil && (i == 0 || l.certificates != listeners[i-1].certificates) {
			working.Go(func() { l.certificates.Watch(watching) })
		}
		working.Go(func() { failed <- s.engine.Serve(l.Listener) })
	}
	s.notify(systemd.Ready)
	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
	}
	s.notify(systemd.Stopping)
	err := s.drainer.Shutdown(context.WithoutCancel(ctx), s.settings.shutdown...)
	stopWatching()
	working.Wait()

	s.mu.Lock()
	wasClosed := s.phase == closed
	s.phase = closed
	s.mu.Unlock()
	close(failed)
	errs := []error{err}
	for err := range failed {
		if !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, fmt.Errorf("server: accepting connections: %w", err))
		}
	}
	if cause != nil && !errors.Is(cause, http.ErrServerClosed) {
		errs = append(errs, fmt.Errorf("server: accepting connections: %w", cause))
	}
	if wasClosed {
		errs = []error{http.ErrServerClosed}
	}
	return errors.Join(errs...)
}

// Close ends the server at once, also while it drains: calls are cut, and their contexts
// end. Run then returns.
func (s *Server) Close() error {
	s.mu.Lock()
	before := s.phase
	s.phase = closed
	switch before { // nothing serves them
	case fresh:
		s.closeOwnLocked(0)
	case open:
		s.closeListenersLocked()
	}
	s.mu.Unlock()
	return s.drainer.Close()
}

func (s *Server) closeListenersLocked() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
}

// closeOwnLocked closes the program's listeners from an address on, which are not open yet. None
// of the program's listeners is opened again.
func (s *Server) closeOwnLocked(from int) {
	for i := range s.settings.addresses {
		a := &s.settings.addresses[i]
		if a.own != nil && !a.spent && i >= from {
			_ = a.own.Close()
		}
		a.spent = true
	}
}

// notify reports to systemd, if that is there.
func (s *Server) notify(state string) {
	if _, err := systemd.Notify(state); err != nil {
		s.settings.logger.Warn("server: the state was not reported to systemd", "state", state, "error", err)
	}
}

// open returns the listeners of an address.
func (a address) open(logger *slog.Logger) ([]listener, error) {
	var certificates *Certificates
	if a.files != nil {
		var err error
		if certificates, err = a.files(); err != nil {
			return nil, fmt.Errorf("server: listening at %q: %w", a.name, err)
		}
		certificates.logger = logger
	}
	inner, err := a.listen()
	if err != nil {
		return nil, fmt.Errorf("server: listening at %q: %w", a.name, err)
	}
	var opened []listener
	for _, l := range inner {
		switch {
		case certificates != nil:
			l = certificates.Listener(l)
		case a.tls != nil:
			l = tls.NewListener(l, a.tls)
		}
		opened = append(opened, listener{l, certificates})
	}
	return opened, nil
}
