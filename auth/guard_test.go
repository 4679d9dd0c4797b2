// SPDX-License-Identifier: Apache-2.0

// Guards over all ways of a call.

package auth_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

// TestCarriers: each kind of call in each protocol meets the guard, as an option and around
// the mux.
func TestCarriers(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			ctx := testContext(t)
			guard := auth.Require(auth.Bearer(ada))
			s := new(service)
			asOption := serve(t, s, c.server, guard)
			mux := http.NewServeMux()
			mux.Handle(conntestv1connect.NewTestServiceHandler(s))
			around := serveHandler(t, guard.Handler(mux), c.server...)
			for name, server := range map[string]*connecttest.Server{"option": asOption, "around": around} {
				with := func(value string) conntestv1connect.TestServiceClient {
					return newClient(server, append(c.options, withHeader("Authorization", value))...)
				}
				for kind, got := range calls(ctx, with("bearer ada"), c.bidi) {
					if got.err != nil || got.text != "ada" {
						t.Errorf("%s, %s: got %q and error %v, want ada", name, kind, got.text, got.err)
					}
				}
				reached := s.calls.Load()
				for kind, got := range calls(ctx, newClient(server, c.options...), c.bidi) {
					wantChallenge(t, got.err, "no credentials: expected bearer", "Bearer")
					_ = kind
				}
				for _, got := range calls(ctx, with("Bearer eve"), c.bidi) {
					wantChallenge(t, got.err, "the bearer credentials are not valid", `Bearer error="invalid_token"`)
					if strings.Contains(got.err.Error(), "secret") {
						t.Errorf("got the reason in %v", got.err)
					}
				}
				for _, got := range calls(ctx, with("Digest abc"), c.bidi) {
					wantChallenge(t, got.err, `got the scheme "Digest"`, "Bearer")
				}
				if n := s.calls.Load() - reached; n != 0 {
					t.Errorf("%s: got %d calls that reached the handler, want none", name, n)
				}
			}
		})
	}
}

func wantChallenge(t testing.TB, err error, text, challenge string) {
	t.Helper()
	wantError(t, err, connect.CodeUnauthenticated, text)
	var e *connect.Error
	if errors.As(err, &e) {
		if got := e.Meta()["Www-Authenticate"]; !slices.Equal(got, []string{challenge}) {
			t.Errorf("got the challenges %q, want %q", got, challenge)
		}
	}
}

// endless is a body without an end. It counts what is read of it.
type endless struct {
	mu   sync.Mutex
	read int
}

func (e *endless) Read(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.read += len(b)
	clear(b)
	return len(b), nil
}

// TestBodies: bodies that cannot be decoded, compressed or long, are not looked at.
func TestBodies(t *testing.T) {
	s := new(service)
	guard := auth.Require(auth.Bearer(ada))
	for _, c := range []struct {
		name, path, contentType string
		header                  map[string]string
		body                    []byte
	}{
		{"garbage", conntestv1connect.TestServiceUnaryProcedure, "application/proto", nil, []byte("\xff\xff\xff")},
		{"garbage json", conntestv1connect.TestServiceUnaryProcedure, "application/json", nil, []byte("{{{")},
		{"not gzip", conntestv1connect.TestServiceUnaryProcedure, "application/proto", map[string]string{"Content-Encoding": "gzip"}, []byte("not gzip")},
		{"frame", conntestv1connect.TestServiceBidiProcedure, "application/connect+proto", nil, []byte("\xff\xff\xff\xff\xff\xff")},
		{"grpc-web frame", conntestv1connect.TestServiceServerStreamProcedure, "application/grpc-web+proto", nil, []byte("\x01\xff\xff\xff\xff")},
		{"grpc", conntestv1connect.TestServiceUnaryProcedure, "application/grpc", map[string]string{"Grpc-Encoding": "gzip"}, []byte("\x01\x00\x00\x00\x05abcde")},
		{"empty", conntestv1connect.TestServiceUnaryProcedure, "application/grpc", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, options := range [][]connecttest.Option{nil, {connecttest.WithEngine()}} {
				server := serve(t, s, options, guard)
				request, err := http.NewRequestWithContext(testContext(t), http.MethodPost, server.URL+c.path, bytes.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("Content-Type", c.contentType)
				for key, value := range c.header {
					request.Header.Set(key, value)
				}
				res, err := server.Client().Do(request)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil {
					t.Fatal(err)
				}
				status := res.Header.Get("Grpc-Status") + res.Trailer.Get("Grpc-Status")
				if !strings.Contains(string(body), "unauthenticated") && !strings.Contains(string(body), "grpc-status: 16") && status != "16" {
					t.Errorf("got status %d, header %v, trailer %v and %q, want unauthenticated", res.StatusCode, res.Header, res.Trailer, body)
				}
			}
		})
	}
	if n := s.calls.Load(); n != 0 {
		t.Errorf("got %d calls that reached the handler, want none", n)
	}
}

