// SPDX-License-Identifier: Apache-2.0

// h2.Server: how it ends, what ends it, and what it does not wait for.

package h2_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

const secureURL = "https://server.test/"

// secureClient returns a client of the engine that speaks TLS to a network in memory.
func secureClient(t testing.TB, n *memoryNetwork) *h2.Transport {
	return newClient(t, n, &h2.TransportConfig{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}})
}

func secureGet(t testing.TB, query string) *http.Request {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, secureURL+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestListenShutdown ends a server by each method of both types while a stream is open:
// the stream runs to its end. Only the Server's own Shutdown waits for that.
func TestListenShutdown(t *testing.T) {
	t.Parallel()
	config := testTLS()
	for name, end := range map[string]func(*served) error{
		"Server.Shutdown":      func(s *served) error { return s.own.Shutdown(context.Background()) },
		"http.Server.Shutdown": func(s *served) error { return s.http.Shutdown(context.Background()) },
		"http.Server.Close":    func(s *served) error { return s.http.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				held := newGate(t)
				network := newMemoryNetwork()
				s := listenOwn(t, network, true, &http.Server{TLSConfig: config, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					held.wait()
					answerOK(w, r)
				})}, nil)
				open := begin(secureClient(t, network), secureGet(t, ""))
				settle()
				ended := make(chan error, 1)
				go func() { ended <- end(s) }()
				time.Sleep(time.Minute)
				synctest.Wait()
				select {
				case err := <-s.result:
					s.result <- err
				default:
					t.Error("got a Serve that goes on, want one that has returned")
				}
				if waits := len(ended) == 0; waits != (name == "Server.Shutdown") {
					t.Errorf("got %v for whether it waits for the stream", waits)
				}
				held.open()
				o := <-open
				o.want(t, 200, "ok")
				if err := <-ended; err != nil {
					t.Errorf("got error %v", err)
				}
				if o := call(secureClient(t, network), secureGet(t, "")); !errors.Is(o.err, errRefused) {
					t.Errorf("got %v for a call afterwards, want that it is refused", o.err)
				}
			})
		})
	}
}

// TestListenShutdownPasses has a context end before the stream does.
func TestListenShutdownPasses(t *testing.T) {
	t.Parallel()
	config := testTLS()
	bubble(t, func(t *testing.T) {
		network := newMemoryNetwork()
		s := listenOwn(t, network, true, &http.Server{TLSConfig: config, Handler: http.HandlerFunc(untilGone)}, nil)
		open := begin(secureClient(t, network), secureGet(t, ""))
		settle()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := s.own.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want context.DeadlineExceeded", err)
		}
		within(t, "Shutdown", time.Since(began), time.Minute, time.Minute)
		if err := s.own.Close(); err != nil {
			t.Errorf("got %v from Close", err)
		}
		if o := <-open; o.err == nil {
			t.Error("got a response, want an error: Close ends all at once")
		}
		if err := s.own.Shutdown(t.Context()); err != nil {
			t.Errorf("got %v from Shutdown after Close, want nil: nothing is left", err)
		}
	})
}

// TestListenShutdownIdle ends a server whose connections are idle, silent or in a
// handshake. It takes two seconds at the most.
func TestListenShutdownIdle(t *testing.T) {
	t.Parallel()
	config := testTLS()
	bubble(t, func(t *testing.T) {
		network := newMemoryNetwork()
		s := listenOwn(t, network, true, &http.Server{TLSConfig: config, Handler: http.HandlerFunc(answerOK)}, nil)
		o := call(secureClient(t, network), secureGet(t, ""))
		o.want(t, 200, "ok")
		for _, bytes := range []string{"", "\x16\x03\x01\x02\x00\x01"} {
			nc, err := network.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_, _ = nc.Write([]byte(bytes))
		}
		settle()
		began := time.Now()
		if err := s.own.Shutdown(t.Context()); err != nil {
			t.Errorf("got error %v", err)
		}
		within(t, "Shutdown", time.Since(began), 0, 2*time.Second)
	})
}

