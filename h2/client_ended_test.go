// SPDX-License-Identifier: Apache-2.0

// http.Client's Timeout, and the older way to end a request.

package h2_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
)

// TestClientTimeout has the Timeout of an http.Client pass at each moment of a call. All
// errors say that it was the client's Timeout.
func TestClientTimeout(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(w, "begun")
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}
	// With an http.Transport and cleartext http.Client has no channel, and compares the
	// time with its deadline: in a bubble they are the same.
	for _, start := range []func(testing.TB, http.HandlerFunc) *memoryNetwork{
		startStandard, func(t testing.TB, h http.HandlerFunc) *memoryNetwork { return startServer(t, h).network },
	} {
		bubble(t, func(t *testing.T) {
			client := &http.Client{Transport: newClient(t, start(t, handler), nil), Timeout: time.Second}
			for range 100 {
				_, err := client.Get(serverURL + "/head")
				wantClientTimeout(t, err)
				res, err := client.Get(serverURL + "/body")
				if err != nil {
					t.Fatal(err)
				}
				_, err = io.ReadAll(res.Body)
				wantClientTimeout(t, err)
				_ = res.Body.Close()
			}
		})
	}
}

func wantClientTimeout(t *testing.T, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "Client.Timeout") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want a deadline that says Client.Timeout", err)
	}
}

// TestClientTimeoutPlace has the Timeout pass while calls wait for a connection and for
// a place.
func TestClientTimeoutPlace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, transport := newFake(t, nil)
		client := &http.Client{Transport: transport, Timeout: 100 * time.Millisecond}
		for range 100 { // while the first dial goes on
			_, err := client.Get(serverURL)
			wantClientTimeout(t, err)
		}
	})
}

// TestOwnCancel has a context and a channel of the user's own: the one that ends first
// ends the call, soon.
func TestOwnCancel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		r := get(timeout(t, time.Second))
		//lint:ignore SA1019 what net/http promises holds for what is deprecated, too
		r.Cancel = make(chan struct{})
		start := time.Now()
		done := begin(client, r)
		p := s.accept()
		p.request()
		receive(t, "an error", done).wantError(t, context.DeadlineExceeded)
		within(t, "a deadline beside a channel", time.Since(start), time.Second, 1200*time.Millisecond)
	})
}

// A closingConn notes when it is closed.
type closingConn struct {
	net.Conn
	closed *atomic.Int32
}

func (c *closingConn) Close() error {
	err := c.Conn.Close()
	c.closed.Add(1)
	return err
}

// TestIdleClosed closes idle connections: when that returns they are closed, over TLS,
// too, which sends an alert before.
func TestIdleClosed(t *testing.T) {
	s, trust := startTLS(t, true, true)
	var closed atomic.Int32
	own := h2.NewTransport(&h2.TransportConfig{TLSClientConfig: trust, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, address)
		return &closingConn{nc, &closed}, err
	}})
	defer own.Close()
	for n := range int32(20) {
		post(t, own, s.URL).want(t, 200, "HTTP/2.0 hello")
		own.CloseIdleConnections()
		if got := closed.Load(); got != n+1 {
			t.Fatalf("got %d connections that are closed, want %d", got, n+1)
		}
	}
}
