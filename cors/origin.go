// SPDX-License-Identifier: Apache-2.0

// Origins: how browsers write them [RFC 6454, section 6.2], and names below a domain.

package cors

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// null is the origin of documents that have none, such as sandboxed frames.
const null = "null"

// A below stands for the origins of all names below a domain.
type below struct {
	scheme string // with "://"
	domain string // with a dot before it, and the port after it
}

// has reports whether an origin is of a name below the domain.
func (b below) has(origin string) bool {
	name, ok := strings.CutPrefix(origin, b.scheme)
	if !ok {
		return false
	}
	name, ok = strings.CutSuffix(name, b.domain)
	return ok && isName(name)
}

// isName reports whether s is a DNS name in lower case: labels of letters, digits, hyphens
// and underscores, with dots between.
func isName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// parseOrigin checks an origin of a program. It returns a below for one with "*", and nil for
// one that is compared as it is.
func parseOrigin(origin string) (*below, error) {
	if origin == null {
		return nil, errors.New(`expected a scheme and a host; "null" is the origin of any sandboxed page`)
	}
	u, err := url.Parse(origin)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "" || u.Host == "" {
		return nil, errors.New(`expected a scheme and a host, such as "https://app.example.com"`)
	}
	if written := u.Scheme + "://" + u.Host; written != origin {
		return nil, fmt.Errorf("expected a scheme and a host alone, with a port if it is not the scheme's: %q", written)
	}
	if strings.ToLower(origin) != origin {
		return nil, fmt.Errorf("expected lower case, as browsers write it: %q", strings.ToLower(origin))
	}
	if port := u.Port(); port == "" && strings.HasSuffix(u.Host, ":") || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return nil, fmt.Errorf("expected no port, because it is the scheme's: %q", u.Scheme+"://"+u.Hostname())
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
			return nil, errors.New("expected a port of 0 to 65535, without zeros before it")
		}
	}
	host := u.Hostname()
	if rest, ok := strings.CutPrefix(host, "*."); ok {
		if !isName(rest) || !strings.Contains(rest, ".") {
			return nil, errors.New(`expected a domain of two labels or more after "*."`)
		}
		return &below{scheme: u.Scheme + "://", domain: u.Host[1:]}, nil
	}
	if address, err := netip.ParseAddr(host); err == nil {
		if written := writtenAddress(address); written != host {
			return nil, fmt.Errorf("expected the address as browsers write it: %q", written)
		}
		return nil, nil
	}
	if !isName(host) {
		return nil, errors.New(`expected a host name, in ASCII as browsers write it ("xn--…"), with "*." before it at most`)
	}
	return nil, nil
}

// writtenAddress returns an address as browsers write it: without a zone, and one of IPv4 in
// IPv6 as any other of IPv6. [URL Standard, "IPv6 serializer"]
func writtenAddress(address netip.Addr) string {
	if b := address.As16(); address.Is4In6() {
		return fmt.Sprintf("::ffff:%x:%x", uint(b[12])<<8|uint(b[13]), uint(b[14])<<8|uint(b[15]))
	}
	return address.WithZone("").String()
}
