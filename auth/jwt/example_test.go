// SPDX-License-Identifier: Apache-2.0

// Example: a server that takes the tokens of an issuer.

package jwt_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/auth/jwt"
)

func Example() {
	// An issuer: it publishes a key, and signs tokens.
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1"}}})
	}))
	defer issuer.Close()
	issue := func(audience string, life time.Duration) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
		if err != nil {
			panic(err)
		}
		claims, _ := json.Marshal(map[string]any{"iss": issuer.URL, "aud": audience, "sub": "ada", "scope": "greet", "exp": time.Now().Add(life).Unix()})
		signed, err := signer.Sign(claims)
		if err != nil {
			panic(err)
		}
		token, _ := signed.CompactSerialize()
		return token
	}

	// The server.
	verifier := jwt.New(jwt.JWKS(issuer.URL), jwt.Issuer(issuer.URL), jwt.Audience("https://api.example.com"))
	guard := auth.Require(auth.Bearer(verifier.Verify), auth.Default(auth.Access{Scopes: []string{"greet"}}))
	const procedure = "/user.v1.UserService/WhoAmI"
	server := httptest.NewTLSServer(connect.NewUnaryHandlerSimple(procedure, func(ctx context.Context, _ *emptypb.Empty) (*wrapperspb.StringValue, error) {
		claims, _ := auth.Details[*jwt.Claims](ctx)
		return wrapperspb.String(claims.Subject), nil
	}, guard))
	defer server.Close()

	// Its callers.
	for _, token := range []string{issue("https://api.example.com", time.Hour), issue("https://other.example.com", time.Hour)} {
		client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](server.Client(), server.URL+procedure, auth.Credentials(auth.StaticToken(token)))
		res, err := client.CallUnary(context.Background(), connect.NewRequest(&emptypb.Empty{}))
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(res.Msg.Value)
	}
	// Output:
	// ada
	// unauthenticated: the token is for another audience: expected ["https://api.example.com"]
}
