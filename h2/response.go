// SPDX-License-Identifier: Apache-2.0

// The http.ResponseWriter: pieces of a response, gathered so that a short response
// leaves in one write.
//
// Invariants. response.mu is held by every exported method for its whole length; the
// unexported ones run under it, and take conn.mu after it. A handler may break the rule
// that its methods are for one goroutine at a time, and for none after its return, by
// leaving a goroutine behind: so parts go back to their pool only after handlerDone was
// set under response.mu, and no later call can reach them. A response is sent in order:
// informational heads, the head, DATA, trailers. [RFC 9113, section 8.1]

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
	bodyGathered = 16 << 10 // bytes of a body that gather until the handler returns or flushes
	bodyStart    = 2 << 10  // memory for them at first
)

// A field is a name in lower case and a value.
type field struct{ name, value string }

// responseParts is what a response gathers until it is sent.
type responseParts struct {
	fields   []field
	body     []byte
	trailers []field  // set by a direct handler
	keys     []string // of the trailers that the handler announced
}

var partsPool = sync.Pool{New: func() any { return &responseParts{body: make([]byte, 0, bodyStart)} }}

// A response implements [http.ResponseWriter] and the methods that
// [http.ResponseController] looks for.
type response struct {
	s           *serverStream
	mu          sync.Mutex // taken before conn.mu
	header      http.Header
	parts       *responseParts
	status      int   // 0: not decided
	length      int64 // the handler's Content-Length, if declared
	declared    bool  // the handler has set a Content-Length
	noLength    bool  // no Content-Length is added
	hasDate     bool
	hasType     bool  // no Content-Type is added
	closeConn   bool  // the handler has set "Connection: close": the connection drains
	headSent    bool  // the head was appended, or failed; guarded by conn.mu
	handlerDone bool  // the handler has returned
	truncated   bool  // bytes that the handler wrote were not sent
	written     int64 // bytes of the body

	closeNotify chan bool // the channel of CloseNotify; nil until its first call
}

// Header returns the header. Once the head is fixed, changes count for trailers only.
func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

// WriteHeader fixes the status and the header. A 1xx status is sent at once, and leaves
// both open.
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
		panic(fmt.Sprintf("invalid WriteHeader code %v", status)) // net/http's words, which programs compare
	}
	if status < 200 {
		w.sendInformational(status)
		return
	}
	w.freezeHeader(status)
}

// sendInformational sends a 1xx response. There is no 101 in HTTP/2. [RFC 9113, section
// 8.6]
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
		return // too large for the client, which can do without
	}
	at := c.beginFieldsLocked()
	c.fieldsLocked(fields)
	c.endFieldsLocked(at, w.s.id, false)
	c.flushRelocking()
}

// sendContinue sends 100 (Continue) once, if the client waits for it. The handler has
// begun to read.
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

// Write gathers a short body, and sends a longer one.
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
		return len(p), nil // the body of a HEAD only serves for Content-Type and Content-Length
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

// bodyAllowed reports whether a response with this status may have a body. [RFC 9110,
// section 6.4.1]
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// Flush sends all that has gathered.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is Flush, and returns an error if the stream is over.
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

// push sends the head, unless it was sent, then the gathered body, then more.
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

// revoke ends the use of the response by the handler. A goroutine that the handler left
// in a method does not wait for the peer any longer: its write fails, and finish resets
// the stream.
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

// finish ends the response after the handler's return: all that has gathered leaves in
// one write.
func (w *response) finish() {
	w.revoke()
	s, c := w.s, w.s.sc
	trailer := w.collectTrailers()
	if s.isHEAD() && len(trailer) > 0 {
		// The response ends with its head, which must be that of a GET.
		w.noLength, trailer = true, nil
	}
	c.mu.Lock()
	s.waitForRoomRelocking()
	switch {
	case s.overLocked():
	case w.truncated: // in a goroutine that the handler has left behind
		c.abortLocked(&s.stream, ErrCodeInternal, errHandlerGone)
	case w.declared && w.written < w.length && bodyAllowed(w.status) && !s.isHEAD():
		// Sent as far as it goes; the reset shows that it is not all. [RFC 9113, section 8.1.1]
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

// appendGatheredRelocking appends the head, unless it was sent, and the gathered body,
// without END_STREAM.
func (w *response) appendGatheredRelocking() {
	if !w.headSent {
		w.appendHeadLocked(nil, false)
	}
	if len(w.parts.body) > 0 {
		_, _ = w.s.sendRelocking(context.Background(), w.parts.body, false)
	}
}

// appendRestRelocking appends the rest of the response with END_STREAM, on the last
// frame that there is: the head, DATA, or trailers. [RFC 9113, section 8.1]
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

// collectTrailers returns the trailers: those that the handler announced, those whose
// keys begin with http.TrailerPrefix, which replace announced ones, and those of
// DirectTrailer.
func (w *response) collectTrailers() []field {
	parts := w.parts
	start := len(parts.fields)
	for _, key := range parts.keys {
		if _, replaced := w.header[http.TrailerPrefix+key]; !replaced {
			parts.addTrailer(key, w.header[key])
		}
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

// addTrailer adds the values of one trailer, if it may be sent. [RFC 9110, section
// 6.5.1]
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

// SetReadDeadline makes reads of the request's body fail from t on. A deadline that has
// passed stays.
func (w *response) SetReadDeadline(t time.Time) error {
	w.s.in.setDeadline(t)
	return nil
}

// SetWriteDeadline resets the stream at t. A deadline that has passed stays.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.s.setWriteDeadline(t)
	return nil
}

// CloseNotify returns a channel that has a value once the stream is over: the client has
// given up, or the handler has returned. [http.CloseNotifier] is deprecated, but older
// frameworks assert it without asking.
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

// EnableFullDuplex does nothing: streams of HTTP/2 are always full duplex.
func (w *response) EnableFullDuplex() error { return nil }
