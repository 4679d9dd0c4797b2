// SPDX-License-Identifier: Apache-2.0

// Members: registration, health, several instances, other datacenters, development.

package consul_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/consul"
	"github.com/seed-b7c59c10/connect/consul/consultest"
	"github.com/seed-b7c59c10/connect/health"
)

// start serves an instance and registers it with a check. The function ends it: gracefully, or
// as a process that is killed.
func start(t *testing.T, a *consultest.Agent, name string, handler http.Handler, r consul.Registration) (s *consul.Service, end func(), kill func()) {
	t.Helper()
	s = newService(t, a, name)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &killer{Listener: l, conns: make(map[net.Conn]bool)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(k, handler)
	}()
	r.Address, r.Port = "127.0.0.1", l.Addr().(*net.TCPAddr).Port
	if r.Interval == 0 {
		r.Interval = 20 * time.Millisecond
	}
	if err := s.Register(within(t), r); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		if err := s.Close(); err != nil {
			t.Errorf("got %v from Close, want nil", err)
		}
		<-served
	})
	t.Cleanup(end)
	return s, end, k.kill
}

// A killer is a listener whose connections can be cut all at once.
type killer struct {
	net.Listener
	mu    sync.Mutex
	dead  bool
	conns map[net.Conn]bool
}

func (k *killer) Accept() (net.Conn, error) {
	c, err := k.Listener.Accept()
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		_ = c.Close()
	}
	k.conns[c] = true
	return c, nil
}

func (k *killer) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead = true
	_ = k.Listener.Close()
	for c := range k.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// TestRegister registers instances with each kind of check: they become healthy, follow their
// status, and are gone after Close.
func TestRegister(t *testing.T) {
	for name, viaHTTP := range map[string]bool{"gRPC": false, "HTTP": true} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t)
			status := health.New("acme.v1.S")
			status.Set("acme.v1.S", health.StatusNotServing)
			_, end, _ := start(t, a, "ping", handlers(nil), consul.Registration{
				ID: "ping-1", Tags: []string{"v1"}, Weight: 3, Meta: map[string]string{"k": "v"},
				Health: status, HealthService: "acme.v1.S", HealthHTTP: viaHTTP, Forget: time.Minute,
			})
			web := newService(t, a, "web")
			if got := a.Health("ping-1"); got != "critical" {
				t.Errorf("got %q before the service serves, want critical", got)
			}
			_, err := call(within(t), web.HTTPClient(), pingURL, pathUnary)
			wantError(t, "not serving", err, connect.CodeUnavailable)
			status.Set("acme.v1.S", health.StatusServing)
			await(t, "the check", func() bool { return a.Health("ping-1") == "passing" })
			await(t, "a call", func() bool {
				_, err := call(within(t), web.HTTPClient(), pingURL, pathUnary)
				return err == nil
			})
			s, _ := web.Balancing("ping.service.consul")
			if e := s.Endpoints[0]; e.Weight != 3 || e.Meta["id"] != "ping-1" || e.Meta["datacenter"] != "dc1" || e.Meta["service"] != "ping" {
				t.Errorf("got the endpoint %+v, want what was registered", e)
			}
			end()
			if n := a.Instances("ping"); n != 0 {
				t.Errorf("got %d instances after Close, want 0", n)
			}
			await(t, "the end", func() bool {
				_, err := call(within(t), web.HTTPClient(), pingURL, pathUnary)
				return connect.CodeOf(err) == connect.CodeUnavailable
			})
		})
	}
}

