// SPDX-License-Identifier: Apache-2.0

// Good tokens and bad ones.

package jwt_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/auth/jwt"
)

// keySet has a key of each kind.
func keySet(t testing.TB) *jwt.Keys {
	t.Helper()
	keys, err := jwt.StaticJWKS(set(t, map[string]crypto.PublicKey{"rsa": rsaKey().Public(), "ec": ecKey().Public(), "ed": edKey().Public()}))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestGood(t *testing.T) {
	v := newVerifier(keySet(t))
	for name, token := range map[string]string{
		"RS256":       sign(t, jose.RS256, rsaKey(), object{"kid": "rsa"}, good(nil)),
		"PS512":       sign(t, jose.PS512, rsaKey(), object{"kid": "rsa", "typ": "JWT"}, good(nil)),
		"ES256":       sign(t, jose.ES256, ecKey(), object{"kid": "ec", "typ": "application/AT+JWT"}, good(nil)),
		"EdDSA":       sign(t, jose.EdDSA, edKey(), object{"kid": "ed"}, good(nil)),
		"no key ID":   sign(t, jose.ES256, ecKey(), nil, good(nil)),
		"list":        sign(t, jose.ES256, ecKey(), object{"kid": "ec"}, good(object{"aud": []string{"other", audience}})),
		"late":        sign(t, jose.ES256, ecKey(), object{"kid": "ec"}, good(object{"exp": time.Now().Add(-10 * time.Second).Unix()})),
		"early":       sign(t, jose.ES256, ecKey(), object{"kid": "ec"}, good(object{"nbf": time.Now().Add(10 * time.Second).Unix()})),
		"fractions":   sign(t, jose.ES256, ecKey(), object{"kid": "ec"}, good(object{"exp": float64(time.Now().Unix()) + 60.5})),
		"scp":         sign(t, jose.ES256, ecKey(), object{"kid": "ec"}, good(object{"scope": nil, "scp": []string{"read", "write", "read"}})),
		"scp, string": sign(t, jose.ES256, ecKey(), object{"kid": "ec"}, good(object{"scope": nil, "scp": "read write"})),
	} {
		identity, err := v.Verify(t.Context(), token)
		if err != nil || identity.Subject != "ada" || identity.Issuer != issuer || !slices.Equal(identity.Scopes, []string{"read", "write"}) || identity.Expires.Before(time.Now()) {
			t.Errorf("%s: got %v, scopes %q, end %v and error %v", name, identity, identity.Scopes, identity.Expires, err)
		}
	}
}

// TestBad: each wrong token is refused, with a text that says why.
func TestBad(t *testing.T) {
	other := must(rsa.GenerateKey(rand.Reader, 2048))
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(rsaKey().Public()))})
	ec := func(header, claims object) string {
		all := object{"kid": "ec"}
		for name, value := range header {
			all[name] = value
		}
		return sign(t, jose.ES256, ecKey(), all, good(claims))
	}
	valid := ec(nil, nil)
	parts := strings.Split(valid, ".")
	hour := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct{ token, text string }{
		"expired":             {ec(nil, object{"exp": hour.Unix()}), "the token expired at " + hour.UTC().Format(time.RFC3339)},
		"not yet valid":       {ec(nil, object{"nbf": time.Now().Add(time.Hour).Unix()}), "the token is not valid before"},
		"no exp":              {ec(nil, object{"exp": nil}), "the token has no end: expected the claim exp"},
		"exp of another type": {ec(nil, object{"exp": "soon"}), "the token's claims cannot be read"},
		"exp too large":       {ec(nil, object{"exp": 1e300}), "the token's claims cannot be read"},
		"exp negative":        {ec(nil, object{"exp": -1}), "the token's claims cannot be read"},
		"unknown key":         {ec(object{"kid": "nope"}, nil), `the token's key "nope" is unknown`},
		"long key ID":         {ec(object{"kid": strings.Repeat("k", 1000)}, nil), `"` + strings.Repeat("k", 64) + `"… is unknown`},
		"none":                {forged(t, object{"alg": "none"}, good(nil), ""), `the token's algorithm is "none": expected one of [RS256`},
		"None":                {forged(t, object{"alg": "None"}, good(nil), "AA"), `the token's algorithm is "None": expected one of`},
		"no alg":              {forged(t, object{"typ": "JWT"}, good(nil), "AA"), "the token"},
		"confusion, PEM":      {sign(t, jose.HS256, public, object{"kid": "rsa"}, good(nil)), `the token's algorithm is "HS256": expected one of`},
		"confusion, DER":      {sign(t, jose.HS512, x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey), object{"kid": "rsa"}, good(nil)), `the token's algorithm is "HS512": expected one of`},
		"key of another kind": {sign(t, jose.RS256, rsaKey(), object{"kid": "ec"}, good(nil)), `the token's key "ec" is not one for RS256`},
		"another key":         {sign(t, jose.RS256, other, object{"kid": "rsa"}, good(nil)), "the token's signature is not valid"},
		"own jwk":             {sign(t, jose.RS256, other, object{"kid": "rsa", "jwk": jose.JSONWebKey{Key: other.Public()}, "jku": "https://evil.test"}, good(nil)), "the token's signature is not valid"},
		"changed claims":      {parts[0] + "." + strings.Split(ec(nil, object{"sub": "eve"}), ".")[1] + "." + parts[2], "the token's signature is not valid"},
		"no signature":        {parts[0] + "." + parts[1] + ".", "the token"},
		"wrong issuer":        {ec(nil, object{"iss": "https://evil.test"}), `the token's issuer is "https://evil.test": expected ["https://issuer.test"]`},
		"no issuer":           {ec(nil, object{"iss": nil}), `the token's issuer is "": expected`},
		"wrong audience":      {ec(nil, object{"aud": "https://other.test"}), `the token is for another audience: expected ["https://api.test"]`},
		"no audience":         {ec(nil, object{"aud": nil}), "the token is for another audience"},
		"audience a number":   {ec(nil, object{"aud": 1}), "the token's claims cannot be read"},
		"no subject":          {ec(nil, object{"sub": nil}), "the token has no subject: expected the claim sub"},
		"subject in capitals": {ec(nil, object{"sub": nil, "SUB": "ada"}), "the token has no subject"},
		"roles a number":      {ec(nil, object{"roles": 1}), "the token's claims cannot be read"},
		"type":                {ec(object{"typ": "logout+jwt"}, nil), `the token's type is "logout+jwt": expected one of ["" "jwt" "at+jwt"]`},
		"type not a string":   {ec(object{"typ": 7}, nil), "the token"},
		"crit":                {ec(object{"crit": []string{"exp"}, "exp": 1}, nil), "the token"},
		"garbage":             {"garbage", "the token is not a signed JSON Web Token"},
		"dots":                {"..", `the token's algorithm is ""`},
		"base64":              {"!.!.!", "the token is not a signed JSON Web Token"},
		"empty":               {"", "the token is not a signed JSON Web Token"},
		"encrypted":           {"a.b.c.d.e", "the token is not a signed JSON Web Token"},
		"JSON":                {`{"payload":"e30","signatures":[]}`, "the token is not a signed JSON Web Token"},
		"1 MiB":               {strings.Repeat("a", 1<<20), "the token has 1048576 bytes: expected at most 16384"},
	} {
		t.Run(name, func(t *testing.T) {
			identity, err := newVerifier(keySet(t)).Verify(t.Context(), c.token)
			wantError(t, err, connect.CodeUnauthenticated, c.text)
			if identity.Subject != "" {
				t.Errorf("got %v with an error", identity)
			}
			if err != nil && len(err.Error()) > 400 {
				t.Errorf("got an error of %d bytes, want a short one", len(err.Error()))
			}
		})
	}
	twice := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: ecKey()}, nil))
	_, err := newVerifier(keySet(t)).Verify(t.Context(), signBytes(t, twice, []byte(`{"sub":"ada","sub":"eve"}`)))
	wantError(t, err, connect.CodeUnauthenticated, "the token's claims cannot be read")
	_, err = newVerifier(keySet(t)).Verify(t.Context(), signBytes(t, twice, []byte(`[]`)))
	wantError(t, err, connect.CodeUnauthenticated, "the token's claims cannot be read")
}

