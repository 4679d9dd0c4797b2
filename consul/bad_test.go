// SPDX-License-Identifier: Apache-2.0

// Bad agents, certificates and names: the error that each gives, and what goes on working.

package consul_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/consul"
	"github.com/seed-b7c59c10/connect/consul/consultest"
)

const (
	leafPath  = "/v1/agent/connect/ca/leaf/"
	rootsPath = "/v1/agent/connect/ca/roots"
)

// replaced returns a middleware that answers requests for paths with a prefix.
func replaced(prefix string, answer http.HandlerFunc) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, prefix) {
				answer(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// awaitError waits for an error of the service's status, and checks its text.
func awaitError(t *testing.T, what string, s *consul.Service, of func(consul.Status) error, parts ...string) {
	t.Helper()
	await(t, what, func() bool { return of(s.Status()) != nil })
	wantText(t, what, of(s.Status()), parts...)
}

func leafError(s consul.Status) error       { return s.LeafError }
func rootsError(s consul.Status) error      { return s.RootsError }
func intentionsError(s consul.Status) error { return s.IntentionsError }

// TestBadNames makes services and resolvers that cannot be.
func TestBadNames(t *testing.T) {
	a := newAgent(t)
	client := a.Client("")
	if _, err := consul.NewService("web", nil); err == nil {
		t.Error("got no error without a client")
	} else {
		wantText(t, "no client", err, `making service "web"`, "api.NewClient")
	}
	for _, name := range []string{"", "a/b", "a b", "a?b"} {
		_, err := consul.NewService(name, client)
		wantText(t, name, err, "expected the name of a service", strconv.Quote(name))
	}
	for host, part := range map[string]string{
		"":                         "has no host",
		":443":                     "has no host",
		"ping":                     "is not one of the mesh",
		"example.com":              "is not one of the mesh",
		"ping.service.example":     "is not one of the mesh",
		"v1.ping.service.consul":   "without tags",
		"ping.node.consul":         "without tags",
		"a.b.ping.service.consul":  "is not one of the mesh",
		".service.consul":          "has an empty name",
		"ping.service..consul":     "has an empty name",
		"ping.service.consul.":     "is not one of the mesh",
		"pi%ng.service.consul:443": "characters that names do not have",
	} {
		_, err := consul.ConsulResolverFromAddr(client, host)
		wantText(t, host, err, part, "expected")
	}
	for host, want := range map[string]*consul.ConsulResolver{
		"ping.service.consul":         {Name: "ping"},
		"PING.Service.Consul:8443":    {Name: "ping"},
		"ping.service.dc2.consul":     {Name: "ping", Datacenter: "dc2"},
		"nearest.query.consul":        {Name: "nearest", Type: consul.ConsulResolverTypePreparedQuery},
		"nearest.query.dc3.consul:80": {Name: "nearest", Type: consul.ConsulResolverTypePreparedQuery, Datacenter: "dc3"},
	} {
		got, err := consul.ConsulResolverFromAddr(client, host)
		if err != nil || got.Name != want.Name || got.Type != want.Type || got.Datacenter != want.Datacenter || got.Client != client {
			t.Errorf("%s: got %v, %v, want %v", host, got, err, want)
		}
	}

	web := newService(t, a, "web")
	for url, part := range map[string]string{
		"http://ping.service.consul":  "expected https",
		"https://example.com":         "is not one of the mesh",
		"https://":                    "has no host",
		"https://v1.a.service.consul": "without tags",
	} {
		_, err := web.HTTPClient().Get(url)
		wantText(t, url, err, part)
		if url != "https://" {
			_, err = call(within(t), web.HTTPClient(), url, pathUnary)
			wantError(t, url, err, connect.CodeInvalidArgument, part)
		}
	}
	_, err := web.Dial(within(t), &consul.StaticResolver{Addr: "nowhere", CertURI: a.ServiceURI("ping")})
	wantText(t, "address", err, "expected host:port")
	_, err = web.Dial(within(t), &consul.StaticResolver{Addr: "127.0.0.1:1", CertURI: "spiffe://x.consul/agent/client/dc/dc1/id/1"})
	wantText(t, "agent's URI", err, "it is the ID of an agent")
	_, err = web.Dial(within(t), &consul.ConsulResolver{Client: client, Name: "nobody"})
	wantText(t, "no instance", err, `service "nobody"`, "no healthy instance")
	_, err = web.Dial(within(t), &consul.ConsulResolver{Client: client, Name: "nothing", Type: consul.ConsulResolverTypePreparedQuery})
	wantText(t, "no query", err, `prepared query "nothing"`, "404")
	_, err = web.Dial(within(t), &consul.ConsulResolver{Name: "ping"})
	wantText(t, "no client", err, "expected a Client")
	_, err = call(within(t), web.HTTPClient(), "https://nobody.service.consul", pathUnary)
	wantError(t, "no instance", err, connect.CodeUnavailable, "no endpoint")
}

// TestNoAgent has no agent at all: constructors work, handshakes do not, and Close ends all.
func TestNoAgent(t *testing.T) {
	client, err := api.NewClient(&api.Config{Address: "127.0.0.1:1"}) // nothing listens there
	if err != nil {
		t.Fatal(err)
	}
	s, err := consul.NewServiceWithConfig("web", consul.Config{Client: client, Logger: noLog})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	awaitError(t, "the agent's absence", s, leafError, `getting the certificate of service "web"`, "refused")
	if s.Ready() {
		t.Error("got Ready without an agent")
	}
	_, err = s.Dial(within(t), &consul.StaticResolver{Addr: "127.0.0.1:1", CertURI: "spiffe://x.consul/ns/default/dc/dc1/svc/ping"})
	wantText(t, "dial", err, "has no certificate yet")
	_, err = s.ServerTLSConfig().GetCertificate(nil)
	wantText(t, "handshake", err, "has no certificate yet", "refused")
	_, err = call(within(t), s.HTTPClient(), pingURL, pathUnary)
	wantError(t, "call", err, connect.CodeUnavailable, "no endpoint", "refused")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wantText(t, "closed", s.WaitReady(within(t)), "is closed")
	_, err = call(within(t), s.HTTPClient(), "https://other.service.consul", pathUnary)
	wantText(t, "closed", err, "is closed")
}

// TestBadAnswers has an agent that answers with garbage, and then with what is right.
func TestBadAnswers(t *testing.T) {
	text := func(s string) func(*consultest.Agent) http.HandlerFunc {
		return func(*consultest.Agent) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
		}
	}
	status := func(code int, s string) func(*consultest.Agent) http.HandlerFunc {
		return func(*consultest.Agent) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, s, code) }
		}
	}
	leafOf := func(uri string, from, until time.Duration) func(*consultest.Agent) http.HandlerFunc {
		return func(a *consultest.Agent) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				l, err := a.Mint(strings.ReplaceAll(uri, "$", a.TrustDomain()), time.Now().Add(from), time.Now().Add(until))
				if err != nil {
					t.Error(err)
				}
				w.Header().Set("X-Consul-Index", "7")
				w.Header().Set("X-Consul-LastContact", "0")
				_ = json.NewEncoder(w).Encode(l)
			}
		}
	}
	for name, c := range map[string]struct {
		path   string
		answer func(*consultest.Agent) http.HandlerFunc
		of     func(consul.Status) error
		parts  []string
	}{
		"leaf: no JSON":        {leafPath, text("<html>"), leafError, []string{`certificate of service "web"`, "invalid character"}},
		"leaf: null":           {leafPath, text("null"), leafError, []string{"the agent's answer has no certificate"}},
		"leaf: empty":          {leafPath, text("{}"), leafError, []string{"the agent's answer has no certificate"}},
		"leaf: no PEM":         {leafPath, text(`{"CertPEM":"x","PrivateKeyPEM":"y"}`), leafError, []string{"cannot be used"}},
		"leaf: ACL":            {leafPath, status(403, "Permission denied"), leafError, []string{"403", "service:write"}},
		"leaf: error":          {leafPath, status(500, "no leader"), leafError, []string{"500", "no leader"}},
		"leaf: expired":        {leafPath, leafOf("spiffe://$/ns/default/dc/dc1/svc/web", -2*time.Hour, -time.Hour), leafError, []string{"certificate expired at"}},
		"leaf: other service":  {leafPath, leafOf("spiffe://$/ns/default/dc/dc1/svc/ping", -time.Hour, time.Hour), leafError, []string{`is that of the service "ping"`, `expected "web"`}},
		"leaf: other domain":   {leafPath, leafOf("spiffe://other.consul/ns/default/dc/dc1/svc/web", -time.Hour, time.Hour), leafError, []string{`trust domain "other.consul"`}},
		"leaf: no service":     {leafPath, leafOf("spiffe://$/agent/client/dc/dc1/id/1", -time.Hour, time.Hour), leafError, []string{"the ID of an agent"}},
		"roots: no JSON":       {rootsPath, text("garbage"), rootsError, []string{"roots of the mesh", "invalid character"}},
		"roots: null":          {rootsPath, text("null"), rootsError, []string{"no trust domain"}},
		"roots: empty":         {rootsPath, text(`{"TrustDomain":"x.consul"}`), rootsError, []string{"list of roots is empty"}},
		"roots: no PEM":        {rootsPath, text(`{"TrustDomain":"x.consul","Roots":[{"RootCert":"x"}]}`), rootsError, []string{"one without a certificate"}},
		"roots: null root":     {rootsPath, text(`{"TrustDomain":"x.consul","Roots":[null]}`), rootsError, []string{"one without a certificate"}},
		"intentions: garbage":  {"/v1/connect/intentions/match", text("]"), intentionsError, []string{`intentions of service "web"`}},
		"intentions: null":     {"/v1/connect/intentions/match", text("null"), intentionsError, []string{"another service"}},
		"intentions: ACL":      {"/v1/connect/intentions/match", status(403, "Permission denied"), intentionsError, []string{"403"}},
		"intentions: no index": {"/v1/connect/intentions/match", text(`{"other":[]}`), intentionsError, []string{"another service"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t)
			a.Intercept(replaced(c.path, c.answer(a)))
			s := startService(t, a, "web")
			awaitError(t, "the error", s, c.of, c.parts...)
			if c.path != leafPath && c.path != rootsPath {
				if err := s.WaitReady(within(t)); err != nil { // the identity does not depend on intentions
					t.Error(err)
				}
			} else {
				if s.Ready() {
					t.Error("got Ready without a certificate or roots, want not")
				}
				_, err := s.ServerTLSConfig().GetCertificate(nil)
				wantText(t, "handshake", err, "has no certificate yet")
			}
			a.Intercept(nil)
			if err := s.WaitReady(within(t)); err != nil {
				t.Error(err)
			}
			await(t, "the end of the error", func() bool { return c.of(s.Status()) == nil })
		})
	}
}

