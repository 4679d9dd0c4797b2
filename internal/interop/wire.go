// SPDX-License-Identifier: Apache-2.0

// This file counts compressed and plain messages as they pass on the wire, which no library's API shows.

package interop

import (
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// Wire counts the messages that one side of a call receives. It is safe for concurrent use.
type Wire struct {
	Compressed atomic.Int64
	Plain      atomic.Int64
}

type wireKey struct{}

// Watch returns a context under which the received messages of one call are counted.
func Watch(ctx context.Context) (context.Context, *Wire) {
	w := new(Wire)
	return context.WithValue(ctx, wireKey{}, w), w
}

// WireFrom returns the counts of the call that the context belongs to, or nil.
func WireFrom(ctx context.Context) *Wire {
	w, _ := ctx.Value(wireKey{}).(*Wire)
	return w
}

// Count notes one received message.
func (w *Wire) Count(compressed bool) {
	if compressed {
		w.Compressed.Add(1)
	} else {
		w.Plain.Add(1)
	}
}

// WatchHandler counts the request messages of each call to next.
func WatchHandler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, wire := Watch(r.Context())
		r = r.WithContext(ctx)
		r.Body = tap(wire, r.Header, r.Body)
		next.ServeHTTP(w, r)
	})
}

// WatchTransport counts the response messages of each call whose context comes from Watch.
func WatchTransport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if wire := WireFrom(r.Context()); err == nil && wire != nil {
			response.Body = tap(wire, response.Header, response.Body)
		}
		return response, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// tap counts the messages of a body: one for a Connect unary body, else one for each envelope that is neither Connect's
// end of stream (0x02) nor gRPC-Web's trailers (0x80).
func tap(wire *Wire, header http.Header, body io.ReadCloser) io.ReadCloser {
	kind := header.Get("Content-Type")
	if strings.HasPrefix(kind, "application/grpc") || strings.HasPrefix(kind, "application/connect+") {
		return &envelopes{ReadCloser: body, wire: wire}
	}
	encoding := header.Get("Content-Encoding")
	wire.Count(encoding != "" && encoding != "identity")
	return body
}

// envelopes follows the five-byte prefixes of a body while the library reads it.
type envelopes struct {
	io.ReadCloser
	wire   *Wire
	prefix []byte // the bytes of the next prefix that have come
	rest   int    // bytes of the current message still to come
}

func (e *envelopes) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	for data := p[:n]; len(data) > 0; {
		if e.rest > 0 {
			skip := min(e.rest, len(data))
			e.rest -= skip
			data = data[skip:]
			continue
		}
		take := min(5-len(e.prefix), len(data))
		e.prefix = append(e.prefix, data[:take]...)
		data = data[take:]
		if len(e.prefix) == 5 {
			if flags := e.prefix[0]; flags&0x82 == 0 {
				e.wire.Count(flags&0x01 != 0)
			}
			e.rest = int(binary.BigEndian.Uint32(e.prefix[1:]))
			e.prefix = e.prefix[:0]
		}
	}
	return n, err
}
