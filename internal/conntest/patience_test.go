// SPDX-License-Identifier: Apache-2.0

// This file makes clients that end many calls early, as honest programs do. The
// engine's server must bear them on one connection, whose other calls go on.

package conntest

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

// A countedNetwork is a memoryNetwork that counts connections.
type countedNetwork struct {
	*memoryNetwork
	dials atomic.Int64
}

func (n *countedNetwork) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.dials.Add(1)
	return n.memoryNetwork.dial(ctx, network, address)
}

// bearing runs a test of each protocol in a bubble, on one connection of the
// engine, beside a stream that must outlive the test's calls on it.
func bearing(t *testing.T, service conntestv1connect.TestServiceHandler, test func(*testing.T, conntestv1connect.TestServiceClient)) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := mode{protocol: protocol, codec: "proto", compression: "identity"}
				network := &countedNetwork{memoryNetwork: newMemoryNetwork()}
				_, handler := conntestv1connect.NewTestServiceHandler(service, m.handlerOptions()...)
				server, err := tcp{engineServer: true, engineClient: singleTransport, direct: true}.start(handler, network)
				wantNil(t, err)
				defer func() {
					server.close()
					time.Sleep(time.Second) // net/http lets connections linger
				}()
				client := (&site{mode: m, url: server.url, transport: server.transport}).client()

				neighbour := client.Bidi(t.Context())
				exchange := func() {
					t.Helper()
					wantNil(t, neighbour.Send(text("x")))
					_, err := neighbour.Receive()
					wantNil(t, err)
				}
				exchange()
				test(t, client)
				exchange()
				wantNil(t, neighbour.CloseRequest())
				_, err = neighbour.Receive()
				if !isEOF(err) {
					t.Errorf("got %v at the neighbour's end, want EOF", err)
				}
				wantNil(t, neighbour.CloseResponse())
				wantEqual(t, "connections", network.dials.Load(), 1)
			})
		})
	}
}

// concurrently runs a function in 24 goroutines, each that many times.
func concurrently(times int, f func()) {
	var all sync.WaitGroup
	for range 24 {
		all.Go(func() {
			for range times {
				f()
			}
		})
	}
	all.Wait()
}

// A client exchanges four messages on each of 3,000 streams, and ends each by
// cancelling it.
func TestStreamsEndedByCancelling(t *testing.T) {
	bearing(t, echo, func(t *testing.T, client conntestv1connect.TestServiceClient) {
		concurrently(125, func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stream := client.Bidi(ctx)
			for range 4 {
				if err := stream.Send(text("x")); err != nil {
					t.Errorf("sending: %v", err)
					return
				}
				if _, err := stream.Receive(); err != nil {
					t.Errorf("receiving: %v", err)
					return
				}
			}
		})
	})
}

// 1,200 times a second, and for 5 seconds, a call's deadline passes before the
// handler answers.
func TestDeadlinesThatPass(t *testing.T) {
	bearing(t, waitOrEcho, func(t *testing.T, client conntestv1connect.TestServiceClient) {
		concurrently(250, func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			_, err := client.Unary(ctx, connect.NewRequest(text("x")))
			if err == nil || connect.CodeOf(err) != connect.CodeDeadlineExceeded {
				t.Errorf("got %v, want code %v", err, connect.CodeDeadlineExceeded)
			}
		})
	})
}

// A client makes each call twice, a moment apart, and cancels the one that has no
// answer when the other has: 6,000 answers, 6,000 cancelled calls.
func TestHedgedCalls(t *testing.T) {
	var calls atomic.Int64
	service := everyKind(func(ctx context.Context, x *exchange) error {
		for {
			if _, err := x.receive(); isEOF(err) {
				return nil
			} else if err != nil {
				return err
			}
			if x.kind == unary && calls.Add(1)%2 == 0 {
				<-ctx.Done() // the slow one
				return ctx.Err()
			}
			if err := x.send(text2("x")); err != nil {
				return err
			}
		}
	})
	bearing(t, service, func(t *testing.T, client conntestv1connect.TestServiceClient) {
		concurrently(250, func() {
			ctx, cancel := context.WithCancel(t.Context())
			results := make(chan error, 2)
			for range 2 {
				go func() {
					_, err := client.Unary(ctx, connect.NewRequest(text("x")))
					results <- err
				}()
				time.Sleep(time.Millisecond)
			}
			// The handlers of other calls may have had all answers.
			timer := time.AfterFunc(10*time.Millisecond, cancel)
			for range 2 {
				err := <-results
				if err != nil && connect.CodeOf(err) != connect.CodeCanceled {
					t.Errorf("got %v, want an answer or code %v", err, connect.CodeCanceled)
				}
				if err == nil {
					cancel()
				}
			}
			timer.Stop()
			cancel()
		})
	})
}

// waitOrEcho answers what streams send. Unary calls take longer than their deadline:
// the client's reset arrives while the handler runs.
var waitOrEcho = everyKind(func(ctx context.Context, x *exchange) error {
	if x.kind == unary {
		<-ctx.Done()
		time.Sleep(5 * time.Millisecond)
		return ctx.Err()
	}
	for {
		if _, err := x.receive(); isEOF(err) {
			return nil
		} else if err != nil {
			return err
		}
		if err := x.send(text2("x")); err != nil {
			return err
		}
	}
})
