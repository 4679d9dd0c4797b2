// SPDX-License-Identifier: Apache-2.0

// The verifier of tokens.

package jwt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
)

const (
	defaultLeeway   = 30 * time.Second
	defaultTokenMax = 16 << 10
	shownMax        = 64 // bytes of a token's value in an error
	unnamedMax      = 4  // keys that a token without a key ID is tried with
)

// asymmetric are the algorithms of public keys. [RFC 7518, section 3.1; RFC 8037]
var asymmetric = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// symmetric are those of secrets.
var symmetric = []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512}

// An Option is a setting of a [Verifier].
type Option func(*Verifier)

// A Verifier verifies tokens. It is safe for concurrent use, has no goroutine of its own while
// no keys are fetched, and needs no end.
type Verifier struct {
	keys                   *Keys
	issuers, audiences     []string
	anyIssuer, anyAudience bool
	algorithms             []jose.SignatureAlgorithm
	types                  []string
	roles                  []string
	leeway                 time.Duration
	tokenMax               int
	identify               func(ctx context.Context, claims *Claims) (auth.Identity, error)
}

// New returns a verifier of tokens that are signed with one of the keys. Of the options, an
// [Issuer] or [AnyIssuer] and an [Audience] or [AnyAudience] are needed: otherwise New panics. A
// server that does not check the audience accepts tokens that were made for other servers, which
// these could send on. [RFC 8725, section 3.9]
func New(keys *Keys, options ...Option) *Verifier {
	check(keys != nil, "New: the keys are nil: pass JWKS, StaticJWKS, PublicKey or Secret")
	v := &Verifier{keys: keys, leeway: defaultLeeway, tokenMax: defaultTokenMax, roles: []string{"roles"}, types: []string{"", "jwt", "at+jwt"}}
	for _, o := range options {
		check(o != nil, "New: an option is nil")
		o(v)
	}
	known := asymmetric
	if keys.secret {
		known = symmetric
	}
	if v.algorithms == nil {
		v.algorithms = known
	}
	for _, a := range v.algorithms {
		check(slices.Contains(known, a), "Algorithms: %q is not one for these keys: expected some of %v", a, known)
	}
	check(v.anyIssuer != (len(v.issuers) > 0), "New: pass Issuer, or AnyIssuer, and not both")
	check(v.anyAudience != (len(v.audiences) > 0), "New: pass Audience, or AnyAudience, and not both")
	return v
}

// Issuer permits tokens of an issuer, whose "iss" must be equal to it. Several options permit
// several issuers, which share the keys. It panics if issuer is empty.
func Issuer(issuer string) Option {
	check(issuer != "", "Issuer: it is empty")
	return func(v *Verifier) { v.issuers = append(v.issuers, issuer) }
}

// AnyIssuer permits tokens of all issuers, and without one: whoever has a key is trusted.
func AnyIssuer() Option { return func(v *Verifier) { v.anyIssuer = true } }

// Audience permits tokens that have audience in their "aud". Several options permit tokens with
// one of several. It panics if audience is empty.
func Audience(audience string) Option {
	check(audience != "", "Audience: it is empty")
	return func(v *Verifier) { v.audiences = append(v.audiences, audience) }
}

// AnyAudience permits tokens for all audiences, and without one: see [New].
func AnyAudience() Option { return func(v *Verifier) { v.anyAudience = true } }

// Algorithms permits these algorithms alone, such as "ES256". The default is all of RS256, RS384,
// RS512, PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA, and for a [Secret] HS256, HS384 and
// HS512. [New] panics for one that is not in this list: so "none" cannot be permitted, nor HMAC
// with public keys, which are no secrets. [RFC 8725, sections 3.1 and 3.2]
func Algorithms(algorithms ...string) Option {
	check(len(algorithms) > 0, "Algorithms: none is given")
	return func(v *Verifier) {
		for _, a := range algorithms {
			v.algorithms = append(v.algorithms, jose.SignatureAlgorithm(a))
		}
	}
}

