// SPDX-License-Identifier: Apache-2.0

// The body of a client's request on its way out, and the inflating of a
// response's.

package h2

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// bodyAtOnce is how long a body may be to go with the head: it is read before, and
// no goroutine is needed for it.
const bodyAtOnce = largeChunk

// A bodySender sends a request's body. One that is short and in memory goes with
// the head; any other, and the rest of one for which the peer's window has no
// room, is sent by a goroutine of its own, because the response may come before
// the body's end.
type bodySender struct {
	s       *clientStream
	body    io.ReadCloser // nil: none
	length  int64         // negative: unknown
	whole   *chunk        // a short body, as long as it is not sent
	running bool          // a goroutine reads the body. Guarded by conn.mu
	touched atomic.Bool   // some of the body was read
	closing sync.Once
}

func (b *bodySender) init(s *clientStream, r *http.Request) {
	b.s = s
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	b.body, b.length = r.Body, r.ContentLength
	if b.length == 0 {
		b.length = -1 // that is how net/http says unknown
	}
}

// none reports whether there is no body.
func (b *bodySender) none() bool { return b.body == nil }

// used reports whether some of the body was read.
func (b *bodySender) used() bool { return b.touched.Load() }

// close closes the body, once.
func (b *bodySender) close() {
	if b.body != nil {
		b.closing.Do(func() { _ = b.body.Close() })
	}
}

// stop ends the sending: the stream is over. With conn.mu held.
func (b *bodySender) stop() {
	if b.running {
		go b.close() // the goroutine may be waiting in Read
	}
}

// prepare reads a short body. One that may keep us waiting is not: GetBody says
// that it lies in memory.
func (b *bodySender) prepare() error {
	r := b.s.request
	if b.body == nil || r.GetBody == nil || b.length <= 0 || b.length > bodyAtOnce || len(r.Trailer) > 0 || b.waits() {
		return nil
	}
	b.touched.Store(true)
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
	b.whole = whole
	return nil
}

// waits reports whether the body is sent only when the peer asks for it.
func (b *bodySender) waits() bool {
	expect := b.s.request.Header["Expect"]
	return len(expect) > 0 && strings.EqualFold(expect[0], "100-continue")
}

func (b *bodySender) tooShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("h2: the request's body ends before its ContentLength of %d: %w", b.length, io.ErrUnexpectedEOF)
	}
	return err
}

// checkEnd makes sure that a body has ended where ContentLength says.
func (b *bodySender) checkEnd() error {
	var more [1]byte
	n, err := b.body.Read(more[:])
	if n > 0 {
		return fmt.Errorf("h2: the request's body is longer than its ContentLength of %d", b.length)
	}
	if err != nil && err != io.EOF {
		return err
	}
	return nil
}

// begin sends what goes with the head. With conn.mu held, after the head was
// appended; the caller flushes.
func (b *bodySender) begin() error {
	switch {
	case b.body == nil:
		if len(b.s.request.Trailer) > 0 {
			b.endWithTrailers()
		}
		return nil
	case b.whole == nil:
		b.running = true
		b.awaitContinue()
		return nil
	}
	n, err := b.s.appendData(b.whole.data, true)
	if err != nil {
		return err
	}
	if n < len(b.whole.data) {
		b.running = true
		go b.sendWhole(n)
		return nil
	}
	b.whole.free()
	b.whole = nil
	return nil
}

// sendWhole sends the rest of a short body.
func (b *bodySender) sendWhole(n int) {
	c := b.s.cc
	c.mu.Lock()
	_, err := b.s.stream.send(b.s.ctx, b.whole.data[n:], true)
	b.ended(err)
	b.whole.free()
	b.whole = nil
	c.flush()
	c.mu.Unlock()
	b.wrote(err)
}

// ended takes the end of sending. With conn.mu held.
func (b *bodySender) ended(err error) {
	b.running = false
	if err != nil {
		b.s.cc.abort(&b.s.stream, ErrCodeCancel, err)
	}
}

func (b *bodySender) wrote(err error) {
	if trace := b.s.trace; trace != nil && trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
}

// awaitContinue starts the goroutine that sends the body, when the peer wants it
// or has not said for too long. With conn.mu held.
func (b *bodySender) awaitContinue() {
	if !b.waits() {
		go b.sendAll()
		return
	}
	patience := time.Second
	if std := b.s.cc.t.standard; std != nil && std.ExpectContinueTimeout > 0 {
		patience = std.ExpectContinueTimeout
	}
	wanted := make(chan struct{})
	b.s.go100 = wanted
	if b.s.trace != nil && b.s.trace.Wait100Continue != nil {
		b.s.trace.Wait100Continue()
	}
	go func() {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-wanted:
		case <-timer.C:
		case <-b.s.ctx.Done():
		}
		b.sendAll()
	}()
}

// sendAll reads the body and sends it, piece by piece.
func (b *bodySender) sendAll() {
	c := b.s.cc
	buffer := newChunk(largeChunk)
	defer buffer.free()
	p := buffer.data[:cap(buffer.data)]
	trailers := len(b.s.request.Trailer) > 0
	sent := int64(0)
	for {
		b.touched.Store(true)
		n, err := b.body.Read(p)
		sent += int64(n)
		switch {
		case b.length >= 0 && sent > b.length:
			err = fmt.Errorf("h2: the request's body is longer than its ContentLength of %d", b.length)
		case b.length >= 0 && err == io.EOF && sent < b.length:
			err = b.tooShort(err)
		}
		last := err == io.EOF
		if last {
			b.close() // before the end is sent: then the caller may use the body again
		}
		c.mu.Lock()
		if err == nil || last {
			_, err = b.s.stream.send(b.s.ctx, p[:n], last && !trailers)
			if err == nil && last && trailers {
				b.endWithTrailers()
			}
		}
		if err != nil || last {
			b.ended(err)
		}
		c.flush()
		c.mu.Unlock()
		if err != nil || last {
			b.close()
			b.wrote(err)
			return
		}
	}
}

// endWithTrailers ends the request. With conn.mu held.
func (b *bodySender) endWithTrailers() {
	s, c := b.s, b.s.cc
	if s.over() || s.sent {
		return
	}
	at := c.beginFields()
	for key, values := range s.request.Trailer {
		name := lower(key)
		if !sendable(name) {
			continue
		}
		for _, value := range values {
			if validValue(value) {
				c.field(name, value)
			}
		}
	}
	c.endFields(at, s.id, true)
	s.sent = true
	c.closeIfDone(&s.stream)
}

// An inflater is the body of a response whose compression the transport asked
// for.
type inflater struct {
	body *responseBody
	zip  *gzip.Reader
	err  error
}

// Read inflates. The stream's errors come through.
func (z *inflater) Read(p []byte) (int, error) {
	if z.err != nil {
		return 0, z.err
	}
	if z.zip == nil {
		if z.zip, z.err = gzip.NewReader(z.body); z.err != nil {
			return 0, z.err
		}
	}
	n, err := z.zip.Read(p)
	z.err = err
	return n, err
}

// Close closes the body.
func (z *inflater) Close() error {
	if z.err == nil {
		z.err = errBodyClosed
	}
	return z.body.Close()
}
