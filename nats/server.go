// SPDX-License-Identifier: Apache-2.0

// The server's side: queue subscriptions, whose calls an http.Handler serves.

package natsrpc

import (
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
)

// A Server takes the calls of services from a connection to NATS. Its methods are safe for
// concurrent use.
type Server struct {
	nc      *nats.Conn
	handler http.Handler
	config  config
	link    *link
	subs    []*nats.Subscription
	base    context.Context // of the handlers' contexts
	found   *discovery      // nil without it
	before  error           // the connection's last error when Serve began

	mu       sync.Mutex
	calls    map[string]*stream // whose handlers run, by the subjects of their clients
	open     int                // subscriptions
	stopping bool               // Shutdown or Close was called
	closed   bool               // the link is released
	idle     chan struct{}      // closed once stopping, without subscriptions and calls
}

// acceptDelay is how long a server waits for the handler of a call whose request is
// complete, before it sends an ACCEPT. Without that, a client that cancels could not reach
// the handler.
const acceptDelay = 10 * time.Millisecond

// Serve takes calls of the services that [Services] names, and has handler serve them, each
// in a goroutine of its own. The handler is what an http.Server would have: the value of a
// generated constructor, or an http.ServeMux. Requests look like those of HTTP/2.
//
// The connection is the caller's, as for [NewTransport]. Serve returns when the NATS server
// has the subscriptions. It returns an error with the code permission_denied if the user may
// not subscribe, invalid_argument without services, and unavailable if the connection is not
// there. It panics if nc or handler is nil.
func Serve(nc *nats.Conn, handler http.Handler, options ...ServerOption) (*Server, error) {
	switch {
	case nc == nil:
		panic("natsrpc: Serve: the connection is nil: pass that of nats.Connect")
	case handler == nil:
		panic("natsrpc: Serve: the handler is nil: pass that of a generated constructor, or an http.ServeMux")
	}
	s := &Server{nc: nc, handler: handler, calls: make(map[string]*stream), idle: make(chan struct{}), config: config{
		window: defaultWindow, keepAlive: defaultKeepAlive, prefix: defaultPrefix, queue: defaultQueue, maxCalls: defaultMaxCalls,
	}}
	for _, o := range options {
		if o == nil {
			panic("natsrpc: Serve: an option is nil")
		}
		o.applyToServer(&s.config)
	}
	if len(s.config.services) == 0 {
		return nil, errorf(connect.CodeInvalidArgument, "Serve without services: name them with natsrpc.Services, such as pingv1connect.PingServiceName")
	}
	s.before = nc.LastError()
	l, err := acquire(nc, s.config.keepAlive)
	if err != nil {
		return nil, err
	}
	l.serving.Lock()
	defer l.serving.Unlock()
	s.link = l
	s.found = newDiscovery(s.config)
	s.base = context.WithValue(context.WithValue(context.Background(),
		http.LocalAddrContextKey, net.Addr(address(l.inbox))), http.ServerContextKey, new(http.Server))
	for _, name := range s.config.services {
		if err := s.subscribe(s.config.prefix + "." + name + ".*"); err != nil {
			_ = s.Close()
			return nil, err
		}
	}
	if s.found != nil {
		err := s.found.listen(nc)
		if err == nil {
			err = s.confirm(s.found.asks)
		}
		if err != nil {
			_ = s.Close()
			return nil, err
		}
	}
	return s, nil
}

// An address is the inbox of a connection as a [net.Addr].
type address string

func (address) Network() string  { return "nats" }
func (a address) String() string { return string(a) + ":0" }

// answerTime is how long the NATS server may take for a subscription, or for the last
// answers of a server.
const answerTime = 10 * time.Second

// subscribe takes the calls of a service. It waits until the NATS server has answered, and
// so has reported a missing permission.
func (s *Server) subscribe(subject string) error {
	sub, err := s.nc.QueueSubscribe(subject, s.config.queue, s.take)
	if err != nil {
		return errorf(connect.CodeUnavailable, "subscribing to %q: %w", subject, err)
	}
	s.subs = append(s.subs, sub)
	s.count(func() { s.open++ })
	sub.SetClosedHandler(func(string) { s.count(func() { s.open-- }) })
	return s.confirm(func(denied string) bool { return denied == subject || denied == s.link.inbox+".*" })
}

// confirm waits until the NATS server has answered, and returns an error if it has denied a
// subscription that is one of ours. The connection has its last error alone, which may be
// older than Serve: permissions may have changed since.
func (s *Server) confirm(ours func(subject string) bool) error {
	if err := s.nc.FlushTimeout(answerTime); err != nil {
		return errorf(connect.CodeUnavailable, "subscribing: %w", err)
	}
	if err := s.link.denial(); err != nil {
		return err
	}
	err := s.nc.LastError()
	if publish, denied, ok := parseViolation(err); ok && !publish && err != s.before && ours(denied) {
		return errorf(connect.CodePermissionDenied, "subscribing to %q: %w: allow it to the NATS user", denied, nats.ErrPermissionViolation)
	}
	return nil
}

