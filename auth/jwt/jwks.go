// SPDX-License-Identifier: Apache-2.0

// Keys that an issuer publishes, and rotates.

package jwt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/seed-b7c59c10/connect"
)

const (
	defaultInterval = 30 * time.Second
	defaultRefresh  = 15 * time.Minute
	defaultStale    = 24 * time.Hour
	fetchMax        = 10 * time.Second
	setMax          = 1 << 20 // bytes of a set
)

// A JWKSOption is a setting of [JWKS].
type JWKSOption func(*remote)

// HTTPClient sets the client that fetches the keys. Its redirects are its own. The default is one
// with net/http's transport, that follows no redirect from "https" to "http". It panics if client
// is nil.
func HTTPClient(client *http.Client) JWKSOption {
	check(client != nil, "HTTPClient: it is nil")
	return func(r *remote) { r.client = client }
}

// MinInterval sets the shortest time between two requests for the keys, 30 seconds by default. A
// key that is newer than the last request is unknown for that long at most; and so long a set
// that could not be fetched is not asked for again. It panics if interval is not positive.
func MinInterval(interval time.Duration) JWKSOption {
	check(interval > 0, "MinInterval: %v: expected a positive time", interval)
	return func(r *remote) { r.interval = interval }
}

// RefreshEvery sets after which time the keys are fetched again, at the next call, which does not
// wait for it: so keys that the issuer has withdrawn go. The default is 15 minutes. It panics if
// every is not positive.
func RefreshEvery(every time.Duration) JWKSOption {
	check(every > 0, "RefreshEvery: %v: expected a positive time", every)
	return func(r *remote) { r.refresh = every }
}

// KeepFor sets how long keys are used that could not be fetched again, 24 hours by default. After
// that calls have CodeUnavailable. It panics if keep is not positive.
func KeepFor(keep time.Duration) JWKSOption {
	check(keep > 0, "KeepFor: %v: expected a positive time", keep)
	return func(r *remote) { r.stale = keep }
}

// JWKS returns the keys that an issuer publishes at a URL, as a JSON Web Key Set. They are fetched
// at the first token, and again if a token has an unknown key ID or they are old, by one goroutine
// at a time, for at most ten seconds and 1 MiB. A call waits for that only if it has no key, until
// its context ends at the latest.
//
// The URL must be https, because whoever can change the answer can make tokens; for tests it may
// be http on a loopback address. JWKS panics for another one.
func JWKS(rawURL string, options ...JWKSOption) *Keys {
	u, err := url.Parse(rawURL)
	check(err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())),
		"JWKS: %q: expected a URL with https, or with http on a loopback address", rawURL)
	r := &remote{url: rawURL, name: u.Scheme + "://" + u.Host + u.EscapedPath(), interval: defaultInterval, refresh: defaultRefresh, stale: defaultStale, client: &http.Client{CheckRedirect: onlySecure}}
	for _, o := range options {
		check(o != nil, "JWKS: an option is nil")
		o(r)
	}
	return &Keys{find: r.find}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// onlySecure refuses redirects to a URL that is less secure than the first one.
func onlySecure(next *http.Request, before []*http.Request) error {
	if next.URL.Scheme != "https" && before[0].URL.Scheme == "https" {
		return fmt.Errorf("redirect to %s://%s: expected https", next.URL.Scheme, next.URL.Host)
	}
	if len(before) >= 5 {
		return errors.New("more than five redirects")
	}
	return nil
}

// remote is a set of keys at a URL.
//
//	empty ──▶ fetching ──▶ fresh ──▶ old: fetching, in use ──▶ fresh
//	  ▲           │                       │ fails for KeepFor
//	  └── fails ◀─┘                       └──▶ empty
type remote struct {
	url                      string
	name                     string // the url without what may be secret in it: user and query
	client                   *http.Client
	interval, refresh, stale time.Duration

	mu      sync.Mutex
	keys    []jose.JSONWebKey // of the last fetch that succeeded; never written
	fetched time.Time         // when that was
	tried   time.Time         // when the last one began, zero before the first
	err     error             // of the last one
	current chan struct{}     // closed when the running fetch has ended, nil if none runs
}

// find returns the keys with an ID, all of them if it is empty, until ctx ends at the latest.
func (r *remote) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	for {
		keys, wait, err := r.look(id)
		if wait == nil {
			return keys, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// look returns the keys with an ID, or an error, or else what to wait for before looking again. A
// call waits for each fetch once: after it the interval has not passed.
func (r *remote) look(id string) ([]jose.JSONWebKey, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	mayFetch := r.current == nil && (r.tried.IsZero() || now.Sub(r.tried) >= r.interval)
	age := now.Sub(r.fetched)
	usable := r.keys != nil && age < r.stale
	if usable {
		if found := withID(r.keys, id); len(found) > 0 {
			if age >= r.refresh && mayFetch {
				r.begin(now)
			}
			return found, nil, nil
		}
	}
	if mayFetch {
		r.begin(now)
	}
	switch {
	case r.current != nil:
		return nil, r.current, nil
	case usable:
		return nil, nil, unknownKey(id)
	}
	return nil, nil, connect.NewError(connect.CodeUnavailable, &refusal{"the keys of the token's issuer cannot be fetched now", r.err})
}

// begin begins a fetch. Its context is not that of a call, because others wait for it, too. The
// caller holds mu.
func (r *remote) begin(now time.Time) {
	done := make(chan struct{})
	r.current, r.tried = done, now
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), fetchMax)
		defer cancel()
		var keys []jose.JSONWebKey
		err := errors.New("the HTTP client ended its goroutine") // with runtime.Goexit
		defer func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.current, r.tried = nil, time.Now()
			if r.err = err; err == nil {
				r.keys, r.fetched = keys, r.tried
			}
			close(done)
		}()
		keys, err = r.fetch(ctx)
	}()
}

// fetch gets the set. A panic of the client is an error, for the calls that wait.
func (r *remote) fetch(ctx context.Context) (keys []jose.JSONWebKey, err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("the HTTP client panicked: %v", value)
		}
		if err != nil {
			var named *url.Error // which has the whole URL
			if errors.As(err, &named) {
				err = named.Err
			}
			err = fmt.Errorf("jwt: fetching %s: %w", r.name, err)
		}
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers with the status %s", response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, setMax+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > setMax:
		return nil, fmt.Errorf("the answer has more than %d bytes", setMax)
	}
	return parseSet(text)
}