// Types permits these values of the header "typ" alone, such as "at+jwt" for access tokens. Case
// and a leading "application/" do not count; "" is a token without it. The default is "", "JWT"
// and "at+jwt": tokens for other purposes, such as "logout+jwt", are refused.
// [RFC 8725, section 3.11; RFC 9068, section 4]
func Types(types ...string) Option {
	check(len(types) > 0, "Types: none is given")
	return func(v *Verifier) {
		v.types = nil
		for _, t := range types {
			v.types = append(v.types, canonicalType(t))
		}
	}
}

func canonicalType(t string) string {
	return strings.TrimPrefix(strings.ToLower(t), "application/")
}

// Leeway sets by how much clocks may differ: a token is accepted that long after its end, and
// before its begin. The default is 30 seconds. It panics if leeway is negative or more than
// ten minutes.
func Leeway(leeway time.Duration) Option {
	check(leeway >= 0 && leeway <= 10*time.Minute, "Leeway: %v: expected at most ten minutes", leeway)
	return func(v *Verifier) { v.leeway = leeway }
}

// MaxTokenBytes sets the longest token, 16 KiB by default, which is also what [auth.Bearer] lets
// through. It panics if n is not positive.
func MaxTokenBytes(n int) Option {
	check(n > 0, "MaxTokenBytes: %d: expected a positive number", n)
	return func(v *Verifier) { v.tokenMax = n }
}

// RolesClaim sets the claim with the roles: a path of names, such as "realm_access", "roles". The
// default is "roles". It panics without a name.
func RolesClaim(path ...string) Option {
	check(len(path) > 0, "RolesClaim: no name is given")
	path = slices.Clone(path)
	return func(v *Verifier) { v.roles = path }
}

// Identify sets a function that maps the claims of a verified token to an identity, or refuses
// them, with an error of [auth.Func]. What the identity leaves empty of Subject, Issuer, Scopes,
// Roles, Expires and Details is as it is without the function: the claims' own, and the [*Claims]
// as Details. It panics if identify is nil.
func Identify(identify func(ctx context.Context, claims *Claims) (auth.Identity, error)) Option {
	check(identify != nil, "Identify: the function is nil")
	return func(v *Verifier) { v.identify = identify }
}

// Verify verifies a token, for [auth.Bearer]. The identity's Expires has the leeway in it, and its
// Details are the [*Claims]. Errors have CodeUnauthenticated, or CodeUnavailable if the keys cannot
// be fetched; the error of ctx is returned as it is.
func (v *Verifier) Verify(ctx context.Context, token string) (auth.Identity, error) {
	claims, err := v.Claims(ctx, token)
	if err != nil {
		return auth.Identity{}, err
	}
	var identity auth.Identity
	if v.identify != nil {
		if identity, err = v.identify(ctx, claims); err != nil {
			return auth.Identity{}, err
		}
	}
	if identity.Subject == "" {
		identity.Subject = claims.Subject
	}
	if identity.Issuer == "" {
		identity.Issuer = claims.Issuer
	}
	if identity.Scopes == nil {
		identity.Scopes = claims.Scopes
	}
	if identity.Roles == nil {
		identity.Roles = claims.Roles
	}
	if identity.Expires.IsZero() {
		identity.Expires = claims.Expires.Add(v.leeway)
	}
	if identity.Details == nil {
		identity.Details = claims
	}
	return identity, nil
}

// Claims is Verify for programs that need the claims alone.
func (v *Verifier) Claims(ctx context.Context, token string) (*Claims, error) {
	if len(token) > v.tokenMax {
		return nil, invalid(nil, "the token has %d bytes: expected at most %d", len(token), v.tokenMax)
	}
	signed, err := jose.ParseSignedCompact(token, v.algorithms)
	var unexpected *jose.ErrUnexpectedSignatureAlgorithm
	switch {
	case errors.As(err, &unexpected):
		return nil, invalid(err, "the token's algorithm is %s: expected one of %v", shown(string(unexpected.Got)), v.algorithms)
	case err != nil:
		return nil, invalid(err, "the token is not a signed JSON Web Token")
	case len(signed.Signatures) != 1:
		return nil, invalid(nil, "the token has %d signatures: expected one", len(signed.Signatures))
	}
	header := signed.Signatures[0].Protected
	if err := v.checkHeader(header); err != nil {
		return nil, err
	}
	payload, err := v.verifySignature(ctx, signed, header)
	if err != nil {
		return nil, err
	}
	claims, err := parseClaims(payload, v.roles)
	if err != nil {
		return nil, invalid(err, "the token's claims cannot be read")
	}
	claims.KeyID, claims.Algorithm = header.KeyID, header.Algorithm
	if err := v.checkClaims(claims, time.Now()); err != nil {
		return nil, err
	}
	return claims, nil
}

