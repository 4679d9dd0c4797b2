// SPDX-License-Identifier: Apache-2.0

// What is on the bus: the NATS server, the workers, and the consumer of their events.

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed-b7c59c10/connect"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
)

// patience is how long a part may take that should take none.
const patience = 20 * time.Second

func clientOf(transport http.RoundTripper) *http.Client { return &http.Client{Transport: transport} }

// A bus is a NATS server with JetStream, and what it stores.
type bus struct {
	server *server.Server
	store  string
}

func startBus() (*bus, error) {
	store, err := os.MkdirTemp("", "examples-nats-")
	if err != nil {
		return nil, err
	}
	b := &bus{store: store}
	b.server, err = server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: store, NoLog: true, NoSigs: true,
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(store))
	}
	b.server.Start()
	if !b.server.ReadyForConnections(patience) {
		b.stop()
		return nil, errors.New("the NATS server does not serve")
	}
	return b, nil
}

func (b *bus) url() string { return b.server.ClientURL() }

func (b *bus) stop() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
	_ = os.RemoveAll(b.store)
}

// ---- workers ----

// greeted is the subject of the events that workers publish.
const greeted = "greeted"

// A worker serves greet.v1.GreetService, as a member of the queue group, and publishes an
// event for each call.
type worker struct {
	greetv1connect.UnimplementedGreetServiceHandler

	n     int
	nc    *nats.Conn
	js    jetstream.JetStream
	serve *natsrpc.Server
	calls atomic.Int64
}

func (b *bus) startWorker(n int) (*worker, error) {
	nc, err := nats.Connect(b.url())
	if err != nil {
		return nil, err
	}
	w := &worker{n: n, nc: nc}
	w.js, err = jetstream.New(nc)
	if err == nil {
		_, handler := greetv1connect.NewGreetServiceHandler(w)
		w.serve, err = natsrpc.Serve(nc, handler, natsrpc.Services(greetv1connect.GreetServiceName),
			natsrpc.Queue("workers"), natsrpc.Discovery(fmt.Sprintf("worker-%d", n), "1.0.0"))
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return w, nil
}

// Greet answers after JetStream has the event: so there is an event for every call that was
// answered, and two if a call was made again because its worker was killed in between.
func (w *worker) Greet(ctx context.Context, r *connect.Request[greetv1.GreetRequest]) (*connect.Response[greetv1.GreetResponse], error) {
	event, err := natsrpc.NewEvent(greeted, r.Msg)
	if err == nil {
		_, err = w.js.PublishMsg(ctx, event)
	}
	if err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	w.calls.Add(1)
	return connect.NewResponse(&greetv1.GreetResponse{Greeting: fmt.Sprintf("Hello, %s, from worker %d!", r.Msg.Name, w.n)}), nil
}

// kill ends the worker as a crash would: its connection is gone, and nothing is answered.
func (w *worker) kill() { w.nc.Close() }

// stop ends the worker after the calls that it has taken.
func (w *worker) stop(ctx context.Context) error {
	defer w.nc.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return w.serve.Shutdown(ctx)
}

// answered is a text with the calls of each worker.
func answered(workers []*worker) string {
	var counts []string
	for _, w := range workers {
		counts = append(counts, fmt.Sprint(w.calls.Load()))
	}
	return strings.Join(counts, ", ")
}

// ---- events ----

// consume handles the events in a goroutine. The function handled waits until there was one
// for each of the names 1 to calls, and returns how many events there were.
func (b *bus) consume(ctx context.Context) (handled func(ctx context.Context, calls int) (int, error), stop func(), err error) {
	nc, err := nats.Connect(b.url())
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	stop = func() {
		cancel()
		group.Wait()
		nc.Close()
	}
	js, err := jetstream.New(nc)
	if err == nil {
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "GREETED", Subjects: []string{greeted}})
	}
	var consumer jetstream.Consumer
	if err == nil {
		consumer, err = js.CreateOrUpdateConsumer(ctx, "GREETED", jetstream.ConsumerConfig{Durable: "audit", AckPolicy: jetstream.AckExplicitPolicy})
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	seen := &names{seen: make(map[string]bool), more: make(chan struct{}, 1)}
	group.Go(func() {
		_ = natsrpc.Consume(ctx, consumer, func(_ context.Context, e *natsrpc.Event[greetv1.GreetRequest]) error {
			seen.add(e.Msg.Name)
			return nil // acknowledged from here on
		})
	})
	return seen.wait, stop, nil
}

// names are those of the events.
type names struct {
	more chan struct{} // has a value after a new name

	mu     sync.Mutex
	seen   map[string]bool
	events int
}

func (s *names) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[name] = true
	s.events++
	select {
	case s.more <- struct{}{}:
	default:
	}
}

func (s *names) wait(ctx context.Context, want int) (events int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		s.mu.Lock()
		got, events := len(s.seen), s.events
		s.mu.Unlock()
		if got >= want {
			return events, nil
		}
		select {
		case <-s.more:
		case <-ctx.Done():
			return events, fmt.Errorf("got events of %d calls, want %d", got, want)
		}
	}
}
