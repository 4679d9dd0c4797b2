// SPDX-License-Identifier: Apache-2.0

// Identities and tokens as values.

package auth_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/auth"
)

// TestRedaction: what is printed or logged has no secrets.
func TestRedaction(t *testing.T) {
	identity := auth.Identity{Subject: "ada", Issuer: "acme", Scheme: "bearer", Details: map[string]string{"key": "secret"}}
	token := auth.Token{Value: "secret", Expires: time.Unix(0, 0)}
	var logged bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&logged, nil))
	logger.Info("call", "caller", identity, "token", token)
	texts := []string{logged.String(), identity.String(), token.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		texts = append(texts, fmt.Sprintf(verb, identity), fmt.Sprintf(verb, token), fmt.Sprintf(verb, &identity), fmt.Sprintf(verb, struct{ T auth.Token }{token}))
	}
	for _, text := range texts {
		if strings.Contains(text, "secret") || text == "" {
			t.Errorf("got %q, want no secret", text)
		}
	}
	if got, want := identity.String(), `"ada" of "acme" by bearer`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := token.String(), "Bearer token of 6 bytes, expires 1970-01-01T00:00:00Z"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := (auth.Identity{}).String(); got != "nobody" {
		t.Errorf("got %q, want nobody", got)
	}
	if got, want := (auth.Token{Value: "a", Type: "DPoP"}).String(), "DPoP token of 1 bytes, no known expiry"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := logged.String(); !strings.Contains(got, "caller.subject=ada caller.issuer=acme caller.scheme=bearer") {
		t.Errorf("got the log %q, want the caller", got)
	}
}

func TestContext(t *testing.T) {
	ctx := context.Background()
	if i, ok := auth.FromContext(ctx); ok || i.Subject != "" {
		t.Errorf("got %v of an empty context", i)
	}
	if _, ok := auth.Details[int](ctx); ok {
		t.Error("got details of an empty context")
	}
	ctx = auth.NewContext(ctx, auth.Identity{Subject: "ada", Details: 7})
	if i, ok := auth.FromContext(ctx); !ok || i.Subject != "ada" {
		t.Errorf("got %v, want ada", i)
	}
	if n, ok := auth.Details[int](ctx); !ok || n != 7 {
		t.Errorf("got %d and %v, want 7", n, ok)
	}
	if _, ok := auth.Details[string](ctx); ok {
		t.Error("got details of another type")
	}
	if i, ok := auth.FromContext(auth.WithoutIdentity(ctx)); ok || i.Subject != "" {
		t.Errorf("got %v, want no identity", i)
	}
}

func TestEqual(t *testing.T) {
	if !auth.Equal("a", "a") || auth.Equal("a", "b") || auth.Equal("a", "aa") || !auth.Equal("", "") {
		t.Error("Equal does not compare")
	}
}
