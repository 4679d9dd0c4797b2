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

// protocolOwns reports whether applications may not set the header with this
// canonical key: what frames an HTTP message, and what the protocols reserve.
// [Connect protocol, "Leading-Metadata"; gRPC PROTOCOL-HTTP2, "Custom-Metadata"]
func protocolOwns(key string) bool {
	switch key {
	case headerContentType, headerAcceptEncoding, headerHost, headerUserAgent, headerTrailer,
		"Date", "Transfer-Encoding", headerConnection, "Keep-Alive", "Upgrade", headerTE:
		return true
	}
	return describesMessages(key)
}

// describesMessages reports whether a header describes how messages are written,
// which applications cannot know.
func describesMessages(key string) bool {
	return key == headerContentLength || key == headerContentEncoding ||
		strings.HasPrefix(key, "Grpc-") || strings.HasPrefix(key, "Connect-")
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
