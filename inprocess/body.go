// SPDX-License-Identifier: Apache-2.0

// The request: the handler's own, made from the caller's, and the goroutine that reads its
// body. As with a network, the body is read while the handler does not, up to a window,
// and reading it keeps neither the handler nor the caller.

package inprocess

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/seed-b7c59c10/connect/internal/bytepipe"
)

// makeRequest makes the handler's request, and begins to read the caller's body.
func (c *call) makeRequest(r *http.Request) error {
	u, uri, err := serverURL(r)
	if err != nil {
		return err
	}
	length := r.ContentLength
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		length = 0
	case length == 0:
		length = -1
	}
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	request := (&http.Request{
		Method:        method,
		URL:           u,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
		Header:        serverHeader(r, method, length),
		Body:          (*requestBody)(c),
		ContentLength: length,
		Host:          host,
		RemoteAddr:    address{}.String(),
		RequestURI:    uri,
	}).WithContext(c.ctx)
	c.request = request
	if length == 0 {
		request.Body = http.NoBody
		c.in.CloseWrite(io.EOF, io.ErrClosedPipe)
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil
	}
	for key := range r.Trailer {
		if request.Trailer == nil {
			request.Trailer = make(http.Header, len(r.Trailer))
		}
		request.Trailer[http.CanonicalHeaderKey(key)] = nil
	}
	up := &upload{c: c, caller: r, length: length}
	if length > 0 && length <= bytepipe.Window && len(r.Trailer) == 0 && inMemory(r.Body) {
		return up.atOnce()
	}
	c.upload = up
	if expect := request.Header["Expect"]; len(expect) > 0 && strings.EqualFold(expect[0], "100-continue") {
		delete(request.Header, "Expect") // the first Read answers it
		up.expects.Store(true)
		return nil
	}
	go up.run()
	return nil
}

// serverURL returns the URL as a server finds it in a request: a path and a query. It also
// returns the text of it.
func serverURL(r *http.Request) (u *url.URL, uri string, err error) {
	if r.URL.Opaque == "" && strings.HasPrefix(r.URL.Path, "/") {
		u = &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
		uri = u.RequestURI()
	} else {
		uri = strings.TrimPrefix(r.URL.RequestURI(), r.URL.Scheme+"://"+r.URL.Host)
		if u, err = url.ParseRequestURI(uri); err != nil {
			return nil, "", fmt.Errorf("inprocess: invalid path %q", uri)
		}
	}
	if strings.ContainsFunc(uri, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return nil, "", fmt.Errorf("inprocess: invalid path %q", uri)
	}
	return u, uri, nil
}

// serverHeader returns the header as a server finds it.
func serverHeader(r *http.Request, method string, length int64) http.Header {
	h := make(http.Header, len(r.Header)+2)
	for key, values := range r.Header {
		name := lower(key)
		switch {
		case name == "host", name == "content-length", name == "trailer" && len(r.Trailer) > 0, ofConnections(name):
			continue
		case name == "te" && !slices.Equal(values, []string{"trailers"}):
			continue
		case name == "user-agent":
			values = values[:min(len(values), 1)]
			if len(values) == 1 && values[0] == "" {
				continue
			}
		}
		put(h, key, values)
	}
	if _, given := r.Header["User-Agent"]; !given {
		h["User-Agent"] = []string{"Go-http-client/2.0"}
	}
	if length > 0 || length == 0 && sendsZero(method) {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	return h
}

// sendsZero reports whether a request without a body has a Content-Length of zero. [RFC
// 9110, section 8.6]
func sendsZero(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// ---- the caller's body ----

// An upload reads the body of the caller's request.
type upload struct {
	c       *call
	caller  *http.Request
	length  int64       // negative: not known
	expects atomic.Bool // the handler's first Read begins
	done    atomic.Bool // the body is read and closed
	closing sync.Once
}

const (
	uploadMin = 2 << 10 // memory for reading at first, so that a stream that waits holds little
	uploadMax = 32 << 10
)

// errDropped is the error of writes after the handler has closed the request's body. Then
// the rest is read and dropped, as a server does.
var errDropped = errors.New("dropped")

// run reads the body until its end or that of the call.
func (u *upload) run() {
	err := u.copy()
	if err == nil {
		u.c.sent = canonical(u.caller.Trailer)
	}
	u.done.Store(true)
	u.close()
	switch {
	case err == nil:
		u.c.in.CloseWrite(io.EOF, io.ErrClosedPipe)
	case err != io.ErrClosedPipe:
		u.c.abort(err, errGaveUp)
	}
}

// copy moves the body into the call. It returns io.ErrClosedPipe if the call has ended.
func (u *upload) copy() error {
	memory := make([]byte, uploadMin)
	read := int64(0)
	for {
		n, err := u.caller.Body.Read(memory)
		read += int64(n)
		if u.length >= 0 && read > u.length {
			return u.tooLong()
		}
		if n > 0 {
			if _, failed := u.c.in.Write(memory[:n]); failed != nil && failed != errDropped {
				return io.ErrClosedPipe
			}
		}
		switch {
		case u.c.isOver():
			return io.ErrClosedPipe
		case err == io.EOF && read < u.length:
			return u.tooShort()
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if n == len(memory) && n < uploadMax {
			memory = make([]byte, 4*n)
		}
	}
}

// atOnce reads a short body in memory, without a goroutine.
func (u *upload) atOnce() error {
	whole := make([]byte, u.length)
	if _, err := io.ReadFull(u.caller.Body, whole); err == io.EOF || err == io.ErrUnexpectedEOF {
		return u.tooShort()
	} else if err != nil {
		return err
	}
	var more [1]byte
	if n, err := u.caller.Body.Read(more[:]); n > 0 {
		return u.tooLong()
	} else if err != nil && err != io.EOF {
		return err
	}
	u.close()
	u.c.in.Lend(whole)
	return nil
}

func (u *upload) tooShort() error {
	return fmt.Errorf("inprocess: the request's body ends before its ContentLength of %d: %w", u.length, io.ErrUnexpectedEOF)
}

func (u *upload) tooLong() error {
	return fmt.Errorf("inprocess: the request's body is longer than its ContentLength of %d", u.length)
}

// stop ends a Read of the body by closing it. [http.Request.Body] has to allow that.
// Close is called in a goroutine, because a body of the caller's own may wait there.
func (u *upload) stop() {
	if !u.done.Load() {
		go u.close()
	}
}

func (u *upload) close() {
	u.closing.Do(func() { _ = u.caller.Body.Close() })
}

// ---- the handler's body ----

// A requestBody is a call as the Body of the handler's request.
type requestBody call

// Read reads from the body. With io.EOF, the announced trailers are in Request.Trailer.
func (b *requestBody) Read(p []byte) (int, error) {
	if b.upload != nil && b.upload.expects.Swap(false) {
		b.w.sendContinue()
		go b.upload.run()
	}
	n, err := b.in.Read(p)
	if err == io.EOF && b.request != nil && b.request.Trailer != nil {
		for key, values := range b.sent {
			if _, announced := b.request.Trailer[key]; announced {
				b.request.Trailer[key] = values
			}
		}
	}
	return n, err
}

// Close ends the reading: bytes that follow are dropped.
func (b *requestBody) Close() error {
	b.in.CloseRead(http.ErrBodyReadAfterClose, errDropped)
	return nil
}
