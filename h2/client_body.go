// SPDX-License-Identifier: Apache-2.0

// The body of a client's request on its way out.

package h2

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// bodyAtOnce is how long a body may be to go with the head: it is read before, and
// no goroutine is needed for it.
const bodyAtOnce = largeChunk

// readGrace is how long a Read may go on that nobody needs any more, before the
// body is closed meanwhile: most end by themselves, and not every body takes
// Close during Read well.
const readGrace = time.Millisecond

// A bodySender sends a request's body. One that is short and in memory goes with
// the head; any other, and the rest of one for which the peer's window has no
// room, is sent by a goroutine of its own, because the response may come before
// the body's end.
//
// The body is closed once: by who reads it when it ends or is not wanted any
// more, or during a Read that would otherwise go on after the stream's end. One
// that was not touched when the peer refused the request is left to the next
// attempt.
type bodySender struct {
	s         *clientStream
	body      io.ReadCloser // nil: none
	length    int64         // negative: unknown
	short     *chunk        // a short body, as long as it is not sent
	shortSent int           // what of it goes next
	trailers  bool          // follow the body
	expects   bool          // the peer has to ask for the body first
	wake      chan struct{} // has room for one: go on, or find that the stream is over
	done      chan struct{} // closed when the goroutine has ended; nil if there is none
	closed    atomic.Bool
	probe     [1]byte // what a read beyond the end writes to

	// Guarded by conn.mu, from the stream's opening on.
	running    bool // a goroutine sends the body, or is about to
	reading    bool // it is in Read
	used       bool // the body was read or closed
	declined   bool // the peer has answered without asking for it
	breakTimer *time.Timer
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
		b.length = -1 // that is how net/http says unknown
	}
	expect := r.Header["Expect"]
	b.expects = len(expect) > 0 && strings.EqualFold(expect[0], "100-continue") && b.continueTimeout() > 0
}

// nothing reports whether there is no body, and nothing after it.
func (b *bodySender) empty() bool { return b.body == nil && !b.trailers }

// close closes the body, once. It is user code: without locks.
func (b *bodySender) close() {
	if b.body != nil && !b.closed.Swap(true) {
		_ = b.body.Close()
	}
}

// stop ends the sending: the stream is over. With conn.mu held.
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

// ---- short bodies ----

// prepare reads a short body that lies in memory. Any other may keep us waiting.
func (b *bodySender) prepare() error {
	if b.body == nil || b.expects || b.length <= 0 || b.length > bodyAtOnce ||
		b.trailers || !inMemory(b.body) {
		return nil
	}
	b.used = true
	whole := newChunk(int(b.length))
	whole.data = whole.data[:b.length]
	_, err := io.ReadFull(b.body, whole.data)
	if err == nil {
		err = b.checkEnd()
	} else {
		err = b.tooShort(err)
	}
	b.close()
	if err != nil {
		whole.free()
		return err
	}
	b.short = whole
	return nil
}

// The types that [io.NopCloser] returns, and net/http wraps around bodies.
var (
	nopCloser         = reflect.TypeOf(io.NopCloser(struct{ io.Reader }{}))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser((*bytes.Reader)(nil)))
)

// inMemory reports whether a body is one that [http.NewRequest] makes of bytes, or
// says so itself: reading it does not wait. A type that embeds such a body has its
// methods, and maybe a Read of its own: so types are compared, and InMemory gets the
// body that is asked.
func inMemory(body io.Reader) bool {
	for range 4 {
		switch b := body.(type) {
		case *bytes.Reader, *bytes.Buffer, *strings.Reader:
			return true
		case interface{ InMemory(self io.Reader) bool }:
			return b.InMemory(body)
		}
		v := reflect.ValueOf(body)
		switch t := v.Type(); {
		case t == nopCloser, t == nopCloserWriterTo:
		case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct &&
			t.Elem().PkgPath() == "net/http" && t.Elem().Name() == "readTrackingBody":
			v = v.Elem()
		default:
			return false
		}
		inner, ok := v.Field(0).Interface().(io.Reader)
		if !ok {
			return false
		}
		body = inner
	}
	return false
}

func (b *bodySender) tooShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("h2: the request's body ends before its ContentLength of %d: %w", b.length, io.ErrUnexpectedEOF)
	}
	return err
}

func (b *bodySender) tooLong() error {
	return fmt.Errorf("h2: the request's body is longer than its ContentLength of %d", b.length)
}

// checkEnd makes sure that a body has ended where ContentLength says.
func (b *bodySender) checkEnd() error {
	n, err := b.body.Read(b.probe[:])
	if n > 0 {
		return b.tooLong()
	}
	if err != nil && err != io.EOF {
		return err
	}
	return nil
}

// ---- with the head ----