// TestOptions: each option has its effect.
func TestOptions(t *testing.T) {
	keys := keySet(t)
	es256 := sign(t, jose.ES256, ecKey(), object{"kid": "ec"}, good(object{"realm_access": object{"roles": []string{"admin"}}, "roles": "user", "mail": "a@b"}))
	old := sign(t, jose.ES256, ecKey(), object{"kid": "ec"}, good(object{"exp": time.Now().Add(-5 * time.Minute).Unix()}))
	bare := sign(t, jose.ES256, ecKey(), nil, object{"exp": time.Now().Add(time.Hour).Unix(), "sub": "ada"})
	for name, c := range map[string]struct {
		verifier *jwt.Verifier
		token    string
		text     string // of the error, "" for none
	}{
		"algorithm":        {newVerifier(keys, jwt.Algorithms("ES256")), es256, ""},
		"other algorithm":  {newVerifier(keys, jwt.Algorithms("RS256", "EdDSA")), es256, "expected one of [RS256 EdDSA]"},
		"type":             {newVerifier(keys, jwt.Types("AT+JWT")), es256, `the token's type is "": expected one of ["at+jwt"]`},
		"leeway":           {newVerifier(keys, jwt.Leeway(10*time.Minute)), old, ""},
		"no leeway":        {newVerifier(keys, jwt.Leeway(0)), old, "expired"},
		"size":             {newVerifier(keys, jwt.MaxTokenBytes(10)), es256, "expected at most 10"},
		"any":              {jwt.New(keys, jwt.AnyIssuer(), jwt.AnyAudience()), bare, ""},
		"second issuer":    {newVerifier(keys, jwt.Issuer("x"), jwt.Audience("y")), es256, ""},
		"public key":       {newVerifier(jwt.PublicKey(ecKey().Public())), es256, ""},
		"other public key": {newVerifier(jwt.PublicKey(rsaKey().Public())), es256, `the token's key "ec" is not one for ES256`},
		"secret": {newVerifier(jwt.Secret([]byte(strings.Repeat("s", 32)))),
			sign(t, jose.HS256, []byte(strings.Repeat("s", 32)), nil, good(nil)), ""},
		"other secret": {newVerifier(jwt.Secret([]byte(strings.Repeat("s", 32)))),
			sign(t, jose.HS256, []byte(strings.Repeat("t", 32)), nil, good(nil)), "signature is not valid"},
		"secret, public": {newVerifier(jwt.Secret([]byte(strings.Repeat("s", 32)))), es256, `the token's algorithm is "ES256": expected one of [HS256`},
	} {
		_, err := c.verifier.Verify(t.Context(), c.token)
		if c.text == "" {
			if err != nil {
				t.Errorf("%s: got %v, want none", name, err)
			}
			continue
		}
		wantError(t, err, connect.CodeUnauthenticated, c.text)
	}

	identity, err := newVerifier(keys, jwt.RolesClaim("realm_access", "roles")).Verify(t.Context(), es256)
	if err != nil || !slices.Equal(identity.Roles, []string{"admin"}) {
		t.Errorf("got the roles %q and error %v, want admin", identity.Roles, err)
	}
	identity, err = newVerifier(keys, jwt.RolesClaim("nothing", "there")).Verify(t.Context(), es256)
	if err != nil || identity.Roles != nil {
		t.Errorf("got the roles %q and error %v, want none", identity.Roles, err)
	}
	identity, err = newVerifier(keys, jwt.Identify(func(_ context.Context, c *jwt.Claims) (auth.Identity, error) {
		var own struct {
			Mail string `json:"mail"`
		}
		err := c.Decode(&own)
		return auth.Identity{Subject: "mail:" + own.Mail, Details: &own}, err
	})).Verify(t.Context(), es256)
	if err != nil || identity.Subject != "mail:a@b" || identity.Issuer != issuer || !identity.HasRole("user") {
		t.Errorf("got %v and error %v", identity, err)
	}
	refusing := newVerifier(keys, jwt.Identify(func(context.Context, *jwt.Claims) (auth.Identity, error) { return auth.Identity{}, errors.New("no") }))
	if _, err := refusing.Verify(t.Context(), es256); err == nil || err.Error() != "no" {
		t.Errorf("got %v, want the function's error", err)
	}
	claims, err := newVerifier(keys).Claims(t.Context(), es256)
	if err != nil || claims.KeyID != "ec" || claims.Algorithm != "ES256" {
		t.Fatalf("got %v and error %v", claims, err)
	}
	for _, text := range []string{fmt.Sprintf("%+v", claims), fmt.Sprintf("%#v", *claims), slog.AnyValue(claims).Resolve().String()} {
		if strings.Contains(text, "a@b") {
			t.Errorf("got %s, want no claims of the program's", text)
		}
	}
}

