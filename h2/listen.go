// SPDX-License-Identifier: Apache-2.0

// Server: an http.Server whose HTTP/2 connections need no connection of net/http.
//
// Invariants. Each call of Serve has a goroutine that accepts, the caller's, and a queue
// from which net/http accepts what the engine does not serve. Server.mu guards the
// fields below it. A connection is in conns from being accepted until it is closed or
// net/http has it. No connection is added to conns once ending is set and accepting has
// been waited for.

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

// A Server serves an [http.Server]'s connections, and needs half the memory for each
// HTTP/2 connection that [http.Server.Serve] does: about 11 KiB for one that is idle,
// instead of 21. Under http.Server.Serve a goroutine with a stack of 8 KiB and two
// buffers of net/http wait for the end of each connection. A Server accepts itself, and
// finds out what a peer speaks: by the protocol that TLS negotiates, and on TCP and Unix
// sockets without TLS by the first bytes. HTTP/2 goes to the engine at once, all else to
// net/http. That also gets cleartext connections of other types, and those that begin
// with a piece of the preface; HTTP/2 works there as under http.Server.Serve, and saves
// nothing. So it is for all cleartext connections on systems that are not Unix.
//
// The promises of http.Server hold for both kinds: its fields mean the same, hooks are
// called at the same moments, and entries of TLSNextProto are used, also those that a
// program replaces after NewServer. The TLS handshake, and the first bytes without
// TLS, must come within [ServerConfig].FirstRequestTimeout, and within the server's
// ReadHeaderTimeout or ReadTimeout; the first request within FirstRequestTimeout.
//
// Use the methods Shutdown and Close of the Server: those of the http.Server stop both
// from accepting and let HTTP/2 connections end gracefully, but do not wait for that. The
// methods are safe for concurrent use.
type Server struct {
	http   *http.Server
	engine *engine // nil: HTTP/2 is switched off, and net/http serves
	hooked sync.Once

	// The program's hooks, behind those that the http.Server has while it serves.
	baseContext func(net.Listener) context.Context
	connContext func(context.Context, net.Conn) context.Context
	connState   func(net.Conn, http.ConnState)

	accepting sync.WaitGroup // calls of Serve

	mu     sync.Mutex
	conns  map[*arrival]struct{}
	handed map[net.Conn]context.Context // on their way to net/http, which must not report them again
	ending bool                         // Shutdown or Close has begun
	empty  chan struct{}                // closed when conns is empty and stays so; nil: Shutdown does not wait yet
}

const (
	acceptPause    = 5 * time.Millisecond // after an error that is temporary, then twice as long each time
	acceptPauseMax = time.Second
	hurryWait      = time.Second // for a handshake or a preface, once Shutdown has begun
)

// NewServer configures server as [ConfigureServer] does, under the same rules, and
// returns a [Server] for it. A nil config means defaults. With GODEBUG=http2server=0 the
// Server's methods are those of the http.Server.
func NewServer(server *http.Server, config *ServerConfig) (*Server, error) {
	e, err := configure("NewServer", server, config)
	if err != nil {
		return nil, err
	}
	s := &Server{
		http:   server,
		engine: e,
		conns:  make(map[*arrival]struct{}),
		handed: make(map[net.Conn]context.Context),
	}
	if e != nil {
		server.RegisterOnShutdown(s.hurry)
	}
	return s, nil
}

// Serve accepts connections from l and serves them, until Shutdown or Close is called or
// l fails; temporary errors of l are logged, and it tries again after a pause. TLS is
// served if l returns *[tls.Conn]. Serve always closes l, and returns a non-nil error:
// after Shutdown or Close [http.ErrServerClosed], otherwise that of l.
func (s *Server) Serve(l net.Listener) error {
	if s.engine == nil {
		return s.http.Serve(l)
	}
	q := &queue{Listener: l, ready: make(chan net.Conn), begun: make(chan struct{}), closed: make(chan struct{})}
	defer q.Close()
	s.hooked.Do(s.hook)
	s.mu.Lock()
	if s.ending {
		s.mu.Unlock()
		return http.ErrServerClosed
	}
	s.accepting.Add(1)
	s.mu.Unlock()
	defer s.accepting.Done()

	q.base = context.Background()
	if s.baseContext != nil {
		if q.base = s.baseContext(l); q.base == nil {
			panic("h2: BaseContext returned a nil context")
		}
	}
	rest := make(chan error, 1)
	go func() { rest <- s.http.Serve(q) }()
	select {
	case <-q.begun:
	case err := <-rest: // the http.Server was shut down before
		return err
	}
	err := s.accept(q)
	q.Close()
	if served := <-rest; err == nil {
		err = served
	}
	if errors.Is(err, http.ErrServerClosed) {
		s.engine.shutdown() // the http.Server may have been closed: connections end gracefully
		s.hurry()
	}
	return err
}

