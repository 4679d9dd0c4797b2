// SPDX-License-Identifier: Apache-2.0

// The head of a client's request: checked, and made a field section. [RFC 9113, sections
// 8.2 and 8.3.1]
//
// Invariants. A request is checked before it gets a stream, so that a fault of the
// caller's costs no stream and sends nothing. Pseudo-fields come first.

package h2

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// check returns the errors that net/http's transport finds in a request.
func check(r *http.Request) error {
	if err := checkURL(r.URL); err != nil {
		return err
	}
	switch {
	case r.Header == nil:
		return errors.New("h2: request with a nil Header")
	case r.Method != "" && !wire.ValidMethod(r.Method):
		return fmt.Errorf("h2: invalid method %q", r.Method)
	}
	for _, fields := range []http.Header{r.Header, r.Trailer} {
		for key, values := range fields {
			if err := checkField(key, wire.Lower(key), values); err != nil {
				return err
			}
		}
	}
	for key := range r.Trailer {
		switch wire.Lower(key) {
		case "content-length", "trailer", "transfer-encoding":
			return fmt.Errorf("h2: field %q may not be a trailer", key)
		}
	}
	return nil
}

func checkURL(u *url.URL) error {
	switch {
	case u == nil:
		return errors.New("h2: request without a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("h2: unsupported URL scheme %q, want \"http\" or \"https\"", u.Scheme)
	case u.Host == "":
		return errors.New("h2: request without a host in its URL")
	}
	return nil
}

func checkField(key, name string, values []string) error {
	if !wire.ValidName(name) {
		return fmt.Errorf("h2: invalid field name %q", key)
	}
	for _, value := range values {
		if !wire.ValidValue(value) { // which may be a secret
			return fmt.Errorf("h2: the value of field %q has control characters", key)
		}
	}
	return nil
}

// asciiHost returns a host in the form of the wire and of dialing: a name in another
// script becomes ASCII.
func asciiHost(host string) (string, error) {
	plain := true
	for i := 0; i < len(host); i++ {
		switch c := host[i]; {
		case c >= 0x80:
			plain = false
		case c <= ' ' || c == 0x7f || strings.IndexByte(`/?#@\<>"`, c) >= 0:
			return "", fmt.Errorf("h2: invalid host %q", host)
		}
	}
	if plain {
		return host, nil
	}
	// net/http converts the name when it writes a request of HTTP/1.1.
	var b bytes.Buffer
	r := http.Request{URL: &url.URL{Host: host}, Host: host}
	if err := r.Write(&b); err != nil {
		return "", fmt.Errorf("h2: invalid host %q: %w", host, err)
	}
	_, rest, _ := strings.Cut(b.String(), "\r\nHost: ")
	ascii, _, found := strings.Cut(rest, "\r\n")
	if !found || ascii == "" {
		return "", fmt.Errorf("h2: invalid host %q", host)
	}
	return ascii, nil
}

// A requestHead has the values of a request's pseudo-fields. CONNECT has no scheme and
// no path. [RFC 9113, section 8.5]
type requestHead struct {
	method, authority, scheme, path string // no scheme and path with CONNECT
}

// headOf returns the head for a request with this method, host and URL. An empty host
// stands for the URL's.
func headOf(method, host string, u *url.URL) (head requestHead, err error) {
	head.method = method
	if method == "" {
		head.method = http.MethodGet
	}
	if host == "" {
		host = u.Host
	}
	if head.authority, err = asciiHost(host); err != nil || head.method == http.MethodConnect {
		return head, err
	}
	head.scheme, head.path = u.Scheme, u.Path
	if u.RawPath == "" && u.RawQuery == "" && !u.ForceQuery && u.Opaque == "" && wire.PlainPath(u.Path) {
		return head, nil
	}
	head.path = u.RequestURI()
	if u.Opaque != "" { // may be a whole URL
		head.path = strings.TrimPrefix(head.path, u.Scheme+"://"+host)
	}
	if !strings.HasPrefix(head.path, "/") && head.path != "*" || strings.ContainsFunc(head.path, notInPath) {
		return head, fmt.Errorf("h2: invalid path %q", head.path)
	}
	return head, nil
}

// notInPath reports whether a character may not be in ":path".
func notInPath(c rune) bool { return c <= ' ' || c == 0x7f }

// fields yields the pseudo-fields.
func (h *requestHead) fields(yield func(name, value string)) {
	yield(":method", h.method)
	yield(":authority", h.authority)
	if h.path != "" {
		yield(":scheme", h.scheme)
		yield(":path", h.path)
	}
}

