// SPDX-License-Identifier: Apache-2.0

// HTTP headers: their names, binary values, and the headers that the protocols own.

package connect

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// Header keys in canonical form, as http.Header holds them.
const (
	headerAcceptPost      = "Accept-Post"
	headerAcceptEncoding  = "Accept-Encoding"
	headerConnection      = "Connection"
	headerContentEncoding = "Content-Encoding"
	headerContentLength   = "Content-Length"
	headerContentType     = "Content-Type"
	headerDate            = "Date"
	headerHost            = "Host"
	headerTE              = "Te"
	headerTrailer         = "Trailer"
	headerUserAgent       = "User-Agent"
	headerVary            = "Vary"
	headerXUserAgent      = "X-User-Agent"

	headerConnectAccept   = "Connect-Accept-Encoding"
	headerConnectEncoding = "Connect-Content-Encoding"
	headerConnectTimeout  = "Connect-Timeout-Ms"
	headerConnectVersion  = "Connect-Protocol-Version"

	headerGRPCAccept   = "Grpc-Accept-Encoding"
	headerGRPCDetails  = "Grpc-Status-Details-Bin"
	headerGRPCEncoding = "Grpc-Encoding"
	headerGRPCMessage  = "Grpc-Message"
	headerGRPCStatus   = "Grpc-Status"
	headerGRPCTimeout  = "Grpc-Timeout"
)

// Header values that all calls share. Nothing writes to them; their capacity is
// 1, so that append copies them.
var (
	valueEmpty    = []string{""}
	valueIdentity = []string{"identity"}
	valueOne      = []string{"1"}
	valueTrailers = []string{"trailers"}
	valueJSON     = []string{"application/json"}
	valueStatus   = []string{headerGRPCStatus}
)

// EncodeBinaryHeader returns data in standard base64 without padding: the form of
// header and trailer values whose key ends in "-Bin". The library does not encode
// these values itself. [grpc/doc/PROTOCOL-HTTP2.md, "Custom-Metadata"]
func EncodeBinaryHeader(data []byte) string {
	return base64.RawStdEncoding.EncodeToString(data)
}

// DecodeBinaryHeader returns the bytes of one value in standard base64, with or
// without padding. A header may have several values in one, separated by commas:
// split it before.
func DecodeBinaryHeader(data string) ([]byte, error) {
	if strings.HasSuffix(data, "=") {
		return base64.StdEncoding.DecodeString(data)
	}
	return base64.RawStdEncoding.DecodeString(data)
}

// first returns the first value of a header whose key is canonical.
func first(h http.Header, key string) string {
	if values := h[key]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// protocolOwns reports whether applications cannot set the header with this
// canonical key in responses, trailers and errors: because it frames the HTTP
// message, because HTTP/2 forbids it [RFC 9113, section 8.2.2], or because the
// protocols write it. Applications can set all others, also if they begin with
// "Connect-" or "Grpc-".
func protocolOwns(key string) bool {
	return key == headerDate || isOfConnection(key) || ownsOfRequest(key)
}

// isOfConnection reports whether a header is about the connection of HTTP/1.1.
func isOfConnection(key string) bool {
	switch key {
	case "Transfer-Encoding", "Keep-Alive", "Upgrade":
		return true
	}
	return false
}

// ownsOfRequest is protocolOwns for requests. Applications can set Date there, and
// fields of the connection: the transport handles those.
func ownsOfRequest(key string) bool {
	switch key {
	case headerContentType, headerAcceptEncoding, headerHost, headerUserAgent, headerTrailer:
		return true
	}
	return describesMessages(key)
}

// describesMessages reports whether a header describes the encoding, the length
// or the status of messages, which only the library can set.
func describesMessages(key string) bool {
	switch key {
	case headerContentLength, headerContentEncoding,
		headerConnectAccept, headerConnectEncoding, headerConnectTimeout, headerConnectVersion,
		headerGRPCAccept, headerGRPCEncoding, headerGRPCTimeout:
		return true
	}
	return isStatus(key)
}

// isStatus reports whether a trailer belongs to gRPC's status.
func isStatus(key string) bool {
	return key == headerGRPCStatus || key == headerGRPCMessage || key == headerGRPCDetails
}

// forbiddenInTrailers reports whether HTTP forbids a header as a trailer: servers
// leave it out there. [RFC 9110, section 6.5.1]
func forbiddenInTrailers(key string) bool {
	switch key {
	case "Authorization", "Cache-Control", headerConnection, "Content-Range", "Expect", "Max-Forwards", "Pragma", "Proxy-Authenticate",
		"Proxy-Authorization", "Proxy-Connection", "Range", "Realm", headerTE, "Www-Authenticate":
		return true
	}
	return strings.HasPrefix(key, "If-")
}

// trailerKey returns the key for a trailer that was not announced before the body,
// with the prefix that net/http needs.
func trailerKey(key string) string {
	if key == headerGRPCStatus {
		return http.TrailerPrefix + headerGRPCStatus // a constant: every gRPC call has this trailer
	}
	return http.TrailerPrefix + key
}

// addMetadata appends the application's metadata in from to into. It leaves out
// the headers that the protocols own, and keys without values. With connect-go's
// meaning it adds the connection's headers, too, and those in another spelling.
func addMetadata(into, from http.Header, connectGo bool) {
	for key, values := range from {
		owned := protocolOwns(http.CanonicalHeaderKey(key))
		if owned && connectGo {
			owned = protocolOwns(key) && !isOfConnection(key)
		}
		if len(values) > 0 && !owned {
			into[key] = append(into[key], values...)
		}
	}
}

// addHeader appends all values of from to into. Those of new keys share one array.
func addHeader(into, from http.Header) {
	n := 0
	for _, values := range from {
		n += len(values)
	}
	all := make([]string, 0, n)
	for key, values := range from {
		switch old := into[key]; {
		case len(values) == 0:
		case old == nil:
			first := len(all)
			all = append(all, values...)
			into[key] = all[first:len(all):len(all)]
		default:
			into[key] = append(old, values...)
		}
	}
}

// isToken reports whether s is a valid name of a header. [RFC 9110, section
// 5.6.2]
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alphanumeric && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
