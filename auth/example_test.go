// SPDX-License-Identifier: Apache-2.0

// Examples: a server with tokens and a table, a client with a token source.

package auth_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
)

// user is what the program knows of a caller.
type user struct{ mail string }

// A server whose procedures need a token, and calls with and without one.
func Example() {
	guard := auth.Require(
		auth.Bearer(func(_ context.Context, token string) (auth.Identity, error) {
			if !auth.Equal(token, "s3cr3t") { // a program looks into its table
				return auth.Identity{}, errors.New("unknown token")
			}
			return auth.Identity{Subject: "ada", Roles: []string{"user"}, Details: user{"ada@example.com"}}, nil
		}),
		auth.Table(map[string]auth.Access{
			"/user.v1.UserService/WhoAmI": {},
			"/user.v1.UserService/Delete": {Roles: []string{"admin"}},
		}))
	whoAmI := func(ctx context.Context, _ *emptypb.Empty) (*wrapperspb.StringValue, error) {
		caller, _ := auth.FromContext(ctx)
		details, _ := auth.Details[user](ctx)
		return wrapperspb.String(caller.Subject + " <" + details.mail + ">"), nil
	}
	mux := http.NewServeMux()
	for _, procedure := range []string{"/user.v1.UserService/WhoAmI", "/user.v1.UserService/Delete"} {
		mux.Handle(procedure, connect.NewUnaryHandlerSimple(procedure, whoAmI, guard))
	}
	server := httptest.NewTLSServer(mux)
	defer server.Close()

	call := func(method string, options ...connect.ClientOption) {
		client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](server.Client(), server.URL+"/user.v1.UserService/"+method, options...)
		res, err := client.CallUnary(context.Background(), connect.NewRequest(&emptypb.Empty{}))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(res.Msg.Value)
	}
	call("WhoAmI")
	call("WhoAmI", auth.Credentials(auth.StaticToken("guess")))
	call("WhoAmI", auth.Credentials(auth.StaticToken("s3cr3t")))
	call("Delete", auth.Credentials(auth.StaticToken("s3cr3t")))
	// Output:
	// unauthenticated: no credentials: expected bearer
	// unauthenticated: the bearer credentials are not valid
	// ada <ada@example.com>
	// permission_denied: /user.v1.UserService/Delete needs one of the roles ["admin"]: the caller has none of them
}

// A token source: the client asks it before the first call, before the token expires, and
// when a server refuses the token.
func ExampleCredentials() {
	guard := auth.Require(auth.Bearer(func(_ context.Context, token string) (auth.Identity, error) {
		return auth.Identity{Subject: token}, nil
	}))
	const procedure = "/user.v1.UserService/WhoAmI"
	server := httptest.NewTLSServer(connect.NewUnaryHandlerSimple(procedure, func(ctx context.Context, _ *emptypb.Empty) (*wrapperspb.StringValue, error) {
		caller, _ := auth.FromContext(ctx)
		return wrapperspb.String(caller.Subject), nil
	}, guard))
	defer server.Close()

	source := auth.TokenFunc(func(context.Context) (auth.Token, error) { // a program asks its authorization server
		fmt.Println("a new token")
		return auth.Token{Value: "token-1", Expires: time.Now().Add(time.Hour)}, nil
	})
	client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](server.Client(), server.URL+procedure, auth.Credentials(source))
	for range 2 {
		res, err := client.CallUnary(context.Background(), connect.NewRequest(&emptypb.Empty{}))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(res.Msg.Value)
	}
	clear := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](http.DefaultClient, "http://api.example.com"+procedure, auth.Credentials(source))
	_, err := clear.CallUnary(context.Background(), connect.NewRequest(&emptypb.Empty{}))
	fmt.Println(err)
	// Output:
	// a new token
	// token-1
	// token-1
	// failed_precondition: /user.v1.UserService/WhoAmI: credentials are not sent in clear: the URL of api.example.com is not https: use TLS, or permit it with auth.AllowLoopback or auth.AllowInsecure
}

// Services that know each other by their certificates, in which SPIRE or a mesh has put SPIFFE
// IDs.
func ExampleSPIFFE() {
	guard := auth.Require(
		auth.SPIFFE("acme.com"),
		auth.Table(map[string]auth.Access{
			"/pay.v1.PayService/": {Subjects: []string{"spiffe://acme.com/shop", "spiffe://acme.com/billing"}},
		}))
	config := &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert} // with ClientCAs of the trust domain
	fmt.Println(guard != nil, config.ClientAuth)

	id, err := auth.ParseSPIFFEID("spiffe://acme.com/shop")
	fmt.Println(id.TrustDomain, id.Path, err)
	_, err = auth.ParseSPIFFEID("spiffe://Acme.com/shop/../billing")
	fmt.Println(err)
	// Output:
	// true RequireAndVerifyClientCert
	// acme.com /shop <nil>
	// auth: parsing a SPIFFE ID: "spiffe://Acme.com/shop/../billing": the trust domain has the character 'A': expected lower-case letters, digits and -._
}
