// SPDX-License-Identifier: Apache-2.0

// The grammar of credentials and challenges in HTTP's headers.

package auth

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"
)

// isToken reports whether s is a token. [RFC 9110, section 5.6.2]
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isToken68 reports whether s is what follows a scheme: letters, digits, "-._~+/", and "="
// at the end. [RFC 9110, section 11.2]
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && strings.IndexByte("-._~+/", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// isQuotable reports whether s can be a quoted string of ASCII. [RFC 9110, section 5.6.4]
func isQuotable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// quote returns a quoted string.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// authorization returns the credentials of a scheme, whose name is in lower case. It
// returns ErrNoCredentials if there are none, or those of another scheme.
// [RFC 9110, section 11.4]
func authorization(values []string, scheme string) (string, error) {
	switch {
	case len(values) == 0:
		return "", ErrNoCredentials
	case len(values) > 1:
		return "", malformed(fmt.Sprintf("the header Authorization has %d values: expected one", len(values)))
	}
	name, credentials, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(name, scheme) {
		return "", ErrNoCredentials
	}
	credentials = strings.Trim(credentials, " ")
	switch {
	case credentials == "":
		return "", malformed(fmt.Sprintf("the header Authorization has the scheme %s and no credentials", scheme))
	case len(credentials) > credentialMax:
		return "", malformed(fmt.Sprintf("the %s credentials have %d bytes: expected at most %d", scheme, len(credentials), credentialMax))
	case !isToken68(credentials):
		return "", malformed(fmt.Sprintf("the %s credentials have characters that are not allowed: expected letters, digits and -._~+/=", scheme))
	}
	return credentials, nil
}

// parseBasic returns the user and the password of Basic credentials.
// [RFC 7617, section 2]
func parseBasic(credentials string) (user, password string, err error) {
	decoded, err := base64.StdEncoding.Strict().DecodeString(credentials)
	if err != nil {
		return "", "", malformed("the basic credentials are not base64")
	}
	user, password, ok := strings.Cut(string(decoded), ":")
	if !ok {
		return "", "", malformed("the basic credentials have no colon: expected user:password")
	}
	if !utf8.ValidString(user) || !utf8.ValidString(password) || strings.ContainsFunc(user+password, isControl) {
		return "", "", malformed("the basic credentials have control characters, or are not UTF-8")
	}
	return user, password, nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// check panics with a message of this package if a condition does not hold.
func check(ok bool, format string, args ...any) {
	if !ok {
		panic("auth: " + fmt.Sprintf(format, args...))
	}
}
