// SPDX-License-Identifier: Apache-2.0

// Certificates, SPIFFE IDs and Unix sockets, over real connections.

package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

// An authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{}
	self := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, self, self, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a.key = key
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue returns a certificate of a client with URIs.
func (a *authority) issue(t testing.TB, name string, uris ...string) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, s := range uris {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serveTLS serves the service over TLS until the test ends.
func serveTLS(t testing.TB, kind tls.ClientAuthType, a *authority, options ...connect.HandlerOption) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(conntestv1connect.NewTestServiceHandler(new(service), options...))
	s := httptest.NewUnstartedServer(mux)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{ClientAuth: kind}
	if a != nil {
		s.TLS.ClientCAs = x509.NewCertPool()
		s.TLS.ClientCAs.AddCert(a.certificate)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// clientOf returns an HTTP client with a certificate, which may be nil.
func clientOf(t testing.TB, s *httptest.Server, certificate *tls.Certificate) *http.Client {
	transport := s.Client().Transport.(*http.Transport).Clone()
	if certificate != nil {
		transport.TLSClientConfig.Certificates = []tls.Certificate{*certificate}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestCertificates(t *testing.T) {
	a := newAuthority(t)
	spiffe := auth.SPIFFE("acme.com", "b.test")
	for _, c := range []struct {
		name          string
		kind          tls.ClientAuthType
		authenticator *auth.Authenticator
		certificate   *tls.Certificate
		want          string // subject, or text of the error
	}{
		{"mtls", tls.VerifyClientCertIfGiven, auth.MTLS(nil), a.issue(t, "ada"), "CN=ada"},
		{"mtls, named", tls.RequireAndVerifyClientCert, auth.MTLS(func(_ context.Context, i connect.Identity) (auth.Identity, error) {
			return auth.Identity{Subject: "name:" + i.Certificate.Subject.CommonName}, nil
		}), a.issue(t, "ada"), "name:ada"},
		{"mtls, refused", tls.VerifyClientCertIfGiven, auth.MTLS(func(context.Context, connect.Identity) (auth.Identity, error) {
			return auth.Identity{}, errors.New("secret")
		}), a.issue(t, "eve"), "the certificate credentials are not valid"},
		{"mtls, none", tls.VerifyClientCertIfGiven, auth.MTLS(nil), nil, "no credentials: expected certificate"},
		{"mtls, not asked for", tls.NoClientCert, auth.MTLS(nil), a.issue(t, "ada"), "no credentials: expected certificate"},
		{"mtls, not verified", tls.RequestClientCert, auth.MTLS(nil), a.issue(t, "ada"), "the server has not verified the client's certificate"},
		{"spiffe", tls.VerifyClientCertIfGiven, spiffe, a.issue(t, "", "spiffe://acme.com/billing"), "spiffe://acme.com/billing"},
		{"spiffe, other domain", tls.VerifyClientCertIfGiven, spiffe, a.issue(t, "", "spiffe://evil.com/billing"), `the trust domain "evil.com" of the client's certificate is not accepted`},
		{"spiffe, not verified", tls.RequireAnyClientCert, spiffe, a.issue(t, "", "spiffe://acme.com/billing"), "the server has not verified"},
		{"spiffe, two", tls.VerifyClientCertIfGiven, spiffe, a.issue(t, "", "spiffe://acme.com/a", "spiffe://acme.com/b"), "has 2 URIs"},
		{"spiffe, none", tls.VerifyClientCertIfGiven, spiffe, a.issue(t, "ada"), "it has no URI"},
		{"spiffe, other URI", tls.VerifyClientCertIfGiven, spiffe, a.issue(t, "ada", "https://acme.com/billing"), "has a URI that is not a SPIFFE ID"},
		{"spiffe, query", tls.VerifyClientCertIfGiven, spiffe, a.issue(t, "ada", "spiffe://acme.com/billing?a=b"), "has a URI that is not a SPIFFE ID"},
		{"spiffe, upper case", tls.VerifyClientCertIfGiven, spiffe, a.issue(t, "ada", "spiffe://Acme.com/billing"), "has a URI that is not a SPIFFE ID"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serveTLS(t, c.kind, a, auth.Require(c.authenticator))
			for name, options := range map[string][]connect.ClientOption{"connect": nil, "grpc": {connect.WithGRPC()}} {
				client := conntestv1connect.NewTestServiceClient(clientOf(t, s, c.certificate), s.URL, options...)
				got := calls(testContext(t), client, true)["bidi"]
				if got.err == nil {
					if got.text != c.want {
						t.Errorf("%s: got the caller %q, want %q", name, got.text, c.want)
					}
					continue
				}
				wantError(t, got.err, connect.CodeUnauthenticated, c.want)
			}
		})
	}
}

// TestExpiredCertificate: a certificate that has expired since the handshake.
func TestExpiredCertificate(t *testing.T) {
	a := newAuthority(t)
	certificate := a.issue(t, "ada", "spiffe://acme.com/ada")
	past := func(_ context.Context, i connect.Identity) (auth.Identity, error) {
		return auth.Identity{Subject: "ada", Expires: time.Unix(1, 0)}, nil // as if it had ended then
	}
	for name, c := range map[string]struct {
		authenticator *auth.Authenticator
		text          string
	}{
		"refused": {auth.MTLS(past), "the certificate credentials expired at 1970-01-01T00:00:01Z"},
		"ignored": {auth.MTLS(past).IgnoreExpiry(), ""},
		"spiffe":  {auth.SPIFFE("acme.com").IgnoreExpiry(), ""},
	} {
		s := serveTLS(t, tls.RequireAndVerifyClientCert, a, auth.Require(c.authenticator))
		got := calls(testContext(t), conntestv1connect.NewTestServiceClient(clientOf(t, s, certificate), s.URL), false)["unary"]
		if c.text == "" {
			if got.err != nil {
				t.Errorf("%s: got %v, want an answer", name, got.err)
			}
			continue
		}
		wantError(t, got.err, connect.CodeUnauthenticated, c.text)
	}
	identity, err := auth.MTLS(nil).Authenticate(testContext(t), auth.Request{})
	if !errors.Is(err, auth.ErrNoCredentials) {
		t.Errorf("got %v and %v, want no credentials", identity, err)
	}
}

func TestUnix(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("credentials of Unix sockets are read on Linux alone")
	}
	uid := uint32(os.Getuid())
	for name, c := range map[string]struct {
		allow func(connect.UnixCredentials) bool
		conn  func(context.Context, net.Conn) context.Context
		want  string
	}{
		"all":           {nil, connect.UnixConnContext, fmt.Sprint("uid:", uid)},
		"own":           {func(c connect.UnixCredentials) bool { return c.UID == uid }, connect.UnixConnContext, fmt.Sprint("uid:", uid)},
		"other":         {func(c connect.UnixCredentials) bool { return c.UID != uid }, connect.UnixConnContext, fmt.Sprintf("the user with the number %d is not accepted", uid)},
		"not in server": {nil, nil, "no credentials: expected unix"},
	} {
		for form := range 2 {
			guard := auth.Require(auth.Unix(c.allow))
			mux := http.NewServeMux()
			var handler http.Handler = mux
			if form == 0 {
				mux.Handle(conntestv1connect.NewTestServiceHandler(new(service), guard))
			} else {
				mux.Handle(conntestv1connect.NewTestServiceHandler(new(service)))
				handler = guard.Handler(mux)
			}
			path := filepath.Join(t.TempDir(), "s")
			listener, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			s := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler, ConnContext: c.conn}}
			s.Start()
			transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			}}
			got := calls(testContext(t), conntestv1connect.NewTestServiceClient(&http.Client{Transport: transport}, "http://unix"), false)["unary"]
			if got.err == nil && got.text != c.want {
				t.Errorf("%s: got the caller %q, want %q", name, got.text, c.want)
			} else if got.err != nil {
				wantError(t, got.err, connect.CodeUnauthenticated, c.want)
			}
			transport.CloseIdleConnections()
			s.Close()
		}
	}
}
