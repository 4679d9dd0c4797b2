// SPDX-License-Identifier: Apache-2.0

// Field sections: what HPACK decodes, checked and made an http.Header, and the way back.
// [RFC 9113, section 8]
//
// Invariants. The reading goroutine owns a FieldSection and uses it again for each
// section; slices and headers that leave it (Pairs, Header) are copies or never written
// again. Once a section is malformed or too large, HPACK decodes the rest, and no more
// fields are kept.

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

const (
	canonKept = 64  // names whose canonical forms a connection keeps
	canonMax  = 256 // bytes of each

	fieldsKept = 1024 // fields for which a connection keeps the memory
)

// A FieldSection collects the fields of one HEADERS frame and its CONTINUATIONs.
type FieldSection struct {
	section
	Limit   int               // bound of Size
	Lenient bool              // for responses: fields of HTTP/1.1 connections are ignored
	trailer bool              // a trailer section: no pseudo-fields, no framing fields
	skipped bool              // the block was too long to keep: see [Decoder.Skip]
	canon   map[string]string // canonical forms of names that are not common

	// The last results of Pairs, for a head and for trailers: calls of one kind repeat them.
	lastHead, lastTrailer [][2]string
}

// A section has the fields that were collected.
type section struct {
	// Pseudo-fields. Absent ones are empty.
	Method, scheme, Authority, Path, Status string
	Pseudo                                  uint8 // bits of those that are present

	Fields [][2]string // regular fields: names in lower case, and values
	Length int64       // value of Content-Length; negative: absent
	Size   int         // counted as SETTINGS_MAX_HEADER_LIST_SIZE counts
	URL    *url.URL    // the parsed path, if it is more than a path
	Bad    error       // the first fault that makes it malformed
}

// set makes s a copy of another section, in its own memory.
func (s *section) set(other *section) {
	fields := s.Fields[:0]
	*s = *other
	s.Fields = append(fields, other.Fields...)
}

// The bits of section.Pseudo.
const (
	hasMethod = 1 << iota
	hasScheme
	hasAuthority
	hasPath
	HasStatus
)

// Begin forgets the last section. The memory of one with many fields is not kept.
func (f *FieldSection) Begin(trailer bool) {
	if cap(f.Fields) > fieldsKept {
		f.Fields = nil
	}
	clear(f.Fields)
	f.section = section{Fields: f.Fields[:0], Length: -1}
	f.trailer, f.skipped = trailer, false
}

// TooLarge reports whether the section exceeds its limit. Its fields are then
// incomplete.
func (f *FieldSection) TooLarge() bool { return f.Size > f.Limit || f.skipped }

// Malformed makes the section malformed. The first reason counts.
func (f *FieldSection) Malformed(format string, args ...any) {
	if f.Bad == nil {
		f.Bad = fmt.Errorf(format, args...)
	}
}

// add takes the next field from HPACK and checks it. [RFC 9113, sections 8.2.1 and
// 8.2.2]
func (f *FieldSection) add(field hpack.HeaderField) {
	f.Size += int(field.Size())
	if f.TooLarge() || f.Bad != nil {
		return
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
			return // has no meaning there
		}
		n, err := strconv.ParseUint(field.Value, 10, 63)
		if err != nil || f.Length >= 0 && f.Length != int64(n) {
			f.Malformed("field \"content-length\": got %q, want one number", field.Value)
			return
		}
		if f.Length >= 0 {
			return // repeated
		}
		f.Length = int64(n)
	}
	f.Fields = append(f.Fields, [2]string{field.Name, field.Value})
}

// addPseudo takes a pseudo-field. They come before all regular fields, each at most
// once. [RFC 9113, section 8.3]
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

// Header returns the regular fields as a new header.
func (f *FieldSection) Header() http.Header { return HeaderOf(f.Fields, f.canonical) }

// Pairs returns the regular fields as a slice that is never written: the last one again,
// if it had the same fields.
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

// HeaderOf returns fields as a header, with names in the form that canonical returns.
// All first values share one array. Values of Cookie are joined. [RFC 9113, section
// 8.2.3]
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
		default:
			h[key] = append(old, value)
		}
	}
	if cookies := h["Cookie"]; len(cookies) > 1 {
		h["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
	return h
}

// canonical returns a name in the form of http.Header.
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
	if len(f.canon) < canonKept && len(name) <= canonMax { // a peer may send new names without end
		f.canon[name] = key
	}
	return key
}

// CanonicalKey returns a name in the form of http.Header. Any goroutine may call it.
func CanonicalKey(name string) string {
	if key, ok := canonicalNames[name]; ok {
		return key
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// Lower returns a header's key in the form of HTTP/2.
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

// ValidName reports whether a name is a token without upper-case letters. [RFC 9113,
// section 8.2.1]
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

// ValidValue reports whether a value has no control characters, apart from tabs. [RFC
// 9113, section 8.2.1]
func ValidValue(value string) bool {
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// Trimmed returns a value without white space around it. HTTP/2 forbids it [RFC 9113,
// section 8.2.1], but net/http sends it, and in HTTP/1.1 it is not part of the value.
func Trimmed(value string) string {
	if n := len(value); n == 0 || value[0] > ' ' && value[n-1] > ' ' {
		return value
	}
	return strings.Trim(value, " \t")
}

// Sendable reports whether HTTP/2 may carry a field with this name. [RFC 9113, section
// 8.2.2]
func Sendable(name string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return false
	}
	return ValidName(name)
}

// Volatile reports whether the value of a field differs each time, so that it has no
// place in the table of HPACK.
func Volatile(name string) bool {
	switch name {
	case "content-length", "grpc-timeout", "connect-timeout-ms", "traceparent", "x-request-id", "grpc-message", "grpc-status-details-bin":
		return true
	}
	return false
}

// FieldSize returns what a field adds to SETTINGS_MAX_HEADER_LIST_SIZE. [RFC 9113,
// section 6.5.2]
func FieldSize(name, value string) int { return len(name) + len(value) + entryOverhead }
