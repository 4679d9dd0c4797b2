// SPDX-License-Identifier: Apache-2.0

// Parts of all tests: NATS servers, connections, a service of all kinds of calls, and the
// check for goroutines that are left behind.

package natstest

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const patience = 60 * time.Second // ends a test that hangs

// startServer runs a NATS server until the test ends.
func startServer(t testing.TB, change func(*server.Options)) *server.Server {
	t.Helper()
	options := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true}
	if change != nil {
		change(options)
	}
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("got no NATS server, want one")
	}
	t.Cleanup(func() { stopServer(s) })
	return s
}

func stopServer(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// dial connects until the test ends.
func dial(t testing.TB, s *server.Server, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL(), append([]nats.Option{
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.ReconnectWait(10 * time.Millisecond), nats.ReconnectJitter(0, 0), nats.MaxReconnects(-1),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// serve serves a handler until the test ends.
func serve(t testing.TB, nc *nats.Conn, h http.Handler, options ...natsrpc.ServerOption) *natsrpc.Server {
	t.Helper()
	s, err := natsrpc.Serve(nc, h, append([]natsrpc.ServerOption{
		natsrpc.Services(conntestv1connect.TestServiceName), natsrpc.ErrorLog(log.New(io.Discard, "", 0)),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// protocols are the options of clients.
var protocols = map[string][]connect.ClientOption{
	"connect": nil,
	"grpc":    {connect.WithGRPC()},
	"grpcweb": {connect.WithGRPCWeb()},
}

const base = "nats://rpc"

// newClient returns a generated client.
func newClient(nc *nats.Conn, options ...connect.ClientOption) conntestv1connect.TestServiceClient {
	return conntestv1connect.NewTestServiceClient(natsrpc.NewClient(nc), base, options...)
}

func httpClient(transport http.RoundTripper) *http.Client { return &http.Client{Transport: transport} }

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func wantError(t testing.TB, what string, err error, code connect.Code, text string) {
	t.Helper()
	if err == nil || connect.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: got error %v, want %v with %q", what, err, code, text)
	}
}

// ---- the service ----

// service answers as the request asks. Its functions, which may be nil, run in each call
// before anything else.
type service struct {
	conntestv1connect.UnimplementedTestServiceHandler
	hook func(context.Context) error
	seen func(text string) // of the request
}

func (s *service) handler(options ...connect.HandlerOption) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(conntestv1connect.NewTestServiceHandler(s, options...))
	return mux
}

func (s *service) begin(ctx context.Context, trailer http.Header, header http.Header, q *conntestv1.Request) error {
	if s.seen != nil {
		s.seen(q.GetText())
	}
	if s.hook != nil {
		if err := s.hook(ctx); err != nil {
			return err
		}
	}
	header.Set("X-Header", "head")
	trailer.Set("X-Trailer", "tail")
	if f := q.GetFailure(); f != nil {
		e := connect.NewError(connect.Code(f.Code), errors.New(f.Message))
		for key, value := range f.Metadata {
			e.Meta().Set(key, value)
		}
		return e
	}
	return nil
}

func answer(q *conntestv1.Request, count int32) *conntestv1.Response {
	data := q.GetData()
	if q.GetSize() > 0 {
		data = make([]byte, q.GetSize())
	}
	return &conntestv1.Response{Text: q.GetText(), Data: data, Count: count}
}

func (s *service) Unary(ctx context.Context, r *connect.Request[conntestv1.Request]) (*connect.Response[conntestv1.Response], error) {
	response := connect.NewResponse(answer(r.Msg, 0))
	if err := s.begin(ctx, response.Trailer(), response.Header(), r.Msg); err != nil {
		return nil, err
	}
	return response, nil
}

func (s *service) Get(ctx context.Context, r *connect.Request[conntestv1.Request]) (*connect.Response[conntestv1.Response], error) {
	return s.Unary(ctx, r)
}

func (s *service) ServerStream(ctx context.Context, r *connect.Request[conntestv1.Request], stream *connect.ServerStream[conntestv1.Response]) error {
	err := s.begin(ctx, stream.ResponseTrailer(), stream.ResponseHeader(), r.Msg)
	for i := range r.Msg.Count {
		if err := stream.Send(answer(r.Msg, i)); err != nil {
			return err
		}
	}
	return err
}

func (s *service) ClientStream(ctx context.Context, stream *connect.ClientStream[conntestv1.Request]) (*connect.Response[conntestv1.Response], error) {
	out := &conntestv1.Response{}
	response := connect.NewResponse(out)
	if err := s.begin(ctx, response.Trailer(), response.Header(), nil); err != nil {
		return nil, err
	}
	for stream.Receive() {
		out.Count++
		out.Text += stream.Msg().Text
	}
	return response, stream.Err()
}

func (s *service) Bidi(ctx context.Context, stream *connect.BidiStream[conntestv1.Request, conntestv1.Response]) error {
	if err := s.begin(ctx, stream.ResponseTrailer(), stream.ResponseHeader(), nil); err != nil {
		return err
	}
	for n := int32(0); ; n++ {
		q, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if f := q.Failure; f != nil {
			return connect.NewError(connect.Code(f.Code), errors.New(f.Message))
		}
		if err := stream.Send(answer(q, n)); err != nil {
			return err
		}
	}
}
