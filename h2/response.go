// SPDX-License-Identifier: Apache-2.0

// The http.ResponseWriter: pieces of a response, gathered so that a short one
// leaves in a single write.

package h2

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

const (
	bodyGathered = 16 << 10 // of a body that waits for the handler's return or a flush
	bodyStart    = 2 << 10  // the memory that is taken for it at first
)

// A field is a name in lower case and a value.
type field struct{ name, value string }

// responseParts is what a response gathers until it is sent.
type responseParts struct {
	fields   []field
	body     []byte
	trailers []field  // of direct calls
	keys     []string // of announced trailers
}

var partsPool = sync.Pool{New: func() any { return &responseParts{body: make([]byte, 0, bodyStart)} }}

// A response implements [http.ResponseWriter] and what http.ResponseController
// looks for.
//
// It is for one goroutine at a time, and for none once the handler has returned. A
// handler may break that by leaving a goroutine behind, which must harm no other
// response: so mu is held by each method, and parts are back in their pool only after
// over was set with mu held.
type response struct {
	s           *serverStream
	mu          sync.Mutex // taken before conn.mu
	header      http.Header
	parts       *responseParts
	status      int   // 0: not decided
	length      int64 // of Content-Length if declared
	declared    bool  // a length was declared
	noLength    bool  // no length is to be told
	hasDate     bool
	hasType     bool // a type or an encoding of the content was set
	closeConn   bool // the connection is to end: "Connection: close"
	headSent    bool // the head was sent. Guarded by conn.mu
	handlerDone bool // the handler has returned
	truncated   bool // something was to be sent and was not
	written     int64
	closeNotify chan bool // of CloseNotify; nil until it is asked for
}

// Header returns the header, and the trailers once the head is decided.
func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

// WriteHeader decides the status and the header. Informational ones are sent at
// once.
func (w *response) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeHeader(status)
}

func (w *response) writeHeader(status int) {
	if w.handlerDone {
		return
	}
	if w.status != 0 {
		w.s.sc.engine.logf(w.s.sc.server, "h2: superfluous WriteHeader(%d): the status is %d", status, w.status)
		return
	}
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", status)) // net/http's words: programs look at them
	}
	if status < 200 {
		w.sendInformational(status)
		return
	}
	w.freezeHeader(status)
}

