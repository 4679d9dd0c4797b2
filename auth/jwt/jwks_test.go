// SPDX-License-Identifier: Apache-2.0

// Keys that an issuer publishes, in time that tests control.

package jwt_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/auth/jwt"
	"github.com/seed-b7c59c10/connect/connecttest"
)

// A publisher serves key sets. Its handler may be changed at any time.
type publisher struct {
	requests atomic.Int64
	serve    atomic.Pointer[http.HandlerFunc]
}

func (p *publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.requests.Add(1)
	(*p.serve.Load())(w, r)
}

func (p *publisher) publish(h http.HandlerFunc) { p.serve.Store(&h) }

// text publishes a set.
func (p *publisher) text(set []byte) {
	p.publish(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) })
}

func (p *publisher) status(status int) {
	p.publish(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

func (p *publisher) wantRequests(t *testing.T, want int64) {
	t.Helper()
	if got := p.requests.Load(); got != want {
		t.Errorf("got %d requests for keys, want %d", got, want)
	}
}

// inTime runs a test with a publisher and a verifier.
func inTime(t *testing.T, f func(t *testing.T, p *publisher, v *jwt.Verifier), options ...jwt.JWKSOption) {
	t.Helper()
	_, _, _ = rsaKey(), ecKey(), edKey() // outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		p := new(publisher)
		server := connecttest.NewServer(p, connecttest.WithHTTP1())
		defer server.Close()
		f(t, p, newVerifier(jwt.JWKS("http://localhost/keys", append(options, jwt.HTTPClient(server.Client()))...)))
	})
}

// token returns a token of a key ID, signed with the EC key.
func token(t testing.TB, id string) string {
	t.Helper()
	return sign(t, jose.ES256, ecKey(), object{"kid": id}, good(nil))
}

// ids returns a set that has the EC key under several IDs.
func ids(t testing.TB, ids ...string) []byte {
	t.Helper()
	keys := make(map[string]crypto.PublicKey)
	for _, id := range ids {
		keys[id] = ecKey().Public()
	}
	return set(t, keys)
}

func wantGood(t testing.TB, v *jwt.Verifier, token string) {
	t.Helper()
	if identity, err := v.Verify(t.Context(), token); err != nil || identity.Subject != "ada" {
		t.Errorf("got %v and error %v, want ada", identity, err)
	}
}

// TestRotation: a new key is fetched at once, an unknown one once in each interval.
func TestRotation(t *testing.T) {
	inTime(t, func(t *testing.T, p *publisher, v *jwt.Verifier) {
		p.text(ids(t, "1"))
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() { wantGood(t, v, token(t, "1")) })
		}
		group.Wait()
		p.wantRequests(t, 1)
		time.Sleep(time.Minute)
		p.text(ids(t, "1", "2"))
		for range 20 {
			group.Go(func() { wantGood(t, v, token(t, "2")) })
		}
		group.Wait()
		p.wantRequests(t, 2)
		for range 20 {
			group.Go(func() {
				_, err := v.Verify(t.Context(), token(t, "3"))
				wantError(t, err, connect.CodeUnauthenticated, `the token's key "3" is unknown`)
			})
		}
		group.Wait()
		p.wantRequests(t, 2) // the interval has not passed
		p.text(ids(t, "2", "3"))
		time.Sleep(30 * time.Second)
		wantGood(t, v, token(t, "3"))
		p.wantRequests(t, 3)
		_, err := v.Verify(t.Context(), token(t, "1"))
		wantError(t, err, connect.CodeUnauthenticated, `the token's key "1" is unknown`)
	})
}

// TestWithdrawn: a key that is not published any more goes at the next refresh.
func TestWithdrawn(t *testing.T) {
	inTime(t, func(t *testing.T, p *publisher, v *jwt.Verifier) {
		p.text(ids(t, "1", "2"))
		wantGood(t, v, token(t, "1"))
		p.text(ids(t, "2"))
		time.Sleep(14 * time.Minute)
		wantGood(t, v, token(t, "1"))
		p.wantRequests(t, 1)
		time.Sleep(time.Minute)
		wantGood(t, v, token(t, "1")) // does not wait for the refresh
		synctest.Wait()
		p.wantRequests(t, 2)
		_, err := v.Verify(t.Context(), token(t, "1"))
		wantError(t, err, connect.CodeUnauthenticated, "is unknown")
		wantGood(t, v, token(t, "2"))
	})
}