// checkHeader returns an error for headers that the package does not support.
func (v *Verifier) checkHeader(header jose.Header) error {
	for _, name := range []jose.HeaderKey{"crit", "b64"} { // [RFC 7515, section 4.1.11; RFC 7797, section 7]
		if _, ok := header.ExtraHeaders[name]; ok {
			return invalid(nil, "the token has the header %q, which is not supported", name)
		}
	}
	kind, ok := header.ExtraHeaders[jose.HeaderType].(string)
	if _, there := header.ExtraHeaders[jose.HeaderType]; there && !ok {
		return invalid(nil, "the token's type is not a string")
	}
	if !slices.Contains(v.types, canonicalType(kind)) {
		return invalid(nil, "the token's type is %s: expected one of %q", shown(kind), v.types)
	}
	return nil
}

// verifySignature returns the payload if one of the keys has signed it.
func (v *Verifier) verifySignature(ctx context.Context, signed *jose.JSONWebSignature, header jose.Header) ([]byte, error) {
	keys, err := v.keys.find(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	keys = slices.DeleteFunc(slices.Clone(keys), func(k jose.JSONWebKey) bool { return !fits(k, header.Algorithm) })
	switch {
	case len(keys) == 0 && header.KeyID != "":
		return nil, invalid(nil, "the token's key %s is not one for %s", shown(header.KeyID), header.Algorithm)
	case len(keys) == 0:
		return nil, invalid(nil, "the issuer has no key for %s", header.Algorithm)
	case len(keys) > unnamedMax:
		return nil, invalid(nil, "the token names no key, and the issuer has %d for %s: expected a key ID", len(keys), header.Algorithm)
	}
	for _, key := range keys {
		payload, failed := signed.Verify(key.Key)
		if failed == nil {
			return payload, nil
		}
		err = failed
	}
	return nil, invalid(err, "the token's signature is not valid")
}

// checkClaims returns an error if the claims are not for this server, or not for now.
func (v *Verifier) checkClaims(c *Claims, now time.Time) error {
	switch {
	case c.Expires.IsZero():
		return invalid(nil, "the token has no end: expected the claim exp")
	case !now.Before(c.Expires.Add(v.leeway)):
		return invalid(nil, "the token expired at %s", c.Expires.UTC().Format(time.RFC3339))
	case !c.NotBefore.IsZero() && now.Add(v.leeway).Before(c.NotBefore):
		return invalid(nil, "the token is not valid before %s", c.NotBefore.UTC().Format(time.RFC3339))
	case !v.anyIssuer && !slices.Contains(v.issuers, c.Issuer):
		return invalid(nil, "the token's issuer is %s: expected %q", shown(c.Issuer), v.issuers)
	case !v.anyAudience && !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(v.audiences, a) }):
		return invalid(nil, "the token is for another audience: expected %q", v.audiences)
	case c.Subject == "" && v.identify == nil:
		return invalid(nil, "the token has no subject: expected the claim sub")
	}
	return nil
}

// A refusal is the error for a client, and the reason, which stays here.
type refusal struct {
	text  string
	cause error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.cause }

// invalid returns the error for a token that is refused. The cause may be nil.
func invalid(cause error, format string, args ...any) error {
	return connect.NewError(connect.CodeUnauthenticated, &refusal{fmt.Sprintf(format, args...), cause})
}

// shown returns a part of a token, quoted and cut off.
func shown(s string) string {
	if len(s) > shownMax {
		return fmt.Sprintf("%q…", s[:shownMax])
	}
	return fmt.Sprintf("%q", s)
}

// check panics with a message of this package if a condition does not hold.
func check(ok bool, format string, args ...any) {
	if !ok {
		panic("jwt: " + fmt.Sprintf(format, args...))
	}
}
