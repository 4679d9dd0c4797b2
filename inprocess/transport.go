// SPDX-License-Identifier: Apache-2.0

// Package inprocess calls an [http.Handler] of the same process, with what HTTP promises
// and without a network:
//
//	transport := inprocess.NewTransport(mux)
//	client := greetv1connect.NewGreetServiceClient(&http.Client{Transport: transport}, "http://in.process")
//
// Everything that holds over a network holds here, too: requests and responses are bytes,
// so that neither side sees changes that the other makes to its messages; values of the
// caller's context do not reach the handler; deadlines travel in headers; cancellation
// ends the handler's context; interceptors, limits and compression of both sides do their
// work. The handler runs in a goroutine of its own. The caller returns when its context
// ends, whatever the handler does.
//
// A call has the semantics of HTTP/2: both directions at the same time, trailers,
// informational responses. A writer that is 64 KiB ahead of its reader waits. What
// belongs to connections does not exist: there is no TLS, no [http.Hijacker], and no limit
// on the number of calls or the size of headers.
//
// Unary calls between this module's clients and handlers take a path without net/http's
// types, a few microseconds long. The handler then is the value of
// connect.NewServiceHandler, which generated code returns, or an [http.ServeMux] that leads
// to it. Every other handler and client works, too, with net/http's types.
package inprocess

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-b7c59c10/connect/internal/direct"
)

// A Transport is an [http.RoundTripper] that calls a handler. It is safe for concurrent
// use.
type Transport struct {
	// ErrorLog gets the panics of handlers and their misuse of a ResponseWriter; the
	// standard logger of package log does if it is nil. It must be set before the first
	// request.
	ErrorLog *log.Logger

	handler http.Handler
}

// NewTransport returns a transport that serves all requests, to any host, by handler. It
// panics if handler is nil.
func NewTransport(handler http.Handler) *Transport {
	if handler == nil {
		panic("inprocess: NewTransport: handler is nil: pass the handler to call, such as an http.ServeMux")
	}
	return &Transport{handler: handler}
}

// HeedsContext reports that calls return when their contexts end. Clients of package
// connect ask for it. If self is not t, another type embeds t, and may have a RoundTrip of
// its own.
func (t *Transport) HeedsContext(self http.RoundTripper) bool { return self == http.RoundTripper(t) }

// RoundTrip calls the handler. It returns when the handler has flushed or has written more
// than 64 KiB, when it has returned, or when the context of the request ends. The URL's
// scheme is http or https; the handler finds its host in [http.Request.Host].
//
// If the handler panics, the response ends early: RoundTrip or the Read of its body returns
// an error with the fields of an HTTP/2 stream error, INTERNAL_ERROR.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := check(r); err != nil {
		closeBody(r)
		return nil, err
	}
	ctx := r.Context()
	if ctx.Err() != nil {
		closeBody(r)
		return nil, context.Cause(ctx)
	}
	c := newCall(t, ctx)
	if err := c.makeRequest(r); err != nil {
		c.cancel()
		closeBody(r)
		return nil, err
	}
	go c.run()
	if err := c.wait(); err != nil {
		return nil, err
	}
	return c.makeResponse(r), nil
}

func (t *Transport) logf(format string, args ...any) {
	if t.ErrorLog != nil {
		t.ErrorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// ---- checks ----

// check returns the errors that net/http's transport finds in a request.
func check(r *http.Request) error {
	if err := checkURL(r.URL); err != nil {
		return err
	}
	switch {
	case r.Header == nil:
		return errors.New("inprocess: request with a nil Header: use http.NewRequest")
	case r.Method == http.MethodConnect:
		return errors.New("inprocess: CONNECT asks for a connection, and there is none")
	case r.Method != "" && !isToken(r.Method):
		return fmt.Errorf("inprocess: invalid method %q", r.Method)
	}
	for _, fields := range []http.Header{r.Header, r.Trailer} {
		for key, values := range fields {
			if err := checkField(key, values); err != nil {
				return err
			}
		}
	}
	for key := range r.Trailer {
		switch lower(key) {
		case "content-length", "trailer", "transfer-encoding":
			return fmt.Errorf("inprocess: field %q may not be a trailer", key)
		}
	}
	return nil
}

func checkURL(u *url.URL) error {
	switch {
	case u == nil:
		return errors.New("inprocess: request without a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("inprocess: unsupported URL scheme %q: want \"http\" or \"https\"", u.Scheme)
	case u.Host == "":
		return errors.New("inprocess: request without a host in its URL: any name does")
	}
	return nil
}

func checkField(key string, values []string) error {
	if !isToken(key) {
		return fmt.Errorf("inprocess: invalid field name %q", key)
	}
	for _, value := range values {
		if !isValue(value) { // which may be a secret
			return fmt.Errorf("inprocess: the value of field %q has control characters", key)
		}
	}
	return nil
}

// ---- bodies in memory ----

// inMemory reports whether reading a body never waits: it is one that [http.NewRequest]
// makes of bytes, or one whose method InMemory reports it.
func inMemory(body io.Reader) bool {
	switch b := body.(type) {
	case *bytes.Reader, *bytes.Buffer, *strings.Reader:
		return true
	case direct.MemoryBody:
		return b.InMemory(body)
	}
	return isNopCloser(body)
}
