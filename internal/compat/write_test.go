// SPDX-License-Identifier: Apache-2.0

// This file lets writes of handlers' responses fail in middleware, and compares the codes that the handlers get.

package compat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// failingWriter fails its second Write. Those after it succeed again, so that the
// response ends with the error that the handler got from Send, and returned.
type failingWriter struct {
	*httptest.ResponseRecorder
	err    error
	writes int
}

func (w *failingWriter) Write(data []byte) (int, error) {
	if w.writes++; w.writes == 2 {
		return 0, w.err
	}
	return w.ResponseRecorder.Write(data)
}

// TestFailedWrite: an error in writing a response is that of a client that is gone only if
// it says so.
func TestFailedWrite(t *testing.T) {
	status := func(serve func(script.Server) http.Handler, err error) string {
		body := strings.NewReader(envelope(0, message("n=3")))
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, script.Service+"ServerStream", body)
		request.Proto, request.ProtoMajor, request.ProtoMinor = "HTTP/2.0", 2, 0
		request.Header.Set("Content-Type", "application/grpc")
		w := &failingWriter{httptest.NewRecorder(), err, 0}
		serve(script.Server{}).ServeHTTP(w, request)
		return w.Result().Trailer.Get("Grpc-Status")
	}
	for _, err := range []error{
		errors.New("disk full"),
		http.ErrContentLength,
		http.ErrHandlerTimeout,
		fmt.Errorf("write: %w", syscall.EPIPE),
		fmt.Errorf("write: %w", syscall.ECONNRESET),
		errors.New("client disconnected"),
		errors.New("http2: stream closed"),
		context.Canceled,
		fmt.Errorf("write: %w", os.ErrDeadlineExceeded),
	} {
		want := status(serveTheirs, err)
		if want == "" || want == "0" {
			t.Fatalf("%v: the reference's status is %q: expected an error", err, want)
		}
		for name, serve := range map[string]func(script.Server) http.Handler{"root": serveOurs, "drop-in": serveDropIn} {
			if got := status(serve, err); got != want {
				t.Errorf("%v: %s: got status %s, want %s as the reference", err, name, got, want)
			}
		}
	}
}