// TestEndlessBody: a caller without credentials gets its answer while it sends.
func TestEndlessBody(t *testing.T) {
	s := new(service)
	for _, options := range [][]connecttest.Option{nil, {connecttest.WithEngine()}} {
		server := serve(t, s, options, auth.Require(auth.Bearer(ada)))
		body := new(endless)
		request, err := http.NewRequestWithContext(testContext(t), http.MethodPost, server.URL+conntestv1connect.TestServiceUnaryProcedure, body)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/proto")
		res, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("got status %d, want 401", res.StatusCode)
		}
		body.mu.Lock()
		if body.read > 16<<20 {
			t.Errorf("got %d bytes read of the body, want few", body.read)
		}
		body.mu.Unlock()
	}
	if n := s.calls.Load(); n != 0 {
		t.Errorf("got %d calls that reached the handler, want none", n)
	}
}

// TestOrder: absent credentials lead to the next authenticator, wrong ones do not.
func TestOrder(t *testing.T) {
	key := auth.APIKey("x-api-key", auth.Keys(map[auth.KeyHash]auth.Identity{auth.HashKey("k1"): {Subject: "robot"}}))
	basic := auth.Basic(func(_ context.Context, user, password string) (auth.Identity, error) {
		if password != "pw" {
			return auth.Identity{}, errors.New("no")
		}
		return auth.Identity{Subject: user}, nil
	}).Challenge("Basic", `a "realm"`)
	server := serve(t, new(service), nil, auth.Require(auth.Bearer(ada), key, basic))
	ctx := testContext(t)
	for _, c := range []struct {
		name    string
		headers [][2]string
		want    string // subject, or text of the error
	}{
		{"bearer", [][2]string{{"Authorization", "Bearer ada"}}, "ada"},
		{"key", [][2]string{{"X-Api-Key", "k1"}}, "robot"},
		{"basic", [][2]string{{"Authorization", "basic Ym9iOnB3"}}, "bob"},
		{"bearer and key", [][2]string{{"Authorization", "Bearer ada"}, {"X-Api-Key", "wrong"}}, "ada"},
		{"wrong bearer and key", [][2]string{{"Authorization", "Bearer eve"}, {"X-Api-Key", "k1"}}, "the bearer credentials are not valid"},
		{"wrong key", [][2]string{{"X-Api-Key", "k2"}}, "the api key credentials are not valid"},
		{"wrong basic", [][2]string{{"Authorization", "Basic Ym9iOnB4"}}, "the basic credentials are not valid"},
		{"empty key", [][2]string{{"X-Api-Key", ""}}, "the header X-Api-Key is empty"},
		{"two keys", [][2]string{{"X-Api-Key", "k1"}, {"X-Api-Key", "k1"}}, "the header X-Api-Key has 2 values: expected one"},
		{"long key", [][2]string{{"X-Api-Key", strings.Repeat("k", 17<<10)}}, "has 17408 bytes: expected at most 16384"},
		{"two tokens", [][2]string{{"Authorization", "Bearer ada"}, {"Authorization", "Bearer ada"}}, "the header Authorization has 2 values: expected one"},
		{"no token", [][2]string{{"Authorization", "Bearer"}}, "has the scheme bearer and no credentials"},
		{"long token", [][2]string{{"Authorization", "Bearer " + strings.Repeat("a", 17<<10)}}, "the bearer credentials have 17408 bytes: expected at most 16384"},
		{"characters", [][2]string{{"Authorization", "Bearer a\"b"}}, "have characters that are not allowed"},
		{"comma", [][2]string{{"Authorization", "Bearer a,Bearer b"}}, "have characters that are not allowed"},
		{"not base64", [][2]string{{"Authorization", "Basic a"}}, "are not base64"},
		{"no colon", [][2]string{{"Authorization", "Basic Ym9i"}}, "have no colon"},
		{"control", [][2]string{{"Authorization", "Basic YgA6cHc="}}, "have control characters"},
		{"none", nil, "no credentials: expected bearer or api key or basic"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var options []connect.ClientOption
			for _, h := range c.headers {
				options = append(options, withHeader(h[0], h[1]))
			}
			got := calls(ctx, newClient(server, options...), false)["unary"]
			if got.err == nil {
				if got.text != c.want {
					t.Errorf("got the caller %q, want %q", got.text, c.want)
				}
				return
			}
			wantError(t, got.err, connect.CodeUnauthenticated, c.want)
			var e *connect.Error
			if errors.As(got.err, &e) && !slices.Contains(e.Meta()["Www-Authenticate"], `Basic realm="a \"realm\""`) {
				t.Errorf("got the challenges %q, want one with the realm", e.Meta()["Www-Authenticate"])
			}
		})
	}
}

