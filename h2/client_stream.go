// SPDX-License-Identifier: Apache-2.0

// One call of a client: its request sent, the head of its response awaited.

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
	gzip    bool // asked for by us, so to be inflated by us

	// Of the reading goroutine.
	gotFirstByte      bool   // something has arrived
	informationals    uint32 // 1xx responses
	informationalSize int    // of their field sections, in all

	// Written by the reading goroutine before answered is set.
	response *http.Response // nil for a direct call
	reply    directReply
	answered atomic.Bool

	// Guarded by conn.mu.
	failure     error // why there is no response, or none any more
	unprocessed bool  // there is no response, and the peer has said that it did nothing
	released    bool  // the place was given back
	trailer     http.Header
	unwatch     func() bool   // ends the watching of ctx
	placeFreed  chan struct{} // closed when the place is given back; nil if nobody cares
}

// An unprocessedError is why a request failed that the peer did not process. The
// request's body was not closed, unless some of it was used.
type unprocessedError struct {
	error
	bodyUsed bool   // it was read or closed, and will be closed
	body     []byte // all of it, if it was read and the request has no GetBody
}

func (e unprocessedError) Unwrap() error { return e.error }

// errNoPlace is for calls whose place was lost before they had a stream: the peer has
// lowered its limit on streams, or said for the first time what it is.
var errNoPlace = errors.New("h2: the peer has lowered its limit on streams")

// roundTrip sends a request on this connection, on which a place is reserved.
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

// send opens the stream and writes the head, and as much of the body as goes
// without waiting.
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

// prepare does what need not, or must not, be done with conn.mu held.
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
	s.in.wake = make(chan struct{}, 1) // nobody else knows the stream yet
	return s.sender.prepare()
}

// info describes the connection to a trace.
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

// openLocked gives the call a stream. The table has the streams that the peer may
// still count: one leaves it with the last frame of its second half or with
// RST_STREAM, and the HEADERS of the next follow that frame on the wire. So the number
// in the table, and not the number of calls, is what the peer's limit is about. It
// holds from our acknowledgement on, which is appended when the limit is applied.
// [RFC 9113, sections 5.1.2 and 6.5.3]
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
		// Calls come and are given up while the peer takes nothing.
		c.failLocked(errWriteStalled)
		return unprocessedError{error: errWriteStalled}
	case s.tooLargeLocked(d):
		return errTooManyFields
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

// traceSending tells the trace what is about to be written, and to whom.
func (s *clientStream) traceSending(d directBody) {
	if s.trace.GotConn != nil {
		s.trace.GotConn(s.cc.info())
	}
	if s.trace.WroteHeaderField != nil {
		s.fields(d, func(name, value string) { s.trace.WroteHeaderField(name, []string{value}) })
	}
}

// traceSent tells the trace what was written. The response may be faster.
func (s *clientStream) traceSent(all bool) {
	if s.trace.WroteHeaders != nil {
		s.trace.WroteHeaders()
	}
	if all {
		s.sender.wrote(nil)
	}
}

// await waits for the head of the response.
func (s *clientStream) await() error {
	var patience <-chan time.Time
	wake := s.in.wake // made before the stream was opened
	canceled := canceledOf(s.request)
	for !s.answered.Load() {
		if patience == nil {
			if timer := s.limitHead(); timer != nil {
				defer timer.Stop()
				patience = timer.C
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
		case <-patience:
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

// failed returns why there will be no response, nil if there may be one.
func (s *clientStream) failed() error {
	s.cc.mu.Lock()
	defer s.cc.mu.Unlock()
	return s.failure
}

// headerPatience returns how long the head of the response may take from the end
// of the request on; zero means for ever.
func (s *clientStream) headTimeout() time.Duration {
	if standard := s.cc.t.standard; standard != nil {
		return standard.ResponseHeaderTimeout
	}
	return 0
}

// limitHead starts a timer if the time for the response's head runs already.
func (s *clientStream) limitHead() *time.Timer {
	limit := s.headTimeout()
	if limit <= 0 {
		return nil
	}
	s.cc.mu.Lock()
	defer s.cc.mu.Unlock()
	if !s.sentEnd {
		return nil // its end wakes us
	}
	return time.NewTimer(limit)
}

// A headerTimeout is the error after ResponseHeaderTimeout.
type headerTimeout struct{}

func (headerTimeout) Error() string   { return "h2: timeout awaiting response headers" }
func (headerTimeout) Timeout() bool   { return true }
func (headerTimeout) Temporary() bool { return true }

var errHeaderTimeout error = headerTimeout{}

// watch lets the end of ctx find the stream from now on, whether the body is read
// or not.
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
		return // all is here
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

// giveUp resets the stream because of its user. It reports whether the peer has
// done nothing, and whether the request's body was used.
func (s *clientStream) giveUp(cause error) (unprocessed, used bool) {
	c := s.cc
	c.mu.Lock()
	defer c.mu.Unlock()
	s.giveUpRelocking(cause)
	return s.unprocessed, s.sender.used
}

// giveUpLocked is giveUp with conn.mu held.
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

// free gives the call's place back, once. With conn.mu held.
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

// refuse says that the peer did not process the request. With conn.mu held; the
// caller stops the stream.
func (s *clientStream) markUnprocessedLocked() { s.unprocessed = !s.answered.Load() }

// stopped takes the stream's early end. With conn.mu held.
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

// finished takes the end of the response. What was not sent of the request is not
// wanted. With conn.mu held.
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

// prematureLocked reports true: a server may end as many calls as there are, for each
// of which opening it has put a token back.
func (s *clientStream) prematureLocked() bool { return true }

// leaveReading has nothing to do: callers never run on the reading goroutine.
func (s *clientStream) leaveReading() {}

var errNoHead = errors.New("the stream ends before the head of the response")