// Shutdown ends the server gracefully: it takes no more calls, waits for those that it has
// taken, and returns when the NATS server has their answers. If ctx ends before, it returns
// the context's error, and the calls go on until [Server.Close]. The connection stays open.
func (s *Server) Shutdown(ctx context.Context) error {
	s.found.end()
	for _, sub := range s.subs {
		_ = sub.Drain() // fails if the subscription has ended, by another Shutdown or with the connection
	}
	s.count(func() { s.stopping = true })
	select {
	case <-s.idle:
	case <-ctx.Done():
		return fmt.Errorf("natsrpc: shutting down: %w", context.Cause(ctx))
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	err := s.nc.FlushWithContext(ctx)
	s.free()
	if err != nil {
		return errorf(connect.CodeUnavailable, "sending the last answers: %w", err)
	}
	return nil
}

// Close ends the server at once: the calls that it has taken end with the code unavailable,
// and so do their handlers' contexts. It does not wait for the handlers. It always returns
// nil.
func (s *Server) Close() error {
	s.found.end()
	for _, sub := range s.subs {
		_ = sub.Unsubscribe() // fails if the subscription has ended
	}
	s.count(func() { s.stopping = true })
	s.free() // first: no call begins after that
	s.mu.Lock()
	calls := slices.Collect(maps.Values(s.calls))
	s.mu.Unlock()
	for _, st := range calls {
		st.fail(errLinkClosed, errLinkClosed)
	}
	return nil
}

// count changes what idle depends on.
func (s *Server) count(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	if s.stopping && s.open == 0 && len(s.calls) == 0 {
		select {
		case <-s.idle:
		default:
			close(s.idle)
		}
	}
}

// free releases the link, once.
func (s *Server) free() {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if !closed {
		s.link.release()
	}
}

// ---- calls ----

// take takes an OPEN. nats.go calls it in a goroutine for each service.
func (s *Server) take(m *nats.Msg) {
	if m.Reply == "" {
		return // no call: nobody waits for an answer
	}
	st, r, err := s.begin(m)
	switch {
	case err != nil:
		s.found.count(m.Subject, 0, err)
		s.link.refuse(m.Reply, err)
	case st != nil:
		go s.run(st, r, m.Subject)
	}
}

// begin makes the stream and the request of an OPEN. It returns neither if the call is
// there already: the OPEN came twice.
func (s *Server) begin(m *nats.Msg) (*stream, *http.Request, error) {
	f, err := parseFrame(m.Data)
	if err != nil {
		return nil, nil, unprocessed(connect.CodeInvalidArgument, "%w: this subject takes calls of version %s", err, version)
	}
	if got := field(m.Header, fieldVersion); got != version {
		return nil, nil, unprocessed(connect.CodeUnimplemented, "got version %q of the protocol, want %q", cleanText(got), version)
	}
	window, err := strconv.Atoi(field(m.Header, fieldWindow))
	if err != nil || window < openMax || window > maxWindow {
		return nil, nil, unprocessed(connect.CodeInvalidArgument, "got a window of %q bytes, want %d to %d", cleanText(field(m.Header, fieldWindow)), openMax, maxWindow)
	}
	st := newStream(s.link, s.config.window, s.config.keepAlive)
	st.peer = m.Reply
	st.s.server, st.s.credit, st.s.peerWindow = true, window, window
	if _, v := st.s.receive(f); v != nil || f.kind != frameOpen {
		return nil, nil, unprocessed(connect.CodeInvalidArgument, "a call begins with frame 0, an OPEN of at most %d bytes", s.config.window)
	}
	st.in.add(f.payload)
	if f.end {
		st.trailer = m.Header
	}
	r, err := s.request(m, st, f)
	if err != nil {
		return nil, nil, unprocessed(connect.CodeInvalidArgument, "%w", err)
	}
	if again, err := s.admit(st); again || err != nil {
		return nil, nil, err
	}
	return st, r, nil
}

// admit registers a call, unless there are too many, or it is there already.
func (s *Server) admit(st *stream) (again bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.calls[st.peer] != nil:
		return true, nil
	case s.closed:
		return false, unprocessed(connect.CodeUnavailable, "the server is closed")
	case len(s.calls) >= s.config.maxCalls:
		return false, unprocessed(connect.CodeUnavailable, "the server has %d calls, as many as it takes at once: try another one", len(s.calls))
	}
	if err := s.link.add(st); err != nil {
		return false, unprocessed(connect.CodeUnavailable, "%w", err)
	}
	s.calls[st.peer] = st
	return false, nil
}

