// SPDX-License-Identifier: Apache-2.0

// Intentions in force: on connections, on calls, and on calls that go on.

package consul_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/consul"
	"github.com/seed-b7c59c10/connect/retry"
)

// l7 is an intention from web to ping with permissions.
func l7(permissions ...*api.IntentionPermission) *api.Intention {
	return &api.Intention{SourceName: "web", DestinationName: "ping", Permissions: permissions}
}

func allowing(http api.IntentionHTTPPermission) *api.IntentionPermission {
	return &api.IntentionPermission{Action: api.IntentionActionAllow, HTTP: &http}
}

func denying(http api.IntentionHTTPPermission) *api.IntentionPermission {
	return &api.IntentionPermission{Action: api.IntentionActionDeny, HTTP: &http}
}

// TestDenied has clients whose connections are denied: all protocols and transports get
// permission_denied, and package retry does not try again.
func TestDenied(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t)
			a.Deny("web", "ping")
			ping := newService(t, a, "ping")
			start(t, a, ping, handlers(nil))
			attempts := make(chan retry.Attempt, 100)
			policy := retry.New(retry.Observe(func(_ context.Context, a retry.Attempt) { attempts <- a }))
			web := newService(t, a, "web", func(c *consul.Config) { c.Retry = policy })
			webHTTP := newService(t, a, "web", func(c *consul.Config) { c.NetHTTP, c.Retry = true, policy })
			calls := 0
			for _, h := range []*consul.Service{web, webHTTP} {
				for protocol, options := range protocols {
					for _, path := range paths {
						for _, o := range [][]connect.ClientOption{options, append([]connect.ClientOption{h.Options(pingURL)}, options...)} {
							_, err := call(within(t), h.HTTPClient(), pingURL, path, o...)
							wantError(t, protocol+path, err, connect.CodePermissionDenied, "refused the connection")
						}
						calls++
					}
				}
			}
			if len(attempts) != calls {
				t.Errorf("got %d attempts, want one for each of %d calls with a policy", len(attempts), calls)
			}
			a.Allow("web", "ping")
			await(t, "the intention", func() bool {
				_, err := call(within(t), web.HTTPClient(), pingURL, pathUnary)
				return err == nil
			})
		})
	}
}

