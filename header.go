// SPDX-License-Identifier: Apache-2.0

// HTTP headers: names, binary values, and which of them belong to a protocol.

package connect

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// Header keys in canonical form, as http.Header holds them.
const (
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

// Header values that never change are shared by all calls: one element each,
// full, never written.
var (
	valueIdentity = []string{"identity"}
	valueOne      = []string{"1"}
	valueTrailers = []string{"trailers"}
	valueJSON     = []string{"application/json"}
	valueStatus   = []string{headerGRPCStatus}
)

// EncodeBinaryHeader returns data in unpadded standard base64, the form in
// which metadata whose key ends in "-Bin" travels.
func EncodeBinaryHeader(data []byte) string {
	return base64.RawStdEncoding.EncodeToString(data)
}

// DecodeBinaryHeader returns the bytes of one base64 value, padded or not. A
// header may join several values with commas: split them before.
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

// protocolOwns reports whether the header with this canonical key is not the
// application's in responses, trailers and errors: what frames an HTTP message, what
// HTTP/2 forbids [RFC 9113, section 8.2.2], and what the protocols write themselves.
// Any other key is the application's, also where it begins with "Connect-" or "Grpc-".
func protocolOwns(key string) bool {
	switch key {
	case headerDate, "Transfer-Encoding", "Keep-Alive", "Upgrade":
		return true
	}
	return ownsOfRequest(key)
}

// ownsOfRequest is protocolOwns for requests, in which Date is metadata, and whose
// transport knows what to do with fields of its connection.
func ownsOfRequest(key string) bool {
	switch key {
	case headerContentType, headerAcceptEncoding, headerHost, headerUserAgent, headerTrailer:
		return true
	}
	return describesMessages(key)
}

// describesMessages reports whether a header describes the call or its messages,
// which applications cannot know.
func describesMessages(key string) bool {
	switch key {
	case headerContentLength, headerContentEncoding,
		headerConnectAccept, headerConnectEncoding, headerConnectTimeout, headerConnectVersion,
		headerGRPCAccept, headerGRPCEncoding, headerGRPCTimeout:
		return true
	}
	return isStatus(key)
}

// isStatus reports whether a trailer is a part of gRPC's status.
func isStatus(key string) bool {
	return key == headerGRPCStatus || key == headerGRPCMessage || key == headerGRPCDetails
}

// forbiddenInTrailers reports whether HTTP does not let a header be a trailer, so that
// servers leave it out. [RFC 9110, section 6.5.1]
func forbiddenInTrailers(key string) bool {
	switch key {
	case "Authorization", "Cache-Control", headerConnection, "Content-Range", "Expect", "Max-Forwards", "Pragma", "Proxy-Authenticate",
		"Proxy-Authorization", "Proxy-Connection", "Range", "Realm", headerTE, "Www-Authenticate":
		return true
	}
	return strings.HasPrefix(key, "If-")
}

// trailerKey returns the key under which net/http takes a trailer that it has
// not heard of before the body.
func trailerKey(key string) string {
	if key == headerGRPCStatus {
		return http.TrailerPrefix + headerGRPCStatus // of every call
	}
	return http.TrailerPrefix + key
}

// addMetadata appends the application's metadata in from to into. What the
// protocols own, and keys without values, stay behind.
func addMetadata(into, from http.Header) {
	for key, values := range from {
		if len(values) > 0 && !protocolOwns(http.CanonicalHeaderKey(key)) {
			into[key] = append(into[key], values...)
		}
	}
}

// addHeader appends all values of from to into.
func addHeader(into, from http.Header) {
	for key, values := range from {
		if len(values) > 0 {
			into[key] = append(into[key], values...)
		}
	}
}

// isToken reports whether s may be the name of a header. [RFC 9110, section
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
