// SPDX-License-Identifier: Apache-2.0

// Streams: what the program has sent is sent again, as long as it has seen nothing of
// the responses.
//
// Invariants. mu guards all fields below it. The goroutine that receives begins the
// attempts after the first. While a replay runs, it alone sends: Send and CloseRequest
// of the program only add to sent and closed, and the replay ends, with mu held, when it
// has sent all of that. A stream that is committed keeps no messages and is not repeated.

package retry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/seed-b7c59c10/connect"
)

// keptCost is what a kept message counts for beside its encoded size: its copy has a Go
// struct and a place in a list, also if it has no bytes.
const keptCost = 128

// memory bounds the bytes of kept messages.
type memory struct {
	stream, all int64
	used        atomic.Int64
}

// take reports whether n more bytes may be kept.
func (m *memory) take(n int64) bool {
	if m.used.Add(n) > m.all {
		m.used.Add(-n)
		return false
	}
	return true
}

// WrapStreamingClient returns a function that repeats streams of next.
func (p *Policy) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		r := p.rule(spec.Procedure)
		if !applies(ctx, spec) || r.attempts == 1 && r.overall == 0 && p.observe == nil && p.breaker == nil {
			return next(ctx, spec)
		}
		end := func() {}
		if r.overall > 0 {
			ctx, end = context.WithTimeout(ctx, r.overall)
		}
		s := &stream{
			ctx: ctx, end: end, next: next, closing: make(chan struct{}),
			course: course{policy: p, rule: r, spec: spec, most: r.attempts, started: 1},
		}
		s.conn = s.begin()
		s.header = s.conn.RequestHeader()
		s.made = s.header.Clone()
		return s
	}
}

// A stream is a streaming call whose attempts follow each other.
type stream struct {
	ctx     context.Context
	end     func()        // ends ctx
	closing chan struct{} // closed by CloseResponse
	next    connect.StreamingClientFunc
	course  course      // of the goroutine that receives
	header  http.Header // the program's, of the first attempt
	made    http.Header // header as it was before the program could change it

	mu        sync.Mutex
	conn      connect.StreamingClientConn // the current attempt
	cancel    context.CancelFunc          // ends it
	done      func(error)                 // reports it to the breaker, once
	begun     bool                        // Send or CloseRequest was called
	asked     http.Header                 // header at that time
	sent      []proto.Message             // copies; a nil one stands for Send(nil)
	size      int64                       // of sent, as memory counts it
	unwatch   func() bool                 // ends the watch on ctx; nil if there is nothing to free
	closed    bool                        // CloseRequest was called
	ending    bool                        // the attempt is over, and another one about to begin
	unsent    error                       // why a kept message could not be sent again
	panicked  any                         // the value of the replay's panic
	replay    chan struct{}               // closed when the replay has ended; nil if none runs
	committed bool
	answered  bool   // a message has come
	left      bool   // CloseResponse was called
	why       string // the buffer's reason for being committed
	err       error  // of the end, for further calls of Receive
}

// begin begins an attempt. It does not hold mu: interceptors may take their time.
func (s *stream) begin() connect.StreamingClientConn {
	ctx, cancel := context.WithCancel(s.ctx)
	done, err := s.course.policy.ask(s.course.spec)
	if s.course.policy.breaker != nil {
		context.AfterFunc(ctx, func() { done(nil) }) // if the program ends the call first
	}
	s.mu.Lock()
	s.cancel, s.done = cancel, done
	if s.left {
		cancel()
	}
	s.mu.Unlock()
	returned := false
	defer func() {
		if !returned { // an interceptor has panicked
			done(errPanicked)
			cancel()
		}
	}()
	conn := s.next(ctx, s.course.spec)
	returned = true
	if err != nil {
		return &refusedConn{conn, err}
	}
	return conn
}

// A refusedConn is a conn whose attempt a breaker has refused. It sends nothing. Receive
// closes the conn inside, for interceptors that wait for its end.
type refusedConn struct {
	connect.StreamingClientConn
	err error
}

func (c *refusedConn) Send(any) error      { return io.EOF }
func (c *refusedConn) CloseRequest() error { return nil }
func (c *refusedConn) Receive(any) error {
	_ = c.StreamingClientConn.CloseResponse()
	return c.err
}
func (c *refusedConn) ResponseHeader() http.Header  { return make(http.Header) }
func (c *refusedConn) ResponseTrailer() http.Header { return make(http.Header) }

func (s *stream) current() connect.StreamingClientConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

func (s *stream) Spec() connect.Spec         { return s.course.spec }
func (s *stream) Peer() connect.Peer         { return s.current().Peer() }
func (s *stream) RequestHeader() http.Header { return s.header }

