// SPDX-License-Identifier: Apache-2.0

// Field sections: what HPACK decodes, checked, and made an http.Header; and the
// way back. [RFC 9113, section 8]

package h2

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// A fieldSection collects the fields of one HEADERS frame and its CONTINUATIONs.
// It belongs to the reading goroutine, which uses it again for the next.
type fieldSection struct {
	section
	limit   int               // of size
	trailer bool              // a trailer section: no pseudo-fields, no framing fields
	canon   map[string]string // canonical names beside the common ones

	// What pairs returned last, for a head and for trailers: calls of one kind say the
	// same again and again.
	lastHead, lastTrailer [][2]string
}

// A section is what was collected.
type section struct {
	// What may begin with a colon. Absent ones are empty.
	method, scheme, authority, path, status string
	pseudo                                  uint8 // which of them were there

	fields [][2]string // the others: names in lower case, and values
	length int64       // of Content-Length; negative: absent
	size   int         // as SETTINGS_MAX_HEADER_LIST_SIZE counts
	url    *url.URL    // the parsed path, if it is more than a path
	bad    error       // the first reason why it is malformed
}

// set makes s a copy of another section, in its own memory.
func (s *section) set(other *section) {
	fields := s.fields[:0]
	*s = *other
	s.fields = append(fields, other.fields...)
}

// The bits of section.pseudo.
const (
	hasMethod = 1 << iota
	hasScheme
	hasAuthority
	hasPath
	hasStatus
)

// begin forgets the last section.
func (f *fieldSection) begin(trailer bool) {
	clear(f.fields)
	f.section = section{fields: f.fields[:0], length: -1}
	f.trailer = trailer
}

func (f *fieldSection) tooLarge() bool { return f.size > f.limit }

func (f *fieldSection) malformed(format string, args ...any) {
	if f.bad == nil {
		f.bad = fmt.Errorf(format, args...)
	}
}

// add takes the next field from the decoder.
func (f *fieldSection) add(field hpack.HeaderField) {
	f.size += int(field.Size())
	if f.tooLarge() || f.bad != nil {
		return // HPACK has to be decoded to the end, but need not be kept
	}
	if strings.HasPrefix(field.Name, ":") {
		f.addPseudo(field)
		return
	}
	if !validName(field.Name) {
		f.malformed("field name %q: want lower-case letters, digits and punctuation of RFC 9110", field.Name)
		return
	}
	if !validValue(field.Value) {
		f.malformed("field %q: the value has control characters", field.Name)
		return
	}
	field.Value = trimmed(field.Value)
	switch field.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		f.malformed("field %q: is of HTTP/1.1 connections only", field.Name) // section 8.2.2
		return
	case "te":
		if field.Value != "trailers" {
			f.malformed("field \"te\": got %q, want \"trailers\"", field.Value)
			return
		}
	case "content-length":
		if f.trailer {
			return // means nothing there
		}
		n, err := strconv.ParseUint(field.Value, 10, 63)
		if err != nil || f.length >= 0 && f.length != int64(n) {
			f.malformed("field \"content-length\": got %q, want one number", field.Value)
			return
		}
		if f.length >= 0 {
			return // the same once more
		}
		f.length = int64(n)
	}
	f.fields = append(f.fields, [2]string{field.Name, field.Value})
}

// addPseudo takes a field whose name begins with a colon. They come before all
// others, each at most once. [RFC 9113, section 8.3]
func (f *fieldSection) addPseudo(field hpack.HeaderField) {
	var bit uint8
	var to *string
	switch field.Name {
	case ":method":
		bit, to = hasMethod, &f.method
	case ":scheme":
		bit, to = hasScheme, &f.scheme
	case ":authority":
		bit, to = hasAuthority, &f.authority
	case ":path":
		bit, to = hasPath, &f.path
	case ":status":
		bit, to = hasStatus, &f.status
	}
	switch {
	case to == nil || f.trailer:
		f.malformed("pseudo-field %q: not one of this section", field.Name)
	case len(f.fields) > 0:
		f.malformed("pseudo-field %q: comes after regular fields", field.Name)
	case f.pseudo&bit != 0:
		f.malformed("pseudo-field %q: is there twice", field.Name)
	case !validValue(field.Value):
		f.malformed("pseudo-field %q: the value has control characters", field.Name)
	default:
		f.pseudo |= bit
		*to = field.Value
	}
}

// header returns the regular fields as a header of its own.
func (f *fieldSection) header() http.Header { return headerOf(f.fields, f.canonical) }

// pairs returns the regular fields as a slice that is never written: the one that it
// returned last, if nothing has changed since.
func (f *fieldSection) pairs() [][2]string {
	last := &f.lastHead
	if f.trailer {
		last = &f.lastTrailer
	}
	if *last == nil || !slices.Equal(*last, f.fields) {
		*last = append(make([][2]string, 0, len(f.fields)), f.fields...)
	}
	return *last
}

// headerOf returns fields as a header, with the names as canonical spells them. All
// first values share one array.
func headerOf(fields [][2]string, canonical func(string) string) http.Header {
	h := make(http.Header, len(fields))
	values := make([]string, len(fields))
	for _, field := range fields {
		key, value := canonical(field[0]), field[1]
		old := h[key]
		switch {
		case old == nil:
			values[0] = value
			h[key], values = values[:1:1], values[1:]
		case key == "Cookie":
			old[0] += "; " + value // section 8.2.3
		default:
			h[key] = append(old, value)
		}
	}
	return h
}

