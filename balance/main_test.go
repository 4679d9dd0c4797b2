// SPDX-License-Identifier: Apache-2.0

// The kit of the tests: services at nodes of a network, clients, resolvers, and the check
// for goroutines that are left behind.

package balance_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type (
	message = wrapperspb.StringValue
	client  = connect.Client[message, message]
)

// The procedures of the service, by the kind of call.
const (
	pathUnary  = "/test.v1.S/Unary"
	pathServer = "/test.v1.S/Server"
	pathClient = "/test.v1.S/Client"
	pathBidi   = "/test.v1.S/Bidi"

	idempotent = connect.IdempotencyIdempotent
	unknown    = connect.IdempotencyUnknown
)

// ---- servers ----

// A service is the function of a node's handlers, for all kinds of calls: run is the number of
// the run at the node.
type service func(ctx context.Context, n *node, run int64, text string) (string, error)

// echo answers with the node's name.
func echo(_ context.Context, n *node, _ int64, _ string) (string, error) { return n.name, nil }

// handlerOf returns a handler in which a node runs a service. A stream answers each
// message.
func handlerOf(n *node, f service) http.Handler {
	one := func(ctx context.Context, msg *message) (*message, error) {
		text, err := f(ctx, n, n.runs.Add(1), msg.Value)
		if err != nil {
			return nil, err
		}
		return wrapperspb.String(text), nil
	}
	return connect.NewServiceHandler([]*connect.Handler{
		connect.NewUnaryHandler(pathUnary, func(ctx context.Context, r *connect.Request[message]) (*connect.Response[message], error) {
			answer, err := one(ctx, r.Msg)
			if err != nil {
				return nil, err
			}
			return connect.NewResponse(answer), nil
		}),
		connect.NewServerStreamHandler(pathServer, func(ctx context.Context, r *connect.Request[message], stream *connect.ServerStream[message]) error {
			for range 3 {
				answer, err := one(ctx, r.Msg)
				if err != nil {
					return err
				}
				if err := stream.Send(answer); err != nil {
					return err
				}
			}
			return nil
		}),
		connect.NewClientStreamHandler(pathClient, func(ctx context.Context, stream *connect.ClientStream[message]) (*connect.Response[message], error) {
			last := new(message)
			for stream.Receive() {
				last = stream.Msg()
			}
			if stream.Err() != nil {
				return nil, stream.Err()
			}
			answer, err := one(ctx, last)
			if err != nil {
				return nil, err
			}
			return connect.NewResponse(answer), nil
		}),
		connect.NewBidiStreamHandler(pathBidi, func(ctx context.Context, stream *connect.BidiStream[message, message]) error {
			for {
				msg, err := stream.Receive()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				answer, err := one(ctx, msg)
				if err != nil {
					return err
				}
				if err := stream.Send(answer); err != nil {
					return err
				}
			}
		}),
	})
}

// A site is a network with nodes a, b, c and so on that run a service.
type site struct {
	*network
	service service
	http1   bool
	names   []string
}

func newSite(t testing.TB, nodes int, http1 bool, f service) *site {
	t.Helper()
	s := &site{network: newNetwork(), service: f, http1: http1}
	for i := range nodes {
		s.names = append(s.names, string(rune('a'+i)))
		s.start(t, s.names[i])
	}
	t.Cleanup(func() {
		s.mu.Lock()
		var all []*node
		for _, n := range s.nodes {
			all = append(all, n)
		}
		s.mu.Unlock()
		for _, n := range all {
			n.hide(false)
			n.stop(t, false)
		}
	})
	return s
}

func (s *site) start(t testing.TB, name string) {
	n := s.node(name)
	n.start(t, handlerOf(n, s.service), s.http1)
}

// runs returns how often handlers have run, by node.
func (s *site) runs() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	runs := make(map[string]int64)
	for name, n := range s.nodes {
		runs[name] = n.runs.Load()
	}
	return runs
}

