// SPDX-License-Identifier: Apache-2.0

// httptest.Server on the engine, with TLS and without, and with clients of both
// kinds.

package h2_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seed-b7c59c10/connect/h2"
)

// TestHTTPTest starts test servers as programs do: the engine is configured
// before they start, EnableHTTP2 asks for TLS with HTTP/2.
func TestHTTPTest(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocol := "none"
		if r.TLS != nil {
			protocol = r.TLS.NegotiatedProtocol
		}
		body, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s, ALPN %s, body %q, %v", r.Proto, protocol, body, err)
	})
	for name, secure := range map[string]bool{"TLS": true, "cleartext": false} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(handler)
			server.EnableHTTP2 = secure
			if err := h2.ConfigureServer(server.Config, nil); err != nil {
				t.Fatal(err)
			}
			if secure {
				server.StartTLS()
			} else {
				server.Start()
			}
			t.Cleanup(server.Close)

			config := new(tls.Config)
			if standard := server.Client().Transport.(*http.Transport); standard.TLSClientConfig != nil {
				config = standard.TLSClientConfig.Clone()
			}
			own := h2.NewTransport(&h2.TransportConfig{TLSClientConfig: config})
			t.Cleanup(func() { _ = own.Close() })
			second, alpn := "HTTP/1.1", "none" // what httptest's client speaks in cleartext
			if secure {
				second, alpn = "HTTP/2.0", "h2"
			}
			for _, client := range []struct {
				transport http.RoundTripper
				proto     string
			}{{own, "HTTP/2.0"}, {server.Client().Transport, second}} {
				for _, body := range []string{"", "hello"} {
					want := fmt.Sprintf("%s, ALPN %s, body %q, <nil>", client.proto, alpn, body)
					call(client.transport, requestTo(t, server.URL, body)).want(t, http.StatusOK, want)
				}
			}
		})
	}
}

// requestTo is a POST.
func requestTo(t *testing.T, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, onlyReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}
