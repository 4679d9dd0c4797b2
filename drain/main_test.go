// SPDX-License-Identifier: Apache-2.0

// Parts of all tests: a service, servers over networks in memory that take each other's
// place, and the check for goroutines that are left behind.

package drain_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/drain"
	"github.com/seed-b7c59c10/connect/h2"
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
	pathBidi   = "/test.v1.S/Bidi"
)

var protocols = map[string][]connect.ClientOption{
	"connect": nil,
	"grpc":    {connect.WithGRPC()},
	"grpcweb": {connect.WithGRPCWeb()},
}

// A service has a function for each kind of call. The streams of one without functions
// send one message, and then another one when the server ends.
type service struct {
	unary func(context.Context) error
	runs  atomic.Int64
}

func (s *service) handler() http.Handler {
	follow := func(ctx context.Context, send func(*message) error) error {
		if err := send(wrapperspb.String("begun")); err != nil {
			return err
		}
		select {
		case <-drain.Signal(ctx):
			return send(wrapperspb.String("continue elsewhere"))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return connect.NewServiceHandler([]*connect.Handler{
		connect.NewUnaryHandler(pathUnary, func(ctx context.Context, r *connect.Request[message]) (*connect.Response[message], error) {
			s.runs.Add(1)
			if s.unary != nil {
				if err := s.unary(ctx); err != nil {
					return nil, err
				}
			}
			return connect.NewResponse(r.Msg), nil
		}),
		connect.NewServerStreamHandler(pathServer, func(ctx context.Context, _ *connect.Request[message], stream *connect.ServerStream[message]) error {
			return follow(ctx, stream.Send)
		}),
		connect.NewBidiStreamHandler(pathBidi, func(ctx context.Context, stream *connect.BidiStream[message, message]) error {
			return follow(ctx, stream.Send)
		}),
	})
}

// A replica is one server, with its Drainer.
type replica struct {
	*drain.Drainer
	server *connecttest.Server
}

// newReplica starts a server. The caller must close it.
func newReplica(s *service, options []connecttest.Option, more ...drain.Option) *replica {
	var running httpServer
	r := &replica{Drainer: drain.New(&running, more...)}
	options = append(options, connecttest.WithServer(func(server *http.Server) {
		server.ErrorLog = log.New(io.Discard, "", 0)
		running.Server = server
	}))
	r.server = connecttest.NewServer(r.Handler(s.handler()), options...)
	return r
}

// An httpServer is made after its Drainer.
type httpServer struct{ *http.Server }

// A site is where clients find the replica of the moment.
type site struct{ current atomic.Pointer[replica] }

// dial connects to the replica of the moment, as a balancer does: if that has just closed its
// listener, to the next one.
func (s *site) dial(ctx context.Context, network, address string) (net.Conn, error) {
	for {
		r := s.current.Load()
		c, err := r.server.DialContext(ctx, network, address)
		if err == nil || r == s.current.Load() {
			return c, err
		}
	}
}

// engineTransport returns a transport to the site, and the function that closes it.
func (s *site) engineTransport() (http.RoundTripper, func()) {
	t := h2.NewTransport(&h2.TransportConfig{DialContext: s.dial})
	return t, func() { _ = t.Close() }
}

// standardTransport is engineTransport with net/http's HTTP/2, or with its HTTP/1.1.
func (s *site) standardTransport(http1 bool) (http.RoundTripper, func()) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(http1)
	protocols.SetUnencryptedHTTP2(!http1)
	t := &http.Transport{DialContext: s.dial, Protocols: protocols}
	return t, t.CloseIdleConnections
}

func newClient(transport http.RoundTripper, path string, options ...connect.ClientOption) *client {
	return connect.NewClient[message, message](&http.Client{Transport: transport}, "http://test.local"+path, options...)
}

func unary(ctx context.Context, c *client) error {
	_, err := c.CallUnary(ctx, connect.NewRequest(wrapperspb.String("a")))
	return err
}

// follow makes a call of a stream, and returns the texts that it receives; each is also
// reported to begun.
func follow(ctx context.Context, c *client, path string, begun func(string)) (texts []string, err error) {
	if path == pathServer {
		stream, err := c.CallServerStream(ctx, connect.NewRequest(wrapperspb.String("a")))
		if err != nil {
			return nil, err
		}
		defer stream.Close()
		for stream.Receive() {
			texts = append(texts, stream.Msg().Value)
			begun(stream.Msg().Value)
		}
		return texts, stream.Err()
	}
	stream := c.CallBidiStream(ctx)
	defer stream.CloseResponse()
	if err := stream.Send(wrapperspb.String("a")); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for {
		msg, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return texts, stream.CloseRequest()
		}
		if err != nil {
			return texts, err
		}
		texts = append(texts, msg.Value)
		begun(msg.Value)
	}
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

// wantCode checks the code of an error.
func wantCode(t testing.TB, what string, err error, want connect.Code) {
	t.Helper()
	if err == nil || connect.CodeOf(err) != want {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}
