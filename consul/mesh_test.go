// SPDX-License-Identifier: Apache-2.0

// Calls through the mesh: what a program writes, over all protocols and kinds of calls.

package consul_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/consul"
	"github.com/seed-b7c59c10/connect/consul/consultest"
	"github.com/seed-b7c59c10/connect/h2"
)

const pingURL = "https://ping.service.consul"

// servers are the ways to serve in the mesh. Each returns its listener.
var servers = map[string]func(*testing.T, *consultest.Agent, *consul.Service, http.Handler) net.Listener{
	"Serve": serve,
	"net/http": func(t *testing.T, a *consultest.Agent, s *consul.Service, h http.Handler) net.Listener {
		return serveHTTP(t, a, s, &http.Server{Handler: h})
	},
	"engine": func(t *testing.T, a *consultest.Agent, s *consul.Service, h http.Handler) net.Listener {
		server := &http.Server{Handler: h}
		if err := h2.ConfigureServer(server, nil); err != nil {
			t.Fatal(err)
		}
		return serveHTTP(t, a, s, server)
	},
}

// serveHTTP serves with ServerTLSConfig alone, as Consul's documentation shows it.
func serveHTTP(t *testing.T, a *consultest.Agent, s *consul.Service, server *http.Server) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server.TLSConfig = s.ServerTLSConfig()
	server.ErrorLog = log.New(io.Discard, "", 0)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.ServeTLS(l, "", "")
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	register(t, a, s.Name(), "", l)
	return l
}

// TestCalls makes calls of all kinds in all protocols, with the clients and servers that there
// are. The server sees who calls.
func TestCalls(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t)
			ping := newService(t, a, "ping")
			start(t, a, ping, handlers(nil, ping.Authorize()))
			web := newService(t, a, "web")
			webHTTP := newService(t, a, "web", func(c *consul.Config) { c.NetHTTP = true })
			dialed := &http.Transport{DialTLSContext: web.DialTLSContext, ForceAttemptHTTP2: true}
			defer dialed.CloseIdleConnections()
			for client, h := range map[string]*http.Client{
				"HTTPClient": web.HTTPClient(), "NetHTTP": webHTTP.HTTPClient(), "DialTLSContext": {Transport: dialed},
			} {
				for protocol, options := range protocols {
					for _, path := range paths {
						got, err := call(within(t), h, pingURL, path, options...)
						if err != nil || got != "web" {
							t.Errorf("%s, %s, %s: got %q, %v, want the caller web", client, protocol, path, got, err)
						}
					}
				}
			}
			// HTTP/1.1 alone.
			//lint:ignore SA1019 Consul's documentation sets this field
			plain := &http.Transport{DialTLS: web.HTTPDialTLS}
			defer plain.CloseIdleConnections()
			if got, err := call(within(t), &http.Client{Transport: plain}, pingURL, pathUnary); err != nil || got != "web" {
				t.Errorf("HTTPDialTLS: got %q, %v, want the caller web", got, err)
			}
			// With the options, and as a direct call.
			if got, err := call(within(t), web.HTTPClient(), pingURL, pathUnary, web.Options(pingURL)); err != nil || got != "web" {
				t.Errorf("Options: got %q, %v, want the caller web", got, err)
			}
			if s, ok := web.Balancing("ping.service.consul"); !ok || len(s.Endpoints) != 1 {
				t.Errorf("got %v, %v from Balancing, want one endpoint", s, ok)
			}
		})
	}
}

// TestPeer looks at what handlers have of their caller.
func TestPeer(t *testing.T) {
	a := newAgent(t)
	ping := newService(t, a, "ping")
	serve(t, a, ping, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := consul.PeerFromContext(r.Context())
		fmt.Fprintf(w, "%v %s %v %d", ok, p.URI(), p.Certificate.URIs[0], len(r.TLS.VerifiedChains))
	}))
	web := newService(t, a, "web")
	res, err := web.HTTPClient().Get(pingURL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	uri := a.ServiceURI("web")
	if want := fmt.Sprintf("true %s %s 1", uri, uri); string(body) != want {
		t.Errorf("got %q, want %q", body, want)
	}
	if _, ok := consul.PeerFromContext(context.Background()); ok {
		t.Error("got a peer from an empty context, want none")
	}

	// connect.Peer.Identity, inside of Handler.
	pong := newService(t, a, "pong")
	serve(t, a, pong, connect.NewUnaryHandler(pathUnary, func(_ context.Context, r *connect.Request[message]) (*connect.Response[message], error) {
		id, ok := r.Peer().Identity()
		if !ok || id.SPIFFEID != uri {
			t.Errorf("got %v, %v from Peer.Identity, want %s", id.SPIFFEID, ok, uri)
		}
		return connect.NewResponse(r.Msg), nil
	}))
	if _, err := call(within(t), web.HTTPClient(), "https://pong.service.consul", pathUnary); err != nil {
		t.Error(err)
	}
}

