// SPDX-License-Identifier: Apache-2.0

// The identity of a caller, and its place in the context of a call.

package auth

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// An Identity is a caller whose credentials an authenticator has verified. It has no
// secrets itself. The caller of a function that returns one must not change its slices:
// calls share them.
type Identity struct {
	// Subject is the name of the caller: a user, a service, the ID of a key. It is never
	// empty in an identity that a guard has accepted.
	Subject string
	// Issuer is the authority that vouches for Subject: the "iss" of a token, the trust
	// domain of a SPIFFE ID, the issuer of a certificate. It may be empty. Two subjects are
	// the same caller only if their issuers are equal, too.
	Issuer string
	// Scheme is the kind of credentials: "bearer", "basic", "api key", "certificate",
	// "spiffe", "unix", or the name of a [Func]. A guard sets it if the authenticator has not.
	Scheme string
	// Scopes are what the credentials permit, and Roles what the caller is: [Access] asks
	// for them.
	Scopes, Roles []string
	// Expires is when the credentials become invalid, zero for never. A guard refuses an
	// identity that has expired. Leeway for clocks that differ is already part of the time.
	Expires time.Time
	// Details is what else the program knows of the caller: the claims of a token, a
	// certificate, a row of a table. [Details] returns it with its type. It is left out of
	// String and of logs.
	Details any
}

// HasScope reports whether scope is among the identity's scopes.
func (i Identity) HasScope(scope string) bool { return slices.Contains(i.Scopes, scope) }

// HasRole reports whether role is among the identity's roles.
func (i Identity) HasRole(role string) bool { return slices.Contains(i.Roles, role) }

// String returns the identity in one line, without Details.
func (i Identity) String() string {
	if i.Subject == "" {
		return "nobody"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q", i.Subject)
	if i.Issuer != "" {
		fmt.Fprintf(&b, " of %q", i.Issuer)
	}
	if i.Scheme != "" {
		fmt.Fprintf(&b, " by %s", i.Scheme)
	}
	return b.String()
}

// Format writes String for each verb, so that "%+v" and "%#v" do not print Details.
func (i Identity) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(i.String())) }

// LogValue returns the identity as a group, without Details.
func (i Identity) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("subject", i.Subject)}
	if i.Issuer != "" {
		attrs = append(attrs, slog.String("issuer", i.Issuer))
	}
	if i.Scheme != "" {
		attrs = append(attrs, slog.String("scheme", i.Scheme))
	}
	return slog.GroupValue(attrs...)
}

// identityKey is the key of the *proven in the context of a call.
type identityKey struct{}

// proven is what a guard has found of a call.
type proven struct {
	identity Identity
	ok       bool // there is an identity
}

// NewContext returns a context with an identity, as a guard makes it: for tests of
// handlers, and for middleware that authenticates in a way of its own. See also
// [Inherited].
func NewContext(ctx context.Context, identity Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, &proven{identity, true})
}

// WithoutIdentity returns a context without the identity of ctx: for work on behalf of the
// program itself.
func WithoutIdentity(ctx context.Context) context.Context {
	return context.WithValue(ctx, identityKey{}, &proven{})
}

// FromContext returns the identity of the caller. It returns false if there is none: for
// procedures whose [Access] is public or optional, and without a guard. The context is that
// of a handler or an interceptor, or one derived from it.
func FromContext(ctx context.Context) (Identity, bool) {
	p, _ := ctx.Value(identityKey{}).(*proven)
	if p == nil {
		return Identity{}, false
	}
	return p.identity, p.ok
}

// Details returns what the authenticator has put into [Identity.Details], if that is a T.
//
//	claims, ok := auth.Details[*jwt.Claims](ctx)
func Details[T any](ctx context.Context) (details T, ok bool) {
	identity, _ := FromContext(ctx)
	details, ok = identity.Details.(T)
	return details, ok
}