// commitLocked keeps nothing more: this attempt is the last.
func (s *stream) commitLocked() {
	s.committed = true
	if s.replay == nil {
		s.forgetLocked()
	}
}

// forgetLocked frees the kept messages.
func (s *stream) forgetLocked() {
	s.course.policy.memory.used.Add(-s.size)
	s.sent, s.size = nil, 0
	if s.unwatch != nil {
		s.unwatch()
		s.unwatch = nil
	}
}

// expire commits the stream when the call's context has ended.
func (s *stream) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commitLocked()
}

// commit is commitLocked for others, and returns the attempt. A replay that runs goes on.
func (s *stream) commit() connect.StreamingClientConn {
	s.mu.Lock()
	s.commitLocked()
	conn := s.conn
	s.mu.Unlock()
	return conn
}

// beginLocked notes the header at the first Send or CloseRequest.
func (s *stream) beginLocked() {
	if !s.begun {
		s.begun, s.asked = true, s.header.Clone()
		s.dressLocked()
	}
}

// dressLocked makes the program's changes to the header of an attempt after the first. All
// else in it is the attempt's own: the time that is left, and what interceptors have set.
func (s *stream) dressLocked() {
	if !s.begun || s.course.started == 1 {
		return
	}
	header := s.conn.RequestHeader()
	for key := range s.made {
		if _, kept := s.asked[key]; !kept {
			delete(header, key)
		}
	}
	for key, values := range s.asked {
		if !slices.Equal(values, s.made[key]) {
			header[key] = slices.Clone(values)
		}
	}
	header.Set(headerAttempts, strconv.Itoa(s.course.started-1))
}

