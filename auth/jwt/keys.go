// SPDX-License-Identifier: Apache-2.0

// Keys that a program has, and which key fits which algorithm.

package jwt

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
)

// secretMin is how many bytes a secret has at least. [RFC 7518, section 3.2]
const secretMin = 32

// rsaMin is how many bits an RSA key has at least. [RFC 7518, section 3.3]
const rsaMin = 2048

// keysMax is how many keys of a set are read.
const keysMax = 100

// Keys are where a verifier finds keys: [JWKS], [StaticJWKS], [PublicKey] or [Secret]. They are
// safe for concurrent use, and several verifiers may share them.
type Keys struct {
	secret bool // the keys are secrets, and not public keys
	find   func(ctx context.Context, id string) ([]jose.JSONWebKey, error)
}

// PublicKey returns one public key: an [*rsa.PublicKey] of at least 2048 bits, an
// [*ecdsa.PublicKey] or an [ed25519.PublicKey]. A token may have any key ID, or none. PublicKey
// panics for another key.
func PublicKey(key crypto.PublicKey) *Keys {
	k := jose.JSONWebKey{Key: key}
	check(usable(k), "PublicKey: a %T is not supported: expected an *rsa.PublicKey of at least %d bits, an *ecdsa.PublicKey or an ed25519.PublicKey", key, rsaMin)
	return &Keys{find: func(context.Context, string) ([]jose.JSONWebKey, error) { return []jose.JSONWebKey{k}, nil }}
}

// Secret returns a secret, for tokens that are signed with HMAC by a program that has it, too.
// Whoever can verify such a token can make one. It panics if the secret is shorter than 32 bytes,
// because a token lets its reader guess. [RFC 8725, section 3.5]
func Secret(secret []byte) *Keys {
	check(len(secret) >= secretMin, "Secret: it has %d bytes: expected at least %d, from crypto/rand", len(secret), secretMin)
	k := jose.JSONWebKey{Key: append([]byte(nil), secret...)}
	return &Keys{secret: true, find: func(context.Context, string) ([]jose.JSONWebKey, error) { return []jose.JSONWebKey{k}, nil }}
}

// StaticJWKS returns the keys of a JSON Web Key Set. It returns an error if the text is not one,
// or has no public key for signatures of a supported kind. [RFC 7517, section 5]
func StaticJWKS(text []byte) (*Keys, error) {
	keys, err := parseSet(text)
	if err != nil {
		return nil, fmt.Errorf("jwt: reading a key set: %w", err)
	}
	return &Keys{find: func(_ context.Context, id string) ([]jose.JSONWebKey, error) {
		if found := withID(keys, id); len(found) > 0 {
			return found, nil
		}
		return nil, unknownKey(id)
	}}, nil
}

// parseSet returns the public keys for signatures in a set. Those of kinds that are not known are
// left out, as the RFC has it.
func parseSet(text []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("it is not a JSON Web Key Set: %w", err)
	}
	if len(set.Keys) > keysMax {
		return nil, fmt.Errorf("it has %d keys: expected at most %d", len(set.Keys), keysMax)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && usable(key) && (key.Use == "" || key.Use == "sig") {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("none of its %d keys is a public key for signatures: expected RSA of at least %d bits, EC or Ed25519", len(set.Keys), rsaMin)
	}
	return keys, nil
}

// usable reports whether a key is a public key of a supported kind. A set must not publish
// secrets, and a private key is none that an issuer means to publish.
func usable(key jose.JSONWebKey) bool {
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		return k != nil && k.N != nil && k.N.BitLen() >= rsaMin
	case *ecdsa.PublicKey:
		return k != nil && k.Curve != nil && key.Valid()
	case ed25519.PublicKey:
		return len(k) == ed25519.PublicKeySize
	}
	return false
}

// fits reports whether a key may have made a signature of an algorithm. So a public key is never
// the secret of an HMAC. [RFC 8725, section 2.1]
func fits(key jose.JSONWebKey, algorithm string) bool {
	if key.Algorithm != "" && key.Algorithm != algorithm {
		return false
	}
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}[algorithm] == k.Curve.Params().BitSize
	case ed25519.PublicKey:
		return algorithm == string(jose.EdDSA)
	case []byte:
		return strings.HasPrefix(algorithm, "HS")
	}
	return false
}

// withID returns the keys with an ID, all of them if it is empty.
func withID(keys []jose.JSONWebKey, id string) []jose.JSONWebKey {
	if id == "" {
		return keys
	}
	var found []jose.JSONWebKey
	for _, k := range keys {
		if k.KeyID == id {
			found = append(found, k)
		}
	}
	return found
}

// unknownKey is the error for a key ID that the issuer does not have.
func unknownKey(id string) error {
	return invalid(nil, "the token's key %s is unknown", shown(id))
}
