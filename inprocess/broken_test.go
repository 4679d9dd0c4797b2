// SPDX-License-Identifier: Apache-2.0

// Responses that break off, behind handlers that ask for the server of their request.

package inprocess_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/seed-b7c59c10/connect/inprocess"
)

// TestBrokenBehindReverseProxy has a backend break off its response: the caller gets an
// error, and not a part that looks whole.
func TestBrokenBehindReverseProxy(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `"abc`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer backend.Close()
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	reverse := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	client := &http.Client{Transport: inprocess.NewTransport(reverse)}
	res, err := client.Get("http://proxy.test/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("got %q and no error, want an error", got)
	}
}