// TestVerifyErrors: what the errors of a verify become.
func TestVerifyErrors(t *testing.T) {
	shared := connect.NewError(connect.CodeUnauthenticated, errors.New("the token was revoked"))
	for _, c := range []struct {
		name     string
		identity auth.Identity
		err      error
		code     connect.Code
		text     string
	}{
		{"plain", auth.Identity{}, errors.New("secret"), connect.CodeUnauthenticated, "the bearer credentials are not valid"},
		{"coded", auth.Identity{}, shared, connect.CodeUnauthenticated, "the token was revoked"},
		{"down", auth.Identity{}, connect.NewError(connect.CodeUnavailable, errors.New("try later")), connect.CodeUnavailable, "try later"},
		{"no subject", auth.Identity{Issuer: "x"}, nil, connect.CodeInternal, "an identity without a Subject"},
		{"expired", auth.Identity{Subject: "x", Expires: time.Unix(1, 0)}, nil, connect.CodeUnauthenticated, "the bearer credentials expired at 1970-01-01T00:00:01Z"},
		{"context of its own", auth.Identity{}, context.DeadlineExceeded, connect.CodeUnauthenticated, "the bearer credentials are not valid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var decision auth.Decision
			var seen error
			server := serve(t, new(service), nil,
				auth.Require(
					auth.Bearer(func(context.Context, string) (auth.Identity, error) { return c.identity, c.err }),
					auth.Observe(func(_ context.Context, d auth.Decision) { decision = d }),
				),
				connect.WithErrorHook(func(_ context.Context, _ connect.Spec, err error) error { seen = err; return err }))
			got := calls(testContext(t), newClient(server, withHeader("Authorization", "Bearer x")), false)["unary"]
			wantError(t, got.err, c.code, c.text)
			if got.err != nil && strings.Contains(got.err.Error(), "secret") {
				t.Errorf("got the reason in %v", got.err)
			}
			_ = decision
			if c.err != nil && !errors.Is(seen, c.err) {
				t.Errorf("got %v for the hook, want one that wraps %v", seen, c.err)
			}
		})
	}
	if len(shared.Meta()) != 0 {
		t.Errorf("got %v in an error that calls share, want nothing", shared.Meta())
	}
}

// TestWireErrors: an error that verify has from another server is not the client's.
func TestWireErrors(t *testing.T) {
	for _, c := range []struct {
		theirs, ours connect.Code
		text         string
	}{
		{connect.CodeUnavailable, connect.CodeUnavailable, "cannot be verified now"},
		{connect.CodeResourceExhausted, connect.CodeUnavailable, "cannot be verified now"},
		{connect.CodePermissionDenied, connect.CodeUnauthenticated, "the bearer credentials are not valid"},
		{connect.CodeNotFound, connect.CodeUnauthenticated, "the bearer credentials are not valid"},
	} {
		other := serve(t, new(service), nil, connect.WithRequestGate(func(context.Context, connect.Spec, connect.Peer, http.Header) (context.Context, error) {
			return nil, connect.NewError(c.theirs, errors.New("secret"))
		}))
		server := serve(t, new(service), nil, auth.Require(auth.Bearer(func(ctx context.Context, _ string) (auth.Identity, error) {
			return auth.Identity{}, calls(ctx, newClient(other), false)["unary"].err
		})))
		got := calls(testContext(t), newClient(server, withHeader("Authorization", "Bearer x")), false)["unary"]
		wantError(t, got.err, c.ours, c.text)
		if got.err != nil && strings.Contains(got.err.Error(), "secret") {
			t.Errorf("got another server's text in %v", got.err)
		}
	}
}

