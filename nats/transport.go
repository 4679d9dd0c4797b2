// SPDX-License-Identifier: Apache-2.0

// The client's side: an http.RoundTripper.

package natsrpc

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/direct"
)

// A Transport is an [http.RoundTripper] that makes calls over a connection to NATS. It is
// safe for concurrent use.
type Transport struct {
	nc     *nats.Conn
	config config

	mu     sync.Mutex
	link   *link // nil before the first call
	closed bool
}

// NewTransport returns a transport. The connection is the caller's: its options have
// addresses, authentication, TLS and reconnects, and the caller closes it. NewTransport
// sends nothing. It panics if nc is nil.
//
// From the first call on, the transport has a subscription, a goroutine, and a place in
// front of the connection's error handler, which it calls. [Transport.Close] and the end of
// the connection free them. All transports and servers of a connection share them.
func NewTransport(nc *nats.Conn, options ...TransportOption) *Transport {
	if nc == nil {
		panic("natsrpc: NewTransport: the connection is nil: pass that of nats.Connect")
	}
	t := &Transport{nc: nc, config: config{window: defaultWindow, keepAlive: defaultKeepAlive}}
	for _, o := range options {
		if o == nil {
			panic("natsrpc: NewTransport: an option is nil")
		}
		o.applyToTransport(&t.config)
	}
	return t
}

// NewClient returns an HTTP client for generated clients, whose URLs are nats://PREFIX. Its
// transport is that of [NewTransport].
func NewClient(nc *nats.Conn, options ...TransportOption) *http.Client {
	return &http.Client{Transport: NewTransport(nc, options...)}
}

var _ direct.ContextHeeder = (*Transport)(nil)

// HeedsContext reports that calls return when their contexts end. Clients of package connect
// ask for it. If self is not t, another type embeds t, and may have a RoundTrip of its own.
func (t *Transport) HeedsContext(self http.RoundTripper) bool { return self == http.RoundTripper(t) }

// Close ends the calls that are open, with the code unavailable, and frees what the
// transport has. Later calls fail. It always returns nil.
func (t *Transport) Close() error {
	t.mu.Lock()
	l := t.link
	t.link, t.closed = nil, true
	t.mu.Unlock()
	if l == nil {
		return nil
	}
	for _, st := range l.all() {
		if st.owner == t {
			st.fail(errLinkClosed, errClientGone)
		}
	}
	l.release()
	return nil
}

// open returns the link, which the first call makes.
func (t *Transport) open() (*link, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return nil, errLinkClosed
	case t.nc.IsClosed():
		return nil, unprocessed(connect.CodeUnavailable, "the connection to the NATS server is closed: make another one, and a transport of it")
	case !t.nc.IsConnected():
		return nil, unprocessed(connect.CodeUnavailable, "the connection to the NATS server is %v: calls succeed again once it is back", t.nc.Status())
	case t.link == nil:
		l, err := acquire(t.nc, t.config.keepAlive)
		if err != nil {
			return nil, err
		}
		t.link = l
	}
	return t.link, nil
}

func (t *Transport) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// RoundTrip makes a call. It returns when the head of the response has come, the call has
// failed, or the context of the request ends. The URL is nats://PREFIX/package.Service/Method.
// Its errors are those of package connect, with codes: unavailable if no server listens or
// the connection is not there, permission_denied if NATS refuses the subject,
// resource_exhausted if the header fields exceed the payload limit of the NATS server.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	st, open, err := t.prepare(r)
	if err == nil {
		err = t.begin(r, st, open)
	}
	switch {
	case err == nil:
	case st != nil && st.upload != nil:
		st.upload.close() // once: the end of the call closes it, too
		return nil, err
	default:
		closeBody(r)
		return nil, err
	}
	ctx := r.Context()
	stop := context.AfterFunc(ctx, func() { st.fail(context.Cause(ctx), errClientGone) })
	select {
	case <-st.answered:
	case <-ctx.Done():
		st.fail(context.Cause(ctx), errClientGone)
	}
	st.mu.Lock()
	head, failed := st.head, st.err
	st.mu.Unlock()
	if head == nil {
		stop()
		return nil, failed
	}
	return st.response(r, head, stop), nil
}

