// SPDX-License-Identifier: Apache-2.0

// Field sections: what HPACK decodes, checked, and made an http.Header; and the
// way back. [RFC 9113, section 8]

package wire

import (
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
type FieldSection struct {
	section
	Limit   int               // of size
	Lenient bool              // of responses: fields of HTTP/1.1 connections are ignored
	trailer bool              // a trailer section: no pseudo-fields, no framing fields
	skipped bool              // more than was worth keeping: see [Decoder.Skip]
	canon   map[string]string // canonical names beside the common ones

	// What pairs returned last, for a head and for trailers: calls of one kind say the
	// same again and again.
	lastHead, lastTrailer [][2]string
}

// A section is what was collected.
type section struct {
	// What may begin with a colon. Absent ones are empty.
	Method, scheme, Authority, Path, Status string
	Pseudo                                  uint8 // which of them were there

	Fields [][2]string // the others: names in lower case, and values
	Length int64       // of Content-Length; negative: absent
	Size   int         // as SETTINGS_MAX_HEADER_LIST_SIZE counts
	URL    *url.URL    // the parsed path, if it is more than a path
	Bad    error       // the first reason why it is malformed
}

// set makes s a copy of another section, in its own memory.
func (s *section) set(other *section) {
	fields := s.Fields[:0]
	*s = *other
	s.Fields = append(fields, other.Fields...)
}

// The bits of section.pseudo.
const (
	hasMethod = 1 << iota
	hasScheme
	hasAuthority
	hasPath
	HasStatus
)

// begin forgets the last section.
func (f *FieldSection) Begin(trailer bool) {
	clear(f.Fields)
	f.section = section{Fields: f.Fields[:0], Length: -1}
	f.trailer, f.skipped = trailer, false
}

// TooLarge reports whether the section exceeds its limit: then its fields are not
// whole.
func (f *FieldSection) TooLarge() bool { return f.Size > f.Limit || f.skipped }

// Malformed makes the section malformed, for a reason that counts if it is the first.
func (f *FieldSection) Malformed(format string, args ...any) {
	if f.Bad == nil {
		f.Bad = fmt.Errorf(format, args...)
	}
}

// add takes the next field from the decoder.
func (f *FieldSection) add(field hpack.HeaderField) {
	f.Size += int(field.Size())
	if f.TooLarge() || f.Bad != nil {
		return // HPACK has to be decoded to the end, but need not be kept
	}
	if strings.HasPrefix(field.Name, ":") {
		f.addPseudo(field)
		return
	}
	if !ValidName(field.Name) {
		f.Malformed("field name %q: want lower-case letters, digits and punctuation of RFC 9110", field.Name)
		return
	}
	if !ValidValue(field.Value) {
		f.Malformed("field %q: the value has control characters", field.Name)
		return
	}
	field.Value = Trimmed(field.Value)
	switch field.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		// Section 8.2.2 calls for an error. Gateways leave these fields in responses,
		// where net/http and browsers ignore them, too.
		if !f.Lenient {
			f.Malformed("field %q: is of HTTP/1.1 connections only", field.Name)
		}
		return
	case "te":
		if field.Value != "trailers" && !f.Lenient {
			f.Malformed("field \"te\": got %q, want \"trailers\"", field.Value)
			return
		}
	case "host":
		if strings.Contains(field.Value, "@") && !f.Lenient {
			f.Malformed("field \"host\": has userinfo") // as ":authority", for which it may stand
			return
		}
	case "content-length":
		if f.trailer {
			return // means nothing there
		}
		n, err := strconv.ParseUint(field.Value, 10, 63)
		if err != nil || f.Length >= 0 && f.Length != int64(n) {
			f.Malformed("field \"content-length\": got %q, want one number", field.Value)
			return
		}
		if f.Length >= 0 {
			return // the same once more
		}
		f.Length = int64(n)
	}
	f.Fields = append(f.Fields, [2]string{field.Name, field.Value})
}

// addPseudo takes a field whose name begins with a colon. They come before all
// others, each at most once. [RFC 9113, section 8.3]
func (f *FieldSection) addPseudo(field hpack.HeaderField) {
	var bit uint8
	var to *string
	switch field.Name {
	case ":method":
		bit, to = hasMethod, &f.Method
	case ":scheme":
		bit, to = hasScheme, &f.scheme
	case ":authority":
		bit, to = hasAuthority, &f.Authority
	case ":path":
		bit, to = hasPath, &f.Path
	case ":status":
		bit, to = HasStatus, &f.Status
	}
	switch {
	case to == nil || f.trailer:
		f.Malformed("pseudo-field %q: not one of this section", field.Name)
	case len(f.Fields) > 0:
		f.Malformed("pseudo-field %q: comes after regular fields", field.Name)
	case f.Pseudo&bit != 0:
		f.Malformed("pseudo-field %q: is there twice", field.Name)
	case !ValidValue(field.Value):
		f.Malformed("pseudo-field %q: the value has control characters", field.Name)
	default:
		f.Pseudo |= bit
		*to = field.Value
	}
}

// header returns the regular fields as a header of its own.
func (f *FieldSection) Header() http.Header { return HeaderOf(f.Fields, f.canonical) }

// pairs returns the regular fields as a slice that is never written: the one that it
// returned last, if nothing has changed since.
func (f *FieldSection) Pairs() [][2]string {
	last := &f.lastHead
	if f.trailer {
		last = &f.lastTrailer
	}
	if *last == nil || !slices.Equal(*last, f.Fields) {
		*last = append(make([][2]string, 0, len(f.Fields)), f.Fields...)
	}
	return *last
}

// headerOf returns fields as a header, with the names as canonical spells them. All
// first values share one array.
func HeaderOf(fields [][2]string, canonical func(string) string) http.Header {
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
func (f *FieldSection) canonical(name string) string {
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
func CanonicalKey(name string) string {
	if key, ok := canonicalNames[name]; ok {
		return key
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// lower returns a header's key as HTTP/2 has it.
func Lower(key string) string {
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
func ValidName(name string) bool {
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
func ValidValue(value string) bool {
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// trimmed returns a value without the white space around it. HTTP/2 forbids it, in
// vain: net/http sends it, and HTTP/1.1 does not count it. [RFC 9113, section 8.2.1]
func Trimmed(value string) string {
	if n := len(value); n == 0 || value[0] > ' ' && value[n-1] > ' ' {
		return value
	}
	return strings.Trim(value, " \t")
}

// sendable reports whether a field may be in an HTTP/2 message.
// [RFC 9113, section 8.2.2]
func Sendable(name string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return false
	}
	return ValidName(name)
}

// passing reports whether the value of a field is different each time, so that
// it has no place in the table of the compression.
func Volatile(name string) bool {
	switch name {
	case "content-length", "grpc-timeout", "connect-timeout-ms", "traceparent", "x-request-id", "grpc-message", "grpc-status-details-bin":
		return true
	}
	return false
}

// fieldSize is what a field adds to SETTINGS_MAX_HEADER_LIST_SIZE.
func FieldSize(name, value string) int { return len(name) + len(value) + entryOverhead }
