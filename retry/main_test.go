// SPDX-License-Identifier: Apache-2.0

// Parts of all tests: a service over a network in memory, and the check for goroutines
// that are left behind.

package retry_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
	"github.com/seed-b7c59c10/connect/retry"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type (
	message = wrapperspb.StringValue
	client  = connect.Client[message, message]
)

// A kind of call, with the level of its idempotency.
const (
	pathUnary  = "/test.v1.S/Unary"
	pathServer = "/test.v1.S/Server"
	pathClient = "/test.v1.S/Client"
	pathBidi   = "/test.v1.S/Bidi"
)

var protocols = map[string][]connect.ClientOption{
	"connect": nil,
	"grpc":    {connect.WithGRPC()},
	"grpcweb": {connect.WithGRPCWeb()},
}

// A service answers run n of a procedure, from 1, with what its function returns. It
// sends nothing but messages and an error.
type service func(ctx context.Context, run int, header http.Header, in func() (*message, error), out func(*message) error) error

// A site is a server with the service, and counts its runs.
type site struct {
	runs      atomic.Int64
	network   *pipes
	transport *h2.Transport
}

func serve(t testing.TB, f service) *site {
	t.Helper()
	s := &site{network: newPipes()}
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: s.handler(f)}
	if err := h2.ConfigureServer(server, nil); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.network) }()
	s.transport = h2.NewTransport(&h2.TransportConfig{DialContext: s.network.dial})
	t.Cleanup(func() {
		_ = s.transport.Close()
		_ = server.Close()
		<-served
	})
	return s
}

// handler returns the handler of the service.
func (s *site) handler(f service) http.Handler {
	serve := func(ctx context.Context, header http.Header, in func() (*message, error), out func(*message) error) error {
		return f(ctx, int(s.runs.Add(1)), header, in, out)
	}
	one := func(msg *message) func() (*message, error) {
		return func() (*message, error) {
			if msg == nil {
				return nil, io.EOF
			}
			defer func() { msg = nil }()
			return msg, nil
		}
	}
	return connect.NewServiceHandler([]*connect.Handler{
		connect.NewUnaryHandler(pathUnary, func(ctx context.Context, r *connect.Request[message]) (*connect.Response[message], error) {
			answer := connect.NewResponse(new(message))
			err := serve(ctx, r.Header(), one(r.Msg), func(m *message) error { answer.Msg = m; return nil })
			if err != nil {
				return nil, err
			}
			return answer, nil
		}, connect.WithIdempotency(harmless)), // so that it takes GET
		connect.NewServerStreamHandler(pathServer, func(ctx context.Context, r *connect.Request[message], stream *connect.ServerStream[message]) error {
			return serve(ctx, r.Header(), one(r.Msg), stream.Send)
		}),
		connect.NewClientStreamHandler(pathClient, func(ctx context.Context, stream *connect.ClientStream[message]) (*connect.Response[message], error) {
			answer := connect.NewResponse(new(message))
			err := serve(ctx, stream.RequestHeader(), func() (*message, error) {
				if stream.Receive() {
					return stream.Msg(), nil
				}
				return nil, errors.Join(stream.Err(), io.EOF)
			}, func(m *message) error { answer.Msg = m; return nil })
			if err != nil {
				return nil, err
			}
			return answer, nil
		}),
		connect.NewBidiStreamHandler(pathBidi, func(ctx context.Context, stream *connect.BidiStream[message, message]) error {
			return serve(ctx, stream.RequestHeader(), stream.Receive, stream.Send)
		}),
	})
}

// client returns a client of a procedure with a policy.
func (s *site) client(path string, level connect.IdempotencyLevel, policy *retry.Policy, options ...connect.ClientOption) *client {
	options = append(options, connect.WithIdempotency(level), connect.WithInterceptors(policy))
	return connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+path, options...)
}

// wantRuns checks how often the service ran.
func (s *site) wantRuns(t testing.TB, want int) {
	t.Helper()
	if got := s.runs.Load(); got != int64(want) {
		t.Errorf("got %d runs, want %d", got, want)
	}
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
		for _, text := range []string{"a", "b", "c"} {
			if err := stream.Send(wrapperspb.String(text)); err != nil && !errors.Is(err, io.EOF) {
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
	for _, text := range []string{"a", "b", "c"} {
		if err := stream.Send(wrapperspb.String(text)); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	if err := stream.CloseRequest(); err != nil {
		return nil, err
	}
	for {
		msg, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return texts, nil
		}
		if err != nil {
			return texts, err
		}
		texts = append(texts, msg.Value)
	}
}

// echo answers with all texts that it receives, in one message.
func echo(in func() (*message, error), out func(*message) error) error {
	var all strings.Builder
	for {
		msg, err := in()
		if errors.Is(err, io.EOF) {
			return out(wrapperspb.String(all.String()))
		}
		if err != nil {
			return err
		}
		all.WriteString(msg.Value)
	}
}

// unavailable is an error that a server sends.
func unavailable() error { return connect.NewError(connect.CodeUnavailable, errors.New("restarting")) }

// ---- the network ----

// pipes is a network of net.Pipes.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.closed:
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
