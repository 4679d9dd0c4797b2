// SPDX-License-Identifier: Apache-2.0

// Parts of all tests: a service, running servers, clients of any address, and the check for
// goroutines that are left behind.

package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/drain"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
	"github.com/seed-b7c59c10/connect/server"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		child()
		return
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	leaktest.Main(m)
}

type (
	message = wrapperspb.StringValue
	client  = connect.Client[message, message]
)

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

// echo answers with what it gets, in calls of all kinds. A unary call of "wait" waits until
// it is cut; a stream of "wait" until the server ends.
func echo(options ...connect.HandlerOption) http.Handler {
	return connect.NewServiceHandler([]*connect.Handler{
		connect.NewUnaryHandler(pathUnary, func(ctx context.Context, r *connect.Request[message]) (*connect.Response[message], error) {
			if r.Msg.Value == "wait" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return connect.NewResponse(r.Msg), nil
		}, options...),
		connect.NewServerStreamHandler(pathServer, func(ctx context.Context, r *connect.Request[message], stream *connect.ServerStream[message]) error {
			for range 3 {
				if err := stream.Send(r.Msg); err != nil {
					return err
				}
			}
			if r.Msg.Value == "wait" {
				select {
				case <-drain.Signal(ctx):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}, options...),
		connect.NewClientStreamHandler(pathClient, func(_ context.Context, stream *connect.ClientStream[message]) (*connect.Response[message], error) {
			last := new(message)
			for stream.Receive() {
				last.Value = stream.Msg().Value
			}
			return connect.NewResponse(last), stream.Err()
		}, options...),
		connect.NewBidiStreamHandler(pathBidi, func(_ context.Context, stream *connect.BidiStream[message, message]) error {
			m, err := stream.Receive()
			if err != nil {
				return err
			}
			return stream.Send(m)
		}, options...),
	})
}

// withoutLog discards the server's log.
func withoutLog() server.Option { return server.Logger(slog.New(slog.DiscardHandler)) }

// A running server.
type running struct {
	*server.Server
	stop  context.CancelFunc // begins to drain
	ended chan error         // gets what Run returns
}

// start runs a server until the test ends.
func start(t testing.TB, handler http.Handler, options ...server.Option) *running {
	t.Helper()
	s := server.New(handler, append([]server.Option{withoutLog()}, options...)...)
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{s, stop, make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.ended <- s.Run(ctx)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
		stop()
	})
	return r
}

// transportTo returns the engine's transport, or net/http's over HTTP/1.1, to one address.
// A nil config means cleartext.
func transportTo(t testing.TB, addr net.Addr, config *tls.Config, http1 bool) http.RoundTripper {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, addr.Network(), addr.String())
	}
	if http1 {
		transport := &http.Transport{DialContext: dial, TLSClientConfig: config, Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(true)
		t.Cleanup(transport.CloseIdleConnections)
		return transport
	}
	transport := h2.NewTransport(&h2.TransportConfig{DialContext: dial, TLSClientConfig: config})
	t.Cleanup(func() { _ = transport.Close() })
	return transport
}

func newClient(transport http.RoundTripper, secure bool, path string, options ...connect.ClientOption) *client {
	scheme := map[bool]string{false: "http", true: "https"}[secure]
	return connect.NewClient[message, message](&http.Client{Transport: transport}, scheme+"://server.test"+path, options...)
}

func unary(ctx context.Context, c *client, text string) error {
	got, err := c.CallUnary(ctx, connect.NewRequest(wrapperspb.String(text)))
	if err == nil && got.Msg.Value != text {
		return errors.New("got another text than was sent: " + got.Msg.Value)
	}
	return err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// socketPath returns a path that is short enough for a socket.
func socketPath(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return filepath.Join(folder, "s")
}
