// SPDX-License-Identifier: Apache-2.0

// SPIFFE IDs as text.

package auth

import (
	"fmt"
	"strings"
)

const (
	spiffeScheme    = "spiffe://"
	spiffeMax       = 2048 // bytes of an ID [SPIFFE-ID, section 2.3]
	trustDomainMax  = 255  // bytes of its trust domain
	segmentSpecials = "-._"
)

// A SPIFFEID is a SPIFFE ID in its two parts: "spiffe://" + TrustDomain + Path.
type SPIFFEID struct {
	TrustDomain string // such as "acme.com"
	Path        string // such as "/billing", "" if there is none
}

// String returns the ID.
func (id SPIFFEID) String() string { return spiffeScheme + id.TrustDomain + id.Path }

// ParseSPIFFEID parses a SPIFFE ID, as strictly as its specification: scheme and trust
// domain in lower case; no user, port, query, fragment or escapes; letters, digits and
// "-._" in a path whose segments are neither empty nor "." nor ".."; at most 2048 bytes,
// and 255 of the trust domain. [SPIFFE-ID, section 2]
func ParseSPIFFEID(s string) (SPIFFEID, error) {
	fail := func(format string, args ...any) (SPIFFEID, error) {
		return SPIFFEID{}, fmt.Errorf("auth: parsing a SPIFFE ID: "+format, args...)
	}
	if len(s) > spiffeMax {
		return fail("it has %d bytes: expected at most %d", len(s), spiffeMax)
	}
	rest, ok := strings.CutPrefix(s, spiffeScheme)
	if !ok {
		return fail("%q does not begin with %q", s, spiffeScheme)
	}
	id := SPIFFEID{TrustDomain: rest}
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		id.TrustDomain, id.Path = rest[:slash], rest[slash:]
	}
	if err := checkTrustDomain(id.TrustDomain); err != nil {
		return fail("%q: %w", s, err)
	}
	if id.Path == "" {
		return id, nil
	}
	for segment := range strings.SplitSeq(id.Path[1:], "/") {
		switch {
		case segment == "":
			return fail("%q has an empty segment in its path, or a slash at its end", s)
		case segment == "." || segment == "..":
			return fail("%q has the segment %q in its path", s, segment)
		}
		for i := range len(segment) {
			if !isAlphanumeric(segment[i]) && strings.IndexByte(segmentSpecials, segment[i]) < 0 {
				return fail("%q has the character %q in its path: expected letters, digits and %s", s, segment[i], segmentSpecials)
			}
		}
	}
	return id, nil
}

// checkTrustDomain returns an error if s is not the name of a trust domain.
// [SPIFFE-ID, section 2.1]
func checkTrustDomain(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("the trust domain is empty")
	case len(s) > trustDomainMax:
		return fmt.Errorf("the trust domain has %d bytes: expected at most %d", len(s), trustDomainMax)
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z') && !('0' <= c && c <= '9') && strings.IndexByte(segmentSpecials, c) < 0 {
			return fmt.Errorf("the trust domain has the character %q: expected lower-case letters, digits and %s", c, segmentSpecials)
		}
	}
	return nil
}
