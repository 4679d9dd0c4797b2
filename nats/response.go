// SPDX-License-Identifier: Apache-2.0

// The handler's http.ResponseWriter.

package natsrpc

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
)

// bufferSize is how many bytes of a response wait for more, or for a Flush.
const bufferSize = 32 << 10

// A response implements [http.ResponseWriter] and the methods that
// [http.ResponseController] looks for, except Hijack. Its methods are for one goroutine at a
// time, and for none after the handler's return: a handler that breaks this rule gets errors.
type response struct {
	st     *stream
	method string

	mu      sync.Mutex // held while a write waits: the deadline and the end of the call end that
	header  http.Header
	status  int         // 0: not decided
	head    nats.Header // once the status is decided, until it is sent
	later   http.Header // the keys of the trailers that the handler has announced
	failed  error       // what ends all writes: the head cannot be sent
	length  int64       // the handler's Content-Length, negative without
	written int64       // bytes of the body
	buf     []byte
	revoked bool // the handler has returned
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

// WriteHeader decides the status and the header. It ignores a 1xx status, which the protocol
// does not have.
func (w *response) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.decide(status)
}

func (w *response) decide(status int) {
	switch {
	case w.revoked || w.status != 0:
		return
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %v", status)) // net/http's words, which programs compare
	case status < 200:
		return
	}
	w.status, w.length = status, -1
	w.later = announced(w.header["Trailer"])
	w.head = nats.Header{fieldStatus: {strconv.Itoa(status)}}
	w.failed = packFields(w.head, "", cleanFields(w.header), func(key string) bool {
		_, later := w.later[key]
		return later
	})
	if values := w.header["Content-Length"]; len(values) > 0 {
		if n, err := strconv.ParseUint(values[0], 10, 63); err == nil {
			w.length = int64(n)
		}
	}
	if w.failed == nil {
		w.failed = checkHeader(w.head, int(w.st.l.nc.MaxPayload()))
	}
}

// cleanFields returns the fields of a header that HTTP can carry, but trailers.
func cleanFields(h http.Header) http.Header {
	clean := make(http.Header, len(h))
	for key, values := range h {
		if strings.HasPrefix(key, http.TrailerPrefix) || !isToken(key) {
			continue
		}
		for _, value := range values {
			if isValue(value) {
				clean[key] = append(clean[key], value)
			}
		}
	}
	return clean
}

// bodyAllowed reports whether a response with this status may have a body. [RFC 9110,
// section 6.4.1]
func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

// Write writes a part of the body. The caller sees it after a Flush, or once there are 32
// KiB. It waits while the caller has not read as much as its window.
func (w *response) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.revoked {
		return 0, errHandlerGone
	}
	w.decide(http.StatusOK)
	switch {
	case w.failed != nil:
		return 0, w.abort(w.failed)
	case !bodyAllowed(w.status):
		return 0, http.ErrBodyNotAllowed
	case w.length >= 0 && w.written+int64(len(p)) > w.length:
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	if w.method == http.MethodHead {
		return len(p), nil
	}
	if len(w.buf)+len(p) <= bufferSize {
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	if err := w.send(w.buf, false, nil); err != nil {
		return 0, err
	}
	w.buf = w.buf[:0]
	if len(p) <= bufferSize {
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	if err := w.send(p, false, nil); err != nil {
		return 0, err
	}
	return len(p), nil
}

// send sends the head, if that was not sent, and a part of the body.
func (w *response) send(body []byte, end bool, trailer nats.Header) error {
	head := w.head
	if head == nil && len(body) == 0 && !end {
		return w.st.failure()
	}
	w.head = nil
	_, err := w.st.writePart(part{head, body, end, trailer})
	return err
}

// abort ends the call because of an error of this side.
func (w *response) abort(err error) error {
	w.st.fail(err, err)
	return err
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
	w.decide(http.StatusOK)
	if w.failed != nil {
		return w.abort(w.failed)
	}
	err := w.send(w.buf, false, nil)
	w.buf = w.buf[:0]
	return err
}

// revoke ends the use of the response by the handler.
func (w *response) revoke() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revoked = true
}

// finish ends the response after the handler's return.
func (w *response) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.decide(http.StatusOK)
	w.revoked = true
	trailer := make(nats.Header)
	switch {
	case w.failed != nil:
		_ = w.abort(w.failed)
		return
	case w.length > w.written && bodyAllowed(w.status) && w.method != http.MethodHead:
		_ = w.abort(errorf(connect.CodeInternal, "the handler has written %d bytes, and its Content-Length is %d", w.written, w.length))
		return
	}
	if err := packFields(trailer, fieldTrailerPrefix, w.trailers(), nil); err != nil {
		_ = w.abort(err)
		return
	}
	if w.send(w.buf, true, trailer) == nil {
		w.st.fail(nil, nil)
	}
}

// trailers returns the trailers: those that the handler has announced, and those whose keys
// begin with http.TrailerPrefix. [RFC 9110, section 6.5.1]
func (w *response) trailers() http.Header {
	t := make(http.Header)
	for key := range w.later {
		if values, ok := w.header[key]; ok {
			t[key] = values
		}
	}
	for key, values := range w.header {
		if name, ok := strings.CutPrefix(key, http.TrailerPrefix); ok {
			t[name] = append(t[name], values...)
		}
	}
	return cleanFields(t)
}

// ---- what http.ResponseController looks for ----

// SetReadDeadline makes reads of the request's body fail from t on, never if t is zero. A
// deadline that has passed stays.
func (w *response) SetReadDeadline(t time.Time) error {
	st := w.st
	st.setDeadline(&st.read, t, func() {
		st.canRead.Broadcast()
		st.mu.Unlock()
	})
	return nil
}

// SetWriteDeadline ends the call at t, never if t is zero. A deadline that has passed stays.
func (w *response) SetWriteDeadline(t time.Time) error {
	st := w.st
	st.setDeadline(&st.write, t, func() { st.endLocked(errWriteTime, errWriteTime) })
	return nil
}

// EnableFullDuplex does nothing: calls are always full duplex.
func (w *response) EnableFullDuplex() error { return nil }
