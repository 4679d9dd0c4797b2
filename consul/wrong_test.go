// SPDX-License-Identifier: Apache-2.0

// Peers that are not what they should be.

package consul_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/consul"
	"github.com/seed-b7c59c10/connect/consul/consultest"
)

// TestWrongPeers connects with certificates that are not what they should be, in both
// directions.
func TestWrongPeers(t *testing.T) {
	a, other := newAgent(t), newAgent(t)
	ping := newService(t, a, "ping")
	l := serve(t, a, ping, handlers(nil))
	web := newService(t, a, "web")
	day := 24 * time.Hour
	mint := func(a *consultest.Agent, uri string, from, until time.Duration) tls.Certificate {
		made, err := a.Mint(uri, time.Now().Add(from), time.Now().Add(until))
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair([]byte(made.CertPEM), []byte(made.PrivateKeyPEM))
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	for name, c := range map[string]struct {
		pair   *tls.Certificate
		client string // the reason of the client when a server has the certificate
	}{
		"other authority":    {new(mint(other, a.ServiceURI("ping"), -day, day)), "not one of the mesh"},
		"other trust domain": {new(mint(a, other.ServiceURI("ping"), -day, day)), "another trust domain"},
		"expired":            {new(mint(a, a.ServiceURI("ping"), -2*day, -day)), "expired"},
		"not yet valid":      {new(mint(a, a.ServiceURI("ping"), day, 2*day)), "not one of the mesh"},
		"an agent":           {new(mint(a, "spiffe://"+a.TrustDomain()+"/agent/client/dc/dc1/id/1", -day, day)), "the ID of an agent"},
		"other service":      {new(mint(a, a.ServiceURI("pong"), -day, day)), `expected the service "ping"`},
		"other datacenter":   {new(mint(a, strings.Replace(a.ServiceURI("ping"), "/dc1/", "/dc2/", 1), -day, day)), `in datacenter "dc1"`},
		"other namespace":    {new(mint(a, strings.Replace(a.ServiceURI("ping"), "/ns/default/", "/ns/other/", 1), -day, day)), `namespace "default"`},
	} {
		t.Run(name, func(t *testing.T) {
			// A server.
			tl, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*c.pair}, NextProtos: []string{"h2"}})
			if err != nil {
				t.Fatal(err)
			}
			defer tl.Close()
			go func() {
				for {
					nc, err := tl.Accept()
					if err != nil {
						return
					}
					go func() {
						defer nc.Close()
						_ = nc.(*tls.Conn).Handshake()
					}()
				}
			}()
			_, err = web.Dial(within(t), &consul.StaticResolver{Addr: tl.Addr().String(), CertURI: a.ServiceURI("ping")})
			wantError(t, "dial", err, connect.CodeUnauthenticated, c.client)
			service := "bad"
			register(t, a, service, name, tl)
			defer a.Deregister(name)
			_, err = call(within(t), web.HTTPClient(), "https://bad.service.consul", pathUnary, web.Options("https://bad.service.consul"))
			if connect.CodeOf(err) != connect.CodeUnauthenticated {
				t.Errorf("got %v from a call, want unauthenticated", err)
			}

			// A client: what the intentions allow is not looked at.
			if strings.HasPrefix(name, "other service") || strings.HasPrefix(name, "other datacenter") || strings.HasPrefix(name, "other namespace") {
				return // members
			}
			h := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{*c.pair}, RootCAs: poolOf(t, a), InsecureSkipVerify: true}}
			defer h.CloseIdleConnections()
			_, err = call(within(t), &http.Client{Transport: h}, "https://"+l.Addr().String(), pathUnary)
			if err == nil {
				t.Error("got an answer with a bad certificate, want none")
			}
		})
	}
	// Without any certificate.
	h := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer h.CloseIdleConnections()
	_, err := call(within(t), &http.Client{Transport: h}, "https://"+l.Addr().String(), pathUnary)
	if err == nil {
		t.Error("got an answer without a certificate, want none")
	}
	// And the service goes on.
	if got, err := call(within(t), web.HTTPClient(), pingURL, pathUnary); err != nil || got != "web" {
		t.Errorf("got %q, %v, want the caller web", got, err)
	}
}
