// SPDX-License-Identifier: Apache-2.0

// The end of a transport: gracefully or at once. And the end of servers under load,
// which loses nothing.

package h2_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
)

// TestTransportShutdown lets open calls end, and takes no more.
func TestTransportShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGate(t)
		s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
			g.wait()
			answerOK(w, r)
		})
		client := newClient(t, s.network, nil)
		open := begin(client, get(t.Context()))
		settle()
		if err := client.Shutdown(timeout(t, time.Second)); !errors.Is(err, errTimeout) {
			t.Errorf("got error %v while a call is open, want %v", err, errTimeout)
		}
		call(client, get(t.Context())).wantText(t, "closed")
		time.AfterFunc(time.Second, g.open)
		if err := client.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		receive(t, "a response", open).want(t, 200, "ok")
	})
}

// TestTransportShutdownDrains waits for a call on a connection that is not in the
// pool any more, because its server is shutting down.
func TestTransportShutdownDrains(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		open := begin(client, get(t.Context()))
		p := s.accept()
		f := p.request()
		p.goAway(f.StreamID, 0)
		p.wantAlive()
		done := make(chan error, 1)
		go func() { done <- client.Shutdown(context.Background()) }()
		settle()
		select {
		case err := <-done:
			t.Errorf("got the end of Shutdown, and error %v, before that of the call", err)
		default:
		}
		p.respond(f.StreamID, "200", "last")
		receive(t, "a response", open).want(t, 200, "last")
		if err := receive(t, "the end of Shutdown", done); err != nil {
			t.Error(err)
		}
		p.wantClosed()
	})
}

// TestTransportClose ends calls at once: before the head, in the body, on a
// connection that drains, while dialing, and while waiting for a place.
func TestTransportClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, &h2.TransportConfig{MaxConnsPerHost: 1})
		var calls []<-chan outcome
		calls = append(calls, begin(client, get(t.Context())))
		p := s.accept()
		f := p.request()
		p.headers(f.StreamID, false, ":status", "200")
		settle()
		calls = append(calls, begin(client, get(t.Context())))
		f = p.request()
		p.goAway(f.StreamID, 0) // two calls on a connection that drains
		p.wantAlive()
		body := newWaitingBody()
		calls = append(calls, begin(client, request(t.Context(), "POST", body))) // dials
		settle()
		calls = append(calls, begin(client, get(t.Context()))) // waits
		settle()
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		for _, done := range calls {
			if o := receive(t, "an error", done); o.err == nil {
				t.Errorf("got status %d, want an error", o.StatusCode)
			}
		}
		body.wantClosed(t)
		p.wantClosed()
		if err := client.Close(); err != nil {
			t.Errorf("the second time: %v", err)
		}
	})
}

// TestTransportCloseRaces closes a transport while calls begin.
func TestTransportCloseRaces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := startServer(t, answerOK)
		for i := range 50 {
			client := newClient(t, s.network, nil)
			var calls sync.WaitGroup
			var made atomic.Int32
			enough := make(chan struct{}, 1)
			for range 10 {
				calls.Go(func() {
					for {
						if int(made.Add(1)) == 2*i {
							enough <- struct{}{}
						}
						if o := call(client, request(t.Context(), "POST", strings.NewReader("x"))); o.err != nil {
							return
						}
					}
				})
			}
			if i > 0 {
				<-enough
			}
			if err := client.Close(); err != nil {
				t.Error(err)
			}
			calls.Wait()
		}
	})
}

// ---- rolling restart ----

// An address is where one server after the other listens.
type address struct {
	mu  sync.Mutex
	now string
}

func (a *address) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	a.mu.Lock()
	now := a.now
	a.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, network, now)
}

// restart starts a server on a socket, over TLS if there is a certificate, sends new
// connections to it, and has the old one shut down.
func (a *address) restart(t testing.TB, old *http.Server, handler http.Handler, engine bool, secure *tls.Certificate) *http.Server {
	t.Helper()
	server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(secure == nil)
	server.Protocols.SetHTTP2(secure != nil)
	if secure != nil {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*secure}}
		server.ErrorLog = log.New(io.Discard, "", 0) // of handshakes with one that shuts down
	}
	if engine {
		if err := h2.ConfigureServer(server, nil); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if secure != nil {
			_ = server.ServeTLS(listener, "", "")
		} else {
			_ = server.Serve(listener)
		}
	}()
	a.mu.Lock()
	a.now = listener.Addr().String()
	a.mu.Unlock()
	if old != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := old.Shutdown(ctx); err != nil {
			t.Errorf("shutting down: %v", err)
		}
	}
	return server
}

// TestRollingRestart replaces a server under load. No call fails, and none is
// processed twice. On real sockets, because that is where bytes get lost.
func TestRollingRestart(t *testing.T) {
	trusted, trust := startTLS(t, false, true)
	for name, c := range map[string]struct{ engine, secure bool }{
		"engine":     {true, false},
		"engine,TLS": {true, true},
		"net/http":   {false, false},
	} {
		t.Run(name, func(t *testing.T) {
			calls, callers, restarts, to := 20_000, 32, 8, "http://example.com"
			var certificate *tls.Certificate
			if c.secure {
				calls, to, certificate = 5_000, "https://example.com", &trusted.TLS.Certificates[0]
			}
			processed := make([]atomic.Int32, calls)
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if n, bad := strconv.Atoi(string(body)); bad == nil && err == nil && n < calls {
					processed[n].Add(1)
				}
				_, _ = w.Write(body)
			})
			where := new(address)
			server := where.restart(t, nil, handler, c.engine, certificate)
			client := h2.NewTransport(&h2.TransportConfig{DialContext: where.dial, TLSClientConfig: trust})
			defer client.Close()

			var next, done atomic.Int32
			var load sync.WaitGroup
			progress := make(chan struct{}, restarts)
			for range callers {
				load.Go(func() {
					for {
						n := int(next.Add(1)) - 1
						if n >= calls {
							return
						}
						text := strconv.Itoa(n)
						r, err := http.NewRequest("POST", to, strings.NewReader(text))
						if err != nil {
							t.Error(err)
							return
						}
						o := call(client, r)
						if o.err != nil || o.body != text {
							t.Errorf("call %d: got body %q and error %v", n, o.body, o.err)
						}
						if int(done.Add(1))%(calls/(restarts+1)) == 0 {
							select {
							case progress <- struct{}{}:
							default:
							}
						}
					}
				})
			}
			for range restarts {
				<-progress
				server = where.restart(t, server, handler, c.engine, certificate)
			}
			load.Wait()
			_ = server.Close()
			for n := range processed {
				if got := processed[n].Load(); got != 1 {
					t.Errorf("call %d was processed %d times, want once", n, got)
				}
			}
		})
	}
}
