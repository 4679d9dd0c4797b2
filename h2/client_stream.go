// SPDX-License-Identifier: Apache-2.0

// One call of a client: its request is sent, and the head of its response awaited.
//
// Invariants. A call has a place on its connection before it has a stream, and gives the
// place back once, in freeLocked. A call fails with unprocessedError only if the peer
// cannot have processed its request, so that it may be sent again. [RFC 9113, section
// 8.7] Every wait of a call ends when its context does.

package h2

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// A clientStream is one call.
type clientStream struct {
	stream
	cc      *clientConn
	ctx     context.Context
	request *http.Request // nil for a direct call
	target  *directTarget // of a direct call, nil otherwise
	head    *requestHead
	trace   *httptrace.ClientTrace
	sender  bodySender
	body    responseBody
	gzip    bool // the transport asked for gzip, and inflates it

	// Of the reading goroutine.
	gotFirstByte      bool   // a field section has arrived
	informationals    uint32 // 1xx responses
	informationalSize int    // bytes of their field sections, in all

	// Written by the reading goroutine before answered is set.
	response *http.Response // nil for a direct call
	reply    directReply
	answered atomic.Bool

	// Guarded by conn.mu.
	failure     error         // why the response does not come, or ended early
	unprocessed bool          // no response, and the peer did not process the request
	released    bool          // the place was given back
	trailer     http.Header   // received
	unwatch     func() bool   // ends the watching of ctx
	placeFreed  chan struct{} // closed when the place is given back; nil if no goroutine waits for it
}

// An unprocessedError is the error of a request that the peer did not process. Its body
// is not closed yet, unless some of it was used. After the last attempt the caller gets
// it, too: see [Transport.RoundTrip].
type unprocessedError struct {
	error
	bodyUsed bool   // some of the body was read, or it was closed; it will be closed
	body     []byte // the whole body, if it was read and the request has no GetBody
}

func (e unprocessedError) Unwrap() error { return e.error }

// Unprocessed returns true.
func (unprocessedError) Unprocessed() bool { return true }

// last returns the error for the caller, after the last attempt.
func (e unprocessedError) last() error { return unprocessedError{error: e.error} }

// errNoPlace is the error of a call that lost its place before it had a stream: the
// peer's SETTINGS allow fewer streams than places were given.
var errNoPlace = errors.New("h2: the peer has lowered its limit on streams")

// roundTrip sends a request on this connection, on which its place is reserved.
func (c *clientConn) roundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	memory := new(struct {
		clientStream
		head requestHead
	})
	s := &memory.clientStream
	s.cc, s.ctx, s.request, s.trace, s.head = c, ctx, r, httptrace.ContextClientTrace(ctx), &memory.head
	s.sender.init(s)
	if err := s.roundTrip(directBody{}); err != nil {
		return nil, err
	}
	s.response.TLS = c.tls
	return s.response, nil
}

// roundTrip sends the request and waits for the head of the response.
func (s *clientStream) roundTrip(d directBody) error {
	s.body.s = s
	if err := s.send(d); err != nil {
		return err
	}
	if err := s.await(); err != nil {
		return err
	}
	s.watch()
	return nil
}

// send opens the stream and writes the head, with as much of the body as goes without
// waiting.
func (s *clientStream) send(d directBody) error {
	c := s.cc
	err := s.prepare()
	if err != nil {
		c.giveBack()
		s.sender.close()
		return err
	}
	if s.trace != nil {
		s.traceSending(d)
	}
	closing := s.closesConn()
	c.mu.Lock()
	err = s.openLocked(d)
	if err != nil {
		c.releaseLocked()
		c.mu.Unlock()
		failed, again := err.(unprocessedError)
		if again {
			failed.bodyUsed, failed.body = s.sender.used, s.sender.copyOfShort()
			err = failed
		} else {
			s.sender.close()
		}
		s.sender.drop()
		return err
	}
	s.appendHeadLocked(d)
	s.sender.beginRelocking(d.bytes)
	c.flushRelocking()
	if closing {
		c.retireLocked(nil)
	}
	sent := s.sentEnd
	c.mu.Unlock()
	if s.trace != nil {
		s.traceSent(sent)
	}
	s.sender.launch()
	return nil
}

