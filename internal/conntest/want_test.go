// SPDX-License-Identifier: Apache-2.0

// This file holds the bounds in time of all tests, their checks and their values.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// --- time ---

// errHang is the cause of a context that the harness cancelled.
var errHang = errors.New("the call did not end")

// guard is the longest that any call of a test may take. It is not a deadline
// of the RPC, which would be visible on the wire; it turns a hang into a failure.
const guard = time.Minute

// testContext returns a context that ends with the test, or after guard.
func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithCancelCause(t.Context())
	timer := time.AfterFunc(guard, func() { cancel(errHang) })
	t.Cleanup(func() {
		timer.Stop()
		if context.Cause(ctx) == errHang {
			t.Errorf("%v within %v", errHang, guard)
		}
		cancel(nil)
	})
	return ctx
}

// await waits until a channel is closed or has a value.
func await[T any](t *testing.T, what string, done <-chan T) T {
	t.Helper()
	timer := time.NewTimer(guard)
	defer timer.Stop()
	select {
	case v := <-done:
		return v
	case <-timer.C:
		t.Fatalf("%s: nothing within %v", what, guard)
		panic("unreachable")
	}
}

// --- checks ---

// wantCode fails the test unless err has the code.
func wantCode(t *testing.T, err error, want connect.Code) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want %v", want)
	}
	if got := connect.CodeOf(err); got != want {
		t.Fatalf("got code %v (%v), want %v", got, err, want)
	}
	var coded *connect.Error
	if !errors.As(err, &coded) {
		t.Fatalf("got %T, want an error that is a *connect.Error", err)
	}
}

// wantNil fails the test on an error.
func wantNil(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("got %v, want no error", err)
	}
}

// wantEqual fails the test unless both are equal.
func wantEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// wantValues fails the test unless the header has exactly these values, in order.
func wantValues(t *testing.T, where string, header http.Header, key string, want ...string) {
	t.Helper()
	if got := header.Values(key); !slices.Equal(got, want) {
		t.Fatalf("%s: %s: got %q, want %q in %v", where, key, got, want, header)
	}
}

// parseURL parses a valid URL.
func parseURL(raw string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		panic(fmt.Sprintf("parsing %q: %v", raw, err))
	}
	return u
}

// wantEOF fails the test unless the stream ended well.
func wantEOF(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, io.EOF) {
		t.Fatalf("got %v, want an error that wraps io.EOF", err)
	}
}

// noise returns bytes that do not compress, at most 1 MiB of them.
func noise(n int) []byte { return manyNoise()[:n:n] }

var manyNoise = sync.OnceValue(func() []byte {
	b := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
})

// requestOf wraps a request that carries a string.
func requestOf(s string) *request { return connect.NewRequest(text(s)) }

// text makes a request that carries a string.
func text(s string) *conntestv1.Request { return &conntestv1.Request{Text: s} }
