// SPDX-License-Identifier: Apache-2.0

// The direct path: calls between this package and a library above it, without the types
// of net/http. Neither imports the other: each asks for methods whose signatures have
// only types of the language and of the standard library. DESIGN.md describes them.
//
// Invariants. The direct path differs from the other in how a request and a response are
// handed over, and in nothing else: one code does flow control, limits, timeouts,
// retries and traces. Slices of fields are shared between calls and never written.

package h2

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"reflect"
	"sync/atomic"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// ---- server ----

// A directHandler is an [http.Handler] that needs no [http.Request].
//
// ServeDirect serves a POST to path, which needs no decoding and has no query, as
// ServeHTTP would serve it, or returns false and does nothing. A type that embeds a
// handler has ServeDirect by promotion, and maybe a ServeHTTP of its own, which must not
// be passed over: so self is the handler as it was found, and a handler that is not self
// returns false.
//
// w has the methods of [response] that begin with Direct.
type directHandler interface {
	http.Handler
	ServeDirect(self http.Handler, path string, w http.ResponseWriter) bool
}

// takesDirect reports whether a server's handler is a directHandler or a mux, which may
// lead to one.
func takesDirect(server *http.Server) bool {
	switch server.Handler.(type) {
	case nil, *http.ServeMux, directHandler:
		return true
	}
	return false
}

// ofStandard reports whether net/http or a Server made a handler: the one that they hand
// over with a connection, which calls the server's Handler and nothing else. A program
// may put a handler of its own in front, by replacing entries of http.Server.TLSNextProto.
func ofStandard(handler http.Handler) bool {
	if _, ok := handler.(*arrival); ok {
		return true
	}
	_, ok := handler.(interface{ BaseContext() context.Context })
	return ok && reflect.TypeOf(handler).PkgPath() == "net/http"
}

// serve calls the handler.
func (s *serverStream) serve() {
	if !s.serveDirect() {
		s.sc.handler.ServeHTTP(&s.w, s.request)
	}
}

// pathOf returns the path of the request.
func (s *serverStream) pathOf() string {
	if s.request == nil {
		return s.path
	}
	return s.request.URL.Path
}

// serveDirect serves a request without an [http.Request], if a directHandler takes it.
// Otherwise it makes the http.Request and returns false.
func (s *serverStream) serveDirect() bool {
	if s.pairs == nil {
		return false
	}
	found := s.sc.server.Handler
	if found == nil {
		found = http.DefaultServeMux
	}
	if mux, ok := found.(*http.ServeMux); ok {
		found = s.sc.lookUps.find(mux, s)
	}
	if h, ok := found.(directHandler); ok && h.ServeDirect(found, s.path, &s.w) {
		return true
	}
	s.makeRequest(http.MethodPost, s.host, s.path, nil, wire.HeaderOf(s.pairs, wire.CanonicalKey))
	return false
}

// DirectRequest returns the request. Names of fields are in lower case; pseudo-fields
// are not among them, and the slice must not be written. length is that of the body,
// negative if it is not known.
func (w *response) DirectRequest() (ctx context.Context, fields [][2]string, body io.Reader, length int64, host, remoteAddr string) {
	s := w.s
	if length = s.declared; s.bodiless {
		length = 0
	}
	return &s.ctx, s.pairs, (*requestBody)(s), length, s.host, s.sc.template.RemoteAddr
}

// DirectClientTLS returns the state of the connection's TLS, nil without TLS. It must not
// be changed.
func (w *response) DirectClientTLS() *tls.ConnectionState { return w.s.sc.template.TLS }

// DirectField adds a field to the head of the response, beside those in Header. It has
// no effect once the head is fixed.
func (w *response) DirectField(name, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.handlerDone || w.status != 0 {
		return
	}
	name = wire.Lower(name)
	values := [1]string{value}
	if !w.inspect(name, values[:]) || !wire.Sendable(name) || !wire.ValidValue(value) {
		return
	}
	w.takeParts()
	w.parts.fields = append(w.parts.fields, field{name, value})
}

// DirectTrailer adds a trailer, which need not have been announced.
func (w *response) DirectTrailer(name, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name = wire.Lower(name)
	if w.handlerDone || !wire.Sendable(name) || name == "content-length" || name == "trailer" || !wire.ValidValue(value) {
		return
	}
	w.takeParts()
	w.parts.trailers = append(w.parts.trailers, field{name, value})
}

// ---- client ----

// A directTarget has what all direct calls to one target share: checked once, and never
// written afterwards.
type directTarget struct {
	t      *Transport
	url    *url.URL
	head   requestHead
	shared [][2]string
	size   int // of head and shared, as SETTINGS_MAX_HEADER_LIST_SIZE counts
	host   atomic.Pointer[host]
}

// fields yields head and shared in the order in which they are sent.
func (d *directTarget) fields(yield func(name, value string)) {
	d.head.fields(yield)
	for i := range d.shared {
		yield(d.shared[i][0], d.shared[i][1])
	}
}

