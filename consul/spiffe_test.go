// SPDX-License-Identifier: Apache-2.0

// The forms of SPIFFE IDs.

package consul_test

import (
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect/consul"
)

func TestParseIdentity(t *testing.T) {
	for uri, want := range map[string]consul.Identity{
		"spiffe://abc.consul/ns/default/dc/dc1/svc/web":         {TrustDomain: "abc.consul", Partition: "default", Namespace: "default", Datacenter: "dc1", Service: "web"},
		"spiffe://abc.consul/ap/p1/ns/n1/dc/dc1/svc/web":        {TrustDomain: "abc.consul", Partition: "p1", Namespace: "n1", Datacenter: "dc1", Service: "web"},
		"spiffe://abc.consul/ns/default/dc/dc1/svc/a%2Fb%20%25": {TrustDomain: "abc.consul", Partition: "default", Namespace: "default", Datacenter: "dc1", Service: "a/b %"},
	} {
		got, err := consul.ParseIdentity(uri)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", uri, got, err, want)
		}
		if got.URI() != uri {
			t.Errorf("got the URI %s, want %s", got.URI(), uri)
		}
	}
	got, err := consul.ParseIdentity("SPIFFE://ABC.consul/ap/default/ns/default/dc/dc1/svc/Web")
	if err != nil || got.URI() != "spiffe://abc.consul/ns/default/dc/dc1/svc/Web" {
		t.Errorf("got %v, %v, want the trust domain in lower case and no default partition", got, err)
	}
	for uri, part := range map[string]string{
		"":                                        "the scheme is not spiffe",
		"https://a/ns/b/dc/c/svc/d":               "the scheme is not spiffe",
		"spiffe://abc.consul":                     "the ID of a certificate authority",
		"spiffe://abc.consul/":                    "a segment of the path is empty",
		"spiffe:///ns/default/dc/dc1/svc/web":     "no trust domain",
		"spiffe://a:1/ns/b/dc/c/svc/d":            "no trust domain",
		"spiffe://u@a/ns/b/dc/c/svc/d":            "no trust domain",
		"spiffe://a/ns/b/dc/c/svc/d?x":            "a query or a fragment",
		"spiffe://a/ns/b/dc/c/svc/d#x":            "a query or a fragment",
		"spiffe://a/ns/b/dc/c/svc/":               "a segment of the path is empty",
		"spiffe://a/ns/b/dc/c/svc/..":             "a segment of the path is empty, or no name",
		"spiffe://a/ns/b/dc/c/svc/%2e":            "a segment of the path is empty, or no name",
		"spiffe://a/ns/b/dc/c/svc/d/e":            "it is not that of a service",
		"spiffe://a/dc/b/ns/c/svc/d":              "it is not that of a service",
		"spiffe://a/ap/x":                         "it is not that of a service",
		"spiffe://a/agent/client/dc/d/id/1":       "it is the ID of an agent",
		"spiffe://a/ap/p/agent/client/dc/d/id":    "it is the ID of an agent",
		"spiffe://a/gateway/mesh/dc/d":            "it is the ID of a gateway",
		"spiffe://a/%zz":                          "expected the form",
		"spiffe://a/" + strings.Repeat("a", 2048): "expected at most 2048",
	} {
		_, err := consul.ParseIdentity(uri)
		wantText(t, uri, err, part, "expected")
	}
}

// FuzzParseIdentity checks that what is parsed is written in one form.
func FuzzParseIdentity(f *testing.F) {
	f.Add("spiffe://abc.consul/ns/default/dc/dc1/svc/web")
	f.Add("spiffe://abc.consul/ap/p1/ns/n1/dc/dc1/svc/a%2Fb")
	f.Add("spiffe://a/ap/ap/ns/ns/dc/dc/svc/svc")
	f.Fuzz(func(t *testing.T, uri string) {
		id, err := consul.ParseIdentity(uri)
		if err != nil {
			return
		}
		again, err := consul.ParseIdentity(id.URI())
		if len(id.URI()) <= 2048 && (err != nil || again != id) {
			t.Errorf("%q: got %+v, %v from %q, want %+v", uri, again, err, id.URI(), id)
		}
	})
}

// FuzzHost checks that resolvers come only from names with three or four labels.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"ping.service.consul", "ping.query.dc1.consul:443", "[::1]:80", "a.b.service.consul", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		r, err := consul.ConsulResolverFromAddr(nil, host)
		if err == nil && (r.Name == "" || strings.ContainsAny(r.Name+r.Datacenter, "./:?#% ")) {
			t.Errorf("%q: got %+v, want a name without these characters", host, r)
		}
	})
}