// TestListenSilent has peers that do not finish a TLS handshake, or say nothing behind
// it: the connection ends when the time is over that the configuration allows.
func TestListenSilent(t *testing.T) {
	t.Parallel()
	config := testTLS()
	for _, c := range []struct {
		name       string
		configure  func(*http.Server, *h2.ServerConfig)
		want, most time.Duration
	}{
		{"default", func(*http.Server, *h2.ServerConfig) {}, firstRequest, firstRequest},
		{"FirstRequestTimeout", func(_ *http.Server, c *h2.ServerConfig) { c.FirstRequestTimeout = 3 * time.Second }, 3 * time.Second, 3 * time.Second},
		{"ReadHeaderTimeout", func(s *http.Server, _ *h2.ServerConfig) { s.ReadHeaderTimeout = 2 * time.Second }, 2 * time.Second, 2 * time.Second},
		{"ReadTimeout", func(s *http.Server, _ *h2.ServerConfig) { s.ReadTimeout = 2 * time.Second }, 2 * time.Second, 2 * time.Second},
		{"WriteTimeout", func(s *http.Server, _ *h2.ServerConfig) { s.WriteTimeout = 2 * time.Second }, 2 * time.Second, 2 * time.Second},
		{"no limit", func(_ *http.Server, c *h2.ServerConfig) { c.FirstRequestTimeout = -1 }, time.Hour, time.Hour},
	} {
		for _, bytes := range []string{"", "\x16\x03\x01\x02\x00\x01"} {
			t.Run(c.name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					network := newMemoryNetwork()
					var states lineList
					server := &http.Server{TLSConfig: config, Handler: http.HandlerFunc(answerOK)}
					server.ConnState = func(_ net.Conn, state http.ConnState) { states.add("%v", state) }
					own := new(h2.ServerConfig)
					c.configure(server, own)
					s := listenOwn(t, network, true, server, own)
					nc, err := network.dial()
					if err != nil {
						t.Fatal(err)
					}
					defer nc.Close()
					_, _ = nc.Write([]byte(bytes))
					began := time.Now()
					time.AfterFunc(time.Hour, func() { _ = s.own.Close() })
					_, _ = io.Copy(io.Discard, nc)
					within(t, "the time until the end", time.Since(began), c.want, c.most)
					settle()
					if got := states.all(); !slices.Equal(got, []string{"new", "closed"}) {
						t.Errorf("got states %q, want new and closed", got)
					}
				})
			})
		}
	}
}

// TestListenSilentSocket has a peer that sends nothing over a socket.
func TestListenSilentSocket(t *testing.T) {
	t.Parallel()
	l := loopback(t)
	listenOwn(t, l, false, &http.Server{Handler: http.HandlerFunc(answerOK)}, &h2.ServerConfig{FirstRequestTimeout: 50 * time.Millisecond})
	for _, bytes := range []string{"", http2.ClientPreface[:15], http2.ClientPreface} {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(socketPatience))
		_, _ = io.WriteString(nc, bytes)
		wantServerCloses(t, nc)
	}
}

// A failingListener fails to accept at times.
type failingListener struct {
	*memoryNetwork
	errs chan error
}

func (l failingListener) Accept() (net.Conn, error) {
	select {
	case err := <-l.errs:
		return nil, err
	default:
		return l.memoryNetwork.Accept()
	}
}

type temporaryError struct{ error }

func (temporaryError) Temporary() bool { return true }

