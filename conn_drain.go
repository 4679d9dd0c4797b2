// SPDX-License-Identifier: Apache-2.0

// The rest of a request that a handler has refused.

package connect

import (
	"context"
	"io"
	"net/http"
	"time"
)

// drainTime is how long drain waits for the rest of a request.
const drainTime = time.Second / 2

// drain reads the rest of a short HTTP/2 request that a handler of net/http's server has
// refused, so that the answer does not end before the request. That server resets a stream
// for data that arrives after its end (RFC 9113, section 5.1), and nginx takes the reset
// for a fault of the call, or of the next one on the connection. Package h2 ignores such
// data. If the length is not known, drain reads only a request of one message: the client
// of a stream may wait for the answer before it goes on. A large request is refused at once.
// It returns when ctx ends, too.
//
//go:noinline
func drain(ctx context.Context, w http.ResponseWriter, body io.Reader, length int64, single bool) {
	if length > drainedMax || length < 0 && !single {
		return
	}
	inner := w
	for wrapper, ok := w.(unwrapper); ok; wrapper, ok = inner.(unwrapper) {
		inner = wrapper.Unwrap()
	}
	if _, engine := inner.(directCall); engine || !isOwn(inner) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { // not a deadline ahead, which could lift the server's own
		defer close(over)
		_ = http.NewResponseController(w).SetReadDeadline(time.Now())
	})
	_, _ = io.CopyN(io.Discard, body, drainedMax)
	if !stop() {
		<-over // the ResponseWriter may not be used once the handler has returned
	}
}

// An unwrapper is a middleware's [http.ResponseWriter].
type unwrapper interface{ Unwrap() http.ResponseWriter }

// drainHTTP is drain for a request to no procedure, or not in its protocols.
func drainHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 2 {
		drain(r.Context(), w, r.Body, r.ContentLength, false)
	}
}