// A directBody has the fields and the body of one direct call.
type directBody struct {
	fields [][2]string
	bytes  []byte
}

// checkPairs returns an error if a field cannot be sent.
func checkPairs(fields [][2]string) error {
	for i := range fields {
		if err := checkField(fields[i][0], fields[i][0], fields[i][1:]); err != nil {
			return err
		}
	}
	return nil
}

// place returns a connection on which a place is reserved.
func (d *directTarget) place(ctx context.Context, trace *httptrace.ClientTrace) (*clientConn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for {
		h := d.host.Load()
		if h == nil {
			var err error
			if h, err = d.t.host(d.url); err != nil {
				return nil, err
			}
			d.host.Store(h)
		}
		traceGetConn(trace, h)
		c, err := h.get(ctx, nil, true)
		if err != errHostGone {
			return c, err
		}
		d.host.CompareAndSwap(h, nil)
	}
}

// A directReply is the response to a direct call. The reading goroutine writes the
// head before the stream's answered is set, and the trailer with conn.mu held.
type directReply struct {
	status  int
	length  int64
	fields  [][2]string
	trailer [][2]string
}

func (r *directReply) takeHead(status int, f *wire.FieldSection, bodiless bool) {
	r.status, r.length, r.fields = status, f.Length, f.Pairs()
	if bodiless && r.length < 0 {
		r.length = 0
	}
}

// PrepareDirect prepares POSTs to u without the types of net/http, for libraries. All of
// them have the shared fields: their names are in lower case, and none is host,
// content-length or a field that HTTP/2 does not have [RFC 9113, section 8.2.2]. Neither
// u nor the fields may be changed afterwards.
//
// A type that embeds a Transport has this method by promotion, and maybe a RoundTrip of
// its own, which must not be passed over: so self is the transport as the caller found
// it, and the result is nil without an error if that is not t. It is nil, too, for a
// Transport of ConfigureTransport.
//
// The result is safe for concurrent use. Its RoundTripDirect does what RoundTrip does,
// for a body in memory, and returns the response's body when its head has arrived. own
// are the fields of one call, as the shared ones; neither they nor body are used after
// it has returned. It returns nil without an error if body has more than 64 KiB. The
// response's body has these methods beside Read and Close, of which the second is for
// after Read has returned io.EOF:
//
//	DirectHead() (status int, fields [][2]string, length int64) // negative: not known
//	DirectTrailer() [][2]string
//	DirectServerTLS() *tls.ConnectionState // nil without TLS
func (t *Transport) PrepareDirect(self http.RoundTripper, u *url.URL, shared [][2]string) (interface {
	RoundTripDirect(ctx context.Context, own [][2]string, body []byte) (io.ReadCloser, error)
}, error) {
	if self != http.RoundTripper(t) || t.standard != nil {
		return nil, nil
	}
	d := &directTarget{t: t, url: u, shared: shared}
	err := checkURL(u)
	if err == nil {
		err = checkPairs(shared)
	}
	if err == nil {
		d.head, err = headOf(http.MethodPost, "", u)
	}
	if err != nil {
		return nil, err
	}
	d.fields(func(name, value string) { d.size += wire.FieldSize(name, value) })
	return d, nil
}

func (d *directTarget) RoundTripDirect(ctx context.Context, own [][2]string, body []byte) (io.ReadCloser, error) {
	if len(body) > bodyAtOnce {
		return nil, nil
	}
	if err := checkPairs(own); err != nil {
		return nil, err
	}
	trace := httptrace.ContextClientTrace(ctx)
	for attempt := 1; ; attempt++ {
		c, err := d.place(ctx, trace)
		if err != nil {
			return nil, err
		}
		s := &clientStream{cc: c, ctx: ctx, target: d, trace: trace}
		s.sender.s, s.sender.length = s, int64(len(body))
		err = s.roundTrip(directBody{own, body})
		if err == nil {
			return &s.body, nil
		}
		failed, ok := err.(unprocessedError)
		if !ok {
			return nil, err
		}
		switch {
		case failed.error == errNoPlace:
			attempt-- // there was none
			continue
		case attempt >= d.t.config.MaxAttempts:
			return nil, failed.last()
		}
		if err := backOff(ctx, nil, attempt); err != nil {
			return nil, err
		}
	}
}

// DirectHead returns the head of the response. length is that of the body, negative if
// it is not known.
func (b *responseBody) DirectHead() (status int, fields [][2]string, length int64) {
	r := &b.s.reply
	return r.status, r.fields, r.length
}

// DirectServerTLS returns the state of the connection's TLS, nil without TLS. It must not
// be changed.
func (b *responseBody) DirectServerTLS() *tls.ConnectionState { return b.s.cc.tls }

// DirectTrailer returns the trailers once Read has returned io.EOF.
func (b *responseBody) DirectTrailer() [][2]string {
	c := b.s.cc
	c.mu.Lock()
	defer c.mu.Unlock()
	return b.s.reply.trailer
}
