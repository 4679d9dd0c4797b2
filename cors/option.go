// SPDX-License-Identifier: Apache-2.0

// What scripts may do, and which.

package cors

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// defaultMaxAge is the longest time that Chromium heeds.
const defaultMaxAge = 2 * time.Hour

// AllowedMethods returns the methods of calls: GET for procedures without side effects, and
// POST. The caller owns the slice.
func AllowedMethods() []string { return []string{http.MethodGet, http.MethodPost} }

// AllowedHeaders returns the names of the headers that clients in browsers send. The caller
// owns the slice.
func AllowedHeaders() []string {
	return []string{
		"Content-Type",
		"Connect-Protocol-Version", "Connect-Timeout-Ms",
		"Grpc-Timeout", "X-Grpc-Web", "X-User-Agent",
	}
}

// ExposedHeaders returns the names of the headers that clients in browsers read: the status
// of a gRPC-Web call without messages, and when to call an overloaded server again. The
// caller owns the slice.
func ExposedHeaders() []string {
	return []string{
		"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin",
		"Grpc-Retry-Pushback-Ms", "Retry-After",
	}
}

// settings are those of a Handler.
type settings struct {
	every          bool
	exact          map[string]bool
	below          []below
	ask            []func(origin string) bool
	requestHeaders []string
	exposed        []string
	credentials    bool
	maxAge         time.Duration
}

// An Option changes a [Handler].
type Option func(*settings)

// Origins allows scripts of these origins, which are written as browsers write them:
// "https://app.example.com", "http://localhost:5173". "https://*.example.com" stands for all
// names below example.com, and not for that name itself. "*" alone stands for every origin.
// Several options add up. It panics if an origin is none, and says why.
func Origins(origins ...string) Option {
	var add settings
	add.exact = make(map[string]bool)
	for _, origin := range origins {
		if origin == "*" {
			add.every = true
			continue
		}
		b, err := parseOrigin(origin)
		if err != nil {
			panic(fmt.Sprintf("cors: Origins(%q): %v", origin, err))
		}
		if b == nil {
			add.exact[origin] = true
		} else {
			add.below = append(add.below, *b)
		}
	}
	return func(s *settings) {
		s.every = s.every || add.every
		s.below = append(s.below, add.below...)
		if s.exact == nil {
			s.exact = make(map[string]bool)
		}
		for origin := range add.exact {
			s.exact[origin] = true
		}
	}
}

// OriginFunc allows scripts of the origins for which f returns true, besides those of
// [Origins]: f may look into a list that changes. It gets what the request has, which may be
// anything but "null", and must be safe for concurrent use. Several options add up. It panics
// if f is nil.
func OriginFunc(f func(origin string) bool) Option {
	if f == nil {
		panic("cors: OriginFunc(nil): pass the function to call")
	}
	return func(s *settings) { s.ask = append(s.ask, f) }
}

// RequestHeaders lets scripts send headers of the program's own, such as "Authorization". It
// panics if a name is none, and for "*": with credentials browsers take it for a name, and
// it never stands for Authorization.
func RequestHeaders(names ...string) Option {
	checkNames("RequestHeaders", names)
	return func(s *settings) { s.requestHeaders = append(s.requestHeaders, names...) }
}

// ResponseHeaders lets scripts read headers of the program's own. It panics as
// [RequestHeaders] does.
func ResponseHeaders(names ...string) Option {
	checkNames("ResponseHeaders", names)
	return func(s *settings) { s.exposed = append(s.exposed, names...) }
}

// Trailers lets scripts read trailers of the program's own, and metadata of its errors,
// wherever they are: the trailers of a unary call in Connect's protocol are headers with the
// prefix "Trailer-", and those of an error without messages are headers in gRPC-Web.
// Trailers of streams are in the body, and need nothing. It panics as [RequestHeaders] does.
func Trailers(names ...string) Option {
	checkNames("Trailers", names)
	return func(s *settings) {
		for _, name := range names {
			s.exposed = append(s.exposed, name, "Trailer-"+textproto.CanonicalMIMEHeaderKey(name))
		}
	}
}

// Credentials lets scripts call with cookies, passwords of HTTP, and client certificates.
// Then the origins must be named.
func Credentials() Option { return func(s *settings) { s.credentials = true } }

// MaxAge is how long browsers may keep the answer to a preflight request. The default is two
// hours; zero means that they ask before each call. Chromium heeds at most two hours,
// Firefox a day. It panics if d is negative, or not in whole seconds.
func MaxAge(d time.Duration) Option {
	if d < 0 || d%time.Second != 0 {
		panic(fmt.Sprintf("cors: MaxAge(%v): expected 0 or more, in whole seconds", d))
	}
	return func(s *settings) { s.maxAge = d }
}

func checkNames(option string, names []string) {
	for _, name := range names {
		if name == "*" || !isToken(name) {
			panic(fmt.Sprintf("cors: %s(%q): expected the name of a header", option, name))
		}
	}
}

// isToken reports whether s may be the name of a header. [RFC 9110, section 5.6.2]
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}) < 0
}
