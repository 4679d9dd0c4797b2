// SPDX-License-Identifier: Apache-2.0

// Peers, connections and NATS servers that go away while calls are open.

package natstest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
	"github.com/seed-b7c59c10/connect/retry"
)

// quick lets a test find silent peers soon. A peer that works may be silent on a busy
// machine, too: only tests whose peer is gone use it.
var quick = natsrpc.KeepAlive(20 * time.Millisecond)

// A server that says nothing, at all or any more, ends the call.
func TestSilentServer(t *testing.T) {
	acceptance := message{data: pack(accept, 0, count(256<<10))}
	for name, messages := range map[string][]message{
		"at all":         nil,
		"after ACCEPT":   {acceptance},
		"after the HEAD": {acceptance, {pack(head, 1, "some"), okHead}},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, nil)
			got := rawServer(t, dial(t, s), messages...)
			_, err := fetch(t, natsrpc.NewTransport(dial(t, s), quick))
			wantError(t, "call", err, connect.CodeUnavailable, "the peer is silent")
			if messages == nil {
				return
			}
			for pings := 0; pings < 2; {
				switch m := <-got; m.Data[0] {
				case ping:
					pings++
				case reset:
					t.Fatalf("got a RESET after %d pings, want 2 before it", pings)
				}
			}
			if m := <-got; m.Data[0] != reset {
				t.Errorf("got % x, want a RESET after the pings", m.Data)
			}
		})
	}
}

// A client that says nothing any more ends its handler's context.
func TestSilentClient(t *testing.T) {
	s := startServer(t, nil)
	causes := make(chan error)
	serve(t, dial(t, s), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		causes <- context.Cause(r.Context())
	}), natsrpc.Services("a.B"), quick)
	c := newRawClient(t, dial(t, s))
	c.send("rpc.a.B.M", pack(open|end, 0, ""), openHeader)
	wantError(t, "handler", <-causes, connect.CodeUnavailable, "the peer is silent")
}

// Pings keep a call alive in which nothing else happens.
func TestPings(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	watcher := dial(t, s)
	pongs := make(chan struct{}, 100)
	subscribe(t, watcher, ">", func(m *nats.Msg) {
		if len(m.Data) > 0 && m.Data[0] == pong {
			pongs <- struct{}{}
		}
	})
	flush(t, watcher)
	serve(t, dial(t, s), new(service).handler())
	client := conntestv1connect.NewTestServiceClient(natsrpc.NewClient(dial(t, s), natsrpc.KeepAlive(time.Second)), base)
	stream := client.Bidi(testContext(t))
	echo(t, stream)
	for range 2 {
		<-pongs
	}
	echo(t, stream)
	_ = stream.CloseRequest()
	_ = stream.CloseResponse()
}

func echo(t *testing.T, stream *connect.BidiStreamForClient[conntestv1.Request, conntestv1.Response]) {
	t.Helper()
	if err := stream.Send(&conntestv1.Request{Text: "a"}); err != nil {
		t.Fatal(err)
	}
	if got, err := stream.Receive(); err != nil || got.Text != "a" {
		t.Fatalf("got %v and error %v, want an echo", got, err)
	}
}

// A server that vanishes mid-stream: its connection is closed, and nobody says goodbye.
func TestServerVanishes(t *testing.T) {
	for protocol, options := range protocols {
		t.Run(protocol, func(t *testing.T) {
			s := startServer(t, nil)
			own := dial(t, s)
			serve(t, own, new(service).handler())
			nc := dial(t, s)
			sends := newClient(nc, options...).Bidi(testContext(t))
			waits := conntestv1connect.NewTestServiceClient(natsrpc.NewClient(nc, natsrpc.KeepAlive(100*time.Millisecond)), base, options...).Bidi(testContext(t))
			for _, stream := range []*connect.BidiStreamForClient[conntestv1.Request, conntestv1.Response]{sends, waits} {
				echo(t, stream)
			}
			own.Close()
			_, err := waits.Receive() // a ping finds out
			wantError(t, "stream that waits", err, connect.CodeUnavailable, "")
			for err = nil; err == nil; { // the next frame does
				err = sends.Send(&conntestv1.Request{Text: "a"})
			}
			_, err = sends.Receive()
			wantError(t, "stream that sends", err, connect.CodeUnavailable, "the peer is gone")
			_, _ = waits.CloseRequest(), waits.CloseResponse()
			_, _ = sends.CloseRequest(), sends.CloseResponse()
			wantError(t, "new call", kinds["unary"](testContext(t), newClient(nc, options...)), connect.CodeUnavailable, "no server listens")
		})
	}
}

