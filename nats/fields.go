// SPDX-License-Identifier: Apache-2.0

// Fields of HTTP as headers of NATS messages. [PROTOCOL.md, section 2]

package natsrpc

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
)

// The fields of this protocol.
const (
	fieldVersion       = "Rpc-Version"
	fieldMethod        = "Rpc-Method"
	fieldHost          = "Rpc-Host"
	fieldQuery         = "Rpc-Query"
	fieldWindow        = "Rpc-Window"
	fieldStatus        = "Rpc-Status"
	fieldTrailerPrefix = "Rpc-Trailer-"
)

// isReserved reports whether a canonical name is of this protocol or of NATS. HTTP fields
// with such names are not passed on, in either direction: a caller could use features of the
// broker with them, such as Nats-Msg-Id or Nats-Trace-Dest.
func isReserved(key string) bool {
	return strings.HasPrefix(key, "Rpc-") || strings.HasPrefix(key, "Nats-")
}

// ofConnections reports whether a field is about a connection, and so has no meaning here.
// [RFC 9110, section 7.6.1]
func ofConnections(key string) bool {
	switch key {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// isToken reports whether s is a token, such as a name or a method. [RFC 9110, section
// 5.6.2]
func isToken(s string) bool { return isWord(s, "!#$%&'*+-.^`|~") }

// isValue reports whether s has no control characters but tabs. [RFC 9110, section 5.5]
func isValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// packFields adds fields to a message's header, each with a prefix before its name. It
// leaves out those for which skip is true. Names that only differ in case become one.
func packFields(into nats.Header, prefix string, from http.Header, skip func(key string) bool) error {
	for name, values := range from {
		if !isToken(name) {
			return errorf(connect.CodeInvalidArgument, "invalid field name %q", name)
		}
		key := http.CanonicalHeaderKey(name)
		if isReserved(key) || ofConnections(key) || skip != nil && skip(key) {
			continue
		}
		for _, value := range values {
			if !isValue(value) { // which may be a secret
				return errorf(connect.CodeInvalidArgument, "the value of field %q has control characters", name)
			}
			into[prefix+key] = append(into[prefix+key], value)
		}
	}
	return nil
}

// parseFields returns the HTTP fields of a message's header: those that begin with prefix,
// without it. Others are skipped, and with an empty prefix those that are reserved.
func parseFields(from nats.Header, prefix string) http.Header {
	into := make(http.Header, len(from))
	for name, values := range from {
		key := http.CanonicalHeaderKey(name)
		key, ok := strings.CutPrefix(key, prefix)
		if !ok || !isToken(key) {
			continue
		}
		key = http.CanonicalHeaderKey(key)
		if isReserved(key) || ofConnections(key) {
			continue
		}
		for _, value := range values {
			if isValue(value) {
				into[key] = append(into[key], value)
			}
		}
	}
	return into
}

// field returns the value of a field of this protocol. The name is as nats.go reads it, of
// any case.
func field(h nats.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	for key, values := range h {
		if len(values) > 0 && strings.EqualFold(key, name) {
			return values[0]
		}
	}
	return ""
}

// headerSize returns the bytes of a header on the wire. [NATS client protocol, HPUB]
func headerSize(h nats.Header) int {
	if len(h) == 0 {
		return 0
	}
	n := len("NATS/1.0\r\n\r\n")
	for key, values := range h {
		for _, value := range values {
			n += len(key) + len(value) + len(": \r\n")
		}
	}
	return n
}

// checkHeader reports a header that no message can carry, because the NATS server takes
// messages of limit bytes.
func checkHeader(h nats.Header, limit int) error {
	if n := headerSize(h) + frameOverhead; n > limit {
		return errorf(connect.CodeResourceExhausted, "the header fields have %d bytes, and the NATS server takes messages of %d: raise its max_payload, or send less metadata", n, limit)
	}
	return nil
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

// isHost reports whether s may be the value of a Host field.
func isHost(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("/?#@", r) })
}

var errNoFields = fmt.Errorf("natsrpc: request with a nil Header: use http.NewRequest")

// isNatsField reports whether a field of a message is one of NATS.
func isNatsField(key string) bool {
	return strings.HasPrefix(http.CanonicalHeaderKey(key), "Nats-")
}
