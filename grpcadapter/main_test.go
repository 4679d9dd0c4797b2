// SPDX-License-Identifier: Apache-2.0

// Ways between a client and a server of one service: grpc-go's own on both sides,
// this package's on one of them, and on both.

package grpcadapter_test

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/grpcadapter"
	"github.com/seed-b7c59c10/connect/h2"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a service as a user of grpc-go writes it: each test sets the methods
// that it calls.
type service struct {
	testpb.UnimplementedTestServiceServer
	unary  func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error)
	server func(*testpb.StreamingOutputCallRequest, grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error
	client func(grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error
	bidi   func(grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error
}

func (s *service) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return s.unary(ctx, req)
}

func (s *service) StreamingOutputCall(req *testpb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	return s.server(req, stream)
}

func (s *service) StreamingInputCall(stream grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error {
	return s.client(stream)
}

func (s *service) FullDuplexCall(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	return s.bidi(stream)
}

// serveOurs serves a handler over HTTP/1.1 and cleartext HTTP/2, by the engine of
// package h2 if engine is true. It returns host and port.
func serveOurs(t *testing.T, handler http.Handler, engine bool) string {
	t.Helper()
	server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	if engine {
		if err := h2.ConfigureServer(server, nil); err != nil {
			t.Fatal(err)
		}
	}
	listener := listen(t)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		<-done
	})
	return listener.Addr().String()
}

// serveGRPC serves a service by grpc-go.
func serveGRPC(t *testing.T, s testpb.TestServiceServer, options ...grpc.ServerOption) string {
	t.Helper()
	server := grpc.NewServer(options...)
	testpb.RegisterTestServiceServer(server, s)
	listener := listen(t)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.GracefulStop()
		<-done
	})
	return listener.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// h2Client returns a client of net/http for cleartext HTTP/2.
func h2Client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// dialGRPC returns a connection of grpc-go.
func dialGRPC(t *testing.T, address string) grpc.ClientConnInterface {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// A way leads from a client to a server.
type way struct {
	name string
	// foreign is true if grpc-go is on the server's side.
	foreign bool
	// grpc is true if the protocol is gRPC.
	grpc    bool
	connect func(*testing.T, *service) grpc.ClientConnInterface
}

// newServer returns this package's server with a service.
func newServer(s *service, options ...grpcadapter.ServerOption) *grpcadapter.Server {
	server := grpcadapter.NewServer(options...)
	testpb.RegisterTestServiceServer(server, s)
	return server
}

// ways returns all ways. The first one is grpc-go's own, whose behaviour the others
// must have.
func ways() []way {
	all := []way{
		{"grpc-go to grpc-go", true, true, func(t *testing.T, s *service) grpc.ClientConnInterface { return dialGRPC(t, serveGRPC(t, s)) }},
		{"grpc-go to ours", false, true, func(t *testing.T, s *service) grpc.ClientConnInterface {
			return dialGRPC(t, serveOurs(t, newServer(s), false))
		}},
		{"grpc-go to ours on the engine", false, true, func(t *testing.T, s *service) grpc.ClientConnInterface {
			return dialGRPC(t, serveOurs(t, newServer(s), true))
		}},
		{"ours to grpc-go", true, true, func(t *testing.T, s *service) grpc.ClientConnInterface {
			address := serveGRPC(t, s)
			return grpcadapter.NewClientConn(h2Client(t), "http://"+address, connect.WithGRPC())
		}},
	}
	for name, options := range map[string][]connect.ClientOption{
		"Connect":           nil,
		"Connect with JSON": {connect.WithProtoJSON()},
		"gRPC":              {connect.WithGRPC()},
		"gRPC-Web":          {connect.WithGRPCWeb(), connect.WithSendGzip()},
	} {
		for _, engine := range []bool{false, true} {
			on := " on net/http"
			if engine {
				on = " on the engine"
			}
			all = append(all, way{"ours to ours by " + name + on, false, name == "gRPC", func(t *testing.T, s *service) grpc.ClientConnInterface {
				address := serveOurs(t, newServer(s), engine)
				client := h2Client(t)
				if engine {
					transport := h2.NewTransport(nil)
					t.Cleanup(transport.CloseIdleConnections)
					client = &http.Client{Transport: transport}
				}
				return grpcadapter.NewClientConn(client, "http://"+address, options...)
			}})
		}
	}
	return all
}

// each runs a test on all ways.
func each(t *testing.T, s *service, test func(*testing.T, way, testpb.TestServiceClient)) {
	t.Helper()
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) { test(t, w, testpb.NewTestServiceClient(w.connect(t, s))) })
	}
}