// inform sends a 1xx response. 101 does not exist in HTTP/2.
func (w *response) sendInformational(status int) {
	if status == http.StatusSwitchingProtocols {
		return
	}
	c := w.s.sc
	if status == http.StatusContinue {
		w.s.expects.Store(false)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w.s.waitForRoomRelocking()
	if w.s.overLocked() {
		return
	}
	fields := []field{{":status", strconv.Itoa(status)}}
	for key, values := range w.header {
		name := wire.Lower(key)
		if !wire.Sendable(name) || name == "content-length" { // [RFC 9110, section 8.6]
			continue
		}
		for _, value := range values {
			if wire.ValidValue(value) {
				fields = append(fields, field{name, value})
			}
		}
	}
	if limit := int(c.peerHeaderList); limit > 0 && sizeOf(fields) > limit {
		return // the client does without the hint
	}
	at := c.beginFieldsLocked()
	c.fieldsLocked(fields)
	c.endFieldsLocked(at, w.s.id, false)
	c.flushRelocking()
}

// sendContinue answers "Expect: 100-continue", because the handler reads now.
func (w *response) sendContinue() {
	if !w.s.expects.CompareAndSwap(true, false) {
		return
	}
	c := w.s.sc
	c.mu.Lock()
	defer c.mu.Unlock()
	w.s.waitForRoomRelocking()
	if w.headSent || w.s.overLocked() {
		return
	}
	at := c.beginFieldsLocked()
	c.fieldLocked(":status", "100")
	c.endFieldsLocked(at, w.s.id, false)
	c.flushRelocking()
}

// Write gathers a short body, and sends what is longer.
func (w *response) Write(p []byte) (int, error) { return write(w, p) }

// WriteString is Write for a string.
func (w *response) WriteString(p string) (int, error) { return write(w, p) }

func write[T []byte | string](w *response, p T) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.handlerDone {
		return 0, errHandlerGone
	}
	if w.status == 0 {
		w.writeHeader(http.StatusOK)
	}
	if !bodyAllowed(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if w.declared && w.written+int64(len(p)) > w.length {
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	if w.s.isHEAD() && w.headSent {
		return len(p), nil // there is nothing more to find out about the body
	}
	if len(w.parts.body)+len(p) <= bodyGathered {
		w.parts.body = append(w.parts.body, p...)
		return len(p), nil
	}
	if err := w.push([]byte(p), false); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *serverStream) isHEAD() bool { return s.request != nil && s.request.Method == http.MethodHead }

// bodyAllowed is what RFC 9110, section 6.4.1 says of a status.
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// Flush sends what has gathered.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError sends what has gathered. It fails if the stream is over.
func (w *response) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.handlerDone {
		return errHandlerGone
	}
	if w.status == 0 {
		w.writeHeader(http.StatusOK)
	}
	return w.push(nil, true)
}

// push sends the head, if it was not, the gathered body, and more.
func (w *response) push(more []byte, flush bool) error {
	c := w.s.sc
	c.mu.Lock()
	defer c.mu.Unlock()
	w.s.waitForRoomRelocking()
	if !w.headSent {
		w.appendHeadLocked(more, false)
	}
	for _, p := range [][]byte{w.parts.body, more} {
		if len(p) == 0 || w.s.isHEAD() {
			continue
		}
		if _, err := w.s.sendRelocking(context.Background(), p, false); err != nil {
			w.truncated = true
			return err
		}
	}
	w.parts.body = w.parts.body[:0]
	if flush || len(more) > 0 {
		c.flushRelocking()
	}
	return w.s.err
}

// takeBack ends the use of the response by the handler. A goroutine that it has left
// behind in a method does not wait for the peer any longer: what is cut off so, finish
// resets.
func (w *response) revoke() {
	if !w.mu.TryLock() {
		w.s.setNoWait(true)
		w.mu.Lock()
		w.s.setNoWait(false)
	}
	defer w.mu.Unlock()
	if w.status == 0 {
		w.writeHeader(http.StatusOK)
	}
	w.handlerDone = true
}

// finish ends the response after the handler's return: what is left of it goes
// in one piece.
func (w *response) finish() {
	w.revoke()
	s, c := w.s, w.s.sc
	trailer := w.collectTrailers()
	if s.isHEAD() && len(trailer) > 0 {
		// The answer is over with its head, which is that of a GET.
		w.noLength, trailer = true, nil
	}
	c.mu.Lock()
	s.waitForRoomRelocking()
	switch {
	case s.overLocked():
	case w.truncated: // in a goroutine that the handler has left behind
		c.abortLocked(&s.stream, ErrCodeInternal, errHandlerGone)
	case w.declared && w.written < w.length && bodyAllowed(w.status) && !s.isHEAD():
		// The peer gets what there is, and the reset says that it is not all.
		w.appendGatheredRelocking()
		c.abortLocked(&s.stream, ErrCodeInternal, fmt.Errorf("handler wrote %d bytes, Content-Length says %d", w.written, w.length))
	default:
		w.appendRestRelocking(trailer)
	}
	parts := w.parts
	w.parts = nil
	last := s.closeRelocking()
	c.mu.Unlock()
	s.afterClose(last)
	if cap(parts.body) <= 2*bodyGathered {
		clear(parts.fields)
		clear(parts.trailers)
		clear(parts.keys)
		parts.fields, parts.trailers, parts.body, parts.keys = parts.fields[:0], parts.trailers[:0], parts.body[:0], parts.keys[:0]
		partsPool.Put(parts)
	}
}

// appendGatheredRelocking appends the head, if it was not, and the gathered body, but
// no end.
func (w *response) appendGatheredRelocking() {
	if !w.headSent {
		w.appendHeadLocked(nil, false)
	}
	if len(w.parts.body) > 0 {
		_, _ = w.s.sendRelocking(context.Background(), w.parts.body, false)
	}
}

// appendRestRelocking appends what ends the response.
func (w *response) appendRestRelocking(trailer []field) {
	s, c := w.s, w.s.sc
	end := len(trailer) == 0
	if !w.headSent && w.appendHeadLocked(nil, end) {
		return
	}
	body := w.parts.body
	if s.isHEAD() {
		body = nil
	}
	if len(body) > 0 || end {
		if _, err := s.sendRelocking(context.Background(), body, end); err != nil {
			return
		}
	}
	if end || s.overLocked() {
		return
	}
	if !w.acceptedLocked("trailers", sizeOf(trailer)) {
		return
	}
	at := c.beginFieldsLocked()
	c.fieldsLocked(trailer)
	c.endFieldsLocked(at, s.id, true)
	s.sentEnd = true
	c.forgetIfDoneLocked(&s.stream)
}

// collectTrailers returns the trailers: the announced ones, and those whose keys
// begin with http.TrailerPrefix.
func (w *response) collectTrailers() []field {
	parts := w.parts
	start := len(parts.fields)
	for _, key := range parts.keys {
		parts.addTrailer(key, w.header[key])
	}
	for key, values := range w.header {
		if name, ok := strings.CutPrefix(key, http.TrailerPrefix); ok {
			parts.addTrailer(http.CanonicalHeaderKey(name), values)
		}
	}
	parts.fields = append(parts.fields, parts.trailers...)
	trailer := parts.fields[start:]
	parts.fields = parts.fields[:start]
	return trailer
}

func (p *responseParts) addTrailer(key string, values []string) {
	name := wire.Lower(key)
	if !wire.Sendable(name) || name == "content-length" || name == "trailer" {
		return
	}
	for _, value := range values {
		if wire.ValidValue(value) {
			p.fields = append(p.fields, field{name, value})
		}
	}
}

// SetReadDeadline lets reads of the body fail from t on.
func (w *response) SetReadDeadline(t time.Time) error {
	w.s.in.setDeadline(t)
	return nil
}

// SetWriteDeadline lets the stream end at t.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.s.setWriteDeadline(t)
	return nil
}

// CloseNotify returns a channel that has a value when the stream is over: the client
// has given up, or the handler has returned. [http.CloseNotifier] is deprecated, but
// promised: older frameworks assert it without asking.
func (w *response) CloseNotify() <-chan bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closeNotify == nil {
		gone := make(chan bool, 1)
		w.closeNotify = gone
		w.s.ctx.AfterFunc(func() { gone <- true })
	}
	return w.closeNotify
}

// EnableFullDuplex does nothing: HTTP/2 always is.
func (w *response) EnableFullDuplex() error { return nil }
