// SPDX-License-Identifier: Apache-2.0

// The rules that a field section must obey to be a request. [RFC 9113, sections 8.1.1
// and 8.3.1]

package wire

import (
	"net/http"
	"net/url"
	"strings"
)

// CheckRequest makes the section malformed unless it is a request. end is set if no body
// follows.
//
// A request has one :method, :scheme and :path, all of them not empty, and no :status
// [section 8.3.1]; CONNECT has :method and :authority alone [section 8.5]. A
// Content-Length must agree with the body [section 8.1.1]. A path that is more than a
// plain one is parsed, and kept as URL.
func (f *FieldSection) CheckRequest(end bool) {
	const usual = hasMethod | hasScheme | hasPath
	switch {
	case f.TooLarge(): // a missing field may have come after the limit
	case f.Pseudo&HasStatus != 0:
		f.Malformed("pseudo-field \":status\" in a request")
	case end && f.Length > 0:
		f.Malformed("no body, Content-Length says %d", f.Length)
	case strings.Contains(f.Authority, "@"):
		f.Malformed("pseudo-field \":authority\": has userinfo") // section 8.3.1
	case f.Method == "CONNECT":
		if f.Pseudo&^uint8(hasMethod|hasAuthority) != 0 || f.Authority == "" {
			f.Malformed("CONNECT: want \":method\" and \":authority\" only")
		}
	case f.Pseudo&usual != usual:
		f.Malformed("request without \":method\", \":scheme\" or \":path\"")
	case f.Method == "" || !ValidMethod(f.Method):
		f.Malformed("pseudo-field \":method\": got %q", f.Method)
	case f.scheme != "http" && f.scheme != "https":
		f.Malformed("pseudo-field \":scheme\": got %q, want \"http\" or \"https\"", f.scheme)
	case !strings.HasPrefix(f.Path, "/") && !(f.Path == "*" && f.Method == "OPTIONS"):
		f.Malformed("pseudo-field \":path\": got %q, want it to begin with \"/\"", f.Path)
	case !PlainPath(f.Path):
		u, err := url.ParseRequestURI(f.Path)
		if err != nil {
			f.Malformed("pseudo-field \":path\": %w", err)
		}
		f.URL = u
	}
}

// ValidMethod reports whether a method is a token. [RFC 9110, section 9.1]
func ValidMethod(method string) bool {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return true
	}
	return ValidName(strings.ToLower(method))
}

// PlainPath reports whether a path is its own parsed form: it has no query, no escapes,
// and does not begin with "//".
func PlainPath(path string) bool {
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		case c == '/' && !(i == 1): // "//host" would be an authority to others
		default:
			return false
		}
	}
	return path != ""
}

// MayBeDirect reports whether a request, in which CheckRequest found no fault, has
// nothing that only an [http.Request] can express.
func (f *FieldSection) MayBeDirect() bool {
	if f.Method != http.MethodPost || f.URL != nil || f.Authority == "" {
		return false
	}
	for i := range f.Fields {
		switch f.Fields[i][0] {
		case "expect", "host", "trailer":
			return false
		}
	}
	return true
}
