// SPDX-License-Identifier: Apache-2.0

// The same things with a real agent. Without one the tests are skipped, and .ci/run says so.

package consul_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/consul"
	"github.com/seed-b7c59c10/connect/consul/consultest"
	"github.com/seed-b7c59c10/connect/h2"
)

// TestRealCalls has a native server and a native client of a real agent.
func TestRealCalls(t *testing.T) {
	client, address := realAgent(t)
	ping, web := realService(t, client, "ping"), realService(t, client, "web")
	realInstance(t, client, ping, "ping-1", handlers(nil, ping.Authorize()))
	dialed := &http.Transport{DialTLSContext: web.DialTLSContext, ForceAttemptHTTP2: true}
	defer dialed.CloseIdleConnections()
	cells := func(what string) {
		for name, h := range map[string]*http.Client{"HTTPClient": web.HTTPClient(), "DialTLSContext": {Transport: dialed}} {
			for protocol, options := range protocols {
				for _, path := range paths {
					if got, err := call(within(t), h, pingURL, path, options...); err != nil || got != "web" {
						t.Errorf("%s, %s, %s, %s: got %q, %v, want the caller web", what, name, protocol, path, got, err)
					}
				}
			}
		}
	}
	cells("at first")
	st := web.Status()
	if st.Identity.Service != "web" || st.Identity.Datacenter != "dc1" || st.Roots != 1 || !st.Ready {
		t.Errorf("got the status %+v, want that of web in dc1", st)
	}

	// A prepared query.
	// The client's own type has fields that 1.8.7 refuses.
	var query struct{ ID string }
	answer := send(t, http.MethodPost, address, "", "/v1/query", map[string]any{
		"Name": "nearest", "Service": map[string]any{"Service": "ping", "Connect": true, "OnlyPassing": true},
	})
	if err := json.Unmarshal(answer, &query); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"nearest.query.consul", query.ID + ".query.consul", "ping.service.dc1.consul"} {
		if got, err := call(within(t), web.HTTPClient(), "https://"+host, pathUnary); err != nil || got != "web" {
			t.Errorf("%s: got %q, %v, want the caller web", host, got, err)
		}
	}

	// An intention, with a stream that goes on.
	stream := connect.NewClient[message, message](web.HTTPClient(), pingURL+pathBidi).CallBidiStream(within(t))
	defer stream.CloseResponse()
	if err := stream.Send(wrapperspb.String("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Receive(); err != nil {
		t.Fatal(err)
	}
	intend(t, client, "web", "ping", api.IntentionActionDeny)
	_, err := stream.Receive()
	wantError(t, "the stream", err, connect.CodePermissionDenied, `service "web" may not call "ping"`)
	_, err = call(within(t), web.HTTPClient(), pingURL, pathUnary)
	wantError(t, "a call on the old connection", err, connect.CodePermissionDenied)
	fresh := realService(t, client, "web")
	await(t, "the denial of connections", func() bool {
		_, err := call(within(t), fresh.HTTPClient(), pingURL, pathUnary)
		return connect.CodeOf(err) == connect.CodePermissionDenied
	})
	intend(t, client, "web", "ping", api.IntentionActionAllow)
	await(t, "the permission", func() bool {
		_, err := call(within(t), web.HTTPClient(), pingURL, pathUnary)
		return err == nil
	})
	await(t, "the permission of connections", func() bool {
		_, err := call(within(t), fresh.HTTPClient(), pingURL, pathUnary)
		return err == nil
	})

	// Deregistered.
	if err := ping.Close(); err != nil {
		t.Error(err)
	}
	await(t, "the end", func() bool {
		_, err := call(within(t), web.HTTPClient(), pingURL, pathUnary)
		return connect.CodeOf(err) == connect.CodeUnavailable
	})
}

