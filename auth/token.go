// SPDX-License-Identifier: Apache-2.0

// Tokens of clients, and where they come from.

package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A Token is a credential that a client sends in the header Authorization. Its String and
// LogValue do not have the Value.
type Token struct {
	// Value is the secret.
	Value string
	// Type is the scheme, "Bearer" if it is empty.
	Type string
	// Expires is when the server stops to accept the token; zero if that is not known, or
	// never.
	Expires time.Time
}

// String returns the type and the expiry.
func (t Token) String() string {
	expires := "no known expiry"
	if !t.Expires.IsZero() {
		expires = "expires " + t.Expires.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("%s token of %d bytes, %s", t.scheme(), len(t.Value), expires)
}

// Format writes String for each verb, so that "%+v" and "%#v" do not print the secret.
func (t Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// LogValue returns String.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

func (t Token) scheme() string {
	if t.Type == "" {
		return "Bearer"
	}
	return t.Type
}

// header returns the value of Authorization.
func (t Token) header() (string, error) {
	switch {
	case t.Value == "":
		return "", errors.New("the token source returned an empty token")
	case !isToken(t.scheme()) || !isQuotable(t.Value):
		return "", errors.New("the token source returned a token with characters that a header cannot have")
	}
	return t.scheme() + " " + t.Value, nil
}

// A TokenSource returns tokens. It is safe for concurrent use, and returns when ctx ends.
// [Credentials] keeps its tokens: it need not.
type TokenSource interface {
	Token(ctx context.Context) (Token, error)
}

// TokenFunc is a function as a [TokenSource].
type TokenFunc func(ctx context.Context) (Token, error)

// Token calls f.
func (f TokenFunc) Token(ctx context.Context) (Token, error) { return f(ctx) }

// StaticToken returns a source of one bearer token that does not change. It panics if the
// token is empty.
func StaticToken(token string) TokenSource {
	check(token != "", "StaticToken: the token is empty")
	return TokenFunc(func(context.Context) (Token, error) { return Token{Value: token}, nil })
}

// OAuth2 returns a source for one whose method Token has no context, such as that of
// golang.org/x/oauth2, which this package does not import:
//
//	auth.OAuth2(config.TokenSource(ctx), func(t *oauth2.Token) auth.Token {
//		return auth.Token{Value: t.AccessToken, Type: t.Type(), Expires: t.Expiry}
//	})
//
// The method runs in a goroutine of its own, so that a call whose context ends does not wait
// for it. The source of oauth2 keeps a token until ten seconds before it expires: if the
// server refuses one earlier, there is no other. A source that asks for a new one each time
// is better. OAuth2 panics if source or convert is nil.
func OAuth2[T any](source interface{ Token() (T, error) }, convert func(T) Token) TokenSource {
	check(source != nil, "OAuth2: the source is nil")
	check(convert != nil, "OAuth2: convert is nil")
	return &oauth2[T]{source: source, convert: convert}
}

// oauth2 is a source without a context. One goroutine at a time waits for it.
type oauth2[T any] struct {
	source  interface{ Token() (T, error) }
	convert func(T) Token

	mu      sync.Mutex
	current *result // nil if no goroutine runs
}

// A result is what a goroutine waits for.
type result struct {
	done  chan struct{} // closed when the rest is set
	token Token
	err   error
}

// Token waits for the source, until ctx ends at the latest.
func (o *oauth2[T]) Token(ctx context.Context) (Token, error) {
	o.mu.Lock()
	r := o.current
	if r == nil {
		r = &result{done: make(chan struct{})}
		o.current = r
		go o.ask(r)
	}
	o.mu.Unlock()
	select {
	case <-r.done:
		return r.token, r.err
	case <-ctx.Done():
		return Token{}, ctx.Err()
	}
}

func (o *oauth2[T]) ask(r *result) {
	defer func() {
		if value := recover(); value != nil {
			r.err = fmt.Errorf("the token source panicked: %v", value)
		}
		o.mu.Lock()
		o.current = nil
		o.mu.Unlock()
		close(r.done)
	}()
	token, err := o.source.Token()
	if err != nil {
		r.err = err
		return
	}
	r.token = o.convert(token)
}