// prepare does the work that needs no conn.mu, or runs code of the user and must not
// have it.
func (s *clientStream) prepare() (err error) {
	if s.ctx.Err() != nil {
		return contextEnded(s.ctx, canceledOf(s.request))
	}
	if s.target != nil {
		s.head = &s.target.head
	} else {
		if *s.head, err = headOf(s.request.Method, s.request.Host, s.request.URL); err != nil {
			return err
		}
		s.gzip = s.asksForGzip()
	}
	s.in.wake = make(chan struct{}, 1) // without a lock: no other goroutine has the stream yet
	return s.sender.prepare()
}

// info describes the connection for a trace.
func (c *clientConn) info() httptrace.GotConnInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	info := httptrace.GotConnInfo{Conn: c.nc, Reused: c.used}
	if c.used && c.active.Load() == 1 {
		info.WasIdle, info.IdleTime = true, time.Since(c.idleSince)
	}
	c.used = true
	return info
}

// openLocked gives the call a stream, if the peer's limit allows another.
//
// The limit is about streams that are open or half-closed at the peer [RFC 9113, section
// 5.1.2], and not about calls. A stream leaves the table with the last frame of its
// second half or with RST_STREAM, and the HEADERS of the next one follow that frame on
// the wire: so the peer never counts more than the table has. A lower limit holds once
// it is acknowledged [section 6.5.3], and the acknowledgement is appended under the same
// lock. Numbers of streams grow and are not used again; a connection on which they are
// used up takes no more calls [section 5.1.1].
func (s *clientStream) openLocked(d directBody) error {
	c := s.cc
	switch {
	case c.err != nil:
		return unprocessedError{error: c.err}
	case c.retired.Load():
		return unprocessedError{error: errClosed}
	case c.nextID > wire.StreamIDMax:
		c.retireLocked(nil)
		return unprocessedError{error: errors.New("h2: stream numbers are used up")}
	case uint32(len(c.table.open)) >= c.peerMaxStreams:
		return unprocessedError{error: errNoPlace}
	case len(c.writer.out) > outMax:
		// Calls have come and were given up, and the peer takes no frames.
		c.failLocked(errWriteStalled)
		return unprocessedError{error: errWriteStalled}
	}
	if err := s.checkSizeLocked(d); err != nil {
		return err
	}
	id := c.nextID
	c.nextID += 2
	c.alive.readsAtOpen = c.reads.Load()
	c.table.maxID = id
	c.used = true
	c.conn.openLocked(&s.stream, id, s)
	c.writer.inFlight++
	c.resets.giveBack()
	return nil
}

// await waits for the head of the response, until the call's context ends or
// ResponseHeaderTimeout has passed.
func (s *clientStream) await() error {
	var timeout <-chan time.Time
	wake := s.in.wake // made before the stream was opened
	canceled := canceledOf(s.request)
	for !s.answered.Load() {
		if timeout == nil {
			if timer := s.limitHead(); timer != nil {
				defer timer.Stop()
				timeout = timer.C
			}
		}
		var err error
		select {
		case <-wake:
			if s.answered.Load() {
				return nil
			}
			if err = s.failed(); err == nil {
				continue
			}
		case <-s.ctx.Done():
			err = contextEnded(s.ctx, canceled)
		case <-canceled:
			err = channelClosed(s.ctx)
		case <-timeout:
			err = errHeaderTimeout
		}
		unprocessed, used := s.giveUp(err)
		s.discard(errBodyClosed)
		if unprocessed {
			s.sender.awaitEnd()
			err = unprocessedError{error: err, bodyUsed: used}
		}
		return err
	}
	return nil
}

// failed returns the reason why no response will come, nil if one may.
func (s *clientStream) failed() error {
	s.cc.mu.Lock()
	defer s.cc.mu.Unlock()
	return s.failure
}

// headTimeout returns how long the head of the response may take after the end of the
// request; zero means no limit.
func (s *clientStream) headTimeout() time.Duration {
	if standard := s.cc.t.standard; standard != nil {
		return standard.ResponseHeaderTimeout
	}
	return 0
}

// limitHead returns a timer if the time for the response's head runs already.
func (s *clientStream) limitHead() *time.Timer {
	limit := s.headTimeout()
	if limit <= 0 {
		return nil
	}
	s.cc.mu.Lock()
	defer s.cc.mu.Unlock()
	if !s.sentEnd {
		return nil // the end of the request wakes await
	}
	return time.NewTimer(limit)
}

