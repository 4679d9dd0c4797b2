// SPDX-License-Identifier: Apache-2.0

// The way of a response to the caller: when it is flushed.

package proxy

import (
	"net/http"
	"strings"
)

// responseWriter flushes what is written, and the header of a stream. httputil's own
// flushing does it from a timer, which may come before the end of a response that has
// nothing but a header: gRPC's Trailers-Only ends with its header, and a client does
// not find the status if the end of the stream comes after it.
type responseWriter struct {
	http.ResponseWriter
	controller *http.ResponseController
	flushes    bool // the length of the body is not known
}

func newResponseWriter(w http.ResponseWriter) *responseWriter {
	return &responseWriter{ResponseWriter: w, controller: http.NewResponseController(w)}
}

// WriteHeader writes the header. That of a stream is sent at once: its first message
// may come much later.
func (w *responseWriter) WriteHeader(status int) {
	w.ResponseWriter.WriteHeader(status)
	h := w.Header()
	if w.flushes = status >= 200 && h.Get("Content-Length") == ""; w.flushes && isStream(h) && h.Get("Grpc-Status") == "" {
		_ = w.controller.Flush()
	}
}

func (w *responseWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	if err == nil && w.flushes {
		err = w.controller.Flush()
	}
	return n, err
}

func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// isStream reports whether the body of a response is a sequence of frames.
func isStream(h http.Header) bool {
	t := h.Get("Content-Type")
	return strings.HasPrefix(t, "application/grpc") || strings.HasPrefix(t, "application/connect+")
}
