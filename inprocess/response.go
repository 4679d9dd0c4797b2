// SPDX-License-Identifier: Apache-2.0

// The handler's http.ResponseWriter.
//
// Its methods are for one goroutine at a time, and for none after the handler's return. A
// handler that breaks this rule gets errors, and disturbs no other call: mu guards all
// fields, is not held while a write waits, and revoked is set when the handler returns.

package inprocess

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect/internal/bytepipe"
)

// A response implements [http.ResponseWriter] and the methods that
// [http.ResponseController] looks for, except Hijack.
type response struct {
	c       *call
	mu      sync.Mutex
	header  http.Header // the handler's; nil until it asks
	status  int         // 0: not decided
	head    http.Header // as the caller gets it, once the status is decided; nil if direct
	pairs   [][2]string // the same of a direct call
	later   http.Header // the keys of the trailers that the handler announced
	adds    [][2]string // trailers of a direct call
	length  int64       // the handler's Content-Length, if declared
	written int64       // bytes of the body

	declared  bool // the handler has set a Content-Length
	noLength  bool // no Content-Length is added
	hasDate   bool
	hasType   bool // no Content-Type is added
	published bool // the caller has the head
	revoked   bool // the handler has returned

	timer       *time.Timer // for the write deadline
	closeNotify chan bool   // the channel of CloseNotify; nil until its first call
	memory      [10][2]string
}

// Header returns the header. Once the status is decided, changes count for trailers only.
func (w *response) Header() http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

// WriteHeader decides the status and the header. A 1xx status goes to the caller's
// [httptrace.ClientTrace], and leaves both open.
func (w *response) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeHeader(status)
}

func (w *response) writeHeader(status int) {
	switch {
	case w.revoked:
	case w.status != 0:
		w.c.t.logf("inprocess: superfluous WriteHeader(%d): the status is %d", status, w.status)
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %v", status)) // net/http's words, which programs compare
	case status < 200:
		w.inform(status)
	default:
		w.freeze(status)
	}
}

// inform passes on a 1xx response. There is no 101, as in HTTP/2. [RFC 9113, section 8.6]
func (w *response) inform(status int) {
	if status == http.StatusContinue && w.c.upload != nil {
		if w.c.upload.expects.Swap(false) {
			w.sendContinue()
			go w.c.upload.run()
		}
		return
	}
	trace := httptrace.ContextClientTrace(w.c.parent)
	if status == http.StatusSwitchingProtocols || trace == nil || trace.Got1xxResponse == nil {
		return
	}
	h := make(http.Header, len(w.header))
	for key, values := range w.header {
		if name := lower(key); name != "content-length" {
			w.add(h, name, values)
		}
	}
	if err := trace.Got1xxResponse(status, textproto.MIMEHeader(h)); err != nil {
		w.c.abort(err, errGaveUp)
	}
}

// sendContinue answers "Expect: 100-continue".
func (w *response) sendContinue() {
	trace := httptrace.ContextClientTrace(w.c.parent)
	if trace == nil {
		return
	}
	if trace.Got100Continue != nil {
		trace.Got100Continue()
	}
	if trace.Got1xxResponse != nil {
		_ = trace.Got1xxResponse(http.StatusContinue, make(textproto.MIMEHeader))
	}
}

// freeze decides the status and copies the header, except trailers.
func (w *response) freeze(status int) {
	w.status = status
	if w.c.request != nil {
		w.head = make(http.Header, len(w.header)+3)
	}
	w.later = announced(w.header["Trailer"])
	for key, values := range w.header {
		if _, later := w.later[key]; later || strings.HasPrefix(key, http.TrailerPrefix) {
			continue
		}
		if name := lower(key); w.inspect(name, values) {
			w.add(w.head, name, values)
		}
	}
}

// inspect looks at a field that is about the response as a whole. It reports false if the
// caller does not get the field. As in net/http, a Content-Length, Content-Type or Date
// without values keeps this side from adding one.
func (w *response) inspect(name string, values []string) bool {
	switch name {
	case "content-length":
		if len(values) == 0 {
			w.noLength = true
			return false
		}
		n, err := strconv.ParseUint(values[0], 10, 63)
		if err != nil {
			return false
		}
		w.length, w.declared = int64(n), true
	case "content-type":
		w.hasType = true
	case "content-encoding":
		w.hasType = w.hasType || len(values) > 0 && values[0] != ""
	case "date":
		w.hasDate = true
	}
	return true
}

// add adds values to a header, or to the pairs of a direct call if it is nil. It leaves
// out what HTTP cannot carry.
func (w *response) add(into http.Header, name string, values []string) {
	if !isToken(name) || ofConnections(name) {
		return
	}
	if into != nil {
		put(into, name, values)
		return
	}
	if w.pairs == nil {
		w.pairs = w.memory[:0]
	}
	for _, value := range values {
		if isValue(value) {
			w.pairs = append(w.pairs, [2]string{name, value})
		}
	}
}

// bodyAllowed reports whether a response with this status may have a body. [RFC 9110,
// section 6.4.1]
func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

func (w *response) isHEAD() bool { return w.c.request != nil && w.c.request.Method == http.MethodHead }

// publish gives the head to the caller, once. more is the part of the body that is about
// to be written.
func (w *response) publish(more []byte) {
	if !w.published {
		w.complete(more, false)
		w.c.fix(nil)
	}
}

