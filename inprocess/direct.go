// SPDX-License-Identifier: Apache-2.0

// The direct path: a client's unary call meets a service handler without the types of
// net/http. The methods of both sides are those of package h2's direct path, whose
// DESIGN.md describes them. The call is the same otherwise.

package inprocess

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/seed-b7c59c10/connect/internal/direct"
)

var (
	_ direct.Transport     = (*Transport)(nil)
	_ direct.ContextHeeder = (*Transport)(nil)
	_ direct.Reply         = (*responseBody)(nil)
	_ direct.Call          = (*response)(nil)
)

// A directCall is what a call has in the place of an http.Request.
type directCall struct {
	handler    direct.Handler
	host, path string
	fields     [][2]string
	length     int64
	memory     [10][2]string
}

func (d *directCall) serve(w *response) bool { return d.handler.ServeDirect(d.handler, d.path, w) }

// ---- the client's side ----

// A directTarget has what all direct calls to one URL share.
type directTarget struct {
	t          *Transport
	host, path string
	shared     [][2]string
}

// PrepareDirect prepares POSTs to u without the types of net/http, for package connect.
// All of them have the shared fields, whose names are in lower case. Neither u nor the
// fields may be changed afterwards. The result is nil without an error if self is not t,
// because another type embeds t, and if the handler or the URL needs net/http's types.
func (t *Transport) PrepareDirect(self http.RoundTripper, u *url.URL, shared [][2]string) (interface {
	RoundTripDirect(ctx context.Context, own [][2]string, body []byte) (io.ReadCloser, error)
}, error) {
	if self != http.RoundTripper(t) {
		return nil, nil
	}
	if err := checkURL(u); err != nil {
		return nil, err
	}
	if plain, err := checkPairs(shared); err != nil || !plain {
		return nil, err
	}
	if u.Opaque != "" || u.RawQuery != "" || u.ForceQuery || u.RawPath != "" || !strings.HasPrefix(u.Path, "/") || u.EscapedPath() != u.Path {
		return nil, nil
	}
	switch t.handler.(type) {
	case direct.Handler, *http.ServeMux:
		return &directTarget{t, u.Host, u.Path, shared}, nil
	}
	return nil, nil
}

// checkPairs returns an error if a field cannot be sent, and reports whether all of them
// may be in a direct call.
func checkPairs(fields [][2]string) (plain bool, err error) {
	plain = true
	for i := range fields {
		if err := checkField(fields[i][0], fields[i][1:]); err != nil {
			return false, err
		}
		switch fields[i][0] {
		case "expect", "host", "trailer":
			plain = false
		}
	}
	return plain, nil
}

// RoundTripDirect posts body and returns the response's body, which has the methods
// DirectHead and DirectTrailer. own are the fields of this call. It returns nil without an
// error if the call needs net/http's types: then nothing was done. It uses neither own nor
// body after it has returned.
func (d *directTarget) RoundTripDirect(ctx context.Context, own [][2]string, body []byte) (io.ReadCloser, error) {
	if plain, err := checkPairs(own); err != nil || !plain {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	found := d.t.handler
	if mux, ok := found.(*http.ServeMux); ok {
		found = direct.InMux(mux, d.host, d.path)
	}
	handler, ok := found.(direct.Handler)
	if !ok {
		return nil, nil
	}
	c := newCall(d.t, ctx)
	c.direct.handler, c.direct.host, c.direct.path, c.direct.length = handler, d.host, d.path, int64(len(body))
	fields := append(append(c.direct.memory[:0], d.shared...), own...)
	c.direct.fields = append(fields, [2]string{"content-length", strconv.Itoa(len(body))})
	c.in.Lend(body)
	go c.run()
	err := c.wait()
	switch {
	case err == errRefused:
		return nil, nil
	case err != nil:
		return nil, err
	}
	c.in.Detach()
	return &c.body, nil
}

// DirectHead returns the head of the response. length is that of the body, negative if it
// is not known.
func (b *responseBody) DirectHead() (status int, fields [][2]string, length int64) {
	return b.c.w.status, b.c.w.pairs, b.c.length()
}

// DirectTrailer returns the trailers once Read has returned io.EOF, and nil before: the
// handler may still add some.
func (b *responseBody) DirectTrailer() [][2]string {
	if !b.ended {
		return nil
	}
	return b.c.w.adds
}

// DirectServerTLS returns nil: there is no TLS.
func (b *responseBody) DirectServerTLS() *tls.ConnectionState { return nil }

// ---- the handler's side ----

// DirectRequest returns the request. Names of fields are in lower case, and the slice must
// not be written. A negative length is not known.
func (w *response) DirectRequest() (ctx context.Context, fields [][2]string, body io.Reader, length int64, host, remoteAddr string) {
	d := &w.c.direct
	return w.c.ctx, d.fields, (*requestBody)(w.c), d.length, d.host, address{}.String()
}

// DirectClientTLS returns nil: there is no TLS.
func (w *response) DirectClientTLS() *tls.ConnectionState { return nil }

// DirectField adds a field to the head of the response, beside those in Header. It has no
// effect once the status is decided.
func (w *response) DirectField(name, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.revoked || w.status != 0 {
		return
	}
	name = lower(name)
	values := [1]string{value}
	if w.inspect(name, values[:]) {
		w.add(nil, name, values[:])
	}
}

// DirectTrailer adds a trailer, which need not have been announced.
func (w *response) DirectTrailer(name, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.revoked {
		values := [1]string{value}
		w.addTrailer(name, values[:])
	}
}