// headerTimeout is the error after ResponseHeaderTimeout.
type headerTimeout struct{}

func (headerTimeout) Error() string   { return "h2: timeout awaiting response headers" }
func (headerTimeout) Timeout() bool   { return true }
func (headerTimeout) Temporary() bool { return true }

var errHeaderTimeout error = headerTimeout{}

// watch makes the end of the context give the call up from now on, whether the body is
// being read or not.
func (s *clientStream) watch() {
	c := s.cc
	canceled := canceledOf(s.request)
	c.mu.Lock()
	if !s.released && canceled != nil {
		s.placeFreed = make(chan struct{})
	}
	released := s.released
	c.mu.Unlock()
	if released {
		return // the response is complete
	}
	if canceled != nil {
		go func() {
			select {
			case <-canceled:
				s.giveUp(channelClosed(s.ctx))
			case <-s.placeFreed:
			}
		}()
	}
	if s.ctx.Done() == nil {
		return
	}
	stop := context.AfterFunc(s.ctx, func() { s.giveUp(context.Cause(s.ctx)) })
	c.mu.Lock()
	released = s.released
	if !released {
		s.unwatch = stop
	}
	c.mu.Unlock()
	if released {
		stop()
	}
}

// giveUp resets the stream, because the user of the call or a timeout ended it. It
// reports whether the peer did not process the request, and whether the request's body
// was used. [RFC 9113, section 8.7]
func (s *clientStream) giveUp(cause error) (unprocessed, used bool) {
	c := s.cc
	c.mu.Lock()
	defer c.mu.Unlock()
	s.giveUpRelocking(cause)
	return s.unprocessed, s.sender.used
}

// giveUpRelocking is giveUp for callers that hold conn.mu.
func (s *clientStream) giveUpRelocking(cause error) {
	c := s.cc
	if c.err != nil || s.overLocked() {
		return
	}
	c.appendResetLocked(s.id, ErrCodeCancel)
	delete(c.table.open, s.id)
	s.stopLocked(cause)
	c.flushRelocking()
}

// freeLocked gives the call's place back, once.
func (s *clientStream) freeLocked() {
	if s.released {
		return
	}
	s.released = true
	s.cc.writer.inFlight--
	if s.unwatch != nil {
		s.unwatch()
		s.unwatch = nil
	}
	if s.placeFreed != nil {
		close(s.placeFreed)
	}
	s.cc.releaseLocked()
}

// markUnprocessedLocked records that the peer did not process the request. The caller
// stops the stream.
func (s *clientStream) markUnprocessedLocked() { s.unprocessed = !s.answered.Load() }

// stoppedLocked ends the call: the stream was reset, or the connection has ended.
// REFUSED_STREAM means that the peer did not process the request. [RFC 9113, section
// 8.7]
func (s *clientStream) stoppedLocked(err error) {
	if s.failure == nil {
		s.failure = err
		if reset, ok := err.(StreamError); ok && reset.Code == ErrCodeRefusedStream && reset.Cause == errFromPeer {
			s.markUnprocessedLocked()
		}
	}
	s.sender.stopLocked()
	s.detachLocked()
	s.freeLocked()
}

// peerEndedLocked ends the call: the response is complete. If the request is not,
// RST_STREAM with NO_ERROR ends it: the server will not use the rest. [RFC 9113, section
// 8.1]
func (s *clientStream) peerEndedLocked() {
	if !s.answered.Load() && s.failure == nil {
		s.failure = StreamError{StreamID: s.id, Code: ErrCodeProtocol, Cause: errNoHead}
	}
	if !s.sentEnd {
		if s.err == nil {
			s.cc.appendResetLocked(s.id, ErrCodeNo)
		}
		s.sentEnd = true
		s.sender.stopLocked()
		if s.room != nil {
			signal(s.room)
		}
	}
	if s.detachLocked() {
		s.cc.rd.answers = true
	}
	s.freeLocked()
}

// resetByPeerLocked reports false. A server can reset no more streams than there are calls,
// and may reset all of them at once.
func (s *clientStream) resetByPeerLocked() bool { return false }

// leaveReading does nothing: calls never run on the reading goroutine.
func (s *clientStream) leaveReading() {}

var errNoHead = errors.New("the stream ends before the head of the response")