// TestRegisterFails registers what cannot be.
func TestRegisterFails(t *testing.T) {
	a := newAgent(t)
	s := newService(t, a, "ping")
	wantText(t, "no port", s.Register(within(t), consul.Registration{}), "expected that of the listener")
	wantText(t, "address", s.Register(within(t), consul.Registration{Port: 1, HealthAddress: "nowhere:99999"}), "serving its check")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Register(ctx, consul.Registration{Port: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	if err := s.Register(within(t), consul.Registration{Port: 1}); err != nil {
		t.Fatal(err)
	}
	a.Intercept(replaced("/v1/agent/service/deregister/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no leader", 500) }))
	wantText(t, "deregister", s.Close(), `deregistering instance "ping-node-1"`, "no leader")
	if err := s.Close(); err != nil {
		t.Errorf("got %v from a second Close, want nil", err)
	}
	wantText(t, "closed", s.Register(within(t), consul.Registration{Port: 1}), "is closed")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l, nil); err != http.ErrServerClosed {
		t.Errorf("got %v from Serve after Close, want http.ErrServerClosed", err)
	}
}

// TestInstances kills one of three instances under load, ends one gracefully, and starts one:
// no idempotent call fails.
func TestInstances(t *testing.T) {
	for name, change := range map[string]func(*consul.Config){
		"engine":   func(*consul.Config) {},
		"net/http": func(c *consul.Config) { c.NetHTTP = true },
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t)
			var counts [4]atomic.Int64
			instance := func(n int) (end, kill func()) {
				_, end, kill = start(t, a, "ping", handlers(func(context.Context) error { counts[n].Add(1); return nil }), consul.Registration{ID: fmt.Sprint(n)})
				await(t, "the check", func() bool { return a.Health(fmt.Sprint(n)) == "passing" })
				return end, kill
			}
			end0, _ := instance(0)
			_, kill1 := instance(1)
			instance(2)
			web := newService(t, a, "web", func(c *consul.Config) { c.Balance = []balance.Option{balance.RoundRobin()} }, change)
			client := connect.NewClient[message, message](web.HTTPClient(), pingURL+pathUnary,
				connect.WithIdempotency(connect.IdempotencyNoSideEffects), web.Options(pingURL))
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			var callers sync.WaitGroup
			var calls atomic.Int64
			for range 8 {
				callers.Go(func() {
					for ctx.Err() == nil {
						if _, err := client.CallUnary(within(t), connect.NewRequest(new(message))); err != nil {
							t.Errorf("got %v, want an answer", err)
							return
						}
						calls.Add(1)
					}
				})
			}
			more := func() {
				t.Helper()
				seen := calls.Load()
				await(t, "calls", func() bool { return calls.Load() > seen+100 || t.Failed() })
			}
			for n := range 3 {
				await(t, "calls at each instance", func() bool { return counts[n].Load() > 10 || t.Failed() })
			}
			kill1()
			more()
			end0()
			more()
			instance(3)
			await(t, "calls at the new instance", func() bool { return counts[3].Load() > 10 || t.Failed() })
			cancel()
			callers.Wait()
		})
	}
}

