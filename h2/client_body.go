// SPDX-License-Identifier: Apache-2.0

// The body of a client's request on its way out.
//
// Invariants. The body is closed once, by the goroutine that reads it, when it has ended
// or is not needed any more; or, during a Read that does not return after the stream's
// end, by a timer. A body that was not read when the peer refused the request is left
// open, for the next attempt. No code of the user, Read and Close among it, runs under
// conn.mu. A response may come before the request has ended, so only a body that does
// not wait is sent by the caller. [RFC 9113, section 8.1]

package h2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// bodyAtOnce is the length up to which a body in memory leaves with the head, without a
// goroutine of its own.
const bodyAtOnce = largeChunk

// readGrace is how long a Read may go on after the stream's end before the body is
// closed during it: most Reads return by themselves, and some bodies do not take Close
// during Read well.
const readGrace = time.Millisecond

// A bodySender sends a request's body. A short body in memory goes with the head; any
// other, and the rest of a short one for which the peer's window has no room, is sent by a
// goroutine of its own.
type bodySender struct {
	s         *clientStream
	body      io.ReadCloser // nil: none
	length    int64         // negative: unknown
	short     *chunk        // a short body that was read, until it is sent
	shortSent int           // how much of short was sent
	trailers  bool          // follow the body
	expects   bool          // "Expect: 100-continue": the body waits for the peer
	wake      chan struct{} // has room for one: ends awaitContinue
	done      chan struct{} // closed when the goroutine has ended; nil if there is none
	closed    atomic.Bool
	probe     [1]byte // what a read beyond the end writes to

	// Guarded by conn.mu, from the stream's opening on.
	running    bool        // a goroutine sends the body, or is about to
	reading    bool        // that goroutine is in the body's Read
	used       bool        // the body was read or closed
	declined   bool        // the peer has answered and does not need the body
	breakTimer *time.Timer // runs breakOff; nil before the stream's end
}

func (b *bodySender) init(s *clientStream) {
	b.s = s
	r := s.request
	b.trailers = len(r.Trailer) > 0
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	b.body, b.length = r.Body, r.ContentLength
	if b.length == 0 {
		b.length = -1 // zero with a body means unknown in net/http
	}
	expect := r.Header["Expect"]
	b.expects = len(expect) > 0 && strings.EqualFold(expect[0], "100-continue") && b.continueTimeout() > 0
}

// empty reports whether there are neither a body nor trailers.
func (b *bodySender) empty() bool { return b.body == nil && !b.trailers }

// close closes the body, once. It runs code of the user, so it is called without locks.
func (b *bodySender) close() {
	if b.body != nil && !b.closed.Swap(true) {
		_ = b.body.Close()
	}
}

// stopLocked ends the sending, because the stream is over.
func (b *bodySender) stopLocked() {
	if !b.running {
		return
	}
	if b.reading && b.breakTimer == nil {
		b.s.cc.t.breaking.Add(1)
		b.breakTimer = time.AfterFunc(readGrace, b.breakOff)
	}
	if b.wake != nil {
		signal(b.wake)
	}
}

// breakOff closes the body if a Read still waits.
func (b *bodySender) breakOff() {
	defer b.s.cc.t.breaking.Done()
	c := b.s.cc
	c.mu.Lock()
	waits := b.reading
	c.mu.Unlock()
	if waits {
		b.close()
	}
}

// ---- with the head ----

// beginRelocking appends the body that goes with the head, which was appended just
// before; direct is the body of a direct call. The caller flushes.
func (b *bodySender) beginRelocking(direct []byte) {
	switch {
	case len(direct) > 0:
		n, err := b.s.appendDataRelocking(direct, true)
		if rest := direct[n:]; err == nil && len(rest) > 0 {
			b.short = newChunk(len(rest)) // a copy: the caller may use its memory again
			b.short.data = append(b.short.data, rest...)
			b.running = true
		}
	case b.body == nil:
		if b.trailers {
			if err := b.endWithTrailersLocked(); err != nil {
				b.s.giveUpRelocking(err)
			}
		}
	case b.short == nil:
		b.running = true
		if b.expects {
			b.wake = make(chan struct{}, 1)
		}
	default:
		n, err := b.s.appendDataRelocking(b.short.data, true)
		if err == nil && n < len(b.short.data) {
			b.running, b.shortSent = true, n
			return
		}
		b.drop() // sent, or the stream is over
	}
}

