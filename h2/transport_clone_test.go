// SPDX-License-Identifier: Apache-2.0

// What an http.Transport shares with its clones and with dialing functions, and the
// configuration that it gets later.

package h2_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
)

// certificateOf returns a client's certificate.
func certificateOf(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestClone gives a clone another client certificate: each call comes with the
// certificate of the transport that it was made with, whether the clone is configured,
// too, or not.
func TestClone(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" "+r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	extra := func(string, *tls.Conn) http.RoundTripper { return nil }
	for _, others := range []map[string]func(string, *tls.Conn) http.RoundTripper{nil, {}, {"extra": extra}} {
		for _, configured := range []bool{false, true} {
			alice := &http.Transport{TLSNextProto: others}
			alice.TLSClientConfig = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificateOf(t, "alice")}}
			if err := h2.ConfigureTransport(alice, nil); err != nil {
				t.Fatal(err)
			}
			if len(others) != 0 && alice.TLSNextProto["extra"] == nil {
				t.Error("got a transport without another protocol that it had")
			}
			call(alice, getURL(t, s.URL)).want(t, 200, "HTTP/2.0 alice")
			bob := alice.Clone()
			bob.TLSClientConfig.Certificates = []tls.Certificate{certificateOf(t, "bob")}
			if configured {
				if err := h2.ConfigureTransport(bob, nil); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 {
				call(bob, getURL(t, s.URL)).want(t, 200, "HTTP/2.0 bob")
				call(alice, getURL(t, s.URL)).want(t, 200, "HTTP/2.0 alice")
			}
			bob.CloseIdleConnections()
			alice.CloseIdleConnections()
		}
	}
}

func getURL(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSharedTLSConfig dials with a function that shares the transport's configuration:
// HTTP/2 is negotiated. The slice that the user has set is not written to.
func TestSharedTLSConfig(t *testing.T) {
	s, trust := startTLS(t, true, true)
	protos := make([]string, 1, 4)
	protos[0] = "other"
	trust.NextProtos = protos
	standard := &http.Transport{TLSClientConfig: trust, DialTLSContext: func(_ context.Context, network, address string) (net.Conn, error) {
		return tls.Dial(network, address, trust)
	}}
	if err := h2.ConfigureTransport(standard, nil); err != nil {
		t.Fatal(err)
	}
	defer standard.CloseIdleConnections()
	post(t, standard, s.URL).want(t, 200, "HTTP/2.0 hello")
	if want := []string{"h2", "other", "http/1.1"}; !slices.Equal(trust.NextProtos, want) {
		t.Errorf("got NextProtos %q, want %q", trust.NextProtos, want)
	}
	if protos[0] != "other" || protos[:2][1] != "" {
		t.Errorf("got a slice of the user's that says %q, want it as it was", protos[:4])
	}
}

// TestConfigureUsed refuses a transport that was used: net/http would not find this
// package any more.
func TestConfigureUsed(t *testing.T) {
	for name, used := range map[string]*http.Transport{
		"HTTP/2": {}, "HTTP/1.1": {TLSClientConfig: new(tls.Config)},
	} {
		used.CloseIdleConnections()
		if err := h2.ConfigureTransport(used, nil); err == nil {
			t.Errorf("%s: got no error for a transport that was used", name)
		}
	}
}

// TestHeaderBytesWithin gets responses with large headers within an http.Transport: of
// up to net/http's 10 MB, or what was set before the first connection.
func TestHeaderBytesWithin(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	handler := func(w http.ResponseWriter, r *http.Request) {
		for key := range r.Header {
			if strings.HasPrefix(key, "X-") {
				w.Header().Set(key, large)
			}
		}
	}
	bubble(t, func(t *testing.T) {
		s := startServer(t, handler)
		for limit, want := range map[int64]bool{0: true, 5 << 20: true, 2 << 20: false} {
			standard := newWithin(t, s.network, new(http.Transport), nil)
			standard.MaxResponseHeaderBytes = limit
			r := get(t.Context())
			for _, key := range []string{"X-A", "X-B", "X-C"} {
				r.Header.Set(key, "1")
			}
			if o := call(standard, r); (o.err == nil) != want {
				t.Errorf("limit %d: got error %v for a header of 3 MiB, want success %v", limit, o.err, want)
			}
		}
	})
}

// TestInformationalBytes bounds what responses with status 1xx carry in all.
func TestInformationalBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		done := begin(client, get(t.Context()))
		p := s.accept()
		id := p.request().StreamID
		for range 5 {
			p.headers(id, false, ":status", "103", "link", strings.Repeat("x", 15<<10))
		}
		receive(t, "an error", done).wantText(t, "too many 1xx responses")
	})
}