// begin sends what goes with the head: direct is the body of a direct call. With
// conn.mu held, after the head was appended; the caller flushes.
func (b *bodySender) beginRelocking(direct []byte) {
	switch {
	case len(direct) > 0:
		n, err := b.s.appendDataRelocking(direct, true)
		if rest := direct[n:]; err == nil && len(rest) > 0 {
			b.short = newChunk(len(rest)) // as the caller may use its memory again
			b.short.data = append(b.short.data, rest...)
			b.running = true
		}
	case b.body == nil:
		if b.trailers {
			b.endWithTrailersLocked()
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

// copyOfWhole returns the bytes of a short body that was read and cannot be had again.
func (b *bodySender) copyOfShort() []byte {
	if b.short == nil || b.s.request.GetBody != nil {
		return nil
	}
	return bytes.Clone(b.short.data)
}

// drop gives the memory of a short body back.
func (b *bodySender) drop() {
	if b.short != nil {
		b.short.free()
		b.short = nil
	}
}

// launch starts the goroutine that sends what begin has left. It starts after the
// head was traced, as the trace wants it.
func (b *bodySender) launch() {
	switch {
	case b.short != nil:
		go b.sendShort()
	case b.body == nil || b.used:
	default:
		if trace := b.s.trace; b.expects && trace != nil && trace.Wait100Continue != nil {
			trace.Wait100Continue()
		}
		b.done = make(chan struct{})
		go b.sendAll()
	}
}

// settle waits for the goroutine that reads the body: before another attempt,
// which may use the same reader.
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

// ended takes the end of sending. With conn.mu held.
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
		b.s.in.signal() // its time runs from now on
	}
}

func (b *bodySender) wrote(err error) {
	if trace := b.s.trace; trace != nil && trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
}

// patience is how long to wait for the peer to ask for the body.
func (b *bodySender) continueTimeout() time.Duration {
	if standard := b.s.cc.t.standard; standard != nil {
		return standard.ExpectContinueTimeout
	}
	return defaultContinue
}

// awaitContinue waits until the peer asks for the body, has not for too long, or
// the stream is over.
func (b *bodySender) awaitContinue() {
	timer := time.NewTimer(b.continueTimeout())
	defer timer.Stop()
	select {
	case <-b.wake:
	case <-timer.C:
	}
}

// proceed says that the peer has answered: with "100 Continue", or for good.
func (b *bodySender) proceed(wanted bool) {
	c := b.s.cc
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.running {
		b.declined = b.declined || !wanted && !b.used
		signal(b.wake)
	}
}

// sendAll sends the body.
func (b *bodySender) sendAll() {
	defer close(b.done)
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
		err = s.err // nobody wants the rest
	}
	if err == io.EOF {
		err = nil
	}
	mine := b.used || !s.unprocessed // or else the next attempt's
	b.used = mine
	b.endedRelocking(err)
	c.mu.Unlock()
	if mine {
		b.close()
	}
	b.wrote(err)
}

// sendPieces reads the body and sends it, piece by piece. It returns io.EOF if that
// was all of it, and nil if nobody wants the rest. With conn.mu held, which it gives
// away meanwhile.
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

// sendFrom is sendPieces for a body that lies in memory: without a copy.
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

// measure returns the error of a read, or what is wrong with the length: sent bytes
// were there with it. At the end it closes the body, before the end is sent: then the
// caller may use the body again.
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

// A bodyWriter sends what is written.
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

// mayRead reports whether more of the body is wanted, and that it is being read
// if so. With conn.mu held.
func (b *bodySender) mayReadLocked() bool {
	s := b.s
	if s.err != nil || s.sentEnd || s.cc.err != nil || b.declined {
		return false
	}
	b.reading, b.used = true, true
	return true
}

// sendPiece sends a piece of the body, and what ends the request after the last.
// With conn.mu held.
func (b *bodySender) sendPieceRelocking(p []byte, last bool) error {
	if len(p) > 0 || last && !b.trailers {
		if _, err := b.s.stream.sendRelocking(b.s.ctx, p, last && !b.trailers); err != nil {
			return err
		}
	}
	if last && b.trailers {
		b.endWithTrailersLocked()
	}
	return nil
}

// endWithTrailers ends the request. With conn.mu held.
func (b *bodySender) endWithTrailersLocked() {
	s, c := b.s, b.s.cc
	if s.overLocked() || s.sentEnd || c.err != nil {
		return
	}
	at := c.beginFieldsLocked()
	for key, values := range s.request.Trailer {
		name := wire.Lower(key)
		if !wire.Sendable(name) {
			continue
		}
		for _, value := range values {
			if wire.ValidValue(value) {
				c.fieldLocked(name, value)
			}
		}
	}
	c.endFieldsLocked(at, s.id, true)
	s.sentEnd = true
	c.forgetIfDoneLocked(&s.stream)
}