// TestPermissions has an intention with permissions: Serve and the options decide about calls,
// and ServerTLSConfig alone refuses the connection.
func TestPermissions(t *testing.T) {
	a := newAgent(t)
	a.SetIntention(l7(
		denying(api.IntentionHTTPPermission{PathExact: pathUnary, Header: []api.IntentionHTTPHeaderPermission{{Name: "X-Bad", Present: true}}}),
		allowing(api.IntentionHTTPPermission{PathExact: pathUnary, Methods: []string{"POST"}}),
		allowing(api.IntentionHTTPPermission{PathRegex: "/test[.]v1[.]S/(Server|Client)"}),
		allowing(api.IntentionHTTPPermission{PathPrefix: "/files/", Methods: []string{"GET"}}),
		denying(api.IntentionHTTPPermission{PathPrefix: "/"}),
	))
	ping := newService(t, a, "ping")
	mux := http.NewServeMux()
	mux.Handle("/test.v1.S/", handlers(nil, ping.Authorize()))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "file") })
	serve(t, a, ping, mux)
	web := newService(t, a, "web")
	for protocol, options := range protocols {
		for path, want := range map[string]bool{pathUnary: true, pathServer: true, pathClient: true, pathBidi: false} {
			got, err := call(within(t), web.HTTPClient(), pingURL, path, options...)
			switch {
			case want && (err != nil || got != "web"):
				t.Errorf("%s, %s: got %q, %v, want the caller web", protocol, path, got, err)
			case !want:
				wantError(t, protocol+path, err, connect.CodePermissionDenied, `service "web" may not call "ping"`, "POST "+path)
				if !connect.IsWireError(err) {
					t.Errorf("got %v, want an error of the server", err)
				}
			}
		}
		c := connect.NewClient[message, message](web.HTTPClient(), pingURL+pathUnary, options...)
		r := connect.NewRequest(wrapperspb.String("x"))
		r.Header().Set("X-Bad", "1")
		_, err := c.CallUnary(within(t), r)
		wantError(t, protocol+" with the field", err, connect.CodePermissionDenied)
	}
	for path, want := range map[string]int{"/files/a": 200, "/other": 403} {
		res, err := web.HTTPClient().Get(pingURL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: got the status %d, want %d", path, res.StatusCode, want)
		}
	}

	// Without a check of calls.
	bare := newService(t, a, "ping")
	l := serveHTTP(t, a, bare, &http.Server{Handler: handlers(nil)})
	_, err := dialAndRead(t, web, l.Addr().String(), a.ServiceURI("ping"))
	wantError(t, "ServerTLSConfig alone", consul.ErrorOf(err), connect.CodePermissionDenied)
	// With the promise of one, which the option keeps.
	gated := newService(t, a, "ping", func(c *consul.Config) { c.ChecksCalls = true })
	l = serveHTTP(t, a, gated, &http.Server{Handler: handlers(nil, gated.Authorize())})
	h := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: dialer(web, l.Addr().String(), a.ServiceURI("ping"))}
	defer h.CloseIdleConnections()
	if got, err := call(within(t), &http.Client{Transport: h}, pingURL, pathUnary); err != nil || got != "web" {
		t.Errorf("got %q, %v, want the caller web", got, err)
	}
	_, err = call(within(t), &http.Client{Transport: h}, pingURL, pathUnaryOther)
	if connect.CodeOf(err) != connect.CodeUnimplemented { // there is no such procedure: no handler, no option
		t.Errorf("got %v, want unimplemented", err)
	}
	h2 := &http.Transport{Protocols: onlyHTTP1(), DialTLSContext: dialer(web, l.Addr().String(), a.ServiceURI("ping"))}
	defer h2.CloseIdleConnections()
	if _, err := call(within(t), &http.Client{Transport: h2}, pingURL, pathClient); err != nil {
		t.Error(err)
	}
}

// TestOldAgent has an agent without a default policy in its answers: what no permission allows
// is denied, and without an intention the agent decides.
func TestOldAgent(t *testing.T) {
	a := newAgent(t)
	a.OldAgent()
	ping, web := newService(t, a, "ping"), newService(t, a, "web")
	serve(t, a, ping, handlers(nil))
	if _, err := call(within(t), web.HTTPClient(), pingURL, pathUnary); err != nil {
		t.Errorf("got %v without an intention, want an answer", err)
	}
	a.SetIntention(l7(allowing(api.IntentionHTTPPermission{PathExact: pathServer})))
	await(t, "the intention", func() bool {
		_, err := call(within(t), web.HTTPClient(), pingURL, pathUnary)
		return connect.CodeOf(err) == connect.CodePermissionDenied
	})
	if _, err := call(within(t), web.HTTPClient(), pingURL, pathServer); err != nil {
		t.Errorf("got %v for the path that is allowed, want an answer", err)
	}
}