// copyOfShort returns the bytes of a short body, if the next attempt has no other way to
// get them.
func (b *bodySender) copyOfShort() []byte {
	if b.short == nil || b.s.request.GetBody != nil {
		return nil
	}
	return bytes.Clone(b.short.data)
}

// drop frees the memory of a short body.
func (b *bodySender) drop() {
	if b.short != nil {
		b.short.free()
		b.short = nil
	}
}

// launch starts the goroutine that sends the rest of the body. It runs after the trace
// has seen the head.
func (b *bodySender) launch() {
	switch {
	case b.short != nil:
		go b.sendShort()
	case b.body == nil || b.used:
	default:
		b.done = make(chan struct{})
		go b.sendAll()
	}
}

// waitsForPeer reports whether launch starts a goroutine that waits until the peer asks for
// the body.
func (b *bodySender) waitsForPeer() bool {
	return b.expects && b.short == nil && b.body != nil && !b.used
}

// awaitEnd waits for the goroutine that reads the body, before another attempt uses the
// same reader.
func (b *bodySender) awaitEnd() {
	if b.done == nil {
		return
	}
	select {
	case <-b.done:
	case <-b.s.ctx.Done():
	case <-canceledOf(b.s.request):
	}
}

// ---- in a goroutine ----

// sendWhole sends the rest of a short body.
func (b *bodySender) sendShort() {
	c := b.s.cc
	c.mu.Lock()
	_, err := b.s.stream.sendRelocking(b.s.ctx, b.short.data[b.shortSent:], true)
	b.drop()
	b.endedRelocking(err)
	c.mu.Unlock()
	b.wrote(err)
}

// endedRelocking ends the sending, and gives the call up if it failed. It flushes.
func (b *bodySender) endedRelocking(err error) {
	b.running = false
	if b.breakTimer != nil && b.breakTimer.Stop() {
		b.s.cc.t.breaking.Done()
	}
	if err != nil {
		b.s.giveUpRelocking(err)
	}
	b.s.cc.flushRelocking()
	if b.s.headTimeout() > 0 {
		b.s.in.signal() // the time for the response's head runs from now on
	}
}

// wrote reports to the trace that the request was written.
func (b *bodySender) wrote(err error) {
	if trace := b.s.trace; trace != nil && trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
}

// continueTimeout returns how long to wait for 100 (Continue). [RFC 9110, section
// 10.1.1]
func (b *bodySender) continueTimeout() time.Duration {
	if standard := b.s.cc.t.standard; standard != nil {
		return standard.ExpectContinueTimeout
	}
	return defaultContinue
}

// awaitContinue waits until the peer asks for the body, continueTimeout has passed, or
// the stream is over.
func (b *bodySender) awaitContinue() {
	timer := time.NewTimer(b.continueTimeout())
	defer timer.Stop()
	select {
	case <-b.wake:
	case <-timer.C:
	}
}

// proceed runs when the peer has answered, with 100 (Continue) or with a final status.
// wanted is false if the body is not needed.
func (b *bodySender) proceed(wanted bool) {
	c := b.s.cc
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.running {
		b.declined = b.declined || !wanted && !b.used
		signal(b.wake)
	}
}

var errBodyLeft = errors.New("h2: reading the request's body ended its goroutine")

// sendAll sends the body.
func (b *bodySender) sendAll() {
	defer close(b.done)
	defer b.left()
	if b.expects {
		b.awaitContinue()
	}
	s, c := b.s, b.s.cc
	var err error
	c.mu.Lock()
	if whole, ok := b.body.(io.WriterTo); ok && b.length > 0 && inMemory(b.body) {
		err = b.sendFromRelocking(whole)
	} else {
		err = b.sendPiecesRelocking()
	}
	if err == nil {
		err = s.err // the rest is not needed
	}
	if err == io.EOF {
		err = nil
	}
	mine := b.used || !s.unprocessed // otherwise the next attempt has the body
	b.used = mine
	b.endedRelocking(err)
	c.mu.Unlock()
	if mine {
		b.close()
	}
	b.wrote(err)
}

// left gives the call up if the body's Read or Close has ended the goroutine, with
// runtime.Goexit.
func (b *bodySender) left() {
	if !b.reading { // which no other goroutine sets
		return
	}
	c := b.s.cc
	c.mu.Lock()
	b.reading = false
	b.endedRelocking(errBodyLeft)
	c.mu.Unlock()
	b.close()
}