// ServeTLS is Serve over TLS, with the http.Server's TLSConfig. The files with the
// certificate chain and its key may be "" if TLSConfig has Certificates, GetCertificate
// or GetConfigForClient. An error of the files does not close l.
func (s *Server) ServeTLS(l net.Listener, certFile, keyFile string) error {
	if s.engine == nil {
		return s.http.ServeTLS(l, certFile, keyFile)
	}
	config := new(tls.Config)
	if s.http.TLSConfig != nil {
		config = s.http.TLSConfig.Clone()
	}
	config.NextProtos = slices.Clone(config.NextProtos)
	for _, proto := range []struct {
		name    string
		enabled bool
	}{{nextProtoTLS, s.http.Protocols.HTTP2()}, {nextProtoHTTP1, s.http.Protocols.HTTP1()}} {
		if !proto.enabled {
			config.NextProtos = slices.DeleteFunc(config.NextProtos, func(name string) bool { return name == proto.name })
		} else if !slices.Contains(config.NextProtos, proto.name) {
			config.NextProtos = append(config.NextProtos, proto.name)
		}
	}
	own := len(config.Certificates) > 0 || config.GetCertificate != nil || config.GetConfigForClient != nil
	if !own || certFile != "" || keyFile != "" {
		certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return fmt.Errorf("h2: ServeTLS: reading the certificate %q and its key %q: %w", certFile, keyFile, err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return s.Serve(tls.NewListener(l, config))
}

// ListenAndServe is Serve on the TCP address Addr of the http.Server, ":http" if it is
// "".
func (s *Server) ListenAndServe() error {
	l, err := s.listen(":http")
	if err != nil {
		return err
	}
	return s.Serve(l)
}

// ListenAndServeTLS is ServeTLS on the TCP address Addr of the http.Server, ":https" if
// it is "".
func (s *Server) ListenAndServeTLS(certFile, keyFile string) error {
	l, err := s.listen(":https")
	if err != nil {
		return err
	}
	defer l.Close()
	return s.ServeTLS(l, certFile, keyFile)
}

// listen listens where the http.Server would, unless the Server is shut down.
func (s *Server) listen(address string) (net.Listener, error) {
	s.mu.Lock()
	ending := s.ending
	s.mu.Unlock()
	if ending {
		return nil, http.ErrServerClosed
	}
	if s.http.Addr != "" {
		address = s.http.Addr
	}
	return net.Listen("tcp", address)
}

// Shutdown ends the Server gracefully, as [http.Server.Shutdown] does: it closes the
// listeners, ends idle connections, and returns when the others have ended, too. Streams
// that were accepted run to their end; a peer that has not begun to speak has a second.
// It returns the error of ctx if that ends first, and otherwise errors of the listeners.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.engine == nil {
		return s.http.Shutdown(ctx)
	}
	s.end()
	err := s.http.Shutdown(ctx) // closes the queues, and with them the listeners
	if err != nil && ctx.Err() != nil {
		return err
	}
	s.accepting.Wait()
	s.mu.Lock()
	if s.empty == nil {
		s.empty = make(chan struct{})
		s.checkEmptyLocked()
	}
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close closes the listeners and all connections at once. It returns errors of the
// listeners.
func (s *Server) Close() error {
	if s.engine == nil {
		return s.http.Close()
	}
	s.end()
	err := s.http.Close()
	s.accepting.Wait()
	s.mu.Lock()
	var closing sync.WaitGroup
	for a := range s.conns {
		if _, ok := a.nc.(*tls.Conn); ok {
			closing.Go(func() { _ = a.nc.Close() }) // sends an alert, and may wait for the peer
		} else {
			_ = a.nc.Close()
		}
	}
	s.mu.Unlock()
	closing.Wait()
	return err
}

// end makes later calls of Serve fail.
func (s *Server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
}

// checkEmptyLocked ends Shutdown's wait when no connection is left.
func (s *Server) checkEmptyLocked() {
	if s.empty != nil && len(s.conns) == 0 {
		select {
		case <-s.empty:
		default:
			close(s.empty)
		}
	}
}

// ---- accepting ----

// accept accepts connections until the queue is closed, which is no error, or the
// listener fails.
func (s *Server) accept(q *queue) error {
	ctx := context.WithValue(q.base, http.ServerContextKey, s.http)
	var pause time.Duration
	for {
		nc, err := q.Listener.Accept()
		switch {
		case err == nil:
			pause = 0
			s.arrived(ctx, q, nc)
		case q.isClosed():
			return nil
		case !isTemporary(err):
			return err
		default:
			pause = min(max(2*pause, acceptPause), acceptPauseMax)
			s.engine.logf(s.http, "h2: accepting: %v; trying again in %v", err, pause)
			q.rest(pause)
		}
	}
}

// isTemporary reports whether a listener may work again after an error, as when the
// process has too many files open.
func isTemporary(err error) bool {
	temporary, ok := err.(interface{ Temporary() bool })
	return ok && temporary.Temporary()
}

// arrived begins a connection. It does not wait for the peer.
func (s *Server) arrived(ctx context.Context, q *queue, nc net.Conn) {
	if !s.canTell(nc) {
		q.hand(nc)
		return
	}
	if s.connContext != nil {
		if ctx = s.connContext(ctx, nc); ctx == nil {
			panic("h2: ConnContext returned a nil context")
		}
	}
	a := &arrival{server: s, queue: q, nc: nc, ctx: ctx}
	if s.connState != nil {
		s.connState(nc, http.StateNew)
	}
	s.mu.Lock()
	s.conns[a] = struct{}{}
	wait := s.patience(nc)
	if s.ending {
		wait = hurryWait
	}
	if wait > 0 {
		_ = nc.SetDeadline(time.Now().Add(wait))
	}
	s.mu.Unlock()
	go a.run()
}

// canTell reports whether the Server can tell HTTP/2 on nc from all else without taking
// bytes that net/http needs: on connections of crypto/tls, and on sockets on which
// cleartext HTTP/2 is enabled.
func (s *Server) canTell(nc net.Conn) bool {
	if _, ok := nc.(*tls.Conn); ok {
		return true
	}
	return s.http.Protocols.UnencryptedHTTP2() && canPeek(nc)
}

// patience returns how long the peer may take for the handshake or the preface; 0: for
// ever.
func (s *Server) patience(nc net.Conn) (wait time.Duration) {
	h := s.http
	limits := []time.Duration{s.engine.config.FirstRequestTimeout, h.ReadHeaderTimeout}
	if _, ok := nc.(*tls.Conn); ok {
		limits = append(limits, h.ReadTimeout, h.WriteTimeout)
	} else if h.ReadHeaderTimeout == 0 {
		limits = append(limits, h.ReadTimeout)
	}
	for _, limit := range limits {
		if limit > 0 && (wait == 0 || limit < wait) {
			wait = limit
		}
	}
	return wait
}

// hurry gives the peers that have not begun to speak another second. It runs when
// Shutdown begins.
func (s *Server) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	for a := range s.conns {
		if !a.decided {
			_ = a.nc.SetDeadline(time.Now().Add(hurryWait))
		}
	}
}

