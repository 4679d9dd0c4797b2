// SPDX-License-Identifier: Apache-2.0

// Parts of all tests: keys, tokens, and the check for goroutines that are left behind.

package jwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth/jwt"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	issuer   = "https://issuer.test"
	audience = "https://api.test"
)

// The keys of all tests: making one takes long.
var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	edKey  = sync.OnceValue(func() ed25519.PrivateKey {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return must(key, err)
	})
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

type object = map[string]any

// good are the claims of a token that is valid now.
func good(changes object) object {
	claims := object{"iss": issuer, "aud": audience, "sub": "ada", "exp": time.Now().Add(time.Hour).Unix(), "scope": "read write"}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

// sign returns a token.
func sign(t testing.TB, algorithm jose.SignatureAlgorithm, key any, header, claims object) string {
	t.Helper()
	options := new(jose.SignerOptions)
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return signBytes(t, signer, payload)
}

func signBytes(t testing.TB, signer jose.Signer, payload []byte) string {
	t.Helper()
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// forged returns a token that nothing has signed.
func forged(t testing.TB, header, claims object, signature string) string {
	t.Helper()
	encode := func(o object) string {
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return encode(header) + "." + encode(claims) + "." + signature
}

// set returns a key set, of public keys by their IDs.
func set(t testing.TB, keys map[string]crypto.PublicKey) []byte {
	t.Helper()
	var s jose.JSONWebKeySet
	for id, key := range keys {
		s.Keys = append(s.Keys, jose.JSONWebKey{Key: key, KeyID: id, Use: "sig"})
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func newVerifier(keys *jwt.Keys, options ...jwt.Option) *jwt.Verifier {
	return jwt.New(keys, append(options, jwt.Issuer(issuer), jwt.Audience(audience))...)
}

func wantError(t testing.TB, err error, code connect.Code, text string) {
	t.Helper()
	if err == nil || connect.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want %v with %q", err, code, text)
	}
}

func wantPanic(t testing.TB, text string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		value := recover()
		if got, _ := value.(string); !strings.Contains(got, text) || value == nil {
			t.Errorf("got panic %v, want one with %q", value, text)
		}
	}()
	f()
}
