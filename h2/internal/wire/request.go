// SPDX-License-Identifier: Apache-2.0

// What a field section must have to be a request. [RFC 9113, sections 8.1.1 and 8.3.1]

package wire

import (
	"net/http"
	"net/url"
	"strings"
)

// checkRequest looks for what a request must have. end says that it has no body.
// [RFC 9113, sections 8.1.1 and 8.3.1]
func (f *FieldSection) CheckRequest(end bool) {
	const usual = hasMethod | hasScheme | hasPath
	switch {
	case f.TooLarge(): // what is missing may have come later
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

func ValidMethod(method string) bool {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return true
	}
	return ValidName(strings.ToLower(method))
}

// plainPath reports whether a path is its own parsed form.
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

// mayBeDirect reports whether a request needs nothing that only an [http.Request]
// can tell. checkRequest has found nothing wrong with it.
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
