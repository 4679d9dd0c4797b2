// SPDX-License-Identifier: Apache-2.0

// One call of a client: its request sent, the head of its response received.

package h2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const informationalMax = 32 // 1xx responses before the final one

// A clientStream is one call.
type clientStream struct {
	stream
	cc      *clientConn
	ctx     context.Context
	request *http.Request
	trace   *httptrace.ClientTrace
	traced  []field // what was written, if the trace wants to know
	sender  bodySender
	body    responseBody
	gzip    bool // asked for by us, so to be inflated by us

	// Written by the reading goroutine before answered is set.
	response *http.Response
	answered atomic.Bool
	informed int
	go100    chan struct{} // closed when the peer wants the body; nil if nobody waits

	// Guarded by conn.mu.
	failure     error // why there is no response, or none any more
	unprocessed bool  // the peer has said that it did nothing
	released    bool  // the place was given back
	trailer     http.Header
	unwatch     func() bool // ends the watching of ctx
}

// An unprocessedError is why a request failed that the peer did not process.
type unprocessedError struct {
	error
	bodyUsed bool // some of the request's body was read
}

func (e unprocessedError) Unwrap() error { return e.error }

// traceOf returns the trace of a request, nil without one.
func traceOf(r *http.Request) *httptrace.ClientTrace {
	return httptrace.ContextClientTrace(r.Context())
}

// roundTrip sends a request on this connection, on which a place is reserved.
func (c *clientConn) roundTrip(r *http.Request) (*http.Response, error) {
	s := &clientStream{cc: c, ctx: r.Context(), request: r, trace: traceOf(r)}
	s.body.s = s
	s.sender.init(s, r)
	if err := s.send(); err != nil {
		s.sender.close()
		return nil, err
	}
	if err := s.await(); err != nil {
		return nil, err
	}
	return s.finishHead(), nil
}

// send opens the stream and writes the head, and as much of the body as goes
// without waiting.
func (s *clientStream) send() error {
	c := s.cc
	if err := s.ctx.Err(); err != nil {
		c.mu.Lock()
		c.release()
		c.mu.Unlock()
		return context.Cause(s.ctx)
	}
	if err := s.sender.prepare(); err != nil {
		c.mu.Lock()
		c.release()
		c.mu.Unlock()
		return err
	}
	if s.trace != nil && s.trace.GotConn != nil {
		reused := c.used()
		s.trace.GotConn(httptrace.GotConnInfo{Conn: c.nc, Reused: reused, WasIdle: reused && c.active.Load() == 1})
	}
	c.mu.Lock()
	err := s.sendLocked()
	sent := s.sent
	c.mu.Unlock()
	if err == nil {
		s.traceSent(sent)
	}
	return err
}

// sendLocked is send with conn.mu held.
func (s *clientStream) sendLocked() error {
	c, r := s.cc, s.request
	var err error
	switch {
	case c.err != nil:
		err = unprocessedError{error: c.err}
	case c.retired.Load():
		err = unprocessedError{error: errClosed}
	case c.nextID > streamIDMax:
		c.retireLocked()
		err = unprocessedError{error: errors.New("http2: stream numbers are used up")}
	case c.peerHeaderList > 0 && headSize(r) > int(c.peerHeaderList):
		err = errTooManyFields
	}
	if err != nil {
		c.release()
		return err
	}
	id := c.nextID
	c.nextID += 2
	c.maxID = id
	c.open(&s.stream, id, s)
	c.writer.crowd++
	s.writeHead()
	if err := s.sender.begin(); err != nil {
		c.abort(&s.stream, ErrCodeCancel, err)
		c.flush()
		return err
	}
	c.flush()
	return nil
}

// traceSent tells the trace what was written.
func (s *clientStream) traceSent(all bool) {
	trace := s.trace
	if trace == nil {
		return
	}
	for _, f := range s.traced {
		trace.WroteHeaderField(f.name, []string{f.value})
	}
	s.traced = nil
	if trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	if all {
		s.sender.wrote(nil)
	}
}

