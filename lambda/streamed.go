// SPDX-License-Identifier: Apache-2.0

// A response that the runtime reads while the handler writes.

package lambda

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// A Response is a streamed response: its head in JSON, eight zero bytes, and the body. It has
// one reader. Its end is io.EOF, or an error if the handler has failed.
type Response struct {
	head io.Reader
	w    *streamed
}

func newResponse(e *event, w *streamed) (*Response, error) {
	head, err := json.Marshal(e.head(w.status, w.fixed))
	if err != nil {
		w.cut(err)
		return nil, fmt.Errorf("lambda: encoding the response's head: %w", err)
	}
	return &Response{bytes.NewReader(append(head, make([]byte, 8)...)), w}, nil
}

// ContentType is that of streamed responses: the runtime asks for it.
func (r *Response) ContentType() string { return "application/vnd.awslambda.http-integration-response" }

// Read reads the response as it is written.
func (r *Response) Read(data []byte) (int, error) {
	if n, err := r.head.Read(data); err == nil {
		return n, nil
	}
	return r.w.reader.Read(data)
}

// Close ends the call if the handler still runs: its context ends, and its writes fail.
func (r *Response) Close() error {
	r.w.cut(errClosed)
	return nil
}

var errClosed = errors.New("lambda: the runtime has closed the response")

// A streamed is the ResponseWriter of Stream. The handler's goroutine owns header; status,
// fixed and failed may be read once begun is closed.
type streamed struct {
	header http.Header
	status int
	fixed  http.Header
	failed error // the handler failed before it wrote anything
	begun  chan struct{}
	begin  sync.Once
	cancel context.CancelCauseFunc

	reader *io.PipeReader
	writer *io.PipeWriter

	mu       sync.Mutex
	deadline *time.Timer // of writes, nil for none
}

func newStreamed(cancel context.CancelCauseFunc) *streamed {
	w := &streamed{header: make(http.Header), begun: make(chan struct{}), cancel: cancel}
	w.reader, w.writer = io.Pipe()
	return w
}

// Header returns the header, which may change until WriteHeader or Write is called.
func (w *streamed) Header() http.Header { return w.header }

// WriteHeader sets the status, and lets the response begin. Informational ones are left out.
func (w *streamed) WriteHeader(status int) {
	if status < 200 {
		return
	}
	w.begin.Do(func() {
		w.status, w.fixed = status, w.header.Clone()
		close(w.begun)
	})
}

// Write waits until the runtime has read data, or the call has ended.
func (w *streamed) Write(data []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.writer.Write(data)
}

// Flush lets the response begin. What is written needs no flush.
func (w *streamed) Flush() { w.WriteHeader(http.StatusOK) }

// SetWriteDeadline makes writes fail from t on, never if t is zero, and the response breaks
// off then. Package connect sets it when the time of a call is over.
func (w *streamed) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deadline != nil {
		w.deadline.Stop()
		w.deadline = nil
	}
	if !t.IsZero() {
		w.deadline = time.AfterFunc(time.Until(t), func() { _ = w.writer.CloseWithError(os.ErrDeadlineExceeded) })
	}
	return nil
}

// end is called when the handler has returned.
func (w *streamed) end(err error) {
	_ = w.SetWriteDeadline(time.Time{})
	if err != nil {
		w.begin.Do(func() {
			w.failed = err
			close(w.begun)
		})
		_ = w.writer.CloseWithError(err)
		return
	}
	w.WriteHeader(http.StatusOK)
	_ = w.writer.Close()
}

// cut ends the call: writes and reads fail from here on.
func (w *streamed) cut(err error) {
	w.cancel(err)
	_ = w.writer.CloseWithError(err)
	_ = w.reader.CloseWithError(err)
}