// TestPublisherDown: known keys are used for a day, and the publisher is asked once in each
// interval.
func TestPublisherDown(t *testing.T) {
	for name, bad := range map[string]http.HandlerFunc{
		"status":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"garbage":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"empty":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"cut off":   func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); panic(http.ErrAbortHandler) }, // net/http repeats a GET without a response
		"slow":      func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"slow body": func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); <-r.Context().Done() },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T, p *publisher, v *jwt.Verifier) {
				p.publish(bad)
				for range 3 {
					_, err := v.Verify(t.Context(), token(t, "1"))
					wantError(t, err, connect.CodeUnavailable, "the keys of the token's issuer cannot be fetched now")
					if strings.Contains(err.Error(), "localhost") || errors.Unwrap(errors.Unwrap(err)) == nil {
						t.Errorf("got %v, want a cause that is withheld", err)
					}
				}
				p.wantRequests(t, 1)
				p.text(ids(t, "1"))
				time.Sleep(30 * time.Second)
				wantGood(t, v, token(t, "1"))
				p.wantRequests(t, 2)
				p.publish(bad)
				for range 23 {
					time.Sleep(time.Hour)
					wantGood(t, v, token(t, "1"))
				}
				time.Sleep(time.Minute)
				p.wantRequests(t, 25)
				time.Sleep(time.Hour)
				_, err := v.Verify(t.Context(), token(t, "1"))
				wantError(t, err, connect.CodeUnavailable, "cannot be fetched now")
				time.Sleep(time.Minute)
				p.text(ids(t, "1"))
				wantGood(t, v, token(t, "1"))
			})
		})
	}
}

type transport func()

func (f transport) RoundTrip(*http.Request) (*http.Response, error) {
	f()
	return nil, errors.New("no connection")
}

// TestClientFails: whatever the HTTP client does, calls get an error whose cause names neither
// the user nor the query of the URL, and later calls ask again.
func TestClientFails(t *testing.T) {
	for want, f := range map[string]func(){
		"fetching http://localhost/a%20b: no connection":                  func() {},
		"fetching http://localhost/a%20b: the HTTP client panicked: boom": func() { panic("boom") },
		"the HTTP client ended its goroutine":                             runtime.Goexit,
	} {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			client := &http.Client{Transport: transport(func() { n++; f() })}
			v := newVerifier(jwt.JWKS("http://user:secret@localhost/a%20b?key=secret", jwt.HTTPClient(client)))
			for range 2 {
				_, err := v.Verify(t.Context(), token(t, "1"))
				wantError(t, err, connect.CodeUnavailable, "cannot be fetched now")
				cause := errors.Unwrap(errors.Unwrap(err))
				if cause == nil || !strings.Contains(cause.Error(), want) || strings.Contains(cause.Error(), "secret") {
					t.Errorf("got the cause %v, want %q", cause, want)
				}
				time.Sleep(time.Minute)
			}
			if n != 2 {
				t.Errorf("got %d requests, want 2", n)
			}
		})
	}
}

