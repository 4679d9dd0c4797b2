// SPDX-License-Identifier: Apache-2.0

// The claims of a token.

package jwt

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// Claims are the claims of a verified token: the Details of its identity. Calls may share them:
// do not change them.
type Claims struct {
	Issuer, Subject, ID string
	Audience            []string
	// Expires, NotBefore and IssuedAt are zero if the token does not have them. Expires is the
	// token's own time, without the leeway.
	Expires, NotBefore, IssuedAt time.Time
	// Scopes are those of "scope", separated by spaces, and of "scp".
	// [RFC 8693, section 4.2]
	Scopes []string
	// Roles are those of "roles", or of the claim of [RolesClaim].
	Roles []string
	// KeyID and Algorithm are those of the token's header.
	KeyID, Algorithm string

	payload []byte
}

// Decode decodes all claims into a value of the program, as JSON. Names must be spelled exactly,
// and a name that is there twice is an error.
func (c *Claims) Decode(into any) error {
	if err := json.Unmarshal(c.payload, into); err != nil {
		return fmt.Errorf("jwt: decoding the claims: %w", err)
	}
	return nil
}

// String returns the issuer, the subject and the ID.
func (c *Claims) String() string {
	return fmt.Sprintf("claims of %q by %q, ID %q", c.Subject, c.Issuer, c.ID)
}

// LogValue returns String.
func (c *Claims) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Format writes String for each verb.
func (c *Claims) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }

// registered are the claims that the package reads. [RFC 7519, section 4.1]
type registered struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  strs     `json:"aud"`
	Expires   *seconds `json:"exp"`
	NotBefore *seconds `json:"nbf"`
	IssuedAt  *seconds `json:"iat"`
	ID        string   `json:"jti"`
	Scope     words    `json:"scope"`
	Scp       words    `json:"scp"`
}

// parseClaims parses the payload of a token. The roles are at a path of names.
func parseClaims(payload []byte, roles []string) (*Claims, error) {
	var r registered
	if err := json.Unmarshal(payload, &r); err != nil {
		return nil, err
	}
	c := &Claims{Issuer: r.Issuer, Subject: r.Subject, ID: r.ID, Audience: r.Audience,
		Expires: r.Expires.time(), NotBefore: r.NotBefore.time(), IssuedAt: r.IssuedAt.time(), payload: payload}
	for _, scope := range append(r.Scope, r.Scp...) {
		if !slices.Contains(c.Scopes, scope) {
			c.Scopes = append(c.Scopes, scope)
		}
	}
	var err error
	c.Roles, err = rolesAt(payload, roles)
	return c, err
}

// rolesAt returns the strings at a path of names, none if there is nothing.
func rolesAt(payload []byte, path []string) ([]string, error) {
	for _, name := range path {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(payload, &object); err != nil {
			return nil, fmt.Errorf("the claim %q is not in an object", strings.Join(path, "."))
		}
		inner, ok := object[name]
		if !ok {
			return nil, nil
		}
		payload = inner
	}
	var roles strs
	if err := json.Unmarshal(payload, &roles); err != nil {
		return nil, fmt.Errorf("the claim %q: %w", strings.Join(path, "."), err)
	}
	return roles, nil
}

// strs is a list of strings, or one.
type strs []string

func (s *strs) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*s = strs{one}
		return nil
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return errors.New("expected a string or a list of strings")
	}
	*s = list
	return nil
}

// words is a list of strings, or one with spaces between them.
type words []string

func (w *words) UnmarshalJSON(b []byte) error {
	var list strs
	if err := list.UnmarshalJSON(b); err != nil {
		return err
	}
	*w = nil
	for _, s := range list {
		*w = append(*w, strings.Fields(s)...)
	}
	return nil
}

// seconds is a NumericDate. [RFC 7519, section 2]
type seconds float64

// lastSecond is that of the year 9999.
const lastSecond = 253402300799

func (s *seconds) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil || math.IsNaN(f) || f < 0 || f > lastSecond {
		return errors.New("expected the seconds since 1970 as a number")
	}
	*s = seconds(f)
	return nil
}

func (s *seconds) time() time.Time {
	if s == nil {
		return time.Time{}
	}
	whole, part := math.Modf(float64(*s))
	return time.Unix(int64(whole), int64(part*1e9))
}
