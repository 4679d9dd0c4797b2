// SPDX-License-Identifier: Apache-2.0

// Instances that are registered again, and the end of several instances and servers.

package consul_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/consul"
	"github.com/seed-b7c59c10/connect/health"
)

// freeAddress returns an address on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// statusAt returns what an instance's check gets, "" if nothing listens.
func statusAt(t *testing.T, address string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(within(t), http.MethodGet, "http://"+address+"/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return string(text)
}

// TestRegisterAgain registers an instance several times, as programs do to change its tags: the
// last registration holds, and its check is the only one that is served.
func TestRegisterAgain(t *testing.T) {
	a := newAgent(t)
	s := newService(t, a, "ping")
	first, second := freeAddress(t), freeAddress(t)
	down := health.New()
	down.Set("", health.StatusNotServing)
	register := func(r consul.Registration) error {
		r.ID, r.Port, r.HealthHTTP, r.Interval = "ping-1", 1, true, 20*time.Millisecond
		return s.Register(within(t), r)
	}
	for i, r := range []consul.Registration{{HealthAddress: first}, {HealthAddress: first, Tags: []string{"v2"}}, {HealthAddress: first, Health: down}} {
		if err := register(r); err != nil {
			t.Fatalf("registration %d: %v", i, err)
		}
		want := map[bool]string{true: "SERVING\n", false: "NOT_SERVING\n"}[r.Health == nil]
		if got := statusAt(t, first); got != want {
			t.Errorf("registration %d: got the status %q, want %q", i, got, want)
		}
	}
	// One that the agent refuses changes nothing.
	a.Intercept(replaced("/v1/agent/service/register", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no leader", 500) }))
	for _, address := range []string{first, second} {
		wantText(t, "refused", register(consul.Registration{HealthAddress: address}), "no leader")
	}
	if got := statusAt(t, first); got != "NOT_SERVING\n" {
		t.Errorf("got the status %q after a registration that was refused, want that before it", got)
	}
	if got := statusAt(t, second); got != "" {
		t.Errorf("got the status %q of a registration that was refused, want no server", got)
	}
	a.Intercept(nil)
	if err := register(consul.Registration{HealthAddress: second}); err != nil {
		t.Fatal(err)
	}
	if got := statusAt(t, first); got != "" {
		t.Errorf("got the status %q at the address before, want no server", got)
	}
	await(t, "the check", func() bool { return a.Health("ping-1") == "passing" })
	if err := s.Close(); err != nil || a.Instances("ping") != 0 {
		t.Errorf("got %v and %d instances after Close, want none", err, a.Instances("ping"))
	}
	if got := statusAt(t, second); got != "" {
		t.Errorf("got the status %q after Close, want no server", got)
	}
}

// TestCloseOfMany closes a service with several instances while the agent does not answer: it is
// asked about all of them at once.
func TestCloseOfMany(t *testing.T) {
	a := newAgent(t)
	s := newService(t, a, "ping")
	const many = 3
	for i := range many {
		if err := s.Register(within(t), consul.Registration{ID: fmt.Sprint(i), Port: 1}); err != nil {
			t.Fatal(err)
		}
	}
	asked, release := make(chan struct{}, many), make(chan struct{})
	a.Intercept(func(next http.Handler) http.Handler {
		return replaced("/v1/agent/service/deregister/", func(w http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			<-release
			next.ServeHTTP(w, r)
		})(next)
	})
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	for i := range many {
		select {
		case <-asked:
		case err := <-closed:
			t.Fatalf("got %v from Close after %d questions, want %d", err, i, many)
		}
	}
	close(release)
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// TestCloseOfServers closes a service with two servers that have a call each: both listeners
// are closed before a call has ended.
func TestCloseOfServers(t *testing.T) {
	a := newAgent(t)
	ping, web := newService(t, a, "ping"), newService(t, a, "web")
	entered, release := make(chan struct{}, 2), make(chan struct{})
	answers := make(chan error, 2)
	var listeners []net.Listener
	for range 2 {
		l := serve(t, a, ping, handlers(func(context.Context) error {
			entered <- struct{}{}
			<-release
			return nil
		}))
		listeners = append(listeners, l)
		h := &http.Transport{Protocols: onlyHTTP1(), DialTLSContext: dialer(web, l.Addr().String(), a.ServiceURI("ping"))}
		defer h.CloseIdleConnections()
		go func() {
			_, err := call(within(t), &http.Client{Transport: h}, pingURL, pathUnary)
			answers <- err
		}()
		<-entered
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = ping.Close()
	}()
	for _, l := range listeners {
		await(t, "the end of a listener", func() bool {
			c, err := net.Dial("tcp", l.Addr().String())
			if err == nil {
				_ = c.Close()
			}
			return err != nil
		})
	}
	close(release)
	for range 2 {
		if err := <-answers; err != nil {
			t.Errorf("got %v from a call that was in its handler, want an answer", err)
		}
	}
	<-closed
}

// TestRegisterUnanswered registers an instance, and the context ends before the agent answers,
// which has registered it: Close deregisters it.
func TestRegisterUnanswered(t *testing.T) {
	a := newAgent(t)
	s := newService(t, a, "ping")
	ctx, cancel := context.WithCancel(within(t))
	done := make(chan struct{})
	a.Intercept(func(next http.Handler) http.Handler {
		return replaced("/v1/agent/service/register", func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(httptest.NewRecorder(), r)
			cancel()
			<-done
		})(next)
	})
	if err := s.Register(ctx, consul.Registration{Port: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	close(done)
	if got := a.Instances("ping"); got != 1 {
		t.Fatalf("got %d instances, want that the agent has it", got)
	}
	if err := s.Close(); err != nil || a.Instances("ping") != 0 {
		t.Errorf("got %v and %d instances after Close, want none", err, a.Instances("ping"))
	}
}
