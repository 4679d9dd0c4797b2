// SPDX-License-Identifier: Apache-2.0

// Tokens, which the shop signs and verifies. Its key outlives it in a file, so that a restart
// makes no token void. Where others issue the tokens, jwt.JWKS has their keys.

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/auth/jwt"
)

// thisShop is the issuer of the tokens and their audience.
const thisShop = "shop"

// users are the accounts of this example. Yours have hashes of passwords, in a database.
var users = map[string]struct {
	password string
	roles    []string
}{
	"ada":   {password: "lovelace"},
	"grace": {password: "hopper", roles: []string{"staff"}},
}

// An issuer signs and verifies tokens. It is safe for concurrent use.
type issuer struct {
	*jwt.Verifier
	signer jose.Signer
	life   time.Duration
}

// newIssuer returns an issuer with the key in a file.
func newIssuer(keyFile string, life time.Duration) (*issuer, error) {
	if life < time.Second {
		return nil, fmt.Errorf("choosing the life of tokens: got %v, want a second or more", life)
	}
	key, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, err
	}
	verifier := jwt.New(jwt.PublicKey(key.Public()), jwt.Issuer(thisShop), jwt.Audience(thisShop), jwt.Algorithms("ES256"),
		jwt.Leeway(0)) // issuer and verifier have one clock
	return &issuer{verifier, signer, life}, nil
}

// signIn returns a token for a user.
func (t *issuer) signIn(user, password string) (string, error) {
	account, ok := users[user]
	if !auth.Equal(password, account.password) || !ok {
		return "", connect.NewError(connect.CodeUnauthenticated, errors.New("signing in: wrong user or password"))
	}
	end := time.Now().Add(t.life + time.Second) // whole seconds are what remains of it
	return t.sign(map[string]any{"iss": thisShop, "aud": thisShop, "sub": user, "roles": account.roles, "exp": end.Unix()})
}

func (t *issuer) sign(claims map[string]any) (string, error) {
	return josejwt.Signed(t.signer).Claims(claims).Serialize()
}