// complete adds what the head lacks, once. final is set if the body is complete.
func (w *response) complete(more []byte, final bool) {
	if w.published {
		return
	}
	w.published = true
	if !w.hasType && w.written > 0 && bodyAllowed(w.status) && !w.isHEAD() {
		var start [512]byte
		n := w.c.out.Peek(start[:])
		n += copy(start[n:], more)
		w.add(w.head, "content-type", []string{http.DetectContentType(start[:n])})
	}
	if !w.declared && !w.noLength && final && bodyAllowed(w.status) && (w.written > 0 || !w.isHEAD()) {
		w.add(w.head, "content-length", []string{strconv.FormatInt(w.written, 10)})
		w.length, w.declared = w.written, true
	}
	if !w.hasDate {
		w.add(w.head, "date", []string{dateNow()})
	}
}

// Write writes a part of the body. The caller sees it after a Flush, or once there are more
// than 64 KiB. It waits while the caller has not read as much.
func (w *response) Write(p []byte) (int, error) {
	w.mu.Lock()
	switch {
	case w.revoked:
		w.mu.Unlock()
		return 0, errHandlerGone
	case w.status == 0:
		w.writeHeader(http.StatusOK)
	}
	switch {
	case !bodyAllowed(w.status):
		w.mu.Unlock()
		return 0, http.ErrBodyNotAllowed
	case w.declared && w.written+int64(len(p)) > w.length:
		w.mu.Unlock()
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	head := w.isHEAD()
	if w.written > bytepipe.Window && !head {
		w.publish(p)
	}
	w.mu.Unlock()
	if head {
		return len(p), nil
	}
	return w.c.out.Write(p)
}

// WriteString is Write for a string.
func (w *response) WriteString(p string) (int, error) { return w.Write([]byte(p)) }

// Flush gives the caller what was written.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is Flush, and returns an error if the call is over.
func (w *response) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.revoked {
		return errHandlerGone
	}
	if w.status == 0 {
		w.writeHeader(http.StatusOK)
	}
	w.publish(nil)
	return w.c.out.WriteError()
}

// revoke ends the use of the response by the handler.
func (w *response) revoke() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end()
}

// end is revoke with the lock held.
func (w *response) end() {
	w.revoked = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// finish ends the response after the handler's return.
func (w *response) finish() {
	c := w.c
	w.mu.Lock()
	if w.status == 0 {
		w.writeHeader(http.StatusOK)
	}
	w.end()
	if w.declared && w.written < w.length && bodyAllowed(w.status) && !w.isHEAD() {
		w.publish(nil)
		short := fmt.Errorf("the handler has written %d bytes, and its Content-Length is %d", w.written, w.length)
		w.mu.Unlock()
		c.abort(reset(codeInternal, short), errHandlerGone)
		return
	}
	trailers := w.takeTrailers()
	if w.isHEAD() && trailers {
		w.noLength = true // the head must be that of a GET
	}
	c.out.CloseWrite(io.EOF, errHandlerGone)
	c.in.CloseRead(http.ErrBodyReadAfterClose, io.ErrClosedPipe)
	w.complete(nil, !trailers)
	w.mu.Unlock()
	c.end(nil)
}

// takeTrailers fixes the trailers: those that the handler announced, those whose keys begin
// with http.TrailerPrefix, and those of DirectTrailer. It reports whether there are any.
// [RFC 9110, section 6.5.1]
func (w *response) takeTrailers() bool {
	for key := range w.later {
		w.addTrailer(key, w.header[key])
	}
	for key, values := range w.header {
		if name, ok := strings.CutPrefix(key, http.TrailerPrefix); ok {
			w.addTrailer(name, values)
		}
	}
	return len(w.c.trailer)+len(w.adds) > 0
}

func (w *response) addTrailer(key string, values []string) {
	name := lower(key)
	if !isToken(name) || ofConnections(name) || name == "content-length" || name == "trailer" {
		return
	}
	for _, value := range values {
		switch {
		case !isValue(value):
		case w.c.request == nil:
			w.adds = append(w.adds, [2]string{name, value})
		default:
			if w.c.trailer == nil {
				w.c.trailer = make(http.Header)
			}
			key := http.CanonicalHeaderKey(name)
			w.c.trailer[key] = append(w.c.trailer[key], value)
		}
	}
}

// ---- what http.ResponseController and older programs look for ----

// SetReadDeadline makes reads of the request's body fail from t on, never if t is zero. A
// deadline that has passed stays.
func (w *response) SetReadDeadline(t time.Time) error {
	w.c.in.SetReadDeadline(t)
	return nil
}

// SetWriteDeadline ends the call at t, never if t is zero. A deadline that has passed
// stays.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.revoked || w.timer != nil && !w.timer.Stop() {
		return nil
	}
	w.timer = nil
	if t.IsZero() {
		return nil
	}
	wait := time.Until(t)
	if wait <= 0 {
		w.c.abort(errTooSlow, errWriteTime)
		return nil
	}
	w.timer = time.AfterFunc(wait, func() { w.c.abort(errTooSlow, errWriteTime) })
	return nil
}

// EnableFullDuplex does nothing: calls are always full duplex.
func (w *response) EnableFullDuplex() error { return nil }

// CloseNotify returns a channel that has a value once the call is over. [http.CloseNotifier]
// is deprecated, but older frameworks assert it without asking.
func (w *response) CloseNotify() <-chan bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closeNotify == nil {
		gone := make(chan bool, 1)
		w.closeNotify = gone
		context.AfterFunc(w.c.ctx, func() { gone <- true })
	}
	return w.closeNotify
}

// ---- the date ----

// date is the text of a second, kept for the calls of this second.
type date struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[date]

func dateNow() string {
	now := time.Now()
	d := lastDate.Load()
	if d == nil || d.second != now.Unix() {
		d = &date{now.Unix(), now.UTC().Format(http.TimeFormat)}
		lastDate.Store(d)
	}
	return d.text
}