// ---- hooks ----

// hook puts functions before the program's hooks, for the connections that net/http gets
// from a queue: for these, the hooks have run.
func (s *Server) hook() {
	h := s.http
	s.baseContext, s.connContext, s.connState = h.BaseContext, h.ConnContext, h.ConnState
	h.BaseContext = func(l net.Listener) context.Context {
		if q, ok := l.(*queue); ok {
			return q.base
		}
		if s.baseContext == nil {
			return context.Background()
		}
		return s.baseContext(l)
	}
	h.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		if known := s.handedContext(nc, s.connState == nil); known != nil {
			return known
		}
		if s.connContext == nil {
			return ctx
		}
		return s.connContext(ctx, nc)
	}
	if s.connState != nil {
		h.ConnState = func(nc net.Conn, state http.ConnState) {
			// net/http calls ConnContext first, and this next.
			if state != http.StateNew || s.handedContext(nc, true) == nil {
				s.connState(nc, state)
			}
		}
	}
}

// handedContext returns the context of a connection on its way to net/http, nil for all
// others. The last caller forgets it.
func (s *Server) handedContext(nc net.Conn, last bool) context.Context {
	if !s.canTell(nc) {
		return nil // nc may not even be comparable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx := s.handed[nc]
	if last {
		delete(s.handed, nc)
	}
	return ctx
}

// ---- the queue ----

// A queue is the listener from which net/http accepts the connections that the engine
// does not serve. It has the address of the Listener, and closes it.
type queue struct {
	net.Listener
	base   context.Context // what the program's BaseContext has returned for the Listener
	ready  chan net.Conn
	begin  sync.Once
	begun  chan struct{} // closed when net/http accepts
	end    sync.Once
	closed chan struct{} // closed by Close
}

// Accept waits for a connection. After Close it returns [net.ErrClosed].
func (q *queue) Accept() (net.Conn, error) {
	q.begin.Do(func() { close(q.begun) })
	select {
	case nc := <-q.ready:
		return nc, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close closes the Listener. Only the first call does anything.
func (q *queue) Close() (err error) {
	q.end.Do(func() {
		close(q.closed)
		err = q.Listener.Close()
	})
	return err
}

func (q *queue) isClosed() bool {
	select {
	case <-q.closed:
		return true
	default:
		return false
	}
}

// hand gives a connection to net/http. If that accepts no more, it closes nc and returns
// false.
func (q *queue) hand(nc net.Conn) bool {
	select {
	case q.ready <- nc:
		return true
	case <-q.closed:
		_ = nc.Close()
		return false
	}
}

// rest waits, until the queue is closed at the longest.
func (q *queue) rest(pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.closed:
	}
}
