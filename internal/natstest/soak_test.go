// SPDX-License-Identifier: Apache-2.0

// The soak: a mix of calls of all kinds and protocols that end well, are cancelled, time
// out, read slowly or leave, and of events of JetStream, over connections that are lost again
// and again and servers that come and go.

package natstest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
)

var soakTime = flag.Duration("soak", 0, "how long TestSoak makes calls; 0: it makes a fixed number")

// The size of the soak.
const (
	soakCallers = 12
	soakCalls   = 25 // of each caller, unless a time is given
)

func TestSoak(t *testing.T) {
	broker := withJetStream(t)
	events := newSoakEvents(t, dial(t, broker))
	working, stopWork := context.WithCancel(t.Context())
	defer stopWork()
	k := &soak{t: t, trouble: make(chan struct{})}
	h := (&service{seen: k.count}).handler()
	keep := natsrpc.KeepAlive(time.Second)
	var servers, clients, publishers []*nats.Conn
	for range 3 {
		servers, clients, publishers = append(servers, dial(t, broker)), append(clients, dial(t, broker)), append(publishers, dial(t, broker))
	}
	lost := slices.Concat(servers[:2], clients, publishers) // now and then
	for _, own := range servers[:2] {                       // these stay, and their connections are lost
		serve(t, own, h, keep)
	}
	var callers, chaos, workers sync.WaitGroup
	for _, nc := range servers[:2] {
		workers.Go(func() { events.work(working, nc) })
	}
	over := make(chan struct{})
	chaos.Go(func() {
		r := rand.New(rand.NewPCG(1, 1))
		for {
			select {
			case <-over:
				return
			case <-k.trouble:
			}
			_ = lost[r.IntN(len(lost))].ForceReconnect()
		}
	})
	chaos.Go(func() { // this one comes and goes
		for {
			select {
			case <-over:
				return
			default:
			}
			server, err := natsrpc.Serve(servers[2], h, natsrpc.Services(conntestv1connect.TestServiceName), keep)
			if err != nil {
				t.Error(err)
				return
			}
			select {
			case <-over:
			case <-time.After(50 * time.Millisecond):
			}
			if err := server.Shutdown(testContext(t)); err != nil {
				t.Errorf("got %v, want a graceful end", err)
			}
		}
	})
	for i := range soakCallers {
		callers.Go(func() {
			transport := natsrpc.NewTransport(clients[i%len(clients)], keep)
			defer transport.Close()
			protocol := []string{"connect", "grpc", "grpcweb"}[i%3]
			client := conntestv1connect.NewTestServiceClient(httpClient(transport), base, append([]connect.ClientOption{connect.WithAcceptCompression("gzip", nil, nil)}, protocols[protocol]...)...)
			js, err := jetstream.New(publishers[i%len(publishers)])
			if err != nil {
				t.Error(err)
				return
			}
			r := rand.New(rand.NewPCG(uint64(i), 2))
			for n, end := 0, time.Now().Add(*soakTime); *soakTime == 0 && n < soakCalls || time.Now().Before(end); n++ {
				text := fmt.Sprint(i, "/", n)
				code := k.call(client, r, text)
				events.publish(js, text)
				if code == connect.CodeUnavailable {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					_ = clients[i%len(clients)].FlushWithContext(ctx) // until it is connected again, mostly
					cancel()
				}
			}
		})
	}
	callers.Wait()
	close(over)
	chaos.Wait()
	events.finish()
	stopWork()
	workers.Wait()
	t.Logf("%d calls were answered, %d ended early", k.answered.Load(), k.failed.Load())
	if k.answered.Load() == 0 || k.failed.Load() == 0 {
		t.Error("got calls of one outcome alone, want both")
	}
	for _, nc := range clients { // nothing is left of the transports
		if got := nc.NumSubscriptions(); got != 0 {
			t.Errorf("got %d subscriptions after all transports are closed, want none", got)
		}
	}
	for _, nc := range clients {
		untilServed(t, nc)
	}
}

type soak struct {
	t                *testing.T
	trouble          chan struct{} // has a value for every thirtieth call
	begun            atomic.Int64
	handled          sync.Map // by text: how often
	answered, failed atomic.Int64
}