// TestDatacenters has instances here and in another datacenter, by host name, and by a prepared
// query that fails over.
func TestDatacenters(t *testing.T) {
	a := newAgent(t)
	here, web := newService(t, a, "ping"), newService(t, a, "web")
	l := serve(t, a, here, handlers(nil))
	// The other datacenter has a service of its own, with its identity.
	made, err := a.Mint(strings.Replace(a.ServiceURI("ping"), "/dc1/", "/dc2/", 1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(made.CertPEM), []byte(made.PrivateKeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	there, err := consul.NewDevServiceWithTLSConfig("ping", &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: poolOf(t, a)})
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	far, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = there.Serve(far, handlers(func(context.Context) error { return connect.NewError(connect.CodeAborted, errors.New("dc2")) }))
	}()
	defer func() {
		_ = there.Close()
		<-served
	}()
	a.AddRemote("dc2", &api.ServiceEntry{Service: &api.AgentService{
		ID: "far", Service: "ping", Address: "127.0.0.1", Port: far.Addr().(*net.TCPAddr).Port, Connect: &api.AgentServiceConnect{Native: true},
	}})
	a.SetQuery("nearest", "ping", "dc3", "dc2")
	at := func(host string) string {
		_, err := call(within(t), web.HTTPClient(), "https://"+host, pathUnary)
		if connect.CodeOf(err) == connect.CodeAborted {
			return "dc2"
		}
		if err != nil {
			return err.Error()
		}
		return "dc1"
	}
	for host, want := range map[string]string{
		"ping.service.consul": "dc1", "PING.service.dc1.consul": "dc1", "ping.service.dc2.consul": "dc2", "nearest.query.consul": "dc1",
	} {
		if got := at(host); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
	a.Deregister(l.Addr().String())
	_ = here.Close()
	await(t, "the failover", func() bool { return at("nearest.query.consul") == "dc2" })
}

// TestResolver watches a service: the endpoints have what was registered, and only healthy
// instances with the tags.
func TestResolver(t *testing.T) {
	a := newAgent(t)
	add := func(id string, change func(*api.AgentServiceRegistration)) {
		r := &api.AgentServiceRegistration{ID: id, Name: "ping", Address: "10.0.0.1", Port: 80, Tags: []string{"v1"}, Connect: &api.AgentServiceConnect{Native: true}}
		change(r)
		if err := a.Client("").Agent().ServiceRegister(r); err != nil {
			t.Fatal(err)
		}
	}
	add("a", func(r *api.AgentServiceRegistration) { r.Weights = &api.AgentWeights{Passing: 7} })
	add("b", func(r *api.AgentServiceRegistration) { r.Tags = []string{"v2"} })
	add("c", func(r *api.AgentServiceRegistration) { r.Connect = nil }) // no member
	add("d", func(r *api.AgentServiceRegistration) { r.Port = 0 })
	add("e", func(r *api.AgentServiceRegistration) { r.Address = "" })
	add("f", func(r *api.AgentServiceRegistration) {
		r.Check = &api.AgentServiceCheck{CheckID: "ttl", TTL: "1m", Status: "critical"}
	})
	ctx, cancel := context.WithCancel(t.Context())
	sets := make(chan string, 100)
	done := make(chan struct{})
	r := &consul.ConsulResolver{Client: a.Client(""), Name: "ping", Tags: []string{"v1"}}
	go func() {
		defer close(done)
		_ = r.Watch(ctx, func(set []balance.Endpoint, err error) {
			var all []string
			for _, e := range set {
				all = append(all, fmt.Sprintf("%s=%s*%d", e.Meta["id"], e.Addr, e.Weight))
			}
			sets <- fmt.Sprint(all, err)
		})
	}()
	defer func() { cancel(); <-done }()
	want := func(want string) {
		t.Helper()
		for {
			select {
			case got := <-sets:
				if got == want {
					return
				}
			case <-within(t).Done():
				t.Fatalf("got no set %s", want)
			}
		}
	}
	want("[a=10.0.0.1:80*7 e=127.0.0.1:80*1] <nil>")
	if err := a.Client("").Agent().UpdateTTL("ttl", "", "passing"); err != nil {
		t.Fatal(err)
	}
	want("[a=10.0.0.1:80*7 e=127.0.0.1:80*1 f=10.0.0.1:80*1] <nil>")
	a.SetHealth("a", "critical")
	a.Deregister("e")
	want("[f=10.0.0.1:80*1] <nil>")
	a.Deregister("f")
	want("[] <nil>")
	a.Intercept(replaced("/v1/health/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[null,{}]")) }))
	add("g", func(*api.AgentServiceRegistration) {})
	want("[] <nil>") // entries without anything are left out
	a.Intercept(replaced("/v1/health/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no leader", 500) }))
	want(`[] consul: looking for service "ping": Unexpected response code: 500 (no leader)`)
}