// TestCallEnds: a call does not wait for the keys longer than its own time, and others go on
// waiting.
func TestCallEnds(t *testing.T) {
	inTime(t, func(t *testing.T, p *publisher, v *jwt.Verifier) {
		text := ids(t, "1")
		p.publish(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * time.Second)
			_, _ = w.Write(text)
		})
		var group sync.WaitGroup
		group.Go(func() { wantGood(t, v, token(t, "1")) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := v.Verify(ctx, token(t, "1")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
		group.Wait()
		p.wantRequests(t, 1)
	})
}

// TestIntervals: the options of the set.
func TestIntervals(t *testing.T) {
	inTime(t, func(t *testing.T, p *publisher, v *jwt.Verifier) {
		p.text(ids(t, "1"))
		wantGood(t, v, token(t, "1"))
		time.Sleep(time.Second)
		p.text(ids(t, "2"))
		wantGood(t, v, token(t, "2"))
		p.status(500)
		time.Sleep(time.Minute)
		wantGood(t, v, token(t, "2"))
		synctest.Wait()
		p.wantRequests(t, 3)
		time.Sleep(time.Minute)
		_, err := v.Verify(t.Context(), token(t, "2"))
		wantError(t, err, connect.CodeUnavailable, "cannot be fetched now")
	}, jwt.MinInterval(time.Second), jwt.RefreshEvery(time.Minute), jwt.KeepFor(2*time.Minute))
}

// TestRedirects: from https to http none is followed, and others up to five.
func TestRedirects(t *testing.T) {
	text := ids(t, "1")
	clear := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) }))
	defer clear.Close()
	loop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }))
	defer loop.Close()
	for _, server := range []*httptest.Server{loop} {
		_, err := newVerifier(jwt.JWKS(server.URL)).Verify(t.Context(), token(t, "1"))
		wantError(t, err, connect.CodeUnavailable, "cannot be fetched now")
		if cause := errors.Unwrap(errors.Unwrap(err)); cause == nil || !strings.Contains(cause.Error(), "more than five redirects") {
			t.Errorf("got the cause %v, want the redirects", cause)
		}
	}
	ok := httptest.NewServer(http.RedirectHandler(clear.URL, http.StatusFound))
	defer ok.Close()
	wantGood(t, newVerifier(jwt.JWKS(ok.URL)), token(t, "1"))
}

// TestSoak: calls with keys that rotate, calls that are cancelled, and a publisher that dies and
// comes back. What the issuer has is accepted in the end, what it does not have never is, and
// no goroutine is left.
func TestSoak(t *testing.T) {
	inTime(t, func(t *testing.T, p *publisher, v *jwt.Verifier) {
		p.text(ids(t, "key 0"))
		done := make(chan struct{})
		var workers sync.WaitGroup
		for worker := range 8 {
			known, unknown := token(t, "key 0"), token(t, fmt.Sprintf("unknown %d", worker))
			workers.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-done:
						return
					default:
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%50)*time.Millisecond)
					_, err := v.Verify(ctx, unknown)
					cancel()
					if err == nil {
						t.Error("got a token of an unknown key accepted")
					}
					_, _ = v.Verify(t.Context(), known)
					time.Sleep(11 * time.Second)
				}
			})
		}
		for round := range 12 {
			switch round % 4 {
			case 0:
				p.status(500)
			case 1:
				p.publish(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			case 2:
				p.publish(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
			}
			time.Sleep(time.Minute)
			id := fmt.Sprintf("key %d", round)
			p.text(ids(t, "key 0", id))
			time.Sleep(time.Minute)
			wantGood(t, v, token(t, id))
		}
		close(done)
		workers.Wait()
		if n := p.requests.Load(); n > 100 {
			t.Errorf("got %d requests for keys in 24 minutes, want at most 100", n)
		}
	})
}

// TestGuard: the verifier in a guard, over the wire.
func TestGuard(t *testing.T) {
	keys, err := jwt.StaticJWKS(ids(t, "1"))
	if err != nil {
		t.Fatal(err)
	}
	guard := auth.Require(auth.Bearer(newVerifier(keys).Verify))
	for text, c := range map[string]struct {
		token string
		code  connect.Code
	}{
		"":                       {token(t, "1"), 0},
		`key "2" is unknown`:     {token(t, "2"), connect.CodeUnauthenticated},
		"the token expired at":   {sign(t, jose.ES256, ecKey(), object{"kid": "1"}, good(object{"exp": 1})), connect.CodeUnauthenticated},
		"expected at most 16384": {strings.Repeat("a", 20000), connect.CodeUnauthenticated},
	} {
		response := httptest.NewRecorder()
		request := httptest.NewRequest(http.MethodPost, "/a.S/M", strings.NewReader("{}"))
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer "+c.token)
		guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if claims, ok := auth.Details[*jwt.Claims](r.Context()); !ok || claims.Subject != "ada" {
				t.Errorf("got the claims %v", claims)
			}
		})).ServeHTTP(response, request)
		want := 200
		if c.code != 0 {
			want = c.code.HTTPStatus()
		}
		body := strings.ReplaceAll(response.Body.String(), `\"`, `"`)
		if response.Code != want || !strings.Contains(body, text) {
			t.Errorf("got status %d and %s, want %d with %q", response.Code, body, want, text)
		}
	}
}
