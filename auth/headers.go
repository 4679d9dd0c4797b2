// SPDX-License-Identifier: Apache-2.0

// Credentials in headers: bearer tokens, API keys, users with passwords.

package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
)

// Bearer returns an authenticator for bearer tokens in the header Authorization. The
// function verify gets the token, which has the characters of one, and at most 16 KiB; its
// errors are those of [Func]. Package auth/jwt has a verify for signed tokens; for opaque
// ones it asks a table or a server. Bearer panics if verify is nil. [RFC 6750, section 2.1]
//
// A call without the header, or with another scheme, has no bearer token. One with two
// values, without a token, or with one that is longer or has other characters is refused
// with CodeUnauthenticated, and verify is not called. Tokens in URLs are not read: URLs are
// logged.
func Bearer(verify func(ctx context.Context, token string) (Identity, error)) *Authenticator {
	check(verify != nil, "Bearer: verify is nil: pass the function that verifies tokens")
	return Func("bearer", func(ctx context.Context, request Request) (Identity, error) {
		token, err := authorization(request.Header["Authorization"], "bearer")
		if err != nil {
			return Identity{}, err
		}
		return verify(ctx, token)
	}).Challenge("Bearer", "")
}

// Basic returns an authenticator for users with passwords in the header Authorization, in
// UTF-8. The errors of verify are those of [Func]. To compare passwords use a function for
// them, such as bcrypt; for secrets of the program [Equal] is enough. Browsers ask people
// for a password if the challenge has a realm: see [Authenticator.Challenge]. Basic panics
// if verify is nil. [RFC 7617]
//
// Credentials that are not base64 or UTF-8, have no colon, or have control characters are
// refused with CodeUnauthenticated, and verify is not called.
func Basic(verify func(ctx context.Context, user, password string) (Identity, error)) *Authenticator {
	check(verify != nil, "Basic: verify is nil: pass the function that verifies passwords")
	return Func("basic", func(ctx context.Context, request Request) (Identity, error) {
		credentials, err := authorization(request.Header["Authorization"], "basic")
		if err != nil {
			return Identity{}, err
		}
		user, password, err := parseBasic(credentials)
		if err != nil {
			return Identity{}, err
		}
		return verify(ctx, user, password)
	}).Challenge("Basic", "")
}

// APIKey returns an authenticator for keys in a header, such as "X-Api-Key". The function
// lookup gets the key, which is at most 16 KiB long; its errors are those of [Func]. [Keys]
// returns one for a table. A call without the header has no key; one with an empty value,
// several values or a longer one is refused with CodeUnauthenticated. APIKey panics if the
// header is not the name of one, or is Authorization, or if lookup is nil.
func APIKey(header string, lookup func(ctx context.Context, key string) (Identity, error)) *Authenticator {
	check(isToken(header), "APIKey: %q is not the name of a header", header)
	header = http.CanonicalHeaderKey(header)
	check(header != "Authorization", "APIKey: the header Authorization has schemes: use Bearer")
	check(lookup != nil, "APIKey: lookup is nil: pass the function that finds the owner of a key")
	return Func("api key", func(ctx context.Context, request Request) (Identity, error) {
		values := request.Header[header]
		switch {
		case len(values) == 0:
			return Identity{}, ErrNoCredentials
		case len(values) > 1:
			return Identity{}, malformed(fmt.Sprintf("the header %s has %d values: expected one", header, len(values)))
		case values[0] == "":
			return Identity{}, malformed(fmt.Sprintf("the header %s is empty", header))
		case len(values[0]) > credentialMax:
			return Identity{}, malformed(fmt.Sprintf("the header %s has %d bytes: expected at most %d", header, len(values[0]), credentialMax))
		}
		return lookup(ctx, values[0])
	})
}

// A KeyHash is the SHA-256 of an API key: what a program stores, so that a copy of its
// table is of no use to a thief. This is for keys that are long and random, and not for
// passwords, which can be guessed.
type KeyHash [sha256.Size]byte

// HashKey returns the hash of an API key.
func HashKey(key string) KeyHash { return sha256.Sum256([]byte(key)) }

// errUnknownKey is the error of [Keys].
var errUnknownKey = errors.New("auth: unknown API key")

// Keys returns a function for [APIKey] that finds keys in a table by their hashes. The time
// of a look-up depends on the hash and so says nothing of the key. The table is read at
// once, and changes of it afterwards have no effect: a program whose keys change has a
// lookup of its own. Keys panics if an identity has no Subject.
func Keys(table map[KeyHash]Identity) func(ctx context.Context, key string) (Identity, error) {
	known := make(map[KeyHash]Identity, len(table))
	for hash, identity := range table {
		check(identity.Subject != "", "Keys: an identity has no Subject: name the owner of each key")
		known[hash] = identity
	}
	return func(_ context.Context, key string) (Identity, error) {
		identity, ok := known[HashKey(key)]
		if !ok {
			return Identity{}, errUnknownKey
		}
		return identity, nil
	}
}

// Equal reports whether two secrets are equal, in a time that says neither where they
// differ nor how long the longer one is.
func Equal(a, b string) bool {
	x, y := HashKey(a), HashKey(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