// TestAgentVanishes ends the agent under a service: calls go on, on new connections, too.
func TestAgentVanishes(t *testing.T) {
	a := newAgent(t)
	ping, web := newService(t, a, "ping"), newService(t, a, "web")
	l := serve(t, a, ping, handlers(nil))
	a.Allow("web", "ping")
	if _, err := call(within(t), web.HTTPClient(), pingURL, pathUnary); err != nil {
		t.Fatal(err)
	}
	await(t, "the intention", func() bool { return a.Requests("GET", "/v1/connect/intentions/match") > 2 })
	a.Close()
	for _, s := range []*consul.Service{ping, web} {
		awaitError(t, "the end of the agent", s, leafError, "getting the certificate")
		awaitError(t, "the end of the agent", s, intentionsError, "getting the intentions")
	}
	for range 10 {
		if _, err := call(within(t), web.HTTPClient(), pingURL, pathUnary); err != nil {
			t.Errorf("got %v after the agent has gone, want an answer", err)
		}
	}
	c, err := web.Dial(within(t), &consul.StaticResolver{Addr: l.Addr().String(), CertURI: a.ServiceURI("ping")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	res, err := (&http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}).RoundTrip(httptest.NewRequest("GET", "https://x/none", nil))
	if err != nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("got %v, %v on a new connection, want the handler's 404", res, err)
	} else {
		_ = res.Body.Close()
	}
	if !web.Ready() {
		t.Error("got a service that is not ready, want the last certificate")
	}
}

