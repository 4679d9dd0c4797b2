// SPDX-License-Identifier: Apache-2.0

// SPIFFE IDs as text, and the parsers of headers, under fuzzing.

package auth_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
)

func TestParseSPIFFEID(t *testing.T) {
	for s, want := range map[string]string{ // "" if it is valid, text of the error otherwise
		"spiffe://acme.com":                       "",
		"spiffe://acme.com/billing":               "",
		"spiffe://a_b-c.1/ns/Prod/sa/A.b_c-1/...": "",
		"spiffe://" + strings.Repeat("a", 255):    "",
		"spiffe://" + strings.Repeat("a", 256):    "the trust domain has 256 bytes: expected at most 255",
		"spiffe://a/" + strings.Repeat("b", 2037): "",
		"spiffe://a/" + strings.Repeat("b", 2038): "it has 2049 bytes: expected at most 2048",
		"":                         "does not begin with",
		"SPIFFE://acme.com":        "does not begin with",
		"https://acme.com":         "does not begin with",
		"spiffe:/acme.com":         "does not begin with",
		"spiffe://":                "the trust domain is empty",
		"spiffe:///billing":        "the trust domain is empty",
		"spiffe://Acme.com":        `the trust domain has the character 'A'`,
		"spiffe://acme.com:443/a":  `the trust domain has the character ':'`,
		"spiffe://user@acme.com/a": `the trust domain has the character '@'`,
		"spiffe://acme.com?a=b":    `the trust domain has the character '?'`,
		"spiffe://acme.com/a?b=c":  `the character '?' in its path`,
		"spiffe://acme.com/a#b":    `the character '#' in its path`,
		"spiffe://acme.com/a%20b":  `the character '%' in its path`,
		"spiffe://acme.com/ä":      `in its path`,
		"spiffe://acme.com/":       "an empty segment in its path, or a slash at its end",
		"spiffe://acme.com/a/":     "an empty segment",
		"spiffe://acme.com/a//b":   "an empty segment",
		"spiffe://acme.com/a/../b": `the segment ".."`,
		"spiffe://acme.com/.":      `the segment "."`,
	} {
		id, err := auth.ParseSPIFFEID(s)
		switch {
		case want == "" && (err != nil || id.String() != s):
			t.Errorf("%q: got %v and %v", s, id, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: got %v, want %q", s, err, want)
		}
	}
}

// FuzzSPIFFEID: what is parsed is the text again, and a URL of the parts.
func FuzzSPIFFEID(f *testing.F) {
	for _, s := range []string{"spiffe://acme.com/billing", "spiffe://a", "spiffe://A/b", "spiffe://a/b/../c", "spiffe://a/%2e", "spiffe://a@b:1/c?d#e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := auth.ParseSPIFFEID(s)
		if err != nil {
			return
		}
		u, err := url.Parse(s)
		if id.String() != s || err != nil || u.Scheme != "spiffe" || u.Host != id.TrustDomain || u.Path != id.Path || u.RawQuery+u.Fragment != "" || u.User != nil || u.String() != s {
			t.Errorf("%q: got %q, %v and the error %v", s, id, u, err)
		}
	})
}

// FuzzAuthorization: a header is refused with a code or has what net/http finds.
func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{"Basic Ym9iOnB3", "basic  Ym9iOnB3 ", "Basic Ym9i", "Basic", "Bearer abc", "Bearer a b", "Basic Ym9iOnB3\x00", "Digest a=b", "Basic YgA6cHc=", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		header := http.Header{"Authorization": {s}}
		var user, password, token string
		basic := auth.Basic(func(_ context.Context, u, p string) (auth.Identity, error) {
			user, password = u, p
			return auth.Identity{Subject: "x"}, nil
		})
		bearer := auth.Bearer(func(_ context.Context, s string) (auth.Identity, error) {
			token = s
			return auth.Identity{Subject: "x"}, nil
		})
		_, err := basic.Authenticate(context.Background(), auth.Request{Header: header})
		u, p, ok := (&http.Request{Header: http.Header{"Authorization": {strings.Join(strings.Fields(s), " ")}}}).BasicAuth()
		switch {
		case err == nil && (!ok || u != user || p != password):
			t.Errorf("%q: got %q and %q, net/http has %q and %q", s, user, password, u, p)
		case err != nil && !errors.Is(err, auth.ErrNoCredentials) && connect.CodeOf(err) != connect.CodeUnauthenticated:
			t.Errorf("%q: got %v, want a code", s, err)
		}
		_, err = bearer.Authenticate(context.Background(), auth.Request{Header: header})
		switch {
		case err == nil && (token == "" || strings.ContainsAny(token, " \",;\r\n") || !strings.HasSuffix(strings.TrimRight(s, " "), token)):
			t.Errorf("%q: got the token %q", s, token)
		case err != nil && !errors.Is(err, auth.ErrNoCredentials) && connect.CodeOf(err) != connect.CodeUnauthenticated:
			t.Errorf("%q: got %v, want a code", s, err)
		}
	})
}
