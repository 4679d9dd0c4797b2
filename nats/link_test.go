// SPDX-License-Identifier: Apache-2.0

// What the users of one connection share, at the moments when they begin and end.

package natsrpc

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
)

// quiet is a NATS server that takes all and delivers nothing. It denies subscriptions for
// which denies, which may be nil, returns true.
type quiet struct{ denies func(subject string) bool }

func (q quiet) InProcessConn() (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer func() { _ = server.Close() }()
		if _, err := io.WriteString(server, `INFO {"server_id":"quiet","version":"2.12.0","proto":1,"headers":true,"max_payload":1048576}`+"\r\n"); err != nil {
			return
		}
		for r := bufio.NewReader(server); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			words := strings.Fields(line)
			switch words[0] {
			case "PING":
				_, err = io.WriteString(server, "PONG\r\n")
			case "SUB":
				if q.denies != nil && q.denies(words[1]) {
					_, err = fmt.Fprintf(server, "-ERR 'Permissions Violation for Subscription to %q'\r\n", words[1])
				}
			case "PUB", "HPUB":
				n, _ := strconv.Atoi(words[len(words)-1])
				_, err = r.Discard(n + 2)
			}
			if err != nil {
				return
			}
		}
	}()
	return client, nil
}

// connectQuiet connects to a quiet server until the test ends.
func connectQuiet(t *testing.T, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("", append([]nats.Option{nats.InProcessServer(quiet{})}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// A user has the connection's error handler for as long as it uses it, also if another user
// ends at the moment when it begins.
func TestLinkHandler(t *testing.T) {
	called := 0
	nc := connectQuiet(t, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) { called++ }))
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for range 5000 {
				l, err := acquire(nc, time.Hour)
				if err != nil {
					t.Error(err)
					return
				}
				if got, want := reflect.ValueOf(nc.ErrorHandler()).Pointer(), reflect.ValueOf(l.handler).Pointer(); got != want {
					t.Error("got another error handler, want the link's")
				}
				l.release()
			}
		})
	}
	users.Wait()
	nc.ErrorHandler()(nc, nil, nil)
	if called != 1 {
		t.Errorf("got %d calls of the program's own handler, want 1", called)
	}
	if len(links.of) != 0 {
		t.Errorf("got %d links, want none", len(links.of))
	}
}

// counted is a body that waits until it is closed, and counts how often that is.
type counted struct {
	closes atomic.Int32
	closed chan struct{}
}

func (c *counted) Read([]byte) (int, error) {
	<-c.closed
	return 0, io.ErrClosedPipe
}

func (c *counted) Close() error {
	if c.closes.Add(1) == 1 {
		close(c.closed)
	}
	return nil
}

// A call that Close has not seen, because it was only about to begin, ends with the
// transport. The request's body is closed once, which http.Request does not ask for, but
// which is what callers expect.
func TestCallBeginsAtClose(t *testing.T) {
	nc := connectQuiet(t)
	other := NewTransport(nc) // keeps the link
	if _, err := other.open(); err != nil {
		t.Fatal(err)
	}
	transport := NewTransport(nc)
	body := &counted{closed: make(chan struct{})}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "nats://rpc/a.S/M", body)
	if err != nil {
		t.Fatal(err)
	}
	st, open, err := transport.prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = transport.Close()
	if err := transport.begin(r, st, open); err != errLinkClosed {
		t.Errorf("got %v, want %v", err, errLinkClosed)
	}
	if n := len(st.l.all()); n != 0 {
		t.Errorf("got %d streams, want none", n)
	}
	st.upload.close()
	<-body.closed
	_ = other.Close()
	if n := body.closes.Load(); n != 1 {
		t.Errorf("got %d calls of Close of the body, want 1", n)
	}
}

// A call that comes while Close ends the others is refused, and not left to itself.
func TestOpenComesAtClose(t *testing.T) {
	nc := connectQuiet(t)
	other := NewTransport(nc) // keeps the link
	if _, err := other.open(); err != nil {
		t.Fatal(err)
	}
	s, err := Serve(nc, http.NotFoundHandler(), Services("a.S"))
	if err != nil {
		t.Fatal(err)
	}
	open := func(reply string) (*stream, error) {
		st, _, err := s.begin(&nats.Msg{
			Subject: "rpc.a.S.M", Reply: reply, Data: appendFrame(nil, frame{kind: frameOpen}),
			Header: nats.Header{fieldVersion: {version}, fieldMethod: {http.MethodPost}, fieldHost: {"rpc"}, fieldWindow: {strconv.Itoa(openMax)}},
		})
		return st, err
	}
	first, err := open("_INBOX.a.1")
	if err != nil {
		t.Fatal(err)
	}
	var late error
	first.cancel = func(error) { _, late = open("_INBOX.a.2") }
	_ = s.Close()
	if connect.CodeOf(late) != connect.CodeUnavailable {
		t.Errorf("got %v for a call at that moment, want unavailable", late)
	}
	if n := len(other.link.all()); n != 0 {
		t.Errorf("got %d streams, want none", n)
	}
	_ = other.Close()
}

// Serve fails if a subscription is denied, and succeeds once that is allowed: the error that
// the connection still has is older.
func TestDeniedBefore(t *testing.T) {
	var allowed atomic.Bool
	nc := connectQuiet(t, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.InProcessServer(quiet{func(subject string) bool { return subject == "rpc.a.S.*" && !allowed.Load() }}))
	for range 2 {
		if _, err := Serve(nc, http.NotFoundHandler(), Services("a.S")); connect.CodeOf(err) != connect.CodePermissionDenied {
			t.Fatalf("got error %v, want permission_denied", err)
		}
	}
	allowed.Store(true)
	s, err := Serve(nc, http.NotFoundHandler(), Services("a.S"))
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}

// Servers that begin at the same time learn each of its own denial.
func TestDeniedTogether(t *testing.T) {
	nc := connectQuiet(t, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.InProcessServer(quiet{func(subject string) bool { return strings.HasPrefix(subject, "rpc.") }}))
	var servers sync.WaitGroup
	for i := range 20 {
		servers.Go(func() {
			if _, err := Serve(nc, http.NotFoundHandler(), Services(fmt.Sprintf("a.S%d", i))); connect.CodeOf(err) != connect.CodePermissionDenied {
				t.Errorf("got error %v, want permission_denied", err)
			}
		})
	}
	servers.Wait()
}

// A closed connection never comes back, and the error says so.
func TestClosedConnection(t *testing.T) {
	nc := connectQuiet(t)
	transport := NewTransport(nc)
	nc.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "nats://rpc/a.S/M", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transport.RoundTrip(r); connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "closed: make another one") {
		t.Errorf("got error %v, want unavailable, for good", err)
	}
}