// canonical returns the name as http.Header spells it.
func (f *fieldSection) canonical(name string) string {
	if key, ok := canonicalNames[name]; ok {
		return key
	}
	if key, ok := f.canon[name]; ok {
		return key
	}
	key := textproto.CanonicalMIMEHeaderKey(name)
	if f.canon == nil {
		f.canon = make(map[string]string)
	}
	if len(f.canon) < 64 { // a peer may make names up
		f.canon[name] = key
	}
	return key
}

// canonicalKey is canonical for other goroutines than the reading one.
func canonicalKey(name string) string {
	if key, ok := canonicalNames[name]; ok {
		return key
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// lower returns a header's key as HTTP/2 has it.
func lower(key string) string {
	if name, ok := lowerNames[key]; ok {
		return name
	}
	return strings.ToLower(key)
}

// canonicalNames and lowerNames are the names that RPC and browsers use most.
var canonicalNames, lowerNames = func() (canonical, lower map[string]string) {
	canonical, lower = make(map[string]string), make(map[string]string)
	for _, key := range []string{
		"Accept", "Accept-Encoding", "Accept-Language", "Access-Control-Allow-Credentials",
		"Access-Control-Allow-Headers", "Access-Control-Allow-Methods", "Access-Control-Allow-Origin",
		"Access-Control-Expose-Headers", "Access-Control-Max-Age", "Access-Control-Request-Headers",
		"Access-Control-Request-Method", "Allow", "Authorization", "Cache-Control", "Connect-Accept-Encoding",
		"Connect-Content-Encoding", "Connect-Protocol-Version", "Connect-Timeout-Ms", "Content-Encoding",
		"Content-Length", "Content-Type", "Cookie", "Date", "Etag", "Expect", "Grpc-Accept-Encoding",
		"Grpc-Encoding", "Grpc-Message", "Grpc-Status", "Grpc-Status-Details-Bin", "Grpc-Timeout", "Host",
		"If-Modified-Since", "If-None-Match", "Last-Modified", "Location", "Origin", "Range", "Referer",
		"Retry-After", "Server", "Set-Cookie", "Te", "Traceparent", "Tracestate", "Trailer", "User-Agent",
		"Vary", "X-Content-Type-Options", "X-Forwarded-For", "X-Forwarded-Proto", "X-Grpc-Web",
		"X-Request-Id", "X-User-Agent",
	} {
		name := strings.ToLower(key)
		canonical[name], lower[key] = key, name
	}
	return canonical, lower
}()

// validName reports whether a name is a token without upper-case letters.
// [RFC 9113, section 8.2.1]
func validName(name string) bool {
	for i := 0; i < len(name); i++ {
		if !nameBytes[name[i]] {
			return false
		}
	}
	return name != ""
}

var nameBytes = func() (ok [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz" {
		ok[c] = true
	}
	return ok
}()

// validValue reports whether a value has no characters that end lines or worse.
func validValue(value string) bool {
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// trimmed returns a value without the white space around it. HTTP/2 forbids it, in
// vain: net/http sends it, and HTTP/1.1 does not count it. [RFC 9113, section 8.2.1]
func trimmed(value string) string {
	if n := len(value); n == 0 || value[0] > ' ' && value[n-1] > ' ' {
		return value
	}
	return strings.Trim(value, " \t")
}

// ---- encoding ----

// beginFields reserves a frame header and returns where it is. With mu held.
func (c *conn) beginFields() int {
	at := len(c.writer.out)
	c.writer.out = c.enc.begin(append(c.writer.out, 0, 0, 0, 0, 0, 0, 0, 0, 0))
	return at
}

// field encodes one field. With mu held.
func (c *conn) field(name, value string) {
	c.writer.out = c.enc.append(c.writer.out, name, trimmed(value), passing(name))
}

// passing reports whether the value of a field is different each time, so that
// it has no place in the table of the compression.
func passing(name string) bool {
	switch name {
	case "content-length", "grpc-timeout", "connect-timeout-ms", "traceparent", "x-request-id", "grpc-message", "grpc-status-details-bin":
		return true
	}
	return false
}

// endFields makes what was encoded since beginFields a HEADERS frame, followed by
// CONTINUATIONs if it is longer than the peer takes. With mu held.
func (c *conn) endFields(at int, id uint32, end bool) {
	var flags uint8 = flagEndHeaders
	if end {
		flags |= flagEndStream
	}
	c.earn(0)
	out := c.writer.out
	size := len(out) - at - frameHeaderLen
	if size <= c.peerFrame {
		appendFrame(out[:at], frameHeaders, flags, id, size)
		return
	}
	block := append([]byte(nil), out[at+frameHeaderLen:]...)
	out = appendFrame(out[:at], frameHeaders, flags&^flagEndHeaders, id, c.peerFrame)
	out = append(out, block[:c.peerFrame]...)
	for block = block[c.peerFrame:]; len(block) > 0; {
		n := min(len(block), c.peerFrame)
		flags = 0
		if n == len(block) {
			flags = flagEndHeaders
		}
		out = appendFrame(out, frameContinuation, flags, id, n)
		out = append(out, block[:n]...)
		block = block[n:]
	}
	c.writer.out = out
}

// errTooManyFields is why a message is not sent.
var errTooManyFields = errors.New("http2: header is larger than the peer accepts")