// used reports whether the connection has carried a call, and that it has now.
func (c *clientConn) used() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.born
	c.born = true
	return before
}

// headSize is how the peer counts the head of a request, roughly.
func headSize(r *http.Request) int {
	size := 4*64 + len(r.URL.Path) + len(r.URL.RawQuery) + len(r.Host) + len(r.URL.Host)
	for key, values := range r.Header {
		for _, value := range values {
			size += len(key) + len(value) + 32
		}
	}
	return size
}

// writeHead appends the request's field section. With conn.mu held.
func (s *clientStream) writeHead() {
	c, r := s.cc, s.request
	at := c.beginFields()
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	authority := r.Host
	if authority == "" {
		authority = r.URL.Host
	}
	s.field(":method", method)
	s.field(":authority", authority)
	if method != http.MethodConnect {
		path := r.URL.Path
		if r.URL.RawPath != "" || r.URL.RawQuery != "" || r.URL.ForceQuery || r.URL.Opaque != "" || !plainPath(path) {
			path = r.URL.RequestURI()
		}
		s.field(":scheme", r.URL.Scheme)
		s.field(":path", path)
	}
	agent := false
	for key, values := range r.Header {
		switch key {
		case "Host", "Content-Length", "Connection", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Keep-Alive":
			continue // said otherwise, or not at all
		case "Te":
			if len(values) != 1 || values[0] != "trailers" {
				continue
			}
		case "User-Agent":
			agent = true
			if len(values) == 0 || values[0] == "" {
				continue
			}
			values = values[:1]
		}
		name := lower(key)
		for _, value := range values {
			s.field(name, value)
		}
	}
	if !agent {
		s.field("user-agent", "Go-http-client/2.0")
	}
	if len(r.Trailer) > 0 {
		names := make([]string, 0, len(r.Trailer))
		for key := range r.Trailer {
			names = append(names, key)
		}
		s.field("trailer", strings.Join(names, ","))
	}
	if n := s.sender.length; n > 0 || n == 0 && sendsZero(method) {
		s.field("content-length", strconv.FormatInt(n, 10))
	}
	if s.wantsGzip(method) {
		s.gzip = true
		s.field("accept-encoding", "gzip")
	}
	end := s.sender.none() && len(r.Trailer) == 0
	c.endFields(at, s.id, end)
	if end {
		s.sent = true
	}
}

// field encodes one field, and keeps it for a trace that asks for fields.
func (s *clientStream) field(name, value string) {
	s.cc.field(name, value)
	if s.trace != nil && s.trace.WroteHeaderField != nil {
		s.traced = append(s.traced, field{name, value})
	}
}