// Send sends a message, and keeps a copy of it until the stream is committed. While
// earlier messages are sent again, it keeps the copy alone.
func (s *stream) Send(msg any) error {
	s.mu.Lock()
	s.beginLocked()
	kept := s.committed || s.keepLocked(msg)
	if !kept {
		s.commitLocked()
	}
	for {
		replay := s.replay
		if replay == nil {
			break
		}
		if kept && !s.committed {
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		<-replay
		s.mu.Lock()
	}
	conn, repeatable := s.conn, !s.committed
	s.mu.Unlock()
	err := conn.Send(msg)
	if err == nil || !repeatable {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && (s.ending || s.conn != conn || errors.Is(err, io.EOF)) {
		return nil // Receive finds the reason, and sends the message again or returns an error
	}
	if last := len(s.sent) - 1; last >= 0 { // the program knows that it was not sent
		size := cost(s.sent[last])
		s.course.policy.memory.used.Add(-size)
		s.sent, s.size = s.sent[:last], s.size-size
	}
	return err
}

// cost is what a kept message counts for.
func cost(m proto.Message) int64 {
	if m == nil {
		return keptCost
	}
	return keptCost + int64(proto.Size(m))
}

// keepLocked keeps a copy of a message, and reports whether it could.
func (s *stream) keepLocked(msg any) bool {
	m, ok := msg.(proto.Message)
	if !ok && msg != nil {
		s.why = "a message is not Protobuf's, and cannot be kept"
		return false
	}
	size := cost(m)
	memory := &s.course.policy.memory
	if s.size+size > memory.stream || !memory.take(size) {
		s.why = "the messages exceed the bytes of Buffer"
		return false
	}
	s.size += size
	if s.unwatch == nil && s.ctx.Done() != nil {
		s.unwatch = context.AfterFunc(s.ctx, s.expire)
	}
	if m != nil {
		m = proto.Clone(m)
	}
	s.sent = append(s.sent, m)
	return true
}

// CloseRequest ends the requests.
func (s *stream) CloseRequest() error {
	s.mu.Lock()
	s.beginLocked()
	s.closed = true
	for s.replay != nil {
		replay := s.replay
		if !s.committed {
			s.mu.Unlock()
			return nil // the replay does it
		}
		s.mu.Unlock()
		<-replay
		s.mu.Lock()
	}
	conn := s.conn
	s.mu.Unlock()
	return conn.CloseRequest()
}

// Receive waits for a message. If the attempt fails before the first one and may be
// repeated, Receive makes the next attempt.
func (s *stream) Receive(msg any) error {
	for {
		conn := s.current()
		err := conn.Receive(msg)
		if err == nil {
			s.mu.Lock()
			first := !s.answered
			s.answered = true
			s.commitLocked()
			s.mu.Unlock()
			if first {
				s.course.policy.budget.succeeded()
				s.done(nil)
			}
			return nil
		}
		s.mu.Lock()
		if s.err != nil {
			err = s.err
			s.mu.Unlock()
			return err
		}
		if s.panicked != nil {
			defer s.mu.Unlock()
			s.panicAgainLocked()
		}
		if s.unsent != nil && !connect.IsWireError(err) {
			err = s.unsent
		}
		committed, why := s.committed, s.why
		s.mu.Unlock()
		again, err := s.failed(err, committed, why)
		if !again {
			return err
		}
	}
}

// failed ends an attempt, and begins the next one if there is one: then it returns
// true. Otherwise it returns the error of the call.
func (s *stream) failed(err error, committed bool, why string) (bool, error) {
	clean := errors.Is(err, io.EOF)
	outcome := err
	if clean {
		outcome = nil
	}
	s.done(outcome)
	var f fate
	switch {
	case committed:
		if observe := s.course.policy.observe; observe != nil {
			observe(s.ctx, Attempt{Spec: s.course.spec, Number: s.course.started, Err: outcome, Reason: why})
		}
		f.reason = why
	default:
		f = s.course.ended(s.ctx, outcome, false)
	}
	if f.again && pause(s.ctx, f.wait, s.closing) != nil {
		f = fate{reason: "the call has ended"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.again && !s.committed {
		s.replaceRelocking(outcome) // meanwhile the program may commit the stream
	}
	if !f.again || s.committed {
		if f.again {
			f.reason = s.why
		}
		if !clean {
			err = s.course.fail(err, f)
		}
		s.err = err
		s.commitLocked()
		s.cancel()
		s.end()
		return false, err
	}
	s.course.started++
	s.dressLocked()
	s.replay = make(chan struct{})
	go s.sendAgain(s.conn, s.replay)
	return true, nil
}

// replaceRelocking ends the attempt, waits for its replay, and begins the next one, unless
// the stream was committed.
func (s *stream) replaceRelocking(outcome error) {
	s.ending = true
	defer func() { s.ending, s.unsent = false, nil }()
	conn, cancel := s.conn, s.cancel
	for s.replay != nil {
		replay := s.replay
		s.unlocked(func() {
			cancel()
			<-replay
		})
	}
	s.panicAgainLocked()
	s.unlocked(func() {
		_ = conn.CloseResponse()
		cancel()
	})
	if s.committed {
		return
	}
	s.ctx = avoid(s.ctx, outcome)
	s.unlocked(func() { conn = s.begin() })
	if !s.committed {
		s.conn = conn
		return
	}
	s.unlocked(func() { _ = conn.CloseResponse() })
}

// panicAgainLocked panics if the replay has: here the program can recover.
func (s *stream) panicAgainLocked() {
	if value := s.panicked; value != nil {
		s.panicked = nil
		panic(value)
	}
}

// unlocked calls f without mu. If f panics, the caller has mu again.
func (s *stream) unlocked(f func()) {
	s.mu.Unlock()
	defer s.mu.Lock()
	f()
}

// sendAgain sends the kept messages to the next attempt, in a goroutine of its own: the
// server may send before it reads on. It ends when it has caught up with the program, or
// the attempt is over.
func (s *stream) sendAgain(conn connect.StreamingClientConn, ended chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if s.panicked = recover(); s.panicked != nil { // in an interceptor: Receive panics again
			s.cancel()
		}
		s.replay = nil
		if s.committed {
			s.forgetLocked()
		}
		close(ended)
	}()
	for i := 0; i < len(s.sent); i++ {
		msg, err := s.sent[i], error(nil)
		s.unlocked(func() { err = conn.Send(msg) })
		switch {
		case err == nil:
		case errors.Is(err, io.EOF): // Receive finds the reason
			return
		default:
			s.unsent = err
			s.cancel() // or the attempt waits for the rest
			return
		}
	}
	if s.closed {
		s.unlocked(func() { _ = conn.CloseRequest() }) // Receive finds its error
	}
}

// ResponseHeader commits the stream, and waits for the header.
func (s *stream) ResponseHeader() http.Header { return s.commit().ResponseHeader() }

// ResponseTrailer returns the trailers of the last attempt.
func (s *stream) ResponseTrailer() http.Header { return s.commit().ResponseTrailer() }

// CloseResponse ends the call.
func (s *stream) CloseResponse() error {
	s.mu.Lock()
	s.commitLocked()
	if !s.left {
		s.left = true
		close(s.closing)
	}
	conn, cancel, replay := s.conn, s.cancel, s.replay
	s.mu.Unlock()
	if replay != nil {
		cancel()
		<-replay
	}
	err := conn.CloseResponse()
	cancel()
	s.end()
	return err
}
