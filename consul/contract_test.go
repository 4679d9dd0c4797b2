// SPDX-License-Identifier: Apache-2.0

// What the module takes agents to do, checked with the one in memory and with a real one: so the
// tests with the former are worth something.

package consul_test

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

func TestContract(t *testing.T) {
	t.Run("in memory", func(t *testing.T) {
		a := newAgent(t)
		a.SetQuery("known", "ping")
		contract(t, a.Client(""), a.Address(), func(source, destination string, allow bool) {
			if allow {
				a.Allow(source, destination)
			} else {
				a.Deny(source, destination)
			}
		})
	})
	t.Run("real", func(t *testing.T) {
		client, address := realAgent(t)
		send(t, http.MethodPost, address, "", "/v1/query", map[string]any{"Name": "known", "Service": map[string]any{"Service": "ping", "Connect": true, "OnlyPassing": true}})
		contract(t, client, address, func(source, destination string, allow bool) {
			action := api.IntentionActionDeny
			if allow {
				action = api.IntentionActionAllow
			}
			intend(t, client, source, destination, action)
		})
	})
}

func contract(t *testing.T, client *api.Client, address string, intend func(source, destination string, allow bool)) {
	get := func(path string) (status int, index uint64, body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(within(t), http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		index, _ = strconv.ParseUint(res.Header.Get("X-Consul-Index"), 10, 64)
		return res.StatusCode, index, string(text)
	}

	// Roots and leaves.
	var roots api.CARootList
	status, index, body := get("/v1/agent/connect/ca/roots")
	if err := json.Unmarshal([]byte(body), &roots); err != nil || status != 200 || index == 0 || !strings.HasSuffix(roots.TrustDomain, ".consul") || len(roots.Roots) != 1 || !roots.Roots[0].Active {
		t.Errorf("roots: got %d, %d, %v, %+v, want one active root", status, index, err, roots)
	}
	var first, second api.LeafCert
	_, index, body = get("/v1/agent/connect/ca/leaf/web")
	if err := json.Unmarshal([]byte(body), &first); err != nil {
		t.Fatal(err)
	}
	key, _ := pem.Decode([]byte(first.PrivateKeyPEM))
	if key == nil || key.Type != "EC PRIVATE KEY" {
		t.Errorf("leaf: got the key %v, want one in SEC 1", key)
	}
	pair, err := tls.X509KeyPair([]byte(first.CertPEM), []byte(first.PrivateKeyPEM))
	uri := "spiffe://" + roots.TrustDomain + "/ns/default/dc/dc1/svc/web"
	if err != nil || len(pair.Leaf.URIs) != 1 || pair.Leaf.URIs[0].String() != uri {
		t.Errorf("leaf: got %v, want a certificate for %s", err, uri)
	}
	_, again, body := get("/v1/agent/connect/ca/leaf/web?wait=50ms&index=" + strconv.FormatUint(index, 10))
	if err := json.Unmarshal([]byte(body), &second); err != nil || second.CertPEM != first.CertPEM || again != index {
		t.Errorf("leaf: got %v, %d after a wait without a change, want the same certificate and index %d", err, again, index)
	}

	// Authorize.
	ask := func(uri string) (*api.AgentAuthorize, error) {
		return client.Agent().ConnectAuthorize(&api.AgentAuthorizeParams{Target: "ping", ClientCertURI: uri, ClientCertSerial: first.SerialNumber})
	}
	var refused api.StatusError
	if _, err := ask("spiffe:x"); !errors.As(err, &refused) || refused.Code != 400 {
		t.Errorf("authorize: got %v for a bad URI, want the status 400", err)
	}
	for _, u := range []string{uri, strings.Replace(uri, roots.TrustDomain, "other.consul", 1)} {
		if v, err := ask(u); err != nil || !v.Authorized || v.Reason == "" {
			t.Errorf("authorize: got %+v, %v for %s, want yes and a reason: agents do not look at the trust domain", v, err, u)
		}
	}
	match := func() []*api.Intention {
		t.Helper()
		found, _, err := client.Connect().IntentionMatch(&api.IntentionMatch{By: api.IntentionMatchDestination, Names: []string{"ping"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return found["ping"]
	}
	if found := match(); len(found) != 0 {
		t.Errorf("match: got %v, want none", found)
	}
	intend("*", "ping", true)
	intend("web", "ping", false)
	intend("web", "other", true)
	if found := match(); len(found) != 2 || found[0].SourceName != "web" || found[0].Action != api.IntentionActionDeny || found[1].SourceName != "*" || found[0].Precedence <= found[1].Precedence {
		t.Errorf("match: got %v, want web before *, and not that of another destination", found)
	}
	await(t, "the denial", func() bool { v, err := ask(uri); return err == nil && !v.Authorized && v.Reason != "" })

	// Instances.
	register := func(r *api.AgentServiceRegistration, o api.ServiceRegisterOpts) {
		t.Helper()
		r.Name, r.Port, r.Address = "ping", 80, "10.0.0.1"
		if err := client.Agent().ServiceRegisterOpts(r, o); err != nil {
			t.Fatal(err)
		}
	}
	native := &api.AgentServiceConnect{Native: true}
	found := func(passing bool) string {
		entries, meta, err := client.Health().Connect("ping", "", passing, nil)
		if err != nil || meta.LastIndex == 0 {
			t.Fatalf("health: got %v, %v", meta, err)
		}
		var ids []string
		for _, e := range entries {
			if e.Node.Datacenter != "dc1" || e.Service.Address != "10.0.0.1" || e.Node.Address == "" {
				t.Errorf("health: got %+v, %+v, want the address and the datacenter", e.Node, e.Service)
			}
			ids = append(ids, e.Service.ID)
		}
		return strings.Join(ids, " ")
	}
	register(&api.AgentServiceRegistration{ID: "plain"}, api.ServiceRegisterOpts{})
	register(&api.AgentServiceRegistration{ID: "a", Connect: native}, api.ServiceRegisterOpts{})
	register(&api.AgentServiceRegistration{ID: "b", Connect: native, Check: &api.AgentServiceCheck{TTL: "1m"}}, api.ServiceRegisterOpts{})
	await(t, "the instances", func() bool { return found(false) == "a b" && found(true) == "a" })
	register(&api.AgentServiceRegistration{ID: "b", Connect: native}, api.ServiceRegisterOpts{})
	if got := found(true); got != "a" {
		t.Errorf("health: got %q after a registration anew, want a alone: the old check stays", got)
	}
	register(&api.AgentServiceRegistration{ID: "b", Connect: native}, api.ServiceRegisterOpts{ReplaceExistingChecks: true})
	await(t, "the end of the check", func() bool { return found(true) == "a b" })
	if answer, _, err := client.PreparedQuery().Execute("known", &api.QueryOptions{Connect: true}); err != nil || len(answer.Nodes) != 2 || answer.Service != "ping" || answer.Datacenter != "dc1" {
		t.Errorf("query: got %+v, %v, want two instances", answer, err)
	}
	if status, _, _ := get("/v1/query/unknown/execute"); status != 404 {
		t.Errorf("query: got the status %d, want 404", status)
	}
	// A blocking query returns when an instance goes.
	_, meta, err := client.Health().Connect("ping", "", true, nil)
	if err != nil {
		t.Fatal(err)
	}
	blocked := make(chan int, 1)
	go func() {
		entries, _, _ := client.Health().Connect("ping", "", true, (&api.QueryOptions{WaitIndex: meta.LastIndex}).WithContext(within(t)))
		blocked <- len(entries)
	}()
	if err := client.Agent().ServiceDeregister("b"); err != nil {
		t.Fatal(err)
	}
	if n := <-blocked; n != 1 {
		t.Errorf("health: got %d instances of the query that was blocked, want 1", n)
	}
}