// balancer returns a Balancer for the site. Without a resolver it is for all nodes.
func (s *site) balancer(t testing.TB, resolver balance.Resolver, options ...balance.Option) *balance.Balancer {
	t.Helper()
	if resolver == nil {
		resolver = balance.Static(s.names...)
	}
	options = append(slices.Clone(options), balance.DialContext(s.dial))
	if s.http1 {
		options = append(options, balance.NetHTTP())
	}
	b, err := balance.New(resolver, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// clientOf returns a client of a procedure. The interceptors are before the Balancer's.
func clientOf(b *balance.Balancer, path string, level connect.IdempotencyLevel, protocol connect.ClientOption, interceptors ...connect.Interceptor) *client {
	return connect.NewClient[message, message](b.HTTPClient(), "http://test.local"+path,
		connect.WithClientOptions(protocol), connect.WithIdempotency(level), connect.WithInterceptors(interceptors...), b.Options())
}

var protocols = map[string]connect.ClientOption{
	"connect": connect.WithClientOptions(),
	"grpc":    connect.WithGRPC(),
	"grpcweb": connect.WithGRPCWeb(),
}

// call makes a call of the kind of path, with three messages where there may be many,
// and returns the texts that it receives.
func call(ctx context.Context, c *client, path string) (texts []string, err error) {
	switch path {
	case pathUnary:
		res, err := c.CallUnary(ctx, connect.NewRequest(wrapperspb.String("a")))
		if err != nil {
			return nil, err
		}
		return []string{res.Msg.Value}, nil
	case pathServer:
		stream, err := c.CallServerStream(ctx, connect.NewRequest(wrapperspb.String("a")))
		if err != nil {
			return nil, err
		}
		defer stream.Close()
		for stream.Receive() {
			texts = append(texts, stream.Msg().Value)
		}
		return texts, stream.Err()
	case pathClient:
		stream := c.CallClientStream(ctx)
		for range 3 {
			if err := stream.Send(wrapperspb.String("a")); err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
		}
		res, err := stream.CloseAndReceive()
		if err != nil {
			return nil, err
		}
		return []string{res.Msg.Value}, nil
	}
	stream := c.CallBidiStream(ctx)
	defer stream.CloseResponse()
	for range 3 {
		if err := stream.Send(wrapperspb.String("a")); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		msg, err := stream.Receive()
		if err != nil {
			return texts, err
		}
		texts = append(texts, msg.Value)
	}
	if err := stream.CloseRequest(); err != nil {
		return nil, err
	}
	if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
		return texts, fmt.Errorf("got %w, want the end", err)
	}
	return texts, nil
}

// ask makes a unary call, and returns the name of the node that has answered.
func ask(ctx context.Context, c *client) (string, error) {
	texts, err := call(ctx, c, pathUnary)
	if err != nil {
		return "", err
	}
	return texts[0], nil
}

// wantIdle checks that no endpoint has calls in flight: all uses have ended.
func wantIdle(t testing.TB, b *balance.Balancer) {
	t.Helper()
	waitFor(t, "no call in flight", func() bool {
		for _, e := range b.Status().Endpoints {
			if e.InFlight != 0 {
				return false
			}
		}
		return true
	})
}

// waitFor waits until a condition holds.
func waitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for: %s", what)
		}
	}
}

// states returns the states of the endpoints by address.
func states(b *balance.Balancer) map[string]balance.State {
	all := make(map[string]balance.State)
	for _, e := range b.Status().Endpoints {
		all[e.Addr] = e.State
	}
	return all
}

// allReady waits until n endpoints are ready.
func allReady(t testing.TB, b *balance.Balancer, n int) {
	t.Helper()
	waitFor(t, fmt.Sprint(n, " ready endpoints"), func() bool {
		ready := 0
		for _, state := range states(b) {
			if state == balance.StateReady {
				ready++
			}
		}
		return ready == n
	})
}

// A resolver is one whose sets the test decides.
type resolver struct {
	updates chan func(update func([]balance.Endpoint, error))
	watches atomic.Int64
	asked   atomic.Int64 // calls of Refresh
}

func newResolver() *resolver {
	return &resolver{updates: make(chan func(func([]balance.Endpoint, error)), 10)}
}

func (r *resolver) Refresh() { r.asked.Add(1) }

func (r *resolver) Watch(ctx context.Context, update func([]balance.Endpoint, error)) error {
	r.watches.Add(1)
	for {
		select {
		case do := <-r.updates:
			if do == nil {
				return errors.New("the resolver has ended")
			}
			do(update)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// set hands a set of endpoints over, and returns when it is in use.
func (r *resolver) set(addrs ...string) {
	set := make([]balance.Endpoint, len(addrs))
	for i, addr := range addrs {
		set[i] = balance.Endpoint{Addr: addr, Weight: 1}
	}
	r.put(set, nil)
}

func (r *resolver) put(set []balance.Endpoint, err error) {
	done := make(chan struct{})
	r.updates <- func(update func([]balance.Endpoint, error)) {
		defer close(done)
		update(set, err)
	}
	<-done
}