// fields yields the request's fields in the order in which they are sent.
func (s *clientStream) fields(d directBody, yield func(name, value string)) {
	if s.target != nil {
		s.target.fields(yield)
	} else {
		s.head.fields(yield)
		s.requestFields(yield)
	}
	s.lastFields(d, yield)
}

// lastFields yields the fields that differ between calls to the same target.
func (s *clientStream) lastFields(d directBody, yield func(name, value string)) {
	for i := range d.fields {
		yield(d.fields[i][0], d.fields[i][1])
	}
	if n := s.sender.length; n > 0 || n == 0 && sendsZero(s.head.method) {
		yield("content-length", strconv.FormatInt(n, 10))
	}
}

// requestFields yields the fields of an http.Request.
func (s *clientStream) requestFields(yield func(name, value string)) {
	r := s.request
	agent := false
	for key, values := range r.Header {
		name := wire.Lower(key)
		switch name {
		case "host", "content-length", "connection", "proxy-connection", "transfer-encoding", "upgrade", "keep-alive":
			continue // sent in another form, or not in HTTP/2 [RFC 9113, section 8.2.2]
		case "trailer":
			if len(r.Trailer) > 0 {
				continue
			}
		case "te":
			if len(values) != 1 || values[0] != "trailers" {
				continue
			}
		case "user-agent":
			agent = true
			if len(values) == 0 || values[0] == "" {
				continue
			}
			values = values[:1]
		}
		for _, value := range values {
			yield(name, value)
		}
	}
	if !agent {
		yield("user-agent", "Go-http-client/2.0")
	}
	if len(r.Trailer) > 0 {
		names := make([]string, 0, len(r.Trailer))
		for key := range r.Trailer {
			names = append(names, key)
		}
		yield("trailer", strings.Join(names, ","))
	}
	if s.gzip {
		yield("accept-encoding", "gzip")
	}
}

// sendsZero reports whether a request with this method and no body has a Content-Length
// of zero. [RFC 9110, section 8.6]
func sendsZero(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// asksForGzip reports whether the transport adds "accept-encoding: gzip".
func (s *clientStream) asksForGzip() bool {
	h := s.request.Header
	return !s.cc.t.config.DisableCompression && s.head.method != http.MethodHead &&
		h["Accept-Encoding"] == nil && h["Range"] == nil
}

// closesConn reports whether the connection closes after the request.
func (s *clientStream) closesConn() bool {
	r := s.request
	if r == nil {
		return false
	}
	if r.Close {
		return true
	}
	if standard := s.cc.t.standard; standard != nil && standard.DisableKeepAlives {
		return true
	}
	for _, value := range r.Header["Connection"] {
		for option := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(option), "close") {
				return true
			}
		}
	}
	return false
}

// checkSizeLocked returns an error if the head is larger than the peer's
// SETTINGS_MAX_HEADER_LIST_SIZE. [RFC 9113, section 6.5.2]
func (s *clientStream) checkSizeLocked(d directBody) error {
	limit := int(s.cc.peerHeaderList)
	if limit == 0 {
		return nil
	}
	size := 0
	sum := func(name, value string) { size += wire.FieldSize(name, value) }
	if s.target == nil {
		s.fields(d, sum)
	} else {
		size = s.target.size
		s.lastFields(d, sum)
	}
	if size <= limit {
		return nil
	}
	return fmt.Errorf("h2: header of %d bytes is larger than the peer accepts: it takes %d bytes", size, limit)
}

// appendHeadLocked appends the request's field section, with END_STREAM if nothing
// follows it.
func (s *clientStream) appendHeadLocked(d directBody) {
	c := s.cc
	at := c.beginFieldsLocked()
	if s.target == nil {
		s.fields(d, c.fieldLocked)
	} else {
		c.fieldsOfLocked(s.target)
		s.lastFields(d, c.fieldLocked)
	}
	s.sentEnd = s.sender.empty() && len(d.bytes) == 0
	c.endFieldsLocked(at, s.id, s.sentEnd)
}

// fieldsOfLocked encodes the fields with which all direct calls to a target begin. The
// encoder keeps the result as long as its table is the same.
func (c *conn) fieldsOfLocked(d *directTarget) {
	var known bool
	if c.writer.out, known = c.enc.Repeat(c.writer.out, d); known {
		return
	}
	start, version := len(c.writer.out), c.enc.Version
	d.fields(c.fieldLocked)
	if c.enc.Version == version {
		c.enc.Keep(d, c.writer.out[start:])
	}
}