// TestDial connects without HTTP, with tls.Listen and both resolvers.
func TestDial(t *testing.T) {
	a := newAgent(t)
	ping, web := newService(t, a, "ping"), newService(t, a, "web")
	l, err := tls.Listen("tcp", "127.0.0.1:0", ping.ServerTLSConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	register(t, a, "ping", "", l)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	a.SetQuery("nearest", "ping")
	for name, r := range map[string]consul.Resolver{
		"static":  &consul.StaticResolver{Addr: l.Addr().String(), CertURI: a.ServiceURI("ping")},
		"service": &consul.ConsulResolver{Client: a.Client(""), Name: "ping"},
		"query":   &consul.ConsulResolver{Client: a.Client(""), Name: "nearest", Type: consul.ConsulResolverTypePreparedQuery},
	} {
		c, err := web.Dial(within(t), r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := io.WriteString(c, "hi"); err != nil {
			t.Error(err)
		}
		got := make([]byte, 2)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "hi" {
			t.Errorf("%s: got %q, %v, want what was written", name, got, err)
		}
		_ = c.Close()
	}

	// A denied connection fails with the first read, which ErrorOf explains.
	a.Deny("web", "ping")
	await(t, "the intention", func() bool {
		c, err := web.Dial(within(t), &consul.ConsulResolver{Client: a.Client(""), Name: "ping"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "x")
		_, err = io.ReadFull(c, make([]byte, 1))
		if err == nil {
			return false // the server has an older answer for a moment
		}
		wantError(t, "denied", consul.ErrorOf(err), connect.CodePermissionDenied, "no intention allows it")
		return true
	})
}

// TestSidecar calls a service behind a proxy: its identity is that of the destination.
func TestSidecar(t *testing.T) {
	a := newAgent(t)
	ping, web := newService(t, a, "ping"), newService(t, a, "web")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- ping.Serve(l, handlers(nil)) }()
	defer func() {
		_ = ping.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("got %v from Serve, want http.ErrServerClosed", err)
		}
	}()
	register(t, a, "ping-sidecar-proxy", "sidecar", l, func(r *api.AgentServiceRegistration) {
		r.Kind, r.Connect = api.ServiceKindConnectProxy, nil
		r.Proxy = &api.AgentServiceConnectProxyConfig{DestinationServiceName: "ping"}
	})
	if got, err := call(within(t), web.HTTPClient(), pingURL, pathUnary); err != nil || got != "web" {
		t.Errorf("got %q, %v, want the caller web", got, err)
	}
}

// TestAtOnce calls and dials right after NewService: both wait for the certificate.
func TestAtOnce(t *testing.T) {
	a := newAgent(t)
	ping := newService(t, a, "ping")
	serve(t, a, ping, handlers(nil))
	held, release := make(chan struct{}, 10), make(chan struct{})
	a.Intercept(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == leafPath+"web" {
				held <- struct{}{}
				<-release
			}
			next.ServeHTTP(w, r)
		})
	})
	web := startService(t, a, "web")
	errs := make(chan error, 2)
	go func() {
		_, err := call(within(t), web.HTTPClient(), pingURL, pathUnary)
		errs <- err
	}()
	go func() {
		c, err := web.Dial(within(t), &consul.ConsulResolver{Client: a.Client(""), Name: "ping"})
		if err == nil {
			_ = c.Close()
		}
		errs <- err
	}()
	<-held
	close(release)
	for range 2 {
		if err := <-errs; err != nil {
			t.Errorf("got %v, want a connection once the certificate is there", err)
		}
	}
}

// TestCloseWaits closes a service while calls are in its handlers: they are answered, on new
// connections and old ones, and Close returns after them.
func TestCloseWaits(t *testing.T) {
	a := newAgent(t)
	ping := newService(t, a, "ping")
	entered, release := make(chan struct{}, 10), make(chan struct{})
	var returned atomic.Int64
	l := serve(t, a, ping, handlers(func(context.Context) error {
		entered <- struct{}{}
		<-release
		returned.Add(1)
		return nil
	}))
	web := newService(t, a, "web")
	errs := make(chan error, 10)
	one := &http.Transport{Protocols: onlyHTTP1(), DialTLSContext: dialer(web, l.Addr().String(), a.ServiceURI("ping"))}
	defer one.CloseIdleConnections()
	for _, h := range []*http.Client{web.HTTPClient(), {Transport: one}} {
		for _, path := range []string{pathUnary, pathServer} {
			go func() {
				_, err := call(within(t), h, pingURL, path)
				errs <- err
			}()
			<-entered
		}
	}
	closed := make(chan int64, 1)
	go func() {
		_ = ping.Close()
		closed <- returned.Load()
	}()
	await(t, "the end of the listener", func() bool {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	close(release)
	for range 4 {
		if err := <-errs; err != nil {
			t.Errorf("got %v from a call that was in its handler, want an answer", err)
		}
	}
	if n := <-closed; n != 4 {
		t.Errorf("got %d handlers that had returned when Close did, want 4", n)
	}
}
