// SPDX-License-Identifier: Apache-2.0

// Bodies: the request's, which may end after the response, and the response's, which
// may break off.

package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// requestBody is the body of a caller's request. Other than the body that httputil
// passes on, its Close ends a Read that has begun: the transport waits for that when
// the server ends the call before the request has ended.
type requestBody struct {
	io.ReadCloser
	// Of HTTP/1.1, where Close of net/http's body waits for the Read: the read deadline
	// ends it. Nil for HTTP/2.
	controller *http.ResponseController

	ended atomic.Bool // it was read to its end

	mu     sync.Mutex
	closed bool // Close was called, or the proxy's handler has returned
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

// isEnded reports whether the whole request was read.
func (b *requestBody) isEnded() bool { return b.ended.Load() }

// Close ends the reading. After an early Close, the connection of HTTP/1.1 serves no
// other request: the response has said so. A Close after the first has no effect, so a
// late one of the transport does not touch the connection's next request.
func (b *requestBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	switch {
	case b.isEnded():
		return nil
	case b.controller != nil:
		return b.controller.SetReadDeadline(time.Unix(1, 0))
	}
	return b.ReadCloser.Close()
}

// tail is the body of a response. If the server breaks it off, tail ends it as the
// caller's protocol ends a call with an error, where the protocol has a place for
// that.
type tail struct {
	io.ReadCloser
	proxy    *Proxy
	ctx      context.Context
	call     *call
	response *http.Response
	trailers bool          // the error goes into the HTTP trailers
	frames   *frames       // of a body whose last frame has the error, nil for others
	stop     func() bool   // ends the wait for the context
	last     *bytes.Reader // the last frame, nil before the body has broken off
}

func newTail(p *Proxy, ctx context.Context, c *call, response *http.Response) *tail {
	t := &tail{ReadCloser: response.Body, proxy: p, ctx: ctx, call: c, response: response}
	contentType := response.Header.Get("Content-Type")
	switch {
	case response.StatusCode != http.StatusOK:
	case isGRPC(response.Header):
		t.trailers = response.Header.Get("Grpc-Status") == ""
	case strings.HasPrefix(contentType, "application/grpc-web-text"): // frames in base64
	case strings.HasPrefix(contentType, "application/grpc-web"):
		t.frames = &frames{endFlag: 0x80}
	case strings.HasPrefix(contentType, "application/connect+"):
		t.frames = &frames{endFlag: 0x02}
	}
	// While net/http waits for the server's window to send the request, it does not
	// look at the context, and a Read would wait for ever.
	body := response.Body
	t.stop = context.AfterFunc(ctx, func() { _ = body.Close() })
	return t
}

func (t *tail) Read(p []byte) (int, error) {
	if t.last != nil {
		return t.last.Read(p)
	}
	n, err := t.ReadCloser.Read(p)
	if t.frames != nil {
		t.frames.pass(p[:n])
	}
	if err == nil || err == io.EOF && t.whole() {
		return n, err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if n > 0 && t.frames != nil {
		return n, nil // the next Read fails again
	}
	end, ok := t.end(t.proxy.fault(t.ctx, err))
	if !ok {
		t.call.broken = true
		return n, err
	}
	t.last = bytes.NewReader(end)
	if n > 0 {
		return n, nil
	}
	return t.last.Read(p)
}

// whole reports whether a body that has ended may end there: after HTTP/1.0's end of
// a connection only the frames show that a part is missing.
func (t *tail) whole() bool { return t.frames == nil || t.frames.ended || !t.frames.begun }

// end returns the bytes that end the body with an error, and sets the trailers. It
// returns false if there is no place for the error.
func (t *tail) end(err error) ([]byte, bool) {
	if !t.trailers && (t.frames == nil || !t.frames.between()) {
		return nil, false
	}
	// The error as a whole response, in the same protocol.
	w := &recorder{header: make(http.Header)}
	r := &http.Request{Method: http.MethodPost, URL: new(url.URL), ProtoMajor: 2, Header: http.Header{"Content-Type": t.response.Header["Content-Type"]}}
	if e := t.proxy.errors.Write(w, r, err); e != nil {
		return nil, false
	}
	status := make(http.Header)
	for key, values := range w.header {
		if name := strings.TrimPrefix(key, http.TrailerPrefix); strings.HasPrefix(name, "Grpc-") {
			status[name] = values
		}
	}
	switch {
	case t.trailers:
		for key := range t.response.Trailer {
			// httputil sends trailers that were not announced only if there are more than
			// the announced ones, which stay without values.
			if _, ok := status[key]; !ok {
				status[key] = nil
			}
		}
		t.response.Trailer = status
		return nil, true
	case len(status) > 0: // gRPC-Web has them in its last frame
		return trailerFrame(status), true
	}
	return w.body.Bytes(), w.body.Len() > 0
}

// trailerFrame returns the last frame of a gRPC-Web body. [gRPC-Web, "Protocol
// differences vs gRPC over HTTP2"]
func trailerFrame(trailer http.Header) []byte {
	frame := []byte{0x80, 0, 0, 0, 0}
	for key, values := range trailer {
		for _, value := range values {
			frame = append(frame, strings.ToLower(key)+": "+value+"\r\n"...)
		}
	}
	binary.BigEndian.PutUint32(frame[1:], uint32(len(frame)-5))
	return frame
}

func (t *tail) Close() error {
	if !t.stop() {
		return nil // the context's end has closed it
	}
	return t.ReadCloser.Close()
}

// recorder is a ResponseWriter that keeps the response.
type recorder struct {
	header http.Header
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// frames follows the frames of a body: five bytes, of which four are the length, and
// the message. [gRPC over HTTP2, "Length-Prefixed-Message"; Connect protocol,
// "Enveloped-Message"]
type frames struct {
	endFlag byte
	prefix  [5]byte
	have    int    // bytes of the prefix
	left    uint32 // bytes of the message
	begun   bool   // a byte has passed
	ended   bool   // the frame with the end has begun
}

// pass follows the frames through the next bytes of the body.
func (f *frames) pass(b []byte) {
	f.begun = f.begun || len(b) > 0
	for len(b) > 0 {
		if f.left > 0 {
			n := int(min(uint64(f.left), uint64(len(b))))
			f.left -= uint32(n)
			b = b[n:]
			continue
		}
		n := copy(f.prefix[f.have:], b)
		f.have += n
		b = b[n:]
		if f.have == len(f.prefix) {
			f.have = 0
			f.left = binary.BigEndian.Uint32(f.prefix[1:])
			f.ended = f.ended || f.prefix[0]&f.endFlag != 0
		}
	}
}

// between reports whether a frame may follow.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 && !f.ended }
