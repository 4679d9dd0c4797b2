// SPDX-License-Identifier: Apache-2.0

// Parts of all tests: a service, the ways to reach it, and the check for goroutines that
// are left behind.

package overload_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/inprocess"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type (
	message = wrapperspb.StringValue
	client  = connect.Client[message, message]
)

const (
	pathUnary  = "/test.v1.S/Unary"
	pathServer = "/test.v1.S/Server"
)

var protocols = map[string][]connect.ClientOption{
	"connect": nil,
	"grpc":    {connect.WithGRPC()},
	"grpcweb": {connect.WithGRPCWeb()},
}

// A service calls its function for each call, and then answers with one message.
type service struct {
	f    func(ctx context.Context) error
	runs atomic.Int64
}

func (s *service) run(ctx context.Context) error {
	s.runs.Add(1)
	if s.f == nil {
		return nil
	}
	return s.f(ctx)
}

func (s *service) handler() http.Handler {
	return connect.NewServiceHandler([]*connect.Handler{
		connect.NewUnaryHandler(pathUnary, func(ctx context.Context, r *connect.Request[message]) (*connect.Response[message], error) {
			if err := s.run(ctx); err != nil {
				return nil, err
			}
			return connect.NewResponse(r.Msg), nil
		}),
		connect.NewServerStreamHandler(pathServer, func(ctx context.Context, r *connect.Request[message], stream *connect.ServerStream[message]) error {
			if err := s.run(ctx); err != nil {
				return err
			}
			return stream.Send(r.Msg)
		}),
	})
}

// A way is how clients reach a handler.
type way func(http.Handler) (transport http.RoundTripper, end func())

func over(options ...connecttest.Option) way {
	return func(h http.Handler) (http.RoundTripper, func()) {
		options := append(options, connecttest.WithServer(func(s *http.Server) { s.ErrorLog = log.New(io.Discard, "", 0) }))
		s := connecttest.NewServer(h, options...)
		return s.Client().Transport, s.Close
	}
}

func inProcess(h http.Handler) (http.RoundTripper, func()) {
	t := inprocess.NewTransport(h)
	t.ErrorLog = log.New(io.Discard, "", 0)
	return t, func() {}
}

var ways = map[string]way{
	"h2":         over(connecttest.WithEngine()),
	"net/http":   over(),
	"in process": inProcess,
}

func newClient(transport http.RoundTripper, path string, options ...connect.ClientOption) *client {
	return connect.NewClient[message, message](&http.Client{Transport: transport}, "http://test.local"+path, options...)
}

// call makes a call of the kind of path.
func call(ctx context.Context, c *client, path string) error { return callWith(ctx, c, path, nil) }

func callWith(ctx context.Context, c *client, path string, header map[string]string) error {
	r := connect.NewRequest(wrapperspb.String("a"))
	for name, value := range header {
		r.Header().Set(name, value)
	}
	if path == pathUnary {
		_, err := c.CallUnary(ctx, r)
		return err
	}
	stream, err := c.CallServerStream(ctx, r)
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
	}
	return stream.Err()
}

// A gate holds handlers until it is opened.
type gate struct {
	entered sync.WaitGroup
	opened  chan struct{}
}

func newGate(calls int) *gate {
	g := &gate{opened: make(chan struct{})}
	g.entered.Add(calls)
	return g
}

func (g *gate) wait(context.Context) error {
	g.entered.Done()
	<-g.opened
	return nil
}

// hold begins n calls, waits until they are in the handler, and returns a function that
// lets them end.
func hold(t *testing.T, s *service, n int, c *client, path string) (release func()) {
	t.Helper()
	g := newGate(n)
	s.f = g.wait
	var working sync.WaitGroup
	for range n {
		working.Go(func() {
			if err := call(t.Context(), c, path); err != nil {
				t.Errorf("got %v from a call within the limit, want an answer", err)
			}
		})
	}
	g.entered.Wait()
	s.f = nil
	return func() {
		close(g.opened)
		working.Wait()
	}
}

// wantRefused checks the error of a call that was refused, and returns its pushback.
func wantRefused(t *testing.T, what string, err error) (pushback string) {
	t.Helper()
	var e *connect.Error
	if !errors.As(err, &e) || e.Code() != connect.CodeResourceExhausted || !connect.IsWireError(err) {
		t.Errorf("%s: got %v, want resource_exhausted from the server", what, err)
		return ""
	}
	if e.Meta().Get("Retry-After") == "" {
		t.Errorf("%s: got metadata %v, want a Retry-After", what, e.Meta())
	}
	return e.Meta().Get("Grpc-Retry-Pushback-Ms")
}