// prepare checks a request, and makes its stream and the header of its OPEN.
func (t *Transport) prepare(r *http.Request) (*stream, nats.Header, error) {
	if err := context.Cause(r.Context()); err != nil {
		return nil, nil, err
	}
	subject, err := requestSubject(r)
	if err != nil {
		return nil, nil, err
	}
	h := nats.Header{fieldVersion: {version}, fieldMethod: {r.Method}, fieldWindow: {strconv.Itoa(t.config.window)}}
	if r.Method == "" {
		h[fieldMethod] = []string{http.MethodGet}
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	h[fieldHost] = []string{host}
	if r.URL.RawQuery != "" {
		h[fieldQuery] = []string{r.URL.RawQuery}
	}
	skip := func(key string) bool {
		return key == "Host" || key == "Content-Length" || key == "Expect" || key == "Trailer" && len(r.Trailer) > 0
	}
	if err := packFields(h, "", r.Header, skip); err != nil {
		return nil, nil, err
	}
	if r.ContentLength > 0 {
		h["Content-Length"] = []string{strconv.FormatInt(r.ContentLength, 10)}
	}
	for key := range r.Trailer {
		h["Trailer"] = append(h["Trailer"], key)
	}
	if err := checkHeader(h, int(t.nc.MaxPayload())); t.nc.IsConnected() && err != nil {
		return nil, nil, err
	}
	l, err := t.open()
	if err != nil {
		return nil, nil, err
	}
	st := newStream(l, t.config.window, t.config.keepAlive)
	st.client, st.owner, st.subject, st.answered = true, t, subject, make(chan struct{})
	return st, h, nil
}

// requestSubject returns the subject of a request.
func requestSubject(r *http.Request) (string, error) {
	switch {
	case r.URL == nil:
		return "", errorf(connect.CodeInvalidArgument, "request without a URL")
	case r.URL.Scheme != "nats":
		return "", errorf(connect.CodeInvalidArgument, "unsupported URL scheme %q: want nats://PREFIX, with the first words of the subjects, such as nats://rpc", r.URL.Scheme)
	case r.Header == nil:
		return "", errNoFields
	case r.Method != "" && !isToken(r.Method):
		return "", errorf(connect.CodeInvalidArgument, "invalid method %q", r.Method)
	case !isHost(r.Host):
		return "", errorf(connect.CodeInvalidArgument, "invalid host %q", r.Host)
	case !isValue(r.URL.RawQuery):
		return "", errorf(connect.CodeInvalidArgument, "the query has control characters")
	}
	subject, err := subjectOf(r.URL.Host, r.URL.Path)
	if err != nil {
		return "", errorf(connect.CodeInvalidArgument, "%w", err)
	}
	return subject, nil
}

// begin sends the OPEN, and begins to send the body. A short body in memory is a part of the
// OPEN, so that a unary call has two messages.
func (t *Transport) begin(r *http.Request, st *stream, h nats.Header) error {
	f := frame{kind: frameOpen}
	room := min(openMax, int(t.nc.MaxPayload())-frameOverhead-headerSize(h))
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		f.end = true
		closeBody(r)
	case r.ContentLength > 0 && r.ContentLength <= int64(room) && len(r.Trailer) == 0 && inMemory(r.Body):
		body, err := wholeBody(r)
		if err != nil {
			return err
		}
		f.payload, f.end = body, true
	}
	if !f.end {
		st.upload = &upload{st: st, r: r}
	}
	if err := st.l.add(st); err != nil {
		return err
	}
	if t.isClosed() { // Close may have come before the stream was there
		st.fail(errLinkClosed, nil)
		return errLinkClosed
	}
	st.mu.Lock()
	if !st.over { // the connection may be lost by now
		st.s.credit, st.s.outEnd = -len(f.payload), f.end
		if err := st.send(f, h); err != nil {
			st.endLocked(err, nil)
			return err
		}
	}
	st.mu.Unlock()
	if st.upload != nil {
		go st.upload.run()
	}
	return nil
}

// response returns the response with a head that parseStatus has checked.
func (st *stream) response(r *http.Request, head nats.Header, stop func() bool) *http.Response {
	status, _ := parseStatus(head)
	h := parseFields(head, "")
	response := &http.Response{
		Status:        strconv.Itoa(status) + " " + http.StatusText(status),
		StatusCode:    status,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
		Header:        h,
		ContentLength: -1,
		Request:       r,
	}
	if values := h["Content-Length"]; len(values) == 1 {
		if n, err := strconv.ParseUint(values[0], 10, 63); err == nil {
			response.ContentLength = int64(n)
		}
	}
	response.Trailer = announced(h["Trailer"])
	delete(h, "Trailer")
	body := &responseBody{st: st, ctx: r.Context(), response: response, stop: stop, length: bodyLength{left: -1}}
	if r.Method != http.MethodHead && bodyAllowed(status) {
		body.length.left = response.ContentLength
	}
	response.Body = body
	return response
}

// A responseBody is the Body of a response. Close may run concurrently with Read.
type responseBody struct {
	st       *stream
	ctx      context.Context
	response *http.Response
	stop     func() bool // of the function that waits for the end of ctx
	length   bodyLength
}

// Read reads from the body. With io.EOF, the trailers are in Response.Trailer. Once the
// context of the request has ended, Read returns its error, whatever has come.
func (b *responseBody) Read(p []byte) (int, error) {
	if err := context.Cause(b.ctx); err != nil {
		b.st.fail(err, errClientGone)
		return 0, err
	}
	n, err := b.length.read(b.st, p)
	if err == io.EOF {
		b.stop()
		for key, values := range parseFields(b.st.trailers(), fieldTrailerPrefix) {
			if b.response.Trailer == nil {
				b.response.Trailer = make(http.Header)
			}
			b.response.Trailer[key] = values
		}
	}
	return n, err
}

// Close ends the call if it is not over: the handler's context ends.
func (b *responseBody) Close() error {
	b.stop()
	b.st.fail(errBodyClosed, errClientGone)
	b.st.closeBody()
	return nil
}

// trailers returns the header of the frame with the end.
func (st *stream) trailers() nats.Header {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.trailer
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}
