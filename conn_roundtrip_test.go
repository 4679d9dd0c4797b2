// SPDX-License-Identifier: Apache-2.0

// Calls past http.Client come out as those through it.

package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// doer hides that it is an [http.Client], so that its Do is called.
type doer struct{ *http.Client }

// TestRoundTrip makes the same calls with and without Do. Both must have the same
// outcome, also after redirects and failures, and send the same requests.
func TestRoundTrip(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	mux := http.NewServeMux()
	const target = "/test.v1.Past/Target"
	mux.Handle(target, NewUnaryHandler(target,
		func(_ context.Context, r *Request[wrapperspb.StringValue]) (*Response[wrapperspb.StringValue], error) {
			return NewResponse(r.Msg), nil
		}, WithIdempotency(IdempotencyNoSideEffects)))
	for _, status := range []int{200, 204, 300, 301, 302, 303, 304, 305, 307, 308, 404, 500} {
		mux.HandleFunc(fmt.Sprintf("/test.v1.Past/%d", status), func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("to") != "nowhere" {
				w.Header().Set("Location", target)
			}
			w.WriteHeader(status)
		})
	}
	mux.HandleFunc("/test.v1.Past/Loop", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/test.v1.Past/Bad", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", ":%zz")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/test.v1.Past/Abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		seen = append(seen, fmt.Sprintf("%s %s %d %v %q", r.Method, r.URL, len(body), err, r.Header.Get("Referer")))
		mu.Unlock()
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		mux.ServeHTTP(w, r)
	}))
	defer server.Close()

	paths := []string{"Target", "Loop", "Bad", "Abort", "Nothing"}
	for _, status := range []int{200, 204, 300, 301, 302, 303, 304, 305, 307, 308, 404, 500} {
		paths = append(paths, fmt.Sprint(status), fmt.Sprintf("%d?to=nowhere", status))
	}
	for _, path := range paths {
		for _, size := range []int{0, 10, 3 * bufferSize} {
			for name, options := range map[string][]ClientOption{
				"connect": nil, "get": {WithHTTPGet(), WithIdempotency(IdempotencyNoSideEffects)}, "web": {WithGRPCWeb()},
			} {
				outcome := func(client HTTPClient) string {
					seen = nil
					c := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](client, server.URL+"/test.v1.Past/"+path, options...)
					res, err := c.CallUnary(context.Background(), NewRequest(text(size)))
					var value int
					if err == nil {
						value = len(res.Msg.Value)
					}
					mu.Lock()
					defer mu.Unlock()
					return fmt.Sprintf("%d %v\n%s", value, err, strings.Join(seen, "\n"))
				}
				transport := &http.Transport{DisableKeepAlives: true} // so that nothing is sent twice by itself
				got, want := outcome(&http.Client{Transport: transport}), outcome(&http.Client{Transport: transport, Timeout: time.Hour})
				if got != want {
					t.Errorf("%s, %s, %d bytes: got\n%s\nwant\n%s", path, name, size, got, want)
				}
			}
		}
	}
}

// TestRoundTripErrors: errors are of the type and text that Do's are.
func TestRoundTripErrors(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	refused := httptest.NewServer(nil)
	refused.Close()
	for _, url := range []string{
		"https" + strings.TrimPrefix(plain.URL, "http") + "/test.v1.Past/Call", refused.URL + "/test.v1.Past/Call", "strange://host/test.v1.Past/Call",
	} {
		outcome := func(client HTTPClient) (string, bool) {
			_, err := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](client, url).CallUnary(context.Background(), NewRequest(text(1)))
			return fmt.Sprintf("%v", err), errors.Is(err, http.ErrSchemeMismatch)
		}
		transport := new(http.Transport)
		got, gotMismatch := outcome(&http.Client{Transport: transport})
		want, wantMismatch := outcome(doer{&http.Client{Transport: transport}})
		if got != want || gotMismatch != wantMismatch {
			t.Errorf("%s: got %s, %t, want %s, %t", url, got, gotMismatch, want, wantMismatch)
		}
	}
}

// TestLeftToDo: a call that needs cookies, a timeout or a redirect policy uses Do.
func TestLeftToDo(t *testing.T) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		client HTTPClient
		url    string
		past   bool
	}{
		"default":  {http.DefaultClient, "http://host/a/b", true},
		"plain":    {&http.Client{Transport: new(http.Transport)}, "http://host/a/b", true},
		"wrapped":  {&http.Client{Transport: roundTripper(nil)}, "http://host/a/b", true},
		"jar":      {&http.Client{Jar: jar}, "http://host/a/b", false},
		"timeout":  {&http.Client{Timeout: time.Minute}, "http://host/a/b", false},
		"redirect": {&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}, "http://host/a/b", false},
		"password": {http.DefaultClient, "http://user:password@host/a/b", false},
		"user":     {http.DefaultClient, "http://user@host/a/b", false},
		"other":    {doer{http.DefaultClient}, "http://host/a/b", false},
	} {
		config, err := newClientConfig(c.client, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := config.transport() != nil; got != c.past {
			t.Errorf("%s: got %t, want %t", name, got, c.past)
		}
	}
	if c, err := newClientConfig(http.DefaultClient, "http://host/a/b", nil); err != nil || c.transport() != http.DefaultTransport {
		t.Errorf("got %v, want the default transport", err)
	}
}