// sendsZero reports whether a method's requests say that they have no body.
func sendsZero(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// wantsGzip reports whether the transport asks for gzip on its own.
func (s *clientStream) wantsGzip(method string) bool {
	h := s.request.Header
	return !s.cc.t.config.DisableCompression && method != http.MethodHead &&
		h["Accept-Encoding"] == nil && h["Range"] == nil
}

// await waits for the head of the response.
func (s *clientStream) await() error {
	var patience <-chan time.Time
	if std := s.cc.t.standard; std != nil && std.ResponseHeaderTimeout > 0 {
		timer := time.NewTimer(std.ResponseHeaderTimeout)
		defer timer.Stop()
		patience = timer.C
	}
	for !s.answered.Load() {
		var err error
		select {
		case <-s.in.wake:
			if s.answered.Load() {
				continue
			}
			s.cc.mu.Lock()
			err = s.failure
			s.cc.mu.Unlock()
			if err == nil {
				continue
			}
		case <-s.ctx.Done():
			err = context.Cause(s.ctx)
		case <-s.request.Cancel: //lint:ignore SA1019 users of old code still set it
			err = errors.New("h2: request canceled")
		case <-patience:
			err = errHeaderTimeout
		}
		c := s.cc
		c.mu.Lock()
		c.abort(&s.stream, ErrCodeCancel, err)
		unprocessed := s.unprocessed
		c.flush()
		c.mu.Unlock()
		s.discard(errBodyClosed)
		s.sender.close()
		if unprocessed {
			err = unprocessedError{err, s.sender.used()}
		}
		return err
	}
	return nil
}

// A headerTimeout is the error after ResponseHeaderTimeout.
type headerTimeout struct{}

func (headerTimeout) Error() string   { return "h2: timeout awaiting response headers" }
func (headerTimeout) Timeout() bool   { return true }
func (headerTimeout) Temporary() bool { return true }

var errHeaderTimeout error = headerTimeout{}

// finishHead completes the response for its user.
func (s *clientStream) finishHead() *http.Response {
	c, res := s.cc, s.response
	if s.trace != nil && s.trace.GotFirstResponseByte != nil {
		s.trace.GotFirstResponseByte()
	}
	res.Request = s.request
	res.TLS = c.tls
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.got || s.released || s.ctx.Done() == nil {
		return res // all is here, or nobody can cancel
	}
	// From here on, the end of ctx has to find the stream by itself.
	s.unwatch = context.AfterFunc(s.ctx, func() { s.cancel(context.Cause(s.ctx)) })
	return res
}

// cancel resets the stream because its user has left.
func (s *clientStream) cancel(cause error) {
	c := s.cc
	c.mu.Lock()
	c.abort(&s.stream, ErrCodeCancel, cause)
	c.flush()
	c.mu.Unlock()
}

// free gives the call's place back, once. With conn.mu held.
func (s *clientStream) free() {
	if s.released {
		return
	}
	s.released = true
	s.cc.writer.crowd--
	if s.unwatch != nil {
		s.unwatch()
		s.unwatch = nil
	}
	s.cc.release()
}

// stopped takes the stream's early end. With conn.mu held.
func (s *clientStream) stopped(err error) {
	if s.failure == nil {
		s.failure = err
	}
	var reset StreamError
	if errors.As(err, &reset) && reset.Code == ErrCodeRefusedStream && reset.Cause == errFromPeer {
		s.unprocessed = true
	}
	s.sender.stop()
	s.free()
}

// finished takes the end of the response. What was not sent of the request is not
// wanted. With conn.mu held.
func (s *clientStream) finished() {
	if !s.sent {
		s.cc.sayReset(s.id, ErrCodeNo)
		s.sent = true
		s.sender.stop()
		if s.room != nil {
			signal(s.room)
		}
	}
	s.free()
}

// ---- what arrives ----

// headers takes a field section. Reading goroutine.
func (s *clientStream) headers(f *fieldSection, end bool) error {
	c := s.cc
	reject := func(code ErrCode, format string, args ...any) error {
		err := c.reject(s.id, code, format, args...)
		c.wakeLater(&s.stream)
		return err
	}
	switch {
	case s.got:
		return reject(ErrCodeStreamClosed, "HEADERS after the end of the stream")
	case f.bad != nil:
		return reject(ErrCodeProtocol, "malformed response: %w", f.bad)
	case f.tooLarge():
		return reject(ErrCodeCancel, "header of the response exceeds %d bytes", f.limit)
	case s.trailing:
		return s.takeTrailers(f, end, reject)
	}
	status, err := strconv.Atoi(f.status)
	if err != nil || len(f.status) != 3 || f.pseudo != hasStatus {
		return reject(ErrCodeProtocol, "malformed response: pseudo-field \":status\": got %q", f.status)
	}
	if status < 200 {
		if s.informed++; end || s.informed > informationalMax || status == http.StatusSwitchingProtocols || status < 100 {
			return reject(ErrCodeProtocol, "unexpected status %d", status)
		}
		return s.inform(status, f)
	}
	s.trailing = true
	res := &http.Response{
		Status:        statusLine(status),
		StatusCode:    status,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
		Header:        f.header(),
		ContentLength: f.length,
		Body:          &s.body,
	}
	s.response = res
	head := s.request.Method == http.MethodHead
	if end && f.length > 0 && !head && status != http.StatusNotModified {
		return reject(ErrCodeProtocol, "no body, Content-Length says %d", f.length)
	}
	if end {
		if f.length < 0 && !head {
			res.ContentLength = 0
		}
		res.Body = http.NoBody
	} else if !head {
		s.declared = f.length
	}
	if names := res.Header["Trailer"]; names != nil {
		announceTrailers(res, names)
	}
	if s.gzip && !end && res.Header.Get("Content-Encoding") == "gzip" {
		res.Header.Del("Content-Encoding")
		res.Header.Del("Content-Length")
		res.ContentLength = -1
		res.Uncompressed = true
		res.Body = &inflater{body: &s.body}
	}
	s.answered.Store(true)
	if end {
		c.mu.Lock()
		c.endOfBody(&s.stream)
		c.flush()
		c.mu.Unlock()
	}
	c.wakeLater(&s.stream)
	return nil
}

// inform takes a 1xx response.
func (s *clientStream) inform(status int, f *fieldSection) error {
	if status == http.StatusContinue {
		if s.trace != nil && s.trace.Got100Continue != nil {
			s.trace.Got100Continue()
		}
		if s.go100 != nil {
			close(s.go100)
			s.go100 = nil
		}
	}
	if s.trace != nil && s.trace.Got1xxResponse != nil {
		if err := s.trace.Got1xxResponse(status, map[string][]string(f.header())); err != nil {
			s.cancel(err)
			s.cc.wakeLater(&s.stream)
		}
	}
	return nil
}

// takeTrailers takes the field section after the body.
func (s *clientStream) takeTrailers(f *fieldSection, end bool, reject func(ErrCode, string, ...any) error) error {
	switch {
	case !end:
		return reject(ErrCodeProtocol, "second field section does not end the stream")
	case s.declared >= 0 && s.received != s.declared:
		return reject(ErrCodeProtocol, "body of %d bytes, Content-Length says %d", s.received, s.declared)
	}
	c := s.cc
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(f.fields) > 0 {
		s.trailer = f.header()
	}
	c.endOfBody(&s.stream)
	c.flush()
	c.wakeLater(&s.stream)
	return nil
}

// announceTrailers makes the announced trailers keys of the response's.
func announceTrailers(res *http.Response, values []string) {
	res.Trailer = make(http.Header)
	for _, names := range values {
		for name := range strings.SplitSeq(names, ",") {
			if key := http.CanonicalHeaderKey(strings.TrimSpace(name)); key != "" {
				res.Trailer[key] = nil
			}
		}
	}
	delete(res.Header, "Trailer")
}

// statusLine returns what http.Response has as its Status.
func statusLine(status int) string {
	if status == http.StatusOK {
		return "200 OK"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
}

// ---- the body of the response ----

// responseBody is the body of a response.
type responseBody struct {
	s      *clientStream
	closed atomic.Bool
}

// Read reads from the body. With the end, the response's trailers are there.
func (b *responseBody) Read(p []byte) (int, error) {
	s := b.s
	if b.closed.Load() {
		return 0, errBodyClosed
	}
	n, err := s.read(s.ctx, p)
	if err == nil {
		return n, nil
	}
	c := s.cc
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == io.EOF {
		if s.trailer != nil {
			if s.response.Trailer == nil {
				s.response.Trailer = s.trailer
			} else {
				for key, values := range s.trailer {
					s.response.Trailer[key] = values
				}
			}
			s.trailer = nil
		}
		return n, err
	}
	c.abort(&s.stream, ErrCodeCancel, err)
	c.flush()
	return n, err
}

// Close ends the reading. A response that has not ended is cancelled.
func (b *responseBody) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	s, c := b.s, b.s.cc
	c.mu.Lock()
	c.abort(&s.stream, ErrCodeCancel, errBodyClosed)
	c.flush()
	c.mu.Unlock()
	s.discard(errBodyClosed)
	return nil
}