// TestListenAcceptFails has a listener fail ten times, after which it works, and then for
// good.
func TestListenAcceptFails(t *testing.T) {
	t.Parallel()
	config := testTLS()
	bubble(t, func(t *testing.T) {
		network := newMemoryNetwork()
		l := failingListener{network, make(chan error, 12)}
		for range 10 {
			l.errs <- temporaryError{errors.New("too many open files")}
		}
		logged := make(lines, 12)
		server := &http.Server{TLSConfig: config, Handler: http.HandlerFunc(answerOK), ErrorLog: log.New(logged, "", 0)}
		own, err := h2.NewServer(server, nil)
		if err != nil {
			t.Fatal(err)
		}
		result := make(chan error, 1)
		began := time.Now()
		go func() { result <- own.ServeTLS(l, "", "") }()
		o := call(secureClient(t, network), secureGet(t, ""))
		o.want(t, 200, "ok")
		within(t, "ten pauses", time.Since(began), 3*time.Second, 4*time.Second)
		if n, first := len(logged), <-logged; n != 10 || !strings.Contains(first, "h2: accepting: too many open files; trying again in 5ms") {
			t.Errorf("got %d logs, the first is %q, want 10 with the cause", n, first)
		}
		broken := errors.New("broken")
		l.errs <- broken
		o = call(secureClient(t, network), secureGet(t, "")) // ends the Accept before
		o.want(t, 200, "ok")
		if err := <-result; err != broken {
			t.Errorf("got %v from Serve, want the listener's error", err)
		}
		if _, err := network.dial(); err == nil {
			t.Error("got a connection, want a closed listener")
		}
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestListenMistakes has a program make mistakes.
func TestListenMistakes(t *testing.T) {
	t.Parallel()
	one := new(http.Protocols)
	one.SetHTTP1(true)
	for want, server := range map[string]*http.Server{
		"h2: NewServer: nil server": nil,
		"h2: NewServer: the server's Protocols have no HTTP/2: set HTTP2 for TLS, UnencryptedHTTP2 for cleartext, or leave Protocols nil": {Protocols: one},
	} {
		if _, err := h2.NewServer(server, nil); err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
	own, err := h2.NewServer(new(http.Server), nil)
	if err != nil {
		t.Fatal(err)
	}
	l := loopback(t)
	if err := own.ServeTLS(l, "absent.pem", "absent.key"); err == nil || !strings.HasPrefix(err.Error(), `h2: ServeTLS: reading the certificate "absent.pem" and its key "absent.key": `) {
		t.Errorf("got %v, want an error that names the files", err)
	}
	if err := own.Close(); err != nil {
		t.Error(err)
	}
	if err := own.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("got %v from Serve after Close, want http.ErrServerClosed", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v from the listener, want that Serve has closed it", err)
	}
	for _, serve := range []func() error{own.ListenAndServe, func() error { return own.ListenAndServeTLS("", "") }} {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("got %v after Close, want http.ErrServerClosed", err)
		}
	}
	closed := &http.Server{}
	if own, err = h2.NewServer(closed, nil); err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	if err := own.Serve(loopback(t)); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("got %v from Serve of an http.Server that was closed, want http.ErrServerClosed", err)
	}
}

// TestListenHookPanics has ConnState panic on the goroutine of a connection: that ends
// the connection, and no other.
func TestListenHookPanics(t *testing.T) {
	t.Parallel()
	var bad atomic.Bool
	logged := make(lines, 1)
	closed := make(chan struct{}, 2)
	s := serveOwn(t, false, &http.Server{
		Handler:  http.HandlerFunc(answerOK),
		ErrorLog: log.New(logged, "", 0),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				closed <- struct{}{}
			} else if state == http.StateActive && bad.CompareAndSwap(true, false) {
				panic("of the hook")
			}
		},
	})
	good := clientOf(t, false, true)
	get := func(client *http.Client) error {
		res, err := client.Get("http://" + s.addr)
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	}
	if err := get(good); err != nil {
		t.Fatal(err)
	}
	bad.Store(true)
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = io.WriteString(nc, http2.ClientPreface)
	wantServerCloses(t, nc)
	if got := receive(t, "a log", logged); !strings.Contains(got, "h2: panic serving 127.0.0.1:") || !strings.Contains(got, "of the hook") {
		t.Errorf("got the log %q, want the panic", got)
	}
	receive(t, "the connection's end", closed)
	if err := get(good); err != nil {
		t.Errorf("got %v on the other connection", err)
	}
}