func (k *soak) count(text string) {
	n, _ := k.handled.LoadOrStore(text, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

// call makes a call that goes on or ends early, in one of the ways in which calls do.
func (k *soak) call(client conntestv1connect.TestServiceClient, r *rand.Rand, text string) connect.Code {
	if k.begun.Add(1)%30 == 0 {
		k.trouble <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(k.t.Context(), patience)
	defer cancel()
	allowed := []connect.Code{connect.CodeUnavailable}
	switch r.IntN(4) {
	case 0: // at some point
		stop := time.AfterFunc(time.Duration(r.IntN(3000))*time.Microsecond, cancel)
		defer stop.Stop()
		allowed = append(allowed, connect.CodeCanceled)
	case 1:
		var late context.CancelFunc
		ctx, late = context.WithTimeout(ctx, time.Duration(r.IntN(5000))*time.Microsecond)
		defer late()
		allowed = append(allowed, connect.CodeDeadlineExceeded, connect.CodeCanceled)
	}
	size := []int{0, 10, 1000, 70_000, 200_000}[r.IntN(5)]
	var err error
	switch r.IntN(4) {
	case 0:
		err = k.unary(ctx, client, text, size)
	case 1:
		err = k.serverStream(ctx, client, r, size)
	case 2:
		err = k.clientStream(ctx, client, size)
	default:
		err = k.bidi(ctx, client, r, size)
	}
	switch {
	case err == nil:
		k.answered.Add(1)
		return 0
	case slices.Contains(allowed, connect.CodeOf(err)):
		k.failed.Add(1)
	default:
		k.t.Errorf("call %s: got %v, want an answer or one of %v", text, err, allowed)
	}
	return connect.CodeOf(err)
}

func (k *soak) unary(ctx context.Context, client conntestv1connect.TestServiceClient, text string, size int) error {
	response, err := client.Unary(ctx, connect.NewRequest(&conntestv1.Request{Text: text, Data: make([]byte, size)}))
	if err != nil {
		return err
	}
	if response.Msg.Text != text || len(response.Msg.Data) != size {
		k.t.Errorf("call %s: got another answer", text)
	}
	if n, _ := k.handled.Load(text); n == nil || n.(*atomic.Int64).Load() != 1 {
		k.t.Errorf("call %s: got another number of handlers, want 1", text)
	}
	return nil
}

func (k *soak) serverStream(ctx context.Context, client conntestv1connect.TestServiceClient, r *rand.Rand, size int) error {
	stream, err := client.ServerStream(ctx, connect.NewRequest(&conntestv1.Request{Count: 8, Size: int32(size)}))
	if err != nil {
		return err
	}
	defer stream.Close()
	leave := r.IntN(12)
	n := 0
	for ; stream.Receive(); n++ {
		if n == leave {
			return nil // without reading the rest
		}
	}
	if err := stream.Err(); err != nil {
		return err
	}
	if n != 8 {
		k.t.Errorf("got %d messages and no error, want 8", n)
	}
	return nil
}

func (k *soak) clientStream(ctx context.Context, client conntestv1connect.TestServiceClient, size int) error {
	stream := client.ClientStream(ctx)
	for range 10 {
		if stream.Send(&conntestv1.Request{Data: make([]byte, size)}) != nil {
			break
		}
	}
	response, err := stream.CloseAndReceive()
	if err == nil && response.Msg.Count != 10 {
		k.t.Errorf("got %d messages at the server and no error, want 10", response.Msg.Count)
	}
	return err
}

func (k *soak) bidi(ctx context.Context, client conntestv1connect.TestServiceClient, r *rand.Rand, size int) error {
	stream := client.Bidi(ctx)
	var sending sync.WaitGroup
	defer sending.Wait()
	defer stream.CloseResponse()
	sending.Go(func() {
		for range 10 {
			if stream.Send(&conntestv1.Request{Data: make([]byte, size)}) != nil {
				break
			}
		}
		_ = stream.CloseRequest()
	})
	leave := r.IntN(20)
	for n := int32(0); ; n++ {
		m, err := stream.Receive()
		switch {
		case errors.Is(err, io.EOF):
			if n != 10 {
				k.t.Errorf("got %d messages and the end, want 10", n)
			}
			return nil
		case err != nil:
			return err
		case m.Count != n || len(m.Data) != size:
			k.t.Errorf("got message %d of %d bytes, want %d of %d", m.Count, len(m.Data), n, size)
		case int(n) == leave:
			return nil
		}
	}
}
