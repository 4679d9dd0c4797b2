// SPDX-License-Identifier: Apache-2.0

// One request of a server: made from a field section, handled, and ended.
//
// Invariants. A stream's handler runs once, on a worker or on the reading goroutine (see
// inline.go). conn.handlers counts the stream from openStream to closeRelocking, reset
// or not. The stream, its context, its request's body and its response are one
// allocation that is never used again: users of net/http may keep any of them.

package h2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// A serverStream is one request and its response.
type serverStream struct {
	stream
	sc      *serverConn
	ctx     streamContext
	w       response
	request *http.Request // nil until makeRequest; direct calls need none
	url     *url.URL      // becomes request.URL

	// A request without an http.Request: see direct.go.
	host, path     string
	pairs          [][2]string // its fields; nil if the http.Request was made at once
	readsAtArrival uint64      // conn.reads when the request had arrived

	trailer   http.Header   // received trailers, set before the body's end is
	expects   atomic.Bool   // the client waits for 100 (Continue)
	oversized bool          // the header is too large: 431 without the handler
	bodiless  bool          // the request has no body
	abandoned bool          // counted in serverConn.abandoned; guarded by conn.mu
	timer     *time.Timer   // for the write deadline; guarded by conn.mu
	openedAt  int64         // clock when its head was read
	timeout   time.Duration // that the request carries; 0: none, or see pairs

	// Set by the reading goroutine before the handler runs; see inline.go.
	inline uint64 // the epoch in which it runs on the reading goroutine; 0: on a worker
	pace   *pace  // of the request's path, under which it runs inline or is measured; nil: neither
	short  *pace  // the same for a request that was alone, measured beside pace
}

// newServerStreamLocked opens the stream for a request. If the request may be a direct
// call, its http.Request is made later, when a handler needs one.
func newServerStreamLocked(c *serverConn, id uint32, f *wire.FieldSection, end bool) *serverStream {
	direct := c.directCalls && !f.TooLarge() && f.MayBeDirect()
	var s *serverStream
	if direct {
		s = new(serverStream)
	} else {
		memory := new(struct {
			serverStream
			url url.URL
		})
		s = &memory.serverStream
		s.url = &memory.url
	}
	s.sc = c
	c.openLocked(&s.stream, id, s)
	s.trailing = true
	s.declared = f.Length
	s.ctx.Context = c.ctx
	s.w.s = s
	s.oversized = f.TooLarge()
	s.openedAt = c.lastRead.Load()
	s.bodiless = end
	if end {
		s.gotEnd = true
		s.in.end(io.EOF)
	}
	switch {
	case s.oversized:
	case direct:
		s.host, s.path, s.pairs, s.readsAtArrival = f.Authority, f.Path, f.Pairs(), c.reads.Load()
	default:
		s.timeout = timeoutOf(f.Fields)
		s.makeRequest(f.Method, f.Authority, f.Path, f.URL, f.Header())
	}
	return s
}

// makeRequest makes the http.Request. u is the parsed path, nil if the path is a plain
// one.
func (s *serverStream) makeRequest(method, authority, path string, u *url.URL, header http.Header) {
	r := s.sc.template.WithContext(&s.ctx)
	s.request = r
	r.Method = method
	r.Host = authority
	r.Header = header
	if r.Host == "" {
		r.Host = r.Header.Get("Host")
	}
	delete(r.Header, "Host")
	if s.url == nil {
		s.url = new(url.URL)
	}
	r.URL, r.RequestURI = s.url, path
	switch {
	case method == http.MethodConnect:
		s.url.Host = authority
		r.RequestURI = authority
	case u != nil:
		r.URL = u
	default:
		s.url.Path = path
	}
	if s.bodiless {
		r.Body = http.NoBody
	} else {
		r.ContentLength = s.declared
		r.Body = (*requestBody)(s)
		s.declareTrailers()
	}
	if expect := r.Header["Expect"]; len(expect) > 0 && !s.bodiless {
		if strings.EqualFold(expect[0], "100-continue") {
			s.expects.Store(true)
			delete(r.Header, "Expect") // this server answers it
		}
	}
}

// declareTrailers makes the names in the field "Trailer" the keys of Request.Trailer.
func (s *serverStream) declareTrailers() {
	r := s.request
	for _, names := range r.Header["Trailer"] {
		for name := range strings.SplitSeq(names, ",") {
			key := trailerKey(name)
			if key == "" {
				continue
			}
			if r.Trailer == nil {
				r.Trailer = make(http.Header)
			}
			r.Trailer[key] = nil
		}
	}
	delete(r.Header, "Trailer")
}

// trailerKey returns the key of a name in the field "Trailer", "" if it cannot be a
// trailer's. [RFC 9110, section 6.5.1]
func trailerKey(name string) string {
	switch key := http.CanonicalHeaderKey(strings.TrimSpace(name)); key {
	case "Transfer-Encoding", "Trailer", "Content-Length":
		return ""
	default:
		return key
	}
}

// trailers takes the field section that ends the request, for the reading goroutine.
// [RFC 9113, sections 8.1 and 8.1.1]
func (s *serverStream) trailers(f *wire.FieldSection, end bool) error {
	c := s.sc
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.gotEnd:
		return c.rejectLocked(s.id, ErrCodeStreamClosed, errStreamOver)
	case !end:
		return c.rejectLocked(s.id, ErrCodeProtocol, errors.New("second field section does not end the stream"))
	case f.Bad != nil:
		return c.rejectLocked(s.id, ErrCodeProtocol, f.Bad)
	case f.TooLarge():
		return c.rejectLocked(s.id, ErrCodeEnhanceYourCalm, fmt.Errorf("trailers of %d bytes, the limit is %d (MaxHeaderBytes)", f.Size, f.Limit))
	case s.declared >= 0 && s.received != s.declared:
		return c.rejectLocked(s.id, ErrCodeProtocol, errors.New("body is shorter than Content-Length says"))
	}
	s.trailer = f.Header()
	c.endOfBodyLocked(&s.stream, io.EOF)
	c.wakeLater(&s.stream)
	return nil
}