// TestSlowVerify: a call whose time is over while its credentials are verified has the code
// for that.
func TestSlowVerify(t *testing.T) {
	for _, c := range carriers {
		server := serve(t, new(service), c.server, connect.WithMaxTimeout(time.Millisecond), auth.Require(auth.Bearer(
			func(ctx context.Context, _ string) (auth.Identity, error) {
				<-ctx.Done()
				return auth.Identity{}, ctx.Err()
			})))
		got := calls(testContext(t), newClient(server, append(c.options, withHeader("Authorization", "Bearer x"))...), false)["unary"]
		wantError(t, got.err, connect.CodeDeadlineExceeded, "the call ended while its credentials were verified")
	}
}

// TestPanics: the mistakes of a program are found at construction.
func TestPanics(t *testing.T) {
	bearer := auth.Bearer(ada)
	for text, f := range map[string]func(){
		"no authenticator":                           func() { auth.Require() },
		"an option is nil":                           func() { auth.Require(nil) },
		"Bearer: verify is nil":                      func() { auth.Bearer(nil) },
		"Basic: verify is nil":                       func() { auth.Basic(nil) },
		"Func: the scheme is empty":                  func() { auth.Func("", nil) },
		"is not the name of a header":                func() { auth.APIKey("a b", nil) },
		"the header Authorization has schemes":       func() { auth.APIKey("authorization", nil) },
		"lookup is nil":                              func() { auth.APIKey("a", nil) },
		"an identity has no Subject":                 func() { auth.Keys(map[auth.KeyHash]auth.Identity{{}: {}}) },
		"no trust domain":                            func() { auth.SPIFFE() },
		`SPIFFE: "Acme"`:                             func() { auth.SPIFFE("Acme") },
		"is not a token of HTTP":                     func() { bearer.Challenge("a b", "") },
		"the realm":                                  func() { bearer.Challenge("Bearer", "a\n") },
		"IgnoreExpiry: bearer":                       func() { bearer.IgnoreExpiry() },
		"Rule: the function is nil":                  func() { auth.Rule(nil) },
		"is neither a procedure":                     func() { auth.Table(map[string]auth.Access{"acme.v1.Service/Method": {}}) },
		"only one of public":                         func() { auth.Default(auth.Access{Public: true, Deny: true}) },
		"scopes, roles and subjects have no meaning": func() { auth.Default(auth.Access{Public: true, Scopes: []string{"a"}}) },
		"a scope, role or subject is empty":          func() { auth.Default(auth.Access{Roles: []string{""}}) },
		"is in two tables": func() {
			auth.Require(bearer, auth.Table(map[string]auth.Access{"/": {}}), auth.Table(map[string]auth.Access{"/": {}}))
		},
		"Handler(nil)":                            func() { auth.Require(bearer).Handler(nil) },
		"Handler: MethodOption":                   func() { auth.Require(bearer, auth.MethodOption()).Handler(http.NotFoundHandler()) },
		"Credentials: the source is nil":          func() { auth.Credentials(nil) },
		"StaticToken: the token is empty":         func() { auth.StaticToken("") },
		"the user has a colon":                    func() { auth.BasicCredentials("a:b", "") },
		"a control character":                     func() { auth.BasicCredentials("a", "\n") },
		"the key is empty":                        func() { auth.APIKeyCredentials("X", "") },
		"APIKeyCredentials: \"\" is not the name": func() { auth.APIKeyCredentials("", "k") },
		"an option of credentials is nil":         func() { auth.BasicCredentials("a", "b", nil) },
		"OAuth2: the source is nil":               func() { auth.OAuth2[int](nil, nil) },
	} {
		wantPanic(t, text, f)
	}
}