// TestRevoked changes the intentions while streams go on. They end with permission_denied,
// whatever their handlers wait for, and other services' go on.
func TestRevoked(t *testing.T) {
	for protocol, options := range protocols {
		for what, change := range map[string]func(deny func(), permissions func()){
			"denied":      func(deny, _ func()) { deny() },
			"permissions": func(_, permissions func()) { permissions() },
		} {
			t.Run(protocol+" "+what, func(t *testing.T) {
				t.Parallel()
				a := newAgent(t)
				ping := newService(t, a, "ping")
				ended := make(chan error, 10)
				waiting := func(ctx context.Context) error {
					<-ctx.Done()
					ended <- context.Cause(ctx)
					return ctx.Err()
				}
				mux := http.NewServeMux()
				mux.Handle(pathServer, handlers(waiting, ping.Authorize())) // waits for its context
				mux.Handle("/", handlers(nil))                              // waits for messages; without the option
				serve(t, a, ping, mux)
				web, other := newService(t, a, "web"), newService(t, a, "other")
				open := func(s *consul.Service, path string) *connect.BidiStreamForClient[message, message] {
					stream := connect.NewClient[message, message](s.HTTPClient(), pingURL+path, options...).CallBidiStream(within(t))
					t.Cleanup(func() { _ = stream.CloseRequest(); _ = stream.CloseResponse() })
					if err := stream.Send(wrapperspb.String("x")); err != nil {
						t.Fatal(err)
					}
					if m, err := stream.Receive(); err != nil || m.Value != s.Name() {
						t.Fatalf("got %v, %v, want the caller", m, err)
					}
					return stream
				}
				cut, kept := open(web, pathBidi), open(other, pathBidi)
				answered := make(chan error, 1)
				go func() {
					_, err := call(within(t), web.HTTPClient(), pingURL, pathServer, options...)
					answered <- err
				}()
				await(t, "the call", func() bool { s, _ := web.Balancing("ping.service.consul"); return s.Endpoints[0].InFlight >= 2 })
				change(func() { a.Deny("web", "ping") }, func() {
					a.SetIntention(l7(allowing(api.IntentionHTTPPermission{PathExact: "/none"}), denying(api.IntentionHTTPPermission{})))
				})
				_, err := cut.Receive()
				wantError(t, "a stream that waits for messages", err, connect.CodePermissionDenied, `service "web" may not call "ping"`)
				err = <-answered
				wantError(t, "a stream that waits for its context", err, connect.CodePermissionDenied)
				if err := kept.Send(wrapperspb.String("y")); err != nil {
					t.Error(err)
				}
				if m, err := kept.Receive(); err != nil || m.Value != "other" {
					t.Errorf("got %v, %v on another service's stream, want it to go on", m, err)
				}
				// New calls on the old connection are denied, too.
				_, err = call(within(t), web.HTTPClient(), pingURL, pathUnary, options...)
				wantError(t, "a new call", err, connect.CodePermissionDenied)
			})
		}
	}
}

// TestDefaultRevoked changes the default policy while a stream goes on: the agent is asked
// about it.
func TestDefaultRevoked(t *testing.T) {
	a := newAgent(t)
	a.AddToken("t", "ping", "web")
	token := func(c *consul.Config) { c.Client = a.Client("t") }
	ping, web := newService(t, a, "ping", token), newService(t, a, "web", token)
	serve(t, a, ping, handlers(nil))
	stream := connect.NewClient[message, message](web.HTTPClient(), pingURL+pathBidi).CallBidiStream(within(t))
	defer stream.CloseResponse()
	if err := stream.Send(wrapperspb.String("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Receive(); err != nil {
		t.Fatal(err)
	}
	a.DefaultDeny(true)
	_, err := stream.Receive()
	wantError(t, "the stream", err, connect.CodePermissionDenied, "Default intention policy")
}

// TestVerdictsAreKept makes many connections: the agent is asked about the peer once, until
// the intentions change.
func TestVerdictsAreKept(t *testing.T) {
	a := newAgent(t)
	a.Allow("web", "ping")
	ping, web := newService(t, a, "ping"), newService(t, a, "web")
	l := serve(t, a, ping, handlers(nil))
	asked := func() int { return a.Requests("POST", "/v1/agent/connect/authorize") }
	began := time.Now()
	for range 20 {
		h := &http.Transport{DialTLSContext: dialer(web, l.Addr().String(), a.ServiceURI("ping")), DisableKeepAlives: true}
		if _, err := call(within(t), &http.Client{Transport: h}, pingURL, pathUnary); err != nil {
			t.Fatal(err)
		}
	}
	// Soon after the first query for intentions an answer is kept for half a second.
	if got, most := asked(), 1+int(time.Since(began)/(500*time.Millisecond)); got > most {
		t.Errorf("got %d questions for 20 connections, want at most %d", got, most)
	}
	a.Deny("web", "ping")
	await(t, "the change", func() bool {
		_, err := dialAndRead(t, web, l.Addr().String(), a.ServiceURI("ping"))
		return connect.CodeOf(consul.ErrorOf(err)) == connect.CodePermissionDenied
	})
}

// TestAuthorizeFails has an agent that does not answer about peers: connections without an
// intention are refused, and those with one follow it.
func TestAuthorizeFails(t *testing.T) {
	a := newAgent(t)
	ping, web := newService(t, a, "ping"), newService(t, a, "web")
	l := serve(t, a, ping, handlers(nil))
	for name, answer := range map[string]http.HandlerFunc{
		"error":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 500) },
		"garbage": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<") },
		"null":    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "null") },
	} {
		a.Intercept(replaced("/v1/agent/connect/authorize", answer))
		_, err := dialAndRead(t, web, l.Addr().String(), a.ServiceURI("ping"))
		wantError(t, name, consul.ErrorOf(err), connect.CodePermissionDenied)
	}
	a.Allow("web", "ping")
	await(t, "the intention", func() bool {
		_, err := dialAndRead(t, web, l.Addr().String(), a.ServiceURI("ping"))
		return err == nil
	})
}

