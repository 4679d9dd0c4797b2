// SPDX-License-Identifier: Apache-2.0

// This file counts the stack frames of the library on the way of a call.

package conntest

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"testing"
)

// ownFrames returns the functions of the package under test on the caller's
// stack, and the whole stack for a failure.
func ownFrames() (own []string, all string) {
	pcs := make([]uintptr, 100)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	var b strings.Builder
	for {
		frame, more := frames.Next()
		if strings.HasPrefix(frame.Function, "github.com/seed-b7c59c10/connect.") {
			own = append(own, frame.Function)
		}
		fmt.Fprintf(&b, "%s\n\t%s:%d\n", frame.Function, frame.File, frame.Line)
		if !more {
			return own, b.String()
		}
	}
}

// frameLimit is how many functions of ours may lie between a call and its
// transport, or between a request and its ResponseWriter, both ends included.
const frameLimit = 6

// wantFewFrames returns an error unless the outermost function of ours is the
// one named and few others follow it.
func wantFewFrames(outermost string, own []string, all string) error {
	if len(own) == 0 || len(own) > frameLimit || !strings.HasSuffix(own[len(own)-1], "."+outermost) {
		return fmt.Errorf("got %d frames of ours, want at most %d and %s outermost:\n%s\n\n%s",
			len(own), frameLimit, outermost, strings.Join(own, "\n"), all)
	}
	return nil
}

// stackWriter looks at the stack of each Write.
type stackWriter struct {
	http.ResponseWriter
	seen func(own []string, all string)
}

func (w stackWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w stackWriter) Write(p []byte) (int, error) {
	w.seen(ownFrames())
	return w.ResponseWriter.Write(p)
}

// Between ServeHTTP and ResponseWriter.Write there are few frames of ours.
func TestStackDepthOfHandlers(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		written := make(chan error, 10)
		site := m.serve(t, echo, wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(stackWriter{w, func(own []string, all string) {
					written <- wantFewFrames("ServeHTTP", own, all)
				}}, r)
			})
		}))
		_, err := site.client().Unary(testContext(t), requestOf("some text"))
		wantNil(t, err)
		if err := await(t, "Write", written); err != nil {
			t.Fatal(err)
		}
	})
}

// Between CallUnary and HTTPClient.Do there are few frames of ours. The stack is
// the one of a hook that net/http calls on the goroutine of Do; wrapping the
// client or its transport would change how the library calls it.
func TestStackDepthOfClients(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		var traced []error // by the calling goroutine, more than once if net/http tries again
		ctx := httptrace.WithClientTrace(testContext(t), &httptrace.ClientTrace{GetConn: func(string) {
			own, all := ownFrames()
			traced = append(traced, wantFewFrames("CallUnary", own, all))
		}})
		_, err := m.serve(t, echo).client().Unary(ctx, requestOf("some text"))
		wantNil(t, err)
		if len(traced) == 0 {
			t.Fatal("GetConn was not called")
		}
		if err := errors.Join(traced...); err != nil {
			t.Fatal(err)
		}
	}, func(m mode) bool { return m.engine.memory }, // those of net/http
		overNetwork, // there is no connection, and so no hook
		func(m mode) bool { return m.engine.name != "direct-h2-balance" }) // its frames are its own
}