func TestPanics(t *testing.T) {
	keys := keySet(t)
	for text, f := range map[string]func(){
		"the keys are nil":                func() { jwt.New(nil) },
		"an option is nil":                func() { jwt.New(keys, nil) },
		"pass Issuer, or AnyIssuer":       func() { jwt.New(keys, jwt.Audience("a")) },
		"pass Audience, or AnyAudience":   func() { jwt.New(keys, jwt.Issuer("a")) },
		"and not both":                    func() { jwt.New(keys, jwt.Issuer("a"), jwt.AnyIssuer(), jwt.AnyAudience()) },
		`Algorithms: "none"`:              func() { newVerifier(keys, jwt.Algorithms("none")) },
		`Algorithms: "HS256"`:             func() { newVerifier(keys, jwt.Algorithms("HS256")) },
		`Algorithms: "RS256"`:             func() { newVerifier(jwt.Secret(make([]byte, 32)), jwt.Algorithms("RS256")) },
		"Algorithms: none is given":       func() { jwt.Algorithms() },
		"Types: none is given":            func() { jwt.Types() },
		"Leeway: 1h0m0s":                  func() { jwt.Leeway(time.Hour) },
		"MaxTokenBytes: 0":                func() { jwt.MaxTokenBytes(0) },
		"RolesClaim: no name":             func() { jwt.RolesClaim() },
		"Identify: the function is nil":   func() { jwt.Identify(nil) },
		"Issuer: it is empty":             func() { jwt.Issuer("") },
		"Audience: it is empty":           func() { jwt.Audience("") },
		"Secret: it has 31 bytes":         func() { jwt.Secret(make([]byte, 31)) },
		"PublicKey: a *rsa.PrivateKey":    func() { jwt.PublicKey(rsaKey()) },
		"PublicKey: a <nil>":              func() { jwt.PublicKey(nil) },
		`JWKS: "http://issuer.test/keys"`: func() { jwt.JWKS("http://issuer.test/keys") },
		`JWKS: "keys"`:                    func() { jwt.JWKS("keys") },
		"HTTPClient: it is nil":           func() { jwt.HTTPClient(nil) },
		"MinInterval: 0s":                 func() { jwt.MinInterval(0) },
		"RefreshEvery: -1ns":              func() { jwt.RefreshEvery(-1) },
		"KeepFor: 0s":                     func() { jwt.KeepFor(0) },
	} {
		wantPanic(t, text, f)
	}
	for text, set := range map[string]string{
		"it is not a JSON Web Key Set":                      "garbage",
		"none of its 0 keys is a public key":                `{"keys":[]}`,
		"none of its 1 keys is a public key for signatures": `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`,
		"none of its 2 keys is":                             `{"keys":[{"kty":"new"},7]}`,
		"it has 101 keys: expected at most 100":             `{"keys":[` + strings.Repeat("1,", 100) + `1]}`,
	} {
		if _, err := jwt.StaticJWKS([]byte(set)); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
	}
	private, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: ecKey(), KeyID: "private"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwt.StaticJWKS(private); err == nil {
		t.Error("got no error for a private key")
	}
}

// FuzzVerify: whatever a token is, it is refused with a code.
func FuzzVerify(f *testing.F) {
	v := newVerifier(keySet(f))
	for _, s := range []string{"a.b.c", sign(f, jose.ES256, ecKey(), object{"kid": "ec"}, object{"exp": 1}), forged(f, object{"alg": "none"}, good(nil), ""), "eyJhbGciOiJFUzI1NiJ9.e30.AA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := v.Verify(context.Background(), token); connect.CodeOf(err) != connect.CodeUnauthenticated {
			t.Errorf("%q: got %v, want unauthenticated", token, err)
		}
	})
}

// FuzzKeySet: a set is read or refused.
func FuzzKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add(set(f, map[string]crypto.PublicKey{"ec": ecKey().Public(), "ed": edKey().Public()}))
	f.Fuzz(func(t *testing.T, text []byte) {
		if keys, err := jwt.StaticJWKS(text); (keys == nil) != (err != nil) {
			t.Errorf("got %v and %v", keys, err)
		}
	})
}