// request makes the handler's request.
func (s *Server) request(m *nats.Msg, st *stream, f frame) (*http.Request, error) {
	path, err := pathOf(s.config.prefix, m.Subject)
	if err != nil {
		return nil, err
	}
	method, host, query := field(m.Header, fieldMethod), field(m.Header, fieldHost), field(m.Header, fieldQuery)
	if !isToken(method) || !isHost(host) || !isValue(query) || strings.ContainsAny(query, " #") {
		return nil, fmt.Errorf("got method %q, host %q and query %q, want those of an HTTP request", cleanText(method), cleanText(host), cleanText(query))
	}
	u := &url.URL{Path: path, RawQuery: query}
	h := parseFields(m.Header, "")
	r := &http.Request{
		Method: method, URL: u, RequestURI: u.RequestURI(), Host: host,
		Proto: "HTTP/2.0", ProtoMajor: 2,
		Header: h, ContentLength: -1, RemoteAddr: string(address(m.Reply[:max(strings.LastIndexByte(m.Reply, '.'), 0)])) + ":0",
	}
	length, declared := h["Content-Length"]
	switch {
	case f.end:
		r.ContentLength = int64(len(f.payload))
		if declared && (len(length) != 1 || length[0] != strconv.Itoa(len(f.payload))) {
			return nil, fmt.Errorf("got a Content-Length of %q, want the %d bytes of the body", length, len(f.payload))
		}
	case declared:
		n, err := strconv.ParseUint(strings.Join(length, ","), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("got a Content-Length of %q, want one number", length)
		}
		r.ContentLength = int64(n)
	}
	r.Trailer = announced(h["Trailer"])
	delete(h, "Trailer")
	if r.Body = http.NoBody; r.ContentLength != 0 {
		r.Body = &requestBody{st, r, bodyLength{left: r.ContentLength}}
	}
	ctx, cancel := context.WithCancelCause(s.base)
	st.cancel = cancel
	return r.WithContext(ctx), nil
}

// run serves a call.
func (s *Server) run(st *stream, r *http.Request, subject string) {
	began := time.Now()
	w := &response{st: st, method: r.Method}
	returned := false
	defer func() {
		if !returned {
			if v := recover(); v != nil && v != http.ErrAbortHandler {
				stack := make([]byte, 64<<10)
				stack = stack[:runtime.Stack(stack, false)]
				s.logf("natsrpc: panic serving %s: %v\n%s", r.URL.Path, v, stack)
			}
			st.fail(errPanicked, errPanicked)
			w.revoke()
		}
		err := st.failure()
		if err == nil && w.status >= http.StatusBadRequest {
			err = fmt.Errorf("HTTP status %d", w.status)
		}
		s.found.count(subject, time.Since(began), err)
		s.count(func() { delete(s.calls, st.peer) })
	}()
	st.promise()
	s.handler.ServeHTTP(w, r)
	w.finish()
	returned = true
}

// promise sends an ACCEPT: at once if the client has to send more, else once the call lasts.
func (st *stream) promise() {
	st.mu.Lock()
	if st.over {
		st.mu.Unlock()
		return
	}
	if !st.s.inEnd {
		st.acceptLocked()
		return
	}
	st.accept = time.AfterFunc(acceptDelay, func() {
		st.mu.Lock()
		if st.over || st.promised {
			st.mu.Unlock()
			return
		}
		st.acceptLocked()
	})
	st.mu.Unlock()
}

// acceptLocked sends an ACCEPT, and releases the lock.
func (st *stream) acceptLocked() {
	st.promised = true
	if err := st.send(frame{kind: frameAccept, payload: packCount(st.s.window)}, nil); err != nil {
		st.endLocked(err, err)
		return
	}
	st.mu.Unlock()
}

func (s *Server) logf(format string, args ...any) {
	if s.config.errorLog != nil {
		s.config.errorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}

// ---- the request's body ----

// A requestBody is the Body of a handler's request.
type requestBody struct {
	st     *stream
	r      *http.Request
	length bodyLength
}

// Read reads from the body. With io.EOF, the announced trailers are in Request.Trailer.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.length.read(b.st, p)
	if err == errBodyClosed {
		return n, http.ErrBodyReadAfterClose
	}
	if err == io.EOF && b.r.Trailer != nil {
		for key, values := range parseFields(b.st.trailers(), fieldTrailerPrefix) {
			if _, announced := b.r.Trailer[key]; announced {
				b.r.Trailer[key] = values
			}
		}
	}
	return n, err
}

// Close ends the reading: bytes that follow are dropped.
func (b *requestBody) Close() error {
	b.st.closeBody()
	return nil
}