// TestDev has services without an agent, from files and from configurations.
func TestDev(t *testing.T) {
	a := newAgent(t)
	dir := t.TempDir()
	roots, _, err := a.Client("").Agent().ConnectCARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := write("ca.pem", roots.Roots[0].RootCertPEM)
	dev := func(name string) (*consul.Service, error) {
		made, err := a.Mint(a.ServiceURI(name), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return consul.NewDevServiceFromCertFiles(name, ca, write(name+".pem", made.CertPEM), write(name+".key", made.PrivateKeyPEM))
	}
	ping, err := dev("ping")
	if err != nil {
		t.Fatal(err)
	}
	defer ping.Close()
	web, err := dev("web")
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	if !web.Ready() || web.WaitReady(within(t)) != nil {
		t.Error("got a service that is not ready")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = ping.Serve(l, handlers(nil, ping.Authorize()))
	}()
	h := &http.Transport{DialTLSContext: dialer(web, l.Addr().String(), a.ServiceURI("ping"))}
	if got, err := call(within(t), &http.Client{Transport: h}, pingURL, pathUnary); err != nil || got != "web" {
		t.Errorf("got %q, %v, want the caller web", got, err)
	}
	h.CloseIdleConnections()
	_, err = web.HTTPClient().Get(pingURL)
	wantText(t, "HTTPClient", err, "one for development", "use Dial")
	wantText(t, "Register", web.Register(within(t), consul.Registration{Port: 1}), "one for development")
	_ = ping.Close()
	<-served

	_, err = consul.NewDevServiceFromCertFiles("x", ca, filepath.Join(dir, "none"), ca)
	wantText(t, "no file", err, `making service "x" for development`)
	_, err = consul.NewDevServiceFromCertFiles("web", write("bad.pem", "x"), filepath.Join(dir, "web.pem"), filepath.Join(dir, "web.key"))
	wantText(t, "bad roots", err, "has no certificate: expected PEM")
	_, err = consul.NewDevServiceWithTLSConfig("x", nil)
	wantText(t, "no configuration", err, "expected a configuration")
}

func poolOf(t *testing.T, a *consultest.Agent) *x509.CertPool {
	t.Helper()
	roots, _, err := a.Client("").Agent().ConnectCARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := x509.NewCertPool()
	for _, r := range roots.Roots {
		p.AppendCertsFromPEM([]byte(r.RootCertPEM))
	}
	return p
}

// TestOptionsPanics gives Options URLs that are not of the mesh.
func TestOptionsPanics(t *testing.T) {
	s := newService(t, newAgent(t), "web")
	for _, url := range []string{"http://ping.service.consul", "https://example.com", ":"} {
		func() {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.Contains(text, "consul: Options(") {
					t.Errorf("%s: got the panic %q, want one that names Options", url, text)
				}
			}()
			s.Options(url)
		}()
	}
}

// TestCloseAfterListener has a listener that fails under Serve: calls on its connections go on,
// until Close.
func TestCloseAfterListener(t *testing.T) {
	a := newAgent(t)
	ping, web := newService(t, a, "ping"), newService(t, a, "web")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- ping.Serve(l, handlers(nil)) }()
	register(t, a, "ping", "", l)
	stream := connect.NewClient[message, message](web.HTTPClient(), pingURL+pathBidi).CallBidiStream(within(t))
	defer stream.CloseResponse()
	echo := func() {
		t.Helper()
		if err := stream.Send(new(message)); err != nil {
			t.Error(err)
		}
		if _, err := stream.Receive(); err != nil {
			t.Error(err)
		}
	}
	echo()
	_ = l.Close()
	if err := <-served; errors.Is(err, http.ErrServerClosed) {
		t.Errorf("got %v from Serve, want the listener's error", err)
	}
	echo()
	_ = ping.Close()
	if _, err := stream.Receive(); err == nil || connect.CodeOf(err) == connect.CodeDeadlineExceeded {
		t.Errorf("got %v after Close, want the end of the connection", err)
	}
}
