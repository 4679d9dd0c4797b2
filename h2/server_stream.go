// SPDX-License-Identifier: Apache-2.0

// One request of a server: made from a field section, given to the handler.

package h2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// A serverStream is one request, its context, its body and its response: one
// allocation. net/http's users may hold on to any of them, so it is not used
// again.
type serverStream struct {
	stream
	sc      *serverConn
	ctx     streamContext
	w       response
	request *http.Request
	url     *url.URL // of the request

	// A request that has not been made: see direct.go.
	host, path     string
	pairs          [][2]string // its fields
	readsAtArrival uint64      // of the connection when it had arrived

	trailer   http.Header   // received; the reading goroutine hands it over with the end
	expects   atomic.Bool   // 100-continue was asked for and not answered
	oversized bool          // the header was too large: answered without the handler
	bodiless  bool          // the header ended the request
	timer     *time.Timer   // of the write deadline. Guarded by conn.mu
	openedAt  int64         // time.Now().UnixNano, when its head was read
	timeout   time.Duration // timeout of the request; 0: none, or see pairs

	// Set by the reading goroutine before the handler runs; see inline.go.
	inline uint64 // the epoch in which it runs there; 0: it runs on a worker
	pace   *pace  // of the path; nil: is not measured
}

// newServerStream makes the stream for a request's field section. With mu held.
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

// makeRequest makes the request. u is the parsed path, nil if it is a plain one.
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
			delete(r.Header, "Expect") // it is ours to answer, and for nobody behind us
		}
	}
}

// declareTrailers takes the names that the client announced in "Trailer".
func (s *serverStream) declareTrailers() {
	r := s.request
	for _, names := range r.Header["Trailer"] {
		for name := range strings.SplitSeq(names, ",") {
			key := http.CanonicalHeaderKey(strings.TrimSpace(name))
			switch key {
			case "", "Transfer-Encoding", "Trailer", "Content-Length":
				continue // never trailers
			}
			if r.Trailer == nil {
				r.Trailer = make(http.Header)
			}
			r.Trailer[key] = nil
		}
	}
	delete(r.Header, "Trailer")
}

// trailers takes the field section that ends the request. Reading goroutine.
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

// stoppedLocked cancels the request's context. What lies unread goes on to hold the
// connection's window until the handler has returned: a peer that resets its streams
// must not have more memory held than one that does not.
func (s *serverStream) stoppedLocked(error) {
	s.countEachLocked()
	s.ctx.cancel(context.Canceled)
}

// finished has nothing to do: the handler goes on.
func (s *serverStream) peerEndedLocked() {}

// start runs the handler in a goroutine of its own.
func (s *serverStream) start() { s.sc.workers.run(s) }

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
			stack := make([]byte, 64<<10)
			stack = stack[:runtime.Stack(stack, false)]
			c.engine.logf(c.server, "h2: panic serving %v: %v\n%s", c.template.RemoteAddr, v, stack)
		}
		c.mu.Lock()
		c.abortLocked(&s.stream, ErrCodeInternal, errHandlerGone)
		last := s.closeRelocking()
		c.mu.Unlock()
		s.afterClose(last)
		s.w.mu.Lock() // a goroutine left behind has no stream to wait for any more
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

// limitTime applies the server's timeouts.
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
		signal(s.room) // for a goroutine that the handler has left behind in Write
	}
	if s.err == nil && s.sentEnd && s.gotEnd {
		c.resets.giveBack()
	}
	s.detachLocked()
	c.handlerReturnedLocked()
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
	if last {
		s.sc.reportState()
	}
	s.ctx.cancel(context.Canceled)
	s.discard(http.ErrBodyReadAfterClose)
}

// setWriteDeadline lets the stream end at t, never if t is zero. A deadline that has
// passed acts at once, and stays.
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

// writeTimedOutRelocking ends the stream: the write deadline has passed.
func (s *serverStream) writeTimedOutRelocking() {
	s.sc.abortLocked(&s.stream, ErrCodeInternal, errWriteDeadline)
	s.sc.flushRelocking()
}

// ---- body ----

// requestBody is the stream as the body of its request.
type requestBody serverStream

// Read reads from the body. After its end, the request's trailers are there.
func (b *requestBody) Read(p []byte) (int, error) {
	s := (*serverStream)(b)
	if s.expects.Load() {
		s.w.sendContinue()
	}
	n, err := s.read(context.Background(), p) // the stream's end wakes it
	if err == io.EOF && s.trailer != nil && s.request != nil {
		for key, values := range s.trailer {
			if _, announced := s.request.Trailer[key]; announced {
				s.request.Trailer[key] = slices.Clone(values)
			}
		}
	}
	return n, err
}

// Close ends the reading.
func (b *requestBody) Close() error {
	(*serverStream)(b).discard(http.ErrBodyReadAfterClose)
	return nil
}