// TestSlowAgent has an agent that answers nothing: waits end with their contexts, and Close
// returns.
func TestSlowAgent(t *testing.T) {
	a := newAgent(t)
	release := make(chan struct{})
	defer close(release)
	var asked atomic.Int64
	a.Intercept(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			select {
			case <-r.Context().Done():
			case <-release:
			}
		})
	})
	s := startService(t, a, "web")
	await(t, "the queries", func() bool { return asked.Load() >= 3 })
	ctx, cancel := contextThatEnds(t)
	defer cancel()
	err := s.WaitReady(ctx)
	wantText(t, "ready", err, "has no certificate yet", "the agent has not answered")
	if !errors.Is(err, ctx.Err()) {
		t.Errorf("got %v, want it to wrap the context's end", err)
	}
	_, _, err = (&consul.ConsulResolver{Client: a.Client(""), Name: "ping"}).Resolve(ctx)
	if !errors.Is(err, ctx.Err()) {
		t.Errorf("got %v from Resolve, want the context's end", err)
	}
	if _, err := call(ctx, s.HTTPClient(), pingURL, pathUnary); connect.CodeOf(err) != connect.CodeCanceled {
		t.Errorf("got %v from a call, want canceled", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestIndexGoesBack has an agent whose index jumps back with each answer, and one that sends
// none: the certificate comes, and the agent is not asked without a pause.
func TestIndexGoesBack(t *testing.T) {
	for name, header := range map[string]func(n int64) string{
		"back": func(n int64) string { return strconv.FormatInt(1_000_000-n, 10) },
		"none": func(int64) string { return "" },
		"same": func(int64) string { return "5" },
		"text": func(int64) string { return "garbage" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t)
			var n, indexed atomic.Int64
			a.Intercept(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !strings.HasPrefix(r.URL.Path, leafPath) {
						next.ServeHTTP(w, r)
						return
					}
					q := r.URL.Query()
					if q.Get("index") != "" {
						indexed.Add(1)
					}
					q.Del("index") // so that it does not block
					r.URL.RawQuery = q.Encode()
					record := httptest.NewRecorder()
					next.ServeHTTP(record, r)
					if index := header(n.Add(1)); index != "" {
						w.Header().Set("X-Consul-Index", index)
					}
					_, _ = w.Write(record.Body.Bytes())
				})
			})
			s := newService(t, a, "web")
			began := time.Now()
			await(t, "further queries", func() bool { return n.Load() >= 4 })
			if asked, most := n.Load(), int64(time.Since(began)/(50*time.Millisecond))+10; asked > most {
				t.Errorf("got %d queries in %v, want at most %d", asked, time.Since(began), most)
			}
			if name == "none" || name == "text" {
				if indexed.Load() > 0 {
					t.Errorf("got %d queries with an index, want none", indexed.Load())
				}
			}
			if err := s.Status().LeafError; err != nil {
				t.Errorf("got %v, want no error", err)
			}
			if got := s.Status().Changes; got != 1 {
				t.Errorf("got %d certificates, want 1", got)
			}
		})
	}
}

