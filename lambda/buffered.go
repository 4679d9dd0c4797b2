// SPDX-License-Identifier: Apache-2.0

// A response that is kept until the handler returns.

package lambda

import (
	"errors"
	"net/http"

	"github.com/seed-b7c59c10/connect"
)

var errFull = errors.New("lambda: the response is larger than the 6 MB that Lambda carries: answer with less, or stream the response")

// A buffered is the ResponseWriter of Invoke. It belongs to the handler's goroutine.
type buffered struct {
	header http.Header
	fixed  http.Header // the header when it was written
	status int
	body   []byte
	full   bool // the handler wrote more than fits
}

// Header returns the header, which may change until WriteHeader or Write is called.
func (w *buffered) Header() http.Header { return w.header }

// WriteHeader sets the status. Informational ones are left out.
func (w *buffered) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.fixed = status, w.header.Clone()
	}
}

// Write appends to the body, or fails if it would not fit.
func (w *buffered) Write(data []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.full || len(w.body)+len(data) > maxResponse {
		w.full = true
		return 0, errFull
	}
	w.body = append(w.body, data...)
	return len(data), nil
}

// Flush does nothing: there is nothing to send before the end.
func (w *buffered) Flush() { w.WriteHeader(http.StatusOK) }

func (w *buffered) statusOr200() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

func (w *buffered) sent() http.Header {
	if w.status == 0 {
		return w.header
	}
	return w.fixed
}

// tooLarge returns the response in the place of one that does not fit.
func (w *buffered) tooLarge(r *http.Request) *buffered {
	instead := &buffered{header: make(http.Header)}
	writer := connect.NewErrorWriter()
	if !writer.IsSupported(r) {
		http.Error(instead, errFull.Error(), http.StatusInternalServerError)
		return instead
	}
	_ = writer.Write(instead, r, connect.NewError(connect.CodeResourceExhausted, errFull))
	return instead
}
