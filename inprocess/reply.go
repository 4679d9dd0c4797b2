// SPDX-License-Identifier: Apache-2.0

// The response as the caller gets it.

package inprocess

import (
	"context"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync/atomic"
)

// makeResponse returns the response, whose head is fixed.
func (c *call) makeResponse(r *http.Request) *http.Response {
	w := &c.w
	response := &http.Response{
		Status:        strconv.Itoa(w.status) + " " + http.StatusText(w.status),
		StatusCode:    w.status,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
		Header:        w.head,
		Body:          &c.body,
		ContentLength: c.length(),
		Trailer:       maps.Clone(w.later), // the handler goes on to read its own
		Request:       r,
	}
	delete(w.head, "Trailer")
	c.body.response = response
	return response
}

// length returns the length of the response's body, negative if it is not known.
func (c *call) length() int64 {
	switch {
	case c.w.declared:
		return c.w.length
	case !bodyAllowed(c.w.status):
		return 0
	}
	return -1
}

// A responseBody is the Body of a response. Close may run concurrently with Read.
type responseBody struct {
	c        *call
	response *http.Response // nil if the call is direct
	closed   atomic.Bool
	ended    bool // Read has returned io.EOF
}

// Read reads from the body. With io.EOF, the trailers are in Response.Trailer. Once the
// context of the request has ended, Read returns its error, whatever was written.
func (b *responseBody) Read(p []byte) (int, error) {
	if !b.closed.Load() && b.c.parent.Err() != nil {
		b.c.giveUp()
		b.c.out.CloseRead(context.Cause(b.c.parent), errGaveUp)
	}
	n, err := b.c.out.Read(p)
	b.ended = b.ended || err == io.EOF
	if err == io.EOF && b.response != nil {
		if b.response.Trailer == nil {
			b.response.Trailer = b.c.trailer
		}
		for key, values := range b.c.trailer {
			b.response.Trailer[key] = values
		}
	}
	return n, err
}

// Close ends the call if the handler has not returned: its context ends, and its reads and
// writes fail.
func (b *responseBody) Close() error {
	if !b.closed.Swap(true) {
		b.c.abort(errBodyClosed, errGaveUp)
		b.c.out.CloseRead(errBodyClosed, errGaveUp)
	}
	return nil
}
