// SPDX-License-Identifier: Apache-2.0

// Headers: what a proxy adds, reads and leaves out.

package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// maxProxies is the default of [WithMaxProxies].
const maxProxies = 16

// pseudonym is the name of a proxy in Via. [RFC 9110, section 7.6.3]
const pseudonym = "connect"

// checkVia returns an error if a call has passed more proxies than most.
func checkVia(h http.Header, most int) error {
	passed := 0
	for _, value := range h.Values("Via") {
		passed += strings.Count(value, ",") + 1
	}
	if passed <= most {
		return nil
	}
	return connect.NewError(connect.CodeFailedPrecondition,
		fmt.Errorf("forward call: it has passed %d proxies, expected at most %d: look for a proxy that forwards to itself, or raise the limit with WithMaxProxies", passed, most))
}

// addVia adds this proxy to a header.
func addVia(h http.Header, in *http.Request) {
	h["Via"] = append(h.Values("Via"), fmt.Sprintf("%d.%d %s", in.ProtoMajor, in.ProtoMinor, pseudonym))
}

// timeoutOf returns the time that a caller gives its call. It ignores a value that is
// not valid: the server refuses it. [Connect protocol, "Timeout"; gRPC over HTTP2,
// "Timeout"]
func timeoutOf(h http.Header) (time.Duration, bool) {
	unit, value := time.Millisecond, h.Get("Connect-Timeout-Ms")
	if t := h.Get("Content-Type"); strings.HasPrefix(t, "application/grpc") {
		value = h.Get("Grpc-Timeout")
		if value == "" {
			return 0, false
		}
		units := map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond}
		unit = units[value[len(value)-1]]
		value = value[:len(value)-1]
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil || unit == 0 || len(value) > 10 || n > uint64(maxTimeout/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// maxTimeout is the longest timeout that a time.Duration holds.
const maxTimeout = time.Duration(1<<63 - 1)

// forwarded reports whether a translated call keeps a header: all but those that
// describe the connection, the messages' bytes, or the protocol.
// [RFC 9110, section 7.6.1]
func forwarded(key string) bool {
	switch key {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect",
		"Host", "Date", "Content-Type", "Content-Length", "Content-Encoding", "Accept-Encoding", "Accept-Post", "Allow",
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Via":
		return false
	}
	return !strings.HasPrefix(key, "Grpc-") && !strings.HasPrefix(key, "Connect-") && !strings.HasPrefix(key, ":")
}

// addForwarded adds the metadata of one side of the proxy to that of the other.
func addForwarded(to, from http.Header) {
	named := make(map[string]bool) // by Connection, as of this connection alone
	for _, value := range from.Values("Connection") {
		for key := range strings.SplitSeq(value, ",") {
			named[http.CanonicalHeaderKey(strings.TrimSpace(key))] = true
		}
	}
	for key, values := range from {
		if canonical := http.CanonicalHeaderKey(key); forwarded(canonical) && !named[canonical] {
			to[key] = append(to[key], values...)
		}
	}
}
