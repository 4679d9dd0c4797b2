// SPDX-License-Identifier: Apache-2.0

// Header fields: their names and values, and copies of them, so that the two sides of a
// call share none.

package inprocess

import (
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strings"
)

// lowerNames are the names that RPC uses most, in lower case.
var lowerNames = func() map[string]string {
	names := make(map[string]string)
	for _, key := range []string{
		"Accept", "Accept-Encoding", "Accept-Post", "Allow", "Authorization", "Cache-Control", "Connect-Accept-Encoding",
		"Connect-Content-Encoding", "Connect-Protocol-Version", "Connect-Timeout-Ms", "Content-Encoding", "Content-Length",
		"Content-Type", "Cookie", "Date", "Etag", "Expect", "Grpc-Accept-Encoding", "Grpc-Encoding", "Grpc-Message",
		"Grpc-Status", "Grpc-Status-Details-Bin", "Grpc-Timeout", "Host", "Set-Cookie", "Te", "Traceparent", "Trailer",
		"User-Agent", "Vary", "X-Grpc-Web", "X-Request-Id", "X-User-Agent",
	} {
		names[key] = strings.ToLower(key)
	}
	return names
}()

// lower returns a field's name in lower case.
func lower(key string) string {
	if name, ok := lowerNames[key]; ok {
		return name
	}
	return strings.ToLower(key)
}

// isToken reports whether s is a token, such as a name or a method. [RFC 9110, section
// 5.6.2]
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// isValue reports whether s has no control characters but tabs. [RFC 9110, section 5.5]
func isValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// ofConnections reports whether a field is about a connection, and so has no meaning here.
// [RFC 9113, section 8.2.2]
func ofConnections(name string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// put adds values to a header under the canonical form of a name, as the other side of
// HTTP/2 reads them: those of Cookie as one. It leaves out what HTTP cannot carry. [RFC 9113,
// section 8.2.3]
func put(into http.Header, name string, values []string) {
	key := http.CanonicalHeaderKey(name)
	all := into[key]
	for _, value := range values {
		if isValue(value) {
			all = append(all, value)
		}
	}
	if key == "Cookie" && len(all) > 1 {
		all = []string{strings.Join(all, "; ")}
	}
	if len(all) > 0 {
		into[key] = all
	}
}

// canonical returns a copy of trailers as the other side reads them.
func canonical(h http.Header) http.Header {
	if h == nil {
		return nil
	}
	into := make(http.Header, len(h))
	for key, values := range h {
		key := http.CanonicalHeaderKey(key)
		into[key] = append(into[key], values...)
	}
	return into
}

// announced returns a trailer with the keys that the values of Trailer list, and without
// values; nil if there are none. [RFC 9110, section 6.6.2]
func announced(values []string) (trailer http.Header) {
	for _, names := range values {
		for name := range strings.SplitSeq(names, ",") {
			switch key := http.CanonicalHeaderKey(strings.TrimSpace(name)); key {
			case "", "Transfer-Encoding", "Trailer", "Content-Length":
			default:
				if trailer == nil {
					trailer = make(http.Header)
				}
				trailer[key] = nil
			}
		}
	}
	return trailer
}

// The types that [io.NopCloser] returns.
var (
	nopCloser         = reflect.TypeOf(io.NopCloser(struct{ io.Reader }{}))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser((*bytes.Reader)(nil)))
)

// isNopCloser reports whether a body is io.NopCloser's around bytes in memory.
func isNopCloser(body io.Reader) bool {
	v := reflect.ValueOf(body)
	if t := v.Type(); t != nopCloser && t != nopCloserWriterTo {
		return false
	}
	inner, ok := v.Field(0).Interface().(io.Reader)
	return ok && inner != nil && inMemory(inner)
}