// TestRealRotation changes the authority's keys under load. Agents take up to half a minute
// until services have new certificates.
func TestRealRotation(t *testing.T) {
	client, address := realAgent(t)
	ping, web := realService(t, client, "ping"), realService(t, client, "web")
	realInstance(t, client, ping, "ping-1", handlers(nil))
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var calls atomic.Int64
	for _, path := range paths {
		callers.Go(func() {
			for ctx.Err() == nil {
				if _, err := call(t.Context(), web.HTTPClient(), pingURL, path); err != nil {
					t.Errorf("got %v under rotation, want an answer", err)
					return
				}
				calls.Add(1)
				select { // a new connection now and then
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
				}
				c, err := web.Dial(t.Context(), &consul.ConsulResolver{Client: client, Name: "ping"})
				if err != nil {
					t.Errorf("got %v under rotation, want a connection", err)
					return
				}
				_ = c.Close()
			}
		})
	}
	defer func() { cancel(); callers.Wait() }()
	// A root of one's own makes all versions rotate; a new type of key does so in new ones only.
	key, cert, err := consultest.NewRoot(web.Status().Identity.TrustDomain)
	if err != nil {
		t.Fatal(err)
	}
	send(t, http.MethodPut, address, "", "/v1/connect/ca/configuration", map[string]any{
		"Provider": "consul", "Config": map[string]any{"LeafCertTTL": "72h", "PrivateKey": key, "RootCert": cert},
	})
	for _, s := range []*consul.Service{ping, web} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for s.Status().Changes < 2 || s.Status().Roots < 2 {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				t.Fatalf("got the status %+v, want a second certificate and root", s.Status())
			}
		}
	}
	seen := calls.Load()
	await(t, "calls with the new certificates", func() bool { return calls.Load() > seen+20 || t.Failed() })
	pair, err := ping.ServerTLSConfig().GetCertificate(nil)
	if err != nil || len(pair.Certificate) < 2 {
		t.Errorf("got %v, %v, want a chain with the cross-signed certificate", pair, err)
	}
}

