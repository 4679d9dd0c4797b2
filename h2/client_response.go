// SPDX-License-Identifier: Apache-2.0

// The response of a client's call: informational heads, the head, the body and the
// trailers.
//
// Invariants. The reading goroutine writes response and reply before it sets answered,
// and the caller reads them after. Trailers are written under conn.mu before the body's
// end, and the reader moves them to Response.Trailer when it has read the end.

package h2

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

const informationalMax = 32 // 1xx responses before the final one, without a trace

// headers takes a field section of the response, for the reading goroutine:
// informational heads, the head, or the trailers. [RFC 9113, section 8.1]
func (s *clientStream) headers(f *wire.FieldSection, end bool) error {
	if !s.gotFirstByte {
		s.gotFirstByte = true
		if s.trace != nil && s.trace.GotFirstResponseByte != nil {
			s.trace.GotFirstResponseByte()
		}
	}
	switch {
	case f.TooLarge():
		return s.reject(ErrCodeEnhanceYourCalm, "%s of the response: %d bytes, the limit is %d (MaxResponseHeaderBytes)", s.sectionName(), f.Size, f.Limit)
	case f.Bad != nil:
		return s.reject(ErrCodeProtocol, "malformed response: %w", f.Bad)
	case s.trailing:
		return s.takeTrailers(f, end)
	}
	status, err := strconv.Atoi(f.Status)
	switch {
	case err != nil || len(f.Status) != 3 || f.Pseudo != wire.HasStatus || status < 100:
		return s.reject(ErrCodeProtocol, "malformed response: pseudo-field \":status\": got %q", f.Status)
	case s.received > 0:
		return s.reject(ErrCodeProtocol, "DATA before the head of the response")
	case status < 200:
		return s.takeInformational(status, f, end)
	}
	return s.takeHead(status, f, end)
}

// sectionName returns the name of the field section that is being received.
func (s *clientStream) sectionName() string {
	if s.trailing {
		return "trailers"
	}
	return "header"
}

// reject resets the stream because of what the peer sent.
func (s *clientStream) reject(code ErrCode, format string, args ...any) error {
	err := s.cc.reject(s.id, code, format, args...)
	s.cc.wakeLater(&s.stream)
	return err
}

// takeHead takes the head of the final response. A response without a body, to HEAD or
// with a status such as 304, may have a Content-Length that is another response's. [RFC
// 9110, section 8.6]
func (s *clientStream) takeHead(status int, f *wire.FieldSection, end bool) error {
	c := s.cc
	bodiless := s.head.method == http.MethodHead || !bodyAllowed(status)
	ending := io.EOF
	if end && f.Length > 0 && !bodiless {
		ending = io.ErrUnexpectedEOF // returned by the body's Read, as in net/http
	}
	s.trailing = true
	switch {
	case bodiless:
		s.declared = 0
	default:
		s.declared = f.Length
	}
	if s.request == nil {
		s.reply.takeHead(status, f, end && ending == io.EOF)
	} else {
		s.makeResponse(status, f, end, ending)
	}
	s.answered.Store(true)
	if s.sender.expects {
		s.sender.proceed(status < 300)
	}
	if end {
		c.mu.Lock()
		c.endOfBodyLocked(&s.stream, ending)
		c.rd.answers = true
		c.mu.Unlock()
	}
	c.wakeLater(&s.stream)
	return nil
}

// makeResponse makes the http.Response. ending is the error with which its body ends if
// end is set.
func (s *clientStream) makeResponse(status int, f *wire.FieldSection, end bool, ending error) {
	res := &http.Response{
		Status:        statusLine(status),
		StatusCode:    status,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
		Header:        f.Header(),
		ContentLength: f.Length,
		Body:          &s.body,
		Request:       s.request,
	}
	s.response = res
	if end && ending == io.EOF {
		if f.Length < 0 && s.head.method != http.MethodHead {
			res.ContentLength = 0
		}
		res.Body = http.NoBody
	}
	if names := res.Header["Trailer"]; names != nil {
		announceTrailers(res, names)
	}
	if s.gzip && !end && strings.EqualFold(res.Header.Get("Content-Encoding"), "gzip") {
		res.Header.Del("Content-Encoding")
		res.Header.Del("Content-Length")
		res.ContentLength = -1
		res.Uncompressed = true
		res.Body = &inflater{body: &s.body}
	}
}