// TestListenSwitchedOff turns HTTP/2 off as an operator does.
func TestListenSwitchedOff(t *testing.T) {
	t.Setenv("GODEBUG", "http2server=0")
	s := serveOwn(t, false, &http.Server{Handler: http.HandlerFunc(sayProto)})
	res, err := clientOf(t, false, false).Get("http://" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if string(body) != "HTTP/1.1 " {
		t.Errorf("got %q, want HTTP/1.1", body)
	}
	if err := s.own.Shutdown(t.Context()); err != nil {
		t.Errorf("got %v from Shutdown", err)
	}
}

// TestListenSoak has peers of all kinds at once: calls that end well, are cancelled or
// lose their connection, peers that are silent or send garbage, and HTTP/1.1. Then the
// Server shuts down. Each connection was reported new and closed once; TestMain finds
// goroutines that are left.
func TestListenSoak(t *testing.T) {
	t.Parallel()
	overSockets(t, func(t *testing.T, how way) {
		if !how.own {
			return
		}
		secure := how.secure
		var mu sync.Mutex
		states := make(map[net.Conn][]http.ConnState)
		open, changed := 0, make(chan struct{}, 1)
		l := loopback(t)
		s := listenOwn(t, l, secure, &http.Server{
			ConnState: func(nc net.Conn, state http.ConnState) {
				mu.Lock()
				defer mu.Unlock()
				states[nc] = append(states[nc], state)
				switch state {
				case http.StateNew:
					open++
				case http.StateClosed:
					open--
				}
				select {
				case changed <- struct{}{}:
				default:
				}
			},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/wait" {
					<-r.Context().Done()
					return
				}
				answerOK(w, r)
			}),
		}, nil)
		var peers sync.WaitGroup
		for i := range 60 {
			peers.Go(func() {
				r := rand.New(rand.NewPCG(1, uint64(i)))
				client := clientOf(t, secure, i%3 != 0)
				for range 5 {
					soakListen(t, s.addr, secure, client, r)
				}
				client.CloseIdleConnections()
			})
		}
		peers.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), socketPatience)
		defer cancel()
		if err := s.own.Shutdown(ctx); err != nil {
			t.Fatalf("got %v from Shutdown", err)
		}
		// net/http reports the end of its connections later.
		for {
			mu.Lock()
			n := open
			mu.Unlock()
			if n <= 0 {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatalf("got %d connections that were not closed", n)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(states) < 100 {
			t.Errorf("got %d connections, want many", len(states))
		}
		for nc, got := range states {
			if got[0] != http.StateNew || slices.Index(got, http.StateClosed) != len(got)-1 || slices.Contains(got[1:], http.StateNew) {
				t.Errorf("got states %v of a %T, want new first and once, and closed last and once", got, nc)
			}
		}
	})
}

// soakListen does one thing to a server.
func soakListen(t *testing.T, addr string, secure bool, client *http.Client, r *rand.Rand) {
	switch kind := r.IntN(5); kind {
	case 0, 1:
		res, err := client.Get(urlOf(secure, addr))
		if err != nil {
			t.Errorf("a call: %v", err)
			return
		}
		_ = res.Body.Close()
	case 2: // cancelled
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(5))*time.Millisecond)
		defer cancel()
		q, _ := http.NewRequestWithContext(ctx, http.MethodGet, urlOf(secure, addr)+"/wait", nil)
		if res, err := client.Do(q); err == nil {
			_ = res.Body.Close()
			t.Error("got a response, want the context's end")
		}
	default: // killed: silent, with garbage, or after a preface
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Errorf("dialing: %v", err)
			return
		}
		if secure && kind == 4 {
			nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		}
		_, _ = io.WriteString(nc, []string{"", "\x16\x03\x01", "GET ", http2.ClientPreface}[r.IntN(4)])
		_ = nc.Close()
	}
}