// stoppedLocked cancels the request's context. Unread bytes go on to hold the
// connection's window until the handler returns: a peer that resets its streams must not
// make this side hold more memory than one that does not.
func (s *serverStream) stoppedLocked(error) {
	s.countEachLocked()
	s.ctx.cancel(context.Canceled)
}

// peerEndedLocked does nothing: the handler goes on.
func (s *serverStream) peerEndedLocked() {}

// start runs the handler in a goroutine of its own.
func (s *serverStream) start() { s.sc.workers.run(s) }

// run calls the handler and ends the stream, also if the handler panics or ends its
// goroutine with runtime.Goexit.
func (s *serverStream) run() {
	c := s.sc
	returned := false
	defer func() {
		if returned {
			return
		}
		// The handler panicked, or ended its goroutine.
		v := recover()
		if v != nil && v != http.ErrAbortHandler {
			c.logPanic(v)
		}
		c.mu.Lock()
		c.abortLocked(&s.stream, ErrCodeInternal, errHandlerGone)
		last := s.closeRelocking()
		c.mu.Unlock()
		s.afterClose(last)
		s.w.mu.Lock() // free soon: a goroutine in a method of w does not wait for the stream any more
		s.w.handlerDone = true
		s.w.mu.Unlock()
	}()
	if s.oversized {
		http.Error(&s.w, http.StatusText(http.StatusRequestHeaderFieldsTooLarge), http.StatusRequestHeaderFieldsTooLarge)
	} else {
		s.limitTime()
		s.measure()
	}
	returned = true
	s.w.finish()
}

// limitTime applies the server's ReadTimeout and WriteTimeout.
func (s *serverStream) limitTime() {
	if t := s.sc.server.ReadTimeout; t > 0 {
		s.in.setDeadline(time.Now().Add(t))
	}
	if t := s.sc.server.WriteTimeout; t > 0 {
		s.setWriteDeadline(time.Now().Add(t))
	}
}

// closeRelocking ends the stream after its handler. It reports whether it was the
// connection's last; the caller unlocks conn.mu and calls afterClose.
//
// A server may answer before the request has ended. It then asks the client to stop
// sending with RST_STREAM and NO_ERROR, after a complete response. [RFC 9113, section 8.1]
func (s *serverStream) closeRelocking() (last bool) {
	c := s.sc
	if !s.overLocked() && s.sentEnd {
		c.appendResetLocked(s.id, ErrCodeNo)
		s.err = errHandlerGone
		delete(c.table.open, s.id)
	}
	if s.room != nil {
		signal(s.room) // a goroutine that the handler left in Write may wait
	}
	if s.err == nil && s.sentEnd && s.gotEnd {
		c.resets.giveBack()
	}
	s.detachLocked()
	c.handlerReturnedLocked(s)
	if !s.gathersLocked() {
		c.flushRelocking()
	}
	if c.drainedLocked() {
		c.hangUpLocked()
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	return c.handlers == 0
}

// afterClose does what closeRelocking leaves, because it runs code of the user or
// takes other locks.
func (s *serverStream) afterClose(last bool) {
	s.ctx.cancel(context.Canceled)
	s.discard(http.ErrBodyReadAfterClose)
	if last {
		s.sc.reportIdle()
	}
}

// setWriteDeadline ends the stream at t, never if t is zero. A deadline that has passed
// acts at once, and stays.
func (s *serverStream) setWriteDeadline(t time.Time) {
	c := s.sc
	c.mu.Lock()
	defer c.mu.Unlock()
	passed := s.timer != nil && !s.timer.Stop() // its function may wait for mu
	if passed || s.overLocked() {
		return
	}
	s.timer = nil
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		s.writeTimedOutRelocking()
		return
	}
	s.timer = time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		s.writeTimedOutRelocking()
	})
}

// writeTimedOutRelocking resets the stream, because the write deadline has passed.
func (s *serverStream) writeTimedOutRelocking() {
	s.sc.abortLocked(&s.stream, ErrCodeInternal, errWriteDeadline)
	s.sc.flushRelocking()
}

// ---- body ----

// A requestBody is a serverStream as the Body of its request.
type requestBody serverStream

// Read reads from the body. With io.EOF, the announced trailers are in Request.Trailer.
// The first Read answers "Expect: 100-continue".
func (b *requestBody) Read(p []byte) (int, error) {
	s := (*serverStream)(b)
	if s.expects.Load() {
		s.w.sendContinue()
	}
	n, err := s.read(context.Background(), p) // the end of the stream ends the wait
	if err == io.EOF && s.trailer != nil && s.request != nil {
		s.setTrailer()
	}
	return n, err
}

// setTrailer sets the announced trailers. It is not a part of Read, whose frame is on the
// stack of each handler that waits.
//
//go:noinline
func (s *serverStream) setTrailer() {
	for key, values := range s.trailer {
		if _, announced := s.request.Trailer[key]; announced {
			s.request.Trailer[key] = slices.Clone(values)
		}
	}
}

// Close ends the reading: bytes that follow are dropped.
func (b *requestBody) Close() error {
	(*serverStream)(b).discard(http.ErrBodyReadAfterClose)
	return nil
}