// takeInformational takes a 1xx response. Their number and size are bounded, unless a
// trace takes them. [RFC 9110, section 15.2]
func (s *clientStream) takeInformational(status int, f *wire.FieldSection, end bool) error {
	traced := s.trace != nil && s.trace.Got1xxResponse != nil
	s.informationals++
	s.informationalSize += f.Size
	switch {
	case end, status == http.StatusSwitchingProtocols:
		return s.reject(ErrCodeProtocol, "unexpected status %d", status)
	case s.informationals > informationalMax && !traced:
		return s.reject(ErrCodeEnhanceYourCalm, "too many 1xx responses: more than %d", informationalMax)
	case s.informationalSize > f.Limit && !traced:
		return s.reject(ErrCodeEnhanceYourCalm, "too many 1xx responses: %d bytes of header, the limit is %d (MaxResponseHeaderBytes)", s.informationalSize, f.Limit)
	}
	proceeds := status == http.StatusContinue
	if proceeds && s.trace != nil && s.trace.Got100Continue != nil {
		s.trace.Got100Continue()
	}
	if traced {
		if err := s.trace.Got1xxResponse(status, map[string][]string(f.Header())); err != nil {
			s.giveUp(err)
			s.cc.wakeLater(&s.stream)
			return nil
		}
	}
	if proceeds && s.sender.expects {
		s.sender.proceed(true)
	}
	return nil
}

// takeTrailers takes the field section after the body. [RFC 9113, sections 8.1 and
// 8.1.1]
func (s *clientStream) takeTrailers(f *wire.FieldSection, end bool) error {
	switch {
	case !end:
		return s.reject(ErrCodeProtocol, "second field section does not end the stream")
	case s.declared >= 0 && s.received != s.declared:
		return s.reject(ErrCodeProtocol, "body of %d bytes, Content-Length says %d", s.received, s.declared)
	}
	c := s.cc
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(f.Fields) == 0:
	case s.request == nil:
		s.reply.trailer = f.Pairs()
	default:
		s.trailer = f.Header()
	}
	c.endOfBodyLocked(&s.stream, io.EOF)
	c.flushRelocking()
	c.wakeLater(&s.stream)
	return nil
}

// announceTrailers makes the names in the field "Trailer" the keys of Response.Trailer.
func announceTrailers(res *http.Response, values []string) {
	res.Trailer = make(http.Header)
	for _, names := range values {
		for name := range strings.SplitSeq(names, ",") {
			if key := http.CanonicalHeaderKey(strings.TrimSpace(name)); key != "" {
				res.Trailer[key] = nil
			}
		}
	}
	delete(res.Header, "Trailer")
}

// statusLine returns the value of Response.Status.
func statusLine(status int) string {
	if status == http.StatusOK {
		return "200 OK"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
}

// ---- the body ----

// A responseBody is the body of a response. One goroutine at a time reads; Close is safe
// for concurrent use.
type responseBody struct {
	s      *clientStream
	closed atomic.Bool
}

// Read reads from the body. With io.EOF, the trailers are in Response.Trailer. Any other
// error gives the call up.
func (b *responseBody) Read(p []byte) (int, error) {
	s := b.s
	if b.closed.Load() {
		return 0, errBodyClosed
	}
	n, err := s.read(s.ctx, p)
	if err == nil {
		return n, nil
	}
	if err != io.EOF && s.ctx.Err() != nil {
		_ = contextEnded(s.ctx, canceledOf(s.request)) // waits for http.Client's record, see there
	}
	c := s.cc
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != io.EOF {
		s.giveUpRelocking(err)
		return n, err
	}
	switch {
	case s.trailer == nil: // none, or a direct call
	case s.response.Trailer == nil:
		s.response.Trailer = s.trailer
	default:
		for key, values := range s.trailer {
			s.response.Trailer[key] = values
		}
	}
	s.trailer = nil
	return n, err
}

// Close ends the reading. A response that has not ended is cancelled with RST_STREAM.
func (b *responseBody) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	b.s.giveUp(errBodyClosed)
	b.s.discard(errBodyClosed)
	return nil
}

// An inflater is the body of a response for which the transport asked for gzip.
type inflater struct {
	body *responseBody
	zip  *gzip.Reader
	err  error
}

// Read inflates. Errors of the stream come through unchanged.
func (z *inflater) Read(p []byte) (int, error) {
	switch {
	case z.body.closed.Load():
		return 0, errBodyClosed
	case z.err != nil:
		return 0, z.err
	}
	if z.zip == nil {
		if z.zip, z.err = gzip.NewReader(z.body); z.err != nil {
			return 0, z.err
		}
	}
	n, err := z.zip.Read(p)
	z.err = err
	return n, err
}

// Close closes the body.
func (z *inflater) Close() error { return z.body.Close() }