// sendPiecesRelocking reads the body and sends it, piece by piece. It returns io.EOF if
// it has sent the whole body, and nil if the rest is not needed.
func (b *bodySender) sendPiecesRelocking() (err error) {
	c := b.s.cc
	buffer := newChunk(largeChunk)
	defer buffer.free()
	p := buffer.data[:cap(buffer.data)]
	sent := int64(0)
	for err == nil && b.mayReadLocked() {
		c.mu.Unlock()
		var n int
		n, err = b.body.Read(p)
		sent += int64(n)
		err = b.checkLength(sent, err)
		c.mu.Lock()
		b.reading = false
		if err == nil || err == io.EOF {
			if failed := b.sendPieceRelocking(p[:n], err == io.EOF); failed != nil {
				err = failed
			}
			c.flushRelocking()
		}
	}
	return err
}

// sendFromRelocking is sendPiecesRelocking for a body in memory, which it sends without
// a copy.
func (b *bodySender) sendFromRelocking(body io.WriterTo) error {
	c := b.s.cc
	if !b.mayReadLocked() {
		return nil
	}
	c.mu.Unlock()
	to := &bodyWriter{b: b}
	_, err := body.WriteTo(to)
	if err == nil {
		err = b.checkLength(to.sent, io.EOF)
	}
	c.mu.Lock()
	b.reading = false
	if err == io.EOF {
		if failed := b.sendPieceRelocking(nil, true); failed != nil {
			err = failed
		}
	}
	return err
}

// checkLength returns the error of a read, or the one that the body's length demands;
// sent counts the bytes so far. At the end of the body it closes it, before END_STREAM
// is sent: the caller may use the body again when the response comes.
func (b *bodySender) checkLength(sent int64, err error) error {
	switch {
	case b.length >= 0 && sent > b.length:
		return b.tooLong()
	case b.length >= 0 && err == io.EOF && sent < b.length:
		return b.tooShort(err)
	case err == io.EOF:
		b.close()
	}
	return err
}

// A bodyWriter sends the bytes that a body writes to it.
type bodyWriter struct {
	b    *bodySender
	sent int64
}

func (w *bodyWriter) Write(p []byte) (int, error) {
	w.sent += int64(len(p))
	if w.sent > w.b.length {
		return 0, w.b.tooLong()
	}
	s, c := w.b.s, w.b.s.cc
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := s.stream.sendRelocking(s.ctx, p, false)
	c.flushRelocking()
	return n, err
}

// mayReadLocked reports whether more of the body is needed. If so it marks the body as
// being read.
func (b *bodySender) mayReadLocked() bool {
	s := b.s
	if s.err != nil || s.sentEnd || s.cc.err != nil || b.declined {
		return false
	}
	b.reading, b.used = true, true
	return true
}

// sendPieceRelocking sends a piece of the body, and behind the last one the end of the
// request.
func (b *bodySender) sendPieceRelocking(p []byte, last bool) error {
	if len(p) > 0 || last && !b.trailers {
		if _, err := b.s.stream.sendRelocking(b.s.ctx, p, last && !b.trailers); err != nil {
			return err
		}
	}
	if last && b.trailers {
		return b.endWithTrailersLocked()
	}
	return nil
}

// endWithTrailersLocked ends the request with its trailers [RFC 9113, section 8.1], or
// returns an error if they are larger than the peer's SETTINGS_MAX_HEADER_LIST_SIZE: a peer
// may end the connection for it, with all its streams.
func (b *bodySender) endWithTrailersLocked() error {
	s, c := b.s, b.s.cc
	if s.overLocked() || s.sentEnd || c.err != nil {
		return nil
	}
	if limit := int(c.peerHeaderList); limit > 0 {
		size := 0
		b.trailerFields(func(name, value string) { size += wire.FieldSize(name, value) })
		if size > limit {
			return fmt.Errorf("h2: trailers of %d bytes are larger than the peer accepts: it takes %d bytes", size, limit)
		}
	}
	at := c.beginFieldsLocked()
	b.trailerFields(c.fieldLocked)
	c.endFieldsLocked(at, s.id, true)
	s.sentEnd = true
	c.forgetIfDoneLocked(&s.stream)
	return nil
}

// trailerFields yields the fields of the request's trailers.
func (b *bodySender) trailerFields(yield func(name, value string)) {
	for key, values := range b.s.request.Trailer {
		name := wire.Lower(key)
		if !wire.Sendable(name) {
			continue
		}
		for _, value := range values {
			if wire.ValidValue(value) {
				yield(name, value)
			}
		}
	}
}