// TestRealACL has an agent whose default is to deny, and services with a token of their
// identity each.
func TestRealACL(t *testing.T) {
	file := filepath.Join(t.TempDir(), "acl.hcl")
	if err := os.WriteFile(file, []byte("acl { enabled = true, default_policy = \"deny\" }"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, address := realAgent(t, "-config-file="+file)
	secret := func(token, path string, value any) string {
		var made struct{ SecretID string }
		if err := json.Unmarshal(send(t, http.MethodPut, address, token, path, value), &made); err != nil || made.SecretID == "" {
			t.Fatalf("got the token %v, %v", made, err)
		}
		return made.SecretID
	}
	var operator string
	await(t, "the access control", func() bool { // agents answer with 500 until they have a leader
		r, err := http.NewRequestWithContext(within(t), http.MethodPut, "http://"+address+"/v1/acl/bootstrap", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		var made struct{ SecretID string }
		if res.StatusCode == http.StatusOK && json.NewDecoder(res.Body).Decode(&made) == nil {
			operator = made.SecretID
		}
		return operator != ""
	})
	client := func(service string) *api.Client {
		return realClient(t, address, secret(operator, "/v1/acl/token", map[string]any{"ServiceIdentities": []any{map[string]any{"ServiceName": service}}}))
	}
	pings, webs := client("ping"), client("web")
	ping, web := realService(t, pings, "ping"), realService(t, webs, "web")
	realInstance(t, pings, ping, "ping-1", handlers(nil, ping.Authorize()))
	other, err := consul.NewServiceWithConfig("ping", consul.Config{Client: webs, Logger: noLog})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	awaitError(t, "another service's token", other, leafError, "Permission denied", "give the client a token with service:write")
	_, err = call(within(t), web.HTTPClient(), pingURL, pathUnary)
	wantError(t, "denied by default", err, connect.CodePermissionDenied)
	intend(t, realClient(t, address, operator), "web", "ping", api.IntentionActionAllow)
	await(t, "the permission", func() bool {
		got, err := call(within(t), web.HTTPClient(), pingURL, pathUnary)
		return err == nil && got == "web"
	})
	if err := ping.Status().IntentionsError; err != nil {
		t.Errorf("got %v for the intentions, want none: the service's identity may read them", err)
	}
}

// TestRealProxyIn has an application without the mesh call a native server through Consul's own
// proxy, by HTTP/1.1 and HTTP/2.
func TestRealProxyIn(t *testing.T) {
	client, address := realAgent(t)
	ping := realService(t, client, "ping")
	realInstance(t, client, ping, "ping-1", handlers(nil, ping.Authorize()))
	port := freePorts(t, 1)[0]
	run(t, "connect", "proxy", "-http-addr="+address, "-service=web", "-upstream=ping:"+port)
	base := "http://127.0.0.1:" + port
	engine := h2.NewTransport(nil)
	defer engine.Close()
	plain := &http.Transport{Protocols: onlyHTTP1()}
	defer plain.CloseIdleConnections()
	await(t, "the proxy", func() bool {
		_, err := call(within(t), &http.Client{Transport: engine}, base, pathUnary)
		return err == nil
	})
	for protocol, options := range protocols {
		for _, path := range paths {
			if got, err := call(within(t), &http.Client{Transport: engine}, base, path, options...); err != nil || got != "web" {
				t.Errorf("HTTP/2, %s, %s: got %q, %v, want the caller web", protocol, path, got, err)
			}
			if path == pathBidi || protocol == "grpc" {
				continue // not with HTTP/1.1
			}
			if got, err := call(within(t), &http.Client{Transport: plain}, base, path, options...); err != nil || got != "web" {
				t.Errorf("HTTP/1.1, %s, %s: got %q, %v, want the caller web", protocol, path, got, err)
			}
		}
	}
	intend(t, client, "web", "ping", api.IntentionActionDeny)
	await(t, "the denial", func() bool {
		_, err := call(within(t), &http.Client{Transport: engine}, base, pathUnary)
		return connect.CodeOf(err) == connect.CodePermissionDenied
	})
}

// TestRealProxyOut has a native client call an application without the mesh, behind Consul's
// own proxy: one that speaks HTTP/2, and one of HTTP/1.1.
func TestRealProxyOut(t *testing.T) {
	client, address := realAgent(t)
	web := realService(t, client, "web")
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	for name, protos := range map[string]*http.Protocols{"two": both, "one": onlyHTTP1()} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: handlers(nil), Protocols: protos}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = server.Serve(l)
		}()
		defer func() { _ = server.Close(); <-served }()
		port := freePorts(t, 1)[0]
		number, _ := strconv.Atoi(port)
		if err := client.Agent().ServiceRegister(&api.AgentServiceRegistration{
			ID: name + "-proxy", Name: name + "-proxy", Kind: api.ServiceKindConnectProxy, Address: "127.0.0.1", Port: number,
			Proxy: &api.AgentServiceConnectProxyConfig{DestinationServiceName: name},
		}); err != nil {
			t.Fatal(err)
		}
		run(t, "connect", "proxy", "-http-addr="+address, "-service="+name, "-service-addr="+l.Addr().String(), "-listen=127.0.0.1:"+port)
		base := fmt.Sprintf("https://%s.service.consul", name)
		//lint:ignore SA1019 Consul's documentation sets this field
		plain := &http.Transport{DialTLS: web.HTTPDialTLS}
		defer plain.CloseIdleConnections()
		await(t, "the proxy", func() bool {
			_, err := call(within(t), &http.Client{Transport: plain}, base, pathUnary)
			return err == nil
		})
		for protocol, options := range protocols {
			for _, path := range paths {
				if name == "two" {
					if _, err := call(within(t), web.HTTPClient(), base, path, options...); err != nil {
						t.Errorf("HTTP/2, %s, %s: got %v, want an answer", protocol, path, err)
					}
				}
				if path != pathBidi && protocol != "grpc" {
					if _, err := call(within(t), &http.Client{Transport: plain}, base, path, options...); err != nil {
						t.Errorf("HTTP/1.1, %s, %s: got %v, want an answer", protocol, path, err)
					}
				}
			}
		}
		intend(t, client, "web", name, api.IntentionActionDeny)
		await(t, "the denial", func() bool {
			c, err := web.Dial(within(t), &consul.ConsulResolver{Client: client, Name: name})
			if err != nil {
				return connect.CodeOf(err) == connect.CodePermissionDenied
			}
			defer c.Close()
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			_, err = io.ReadFull(c, make([]byte, 1))
			var has *connect.Error
			return errors.As(consul.ErrorOf(err), &has) && has.Code() == connect.CodePermissionDenied
		})
	}
}