// TestACL has an agent whose default is to deny: what a token may not do fails, with the
// reason, and the rest works.
func TestACL(t *testing.T) {
	a := newAgent(t)
	a.DefaultDeny(true)
	a.AddToken("web's", "web")
	a.AddToken("ping's", "ping")
	token := func(token string) func(*consul.Config) {
		return func(c *consul.Config) { c.Client = a.Client(token) }
	}
	s := startService(t, a, "ping", token("web's"))
	awaitError(t, "another service's token", s, leafError, "Permission denied", `lacks permission 'service:write' on "ping"`, "give the client a token with service:write")
	if s.Status().RootsError != nil {
		t.Errorf("got %v for the roots, want none: they are for all", s.Status().RootsError)
	}
	wantText(t, "register", s.Register(within(t), consul.Registration{Port: 1}), "registering service", "Permission denied")

	ping, web := newService(t, a, "ping", token("ping's")), newService(t, a, "web", token("web's"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = ping.Serve(l, handlers(nil))
	}()
	defer func() {
		_ = ping.Close()
		<-served
	}()
	port := l.Addr().(*net.TCPAddr).Port
	if err := ping.Register(within(t), consul.Registration{Address: "127.0.0.1", Port: port, Interval: 20 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	await(t, "the check", func() bool { return a.Health("ping-127.0.0.1-"+strconv.Itoa(port)) == "passing" })
	_, err = call(within(t), web.HTTPClient(), pingURL, pathUnary)
	wantError(t, "denied by default", err, connect.CodePermissionDenied)
	a.Allow("web", "ping")
	await(t, "the intention", func() bool {
		_, err := call(within(t), web.HTTPClient(), pingURL, pathUnary)
		return err == nil
	})
	nobody := newService(t, a, "web", token("web's"))
	_, err = nobody.Dial(within(t), &consul.ConsulResolver{Client: a.Client(""), Name: "ping"})
	wantText(t, "no token", err, "no healthy instance", "whether the token may read it")
}

// TestAuthorizeHangs has an agent that does not answer about peers. A handshake that waits ends
// with the service, and the client has an error that is not repeated.
func TestAuthorizeHangs(t *testing.T) {
	a := newAgent(t)
	ping, web := newService(t, a, "ping"), newService(t, a, "web")
	l := serve(t, a, ping, handlers(nil))
	asked, release := make(chan struct{}, 10), make(chan struct{})
	a.Intercept(replaced("/v1/agent/connect/authorize", func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-release
	}))
	failed := make(chan error, 1)
	go func() {
		_, err := dialAndRead(t, web, l.Addr().String(), a.ServiceURI("ping"))
		failed <- err
	}()
	<-asked
	_ = ping.Close()
	if err := <-failed; err == nil {
		t.Error("got an answer of a server whose agent does not answer, want none")
	}
	close(release)
}

// TestCallsWithoutVerdict has an agent that fails when a call on an open connection needs its
// answer: the call is unavailable, which other instances may mend, and not denied.
func TestCallsWithoutVerdict(t *testing.T) {
	a := newAgent(t)
	ping, web := newService(t, a, "ping"), newService(t, a, "web")
	serve(t, a, ping, handlers(nil))
	if _, err := call(within(t), web.HTTPClient(), pingURL, pathUnary); err != nil {
		t.Fatal(err)
	}
	a.Intercept(replaced("/v1/agent/connect/authorize", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no leader", 500) }))
	a.Allow("web", "other") // a change: the answer before does not count any more
	await(t, "the question", func() bool {
		_, err := call(within(t), web.HTTPClient(), pingURL, pathUnary)
		if err != nil {
			wantError(t, "the call", err, connect.CodeUnavailable, "asking the agent about", "no leader")
		}
		return err != nil
	})
	res, err := web.HTTPClient().Get(pingURL + "/file")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got the status %d, want 503", res.StatusCode)
	}
	a.Intercept(nil)
	await(t, "an answer", func() bool {
		_, err := call(within(t), web.HTTPClient(), pingURL, pathUnary)
		return err == nil
	})
}