// The connection of the client is lost, drained or closed: open calls end, and handlers'
// contexts.
func TestConnectionEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*nats.Conn)
		want string
	}{
		"lost":    {func(nc *nats.Conn) { _ = nc.ForceReconnect() }, "the connection to the NATS server is lost"},
		"drained": {func(nc *nats.Conn) { _ = nc.Drain() }, "connection"},
		"closed":  {func(nc *nats.Conn) { nc.Close() }, "connection"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, nil)
			service, begun, ended := hung()
			serve(t, dial(t, s), service.handler(), quick)
			nc := dial(t, s)
			failed := make(chan error, len(kinds))
			for _, call := range kinds {
				go func() { failed <- call(testContext(t), newClient(nc)) }()
				<-begun
			}
			test.end(nc)
			for range kinds {
				wantError(t, "call", <-failed, connect.CodeUnavailable, test.want)
				<-ended
			}
		})
	}
}

// A restart of the NATS server: calls in flight fail, calls begun afterwards succeed, and
// package retry bridges it.
func TestRestart(t *testing.T) {
	s := startServer(t, nil)
	port := s.Addr().String()
	service, begun, ended := hung()
	own, nc := dial(t, s), dial(t, s)
	serve(t, own, service.handler())
	client := newClient(nc)
	failed := make(chan error, len(kinds))
	for _, call := range kinds {
		go func() { failed <- call(testContext(t), client) }()
		<-begun
	}
	down, up := nc.StatusChanged(nats.RECONNECTING), nc.StatusChanged(nats.CONNECTED)
	ownUp := own.StatusChanged(nats.CONNECTED)
	stopServer(s)
	<-down
	for range kinds {
		wantError(t, "call in flight", <-failed, connect.CodeUnavailable, "") // which side notices first is open
		<-ended
	}
	wantError(t, "call while the connection is down", kinds["unary"](testContext(t), client), connect.CodeUnavailable, "RECONNECTING")
	service.hook = nil
	policy := retry.New(retry.Attempts(5), retry.Backoff(200*time.Millisecond, time.Second, 2))
	retried := make(chan error)
	go func() {
		for { // a few attempts bridge a short time, and the machine may be slow
			_, err := newClient(nc, connect.WithInterceptors(policy)).Get(testContext(t), connect.NewRequest(&conntestv1.Request{}))
			if err == nil || connect.CodeOf(err) != connect.CodeUnavailable {
				retried <- err
				return
			}
		}
	}()
	startServer(t, func(o *server.Options) { _, _ = fmt.Sscanf(port[len("127.0.0.1:"):], "%d", &o.Port) })
	<-up
	<-ownUp
	if err := <-retried; err != nil {
		t.Errorf("got %v of a call with retries, want an answer", err)
	}
	flush(t, own) // its subscriptions are back
	for kind, call := range kinds {
		if err := call(testContext(t), client); err != nil {
			t.Errorf("%s: got %v after the restart, want an answer", kind, err)
		}
	}
}

// A server whose connection drains answers what it has taken.
func TestDrainConnection(t *testing.T) {
	s := startServer(t, nil)
	begun, release := make(chan struct{}), make(chan struct{})
	service := &service{hook: func(context.Context) error {
		begun <- struct{}{}
		<-release
		return nil
	}}
	own := dial(t, s)
	serve(t, own, service.handler())
	nc := dial(t, s)
	failed := make(chan error)
	go func() { failed <- kinds["unary"](testContext(t), newClient(nc)) }()
	<-begun
	draining := own.StatusChanged(nats.DRAINING_SUBS)
	go func() { _ = own.Drain() }()
	<-draining
	close(release)
	if err := <-failed; err != nil {
		t.Errorf("got %v, want an answer", err)
	}
}

// A server that never reads stops its client within the window, and room that it makes lets
// as many bytes through.
func TestServerNeverReads(t *testing.T) {
	const room = 64 << 10
	s := startServer(t, nil)
	own := dial(t, s)
	got, clients := make(chan *nats.Msg, 10_000), make(chan string, 1)
	inbox := own.NewInbox()
	subscribe(t, own, inbox, func(m *nats.Msg) { got <- m })
	send := func(client string, data []byte) {
		_ = own.PublishMsg(&nats.Msg{Subject: client, Reply: inbox, Data: data})
	}
	subscribe(t, own, "rpc.a.B.M", func(m *nats.Msg) {
		send(m.Reply, pack(accept, 0, count(room)))
		clients <- m.Reply
	})
	flush(t, own)
	ctx, cancel := context.WithCancel(testContext(t))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/a.B/M", io.NopCloser(endless{}))
	if err != nil {
		t.Fatal(err)
	}
	transport := natsrpc.NewTransport(dial(t, s))
	failed := make(chan error)
	go func() {
		_, err := transport.RoundTrip(r)
		failed <- err
	}()
	client := <-clients
	sent := 0
	for seq, want := range []int{room, room + 1000} {
		for sent < want {
			m := <-got
			_, n := binary.Uvarint(m.Data[1:])
			sent += len(m.Data) - 1 - n
		}
		send(client, pack(ping, uint64(2*seq+1), ""))
		if m := <-got; m.Data[0] != pong || sent != want {
			t.Fatalf("got % x after %d bytes, want a PONG after %d", m.Data[:1], sent, want)
		}
		send(client, pack(window, uint64(2*seq+2), count(1000)))
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of the context", err)
	}
	for m := range got {
		if m.Data[0] == reset {
			return
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
