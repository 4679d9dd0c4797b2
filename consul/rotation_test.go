// SPDX-License-Identifier: Apache-2.0

// Certificates that change: rotation of the authority, new leaves, expiry.

package consul_test

import (
	"context"
	"crypto/tls"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/consul"
)

// TestRotation rotates the authority again and again while calls run, some on old connections,
// some on new ones: none fails.
func TestRotation(t *testing.T) {
	a := newAgent(t)
	ping := newService(t, a, "ping")
	serve(t, a, ping, handlers(nil))
	web := newService(t, a, "web")
	ctx, cancel := context.WithCancel(within(t))
	var calls atomic.Int64
	var callers sync.WaitGroup
	for path := range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				if got, err := call(within(t), web.HTTPClient(), pingURL, paths[path]); err != nil || got != "web" {
					t.Errorf("got %q, %v under rotation, want the caller web", got, err)
					return
				}
				calls.Add(1)
			}
		})
	}
	callers.Go(func() { // new connections
		for ctx.Err() == nil {
			c, err := web.Dial(within(t), &consul.ConsulResolver{Client: a.Client(""), Name: "ping"})
			if err != nil {
				t.Errorf("got %v under rotation, want a connection", err)
				return
			}
			_ = c.Close()
			calls.Add(1)
		}
	})
	for n := range 4 {
		if err := a.RotateCA(); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*consul.Service{ping, web} {
			await(t, "the rotation", func() bool { st := s.Status(); return st.Roots == n+2 && st.Changes == n+2 })
		}
		seen := calls.Load()
		await(t, "calls", func() bool { return calls.Load() > seen+20 || t.Failed() })
	}
	cancel()
	callers.Wait()

	// The whole chain is sent: the root's cross-signed certificate, too.
	pair, err := ping.ServerTLSConfig().GetCertificate(nil)
	if err != nil || len(pair.Certificate) != 2 {
		t.Errorf("got %v, %v, want a chain of 2 certificates", pair, err)
	}
	// The old roots go, and leaves of the active one stay good, over an old connection, too.
	a.RetireRoots()
	for _, s := range []*consul.Service{ping, web} {
		await(t, "the end of the old roots", func() bool { return s.Status().Roots == 1 })
	}
	if _, err := call(within(t), web.HTTPClient(), pingURL, pathUnary); err != nil {
		t.Error(err)
	}
	if _, err := web.Dial(within(t), &consul.ConsulResolver{Client: a.Client(""), Name: "ping"}); err != nil {
		t.Error(err)
	}
}

// TestExpiry has an agent that gives certificates of two seconds, and then none: a service is
// ready until the last has expired, and again when the agent works.
func TestExpiry(t *testing.T) {
	a := newAgent(t)
	a.SetLeafLife(3 * time.Second)
	var most atomic.Int64
	s := newService(t, a, "web", func(c *consul.Config) {
		c.Observe = func(s consul.Status) { most.Store(int64(s.Changes)) }
	})
	st := s.Status()
	if st.Identity.Service != "web" || st.Identity.Datacenter != "dc1" || st.Identity.TrustDomain != a.TrustDomain() || st.Roots != 1 || st.Expires.Before(st.NotBefore) {
		t.Errorf("got the status %+v, want that of web", st)
	}
	a.SetLeafLife(-time.Hour) // the agent has only expired ones from now on
	await(t, "the error", func() bool { return s.Status().LeafError != nil })
	wantText(t, "expired", s.Status().LeafError, "expired at", "see whether the agent reaches its servers")
	await(t, "the expiry", func() bool { return !s.Ready() })
	_, err := s.ServerTLSConfig().GetCertificate(nil)
	wantText(t, "handshake", err, `the certificate of service "web" expired at`, "see whether the agent")
	_, err = s.Dial(within(t), &consul.StaticResolver{Addr: "127.0.0.1:1", CertURI: a.ServiceURI("ping")})
	wantText(t, "dial", err, "expired at")
	a.SetLeafLife(0)
	await(t, "a new certificate", s.Ready)
	await(t, "a call of Observe with the second certificate", func() bool { return most.Load() >= 2 })
}

// TestNotResumed makes two connections with one cache of sessions: each has a handshake of its
// own, and a certificate that is checked.
func TestNotResumed(t *testing.T) {
	a := newAgent(t)
	ping, web := newService(t, a, "ping"), newService(t, a, "web")
	l := serve(t, a, ping, handlers(nil))
	pair, err := web.ServerTLSConfig().GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*pair}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for range 2 {
		c, err := tls.Dial("tcp", l.Addr().String(), config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); err != nil {
			t.Error(err)
		}
		answer := make([]byte, 12)
		if _, err := c.Read(answer); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 404") {
			t.Errorf("got %q, %v, want 404 from the handler", answer, err)
		}
		if c.ConnectionState().DidResume {
			t.Error("got a resumed session, want none")
		}
		_ = c.Close()
	}
}