// TestRevokedByOption has a server with ServerTLSConfig and the option of its handlers alone: a
// stream whose handler waits for its context ends, too.
func TestRevokedByOption(t *testing.T) {
	a := newAgent(t)
	ping := newService(t, a, "ping")
	entered := make(chan struct{}, 1)
	serveHTTP(t, a, ping, &http.Server{Handler: handlers(func(ctx context.Context) error {
		entered <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}, ping.Authorize())})
	web := newService(t, a, "web")
	ended := make(chan error, 1)
	go func() {
		_, err := call(within(t), web.HTTPClient(), pingURL, pathServer)
		ended <- err
	}()
	<-entered
	a.Deny("web", "ping")
	wantError(t, "the stream", <-ended, connect.CodePermissionDenied, `service "web" may not call "ping"`)
}

// TestNoTLS has requests without TLS of the mesh: Handler and the option refuse them.
func TestNoTLS(t *testing.T) {
	ping := newService(t, newAgent(t), "ping")
	for name, h := range map[string]http.Handler{"Handler": ping.Handler(handlers(nil)), "Authorize": handlers(nil, ping.Authorize())} {
		s := httptest.NewServer(h)
		for protocol, options := range protocols {
			if protocol == "grpc" {
				continue // not with HTTP/1.1
			}
			_, err := call(within(t), s.Client(), s.URL, pathUnary, options...)
			wantError(t, name+", "+protocol, err, connect.CodeUnauthenticated, "the call has no certificate", "Service.Serve")
		}
		if name == "Handler" {
			res, err := s.Client().Get(s.URL + "/file")
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusUnauthorized {
				t.Errorf("got the status %d, want 401", res.StatusCode)
			}
		}
		s.Close()
	}
}

// TestTwoServers has a service with two servers, of which Serve checks calls, and the other one
// does not: that one refuses a peer whose intention has permissions.
func TestTwoServers(t *testing.T) {
	a := newAgent(t)
	a.SetIntention(l7(allowing(api.IntentionHTTPPermission{PathExact: pathUnary})))
	ping, web := newService(t, a, "ping"), newService(t, a, "web")
	bare := serveHTTP(t, a, ping, &http.Server{Handler: handlers(nil)})
	a.Deregister(bare.Addr().String()) // HTTPClient calls the other one
	serve(t, a, ping, handlers(nil))
	if _, err := call(within(t), web.HTTPClient(), pingURL, pathUnary); err != nil {
		t.Errorf("got %v from the server that checks calls, want an answer", err)
	}
	_, err := dialAndRead(t, web, bare.Addr().String(), a.ServiceURI("ping"))
	wantError(t, "the server that does not", consul.ErrorOf(err), connect.CodePermissionDenied)
}

// TestLateAgent has an agent that answers about peers by older intentions than those that the
// service has from it: a connection that these deny is refused.
func TestLateAgent(t *testing.T) {
	a := newAgent(t)
	ping, web := newService(t, a, "ping"), newService(t, a, "web")
	l := serveHTTP(t, a, ping, &http.Server{Handler: handlers(nil)})
	a.Intercept(replaced("/v1/agent/connect/authorize", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"Authorized":true,"Reason":"older"}`)
	}))
	a.Deny("web", "ping")
	await(t, "the intention", func() bool {
		_, err := dialAndRead(t, web, l.Addr().String(), a.ServiceURI("ping"))
		return connect.CodeOf(consul.ErrorOf(err)) == connect.CodePermissionDenied
	})
}
