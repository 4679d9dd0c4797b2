// SPDX-License-Identifier: Apache-2.0

// The client: call options, credentials, and what it refuses.

package grpcadapter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/grpcadapter"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// credentials are those of a call.
type credentials struct {
	secure bool
	err    error
}

func (c credentials) RequireTransportSecurity() bool { return c.secure }

func (c credentials) GetRequestMetadata(_ context.Context, uri ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer of " + strings.Join(uri, " ")}, c.err
}

func TestCallOptions(t *testing.T) {
	s := &service{
		unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			return &testpb.SimpleResponse{Username: fmt.Sprint(md.Get("authorization"))}, nil
		},
		bidi: func(grpc.BidiStreamingServer[request, response]) error { return nil },
	}
	url := "http://" + serveOurs(t, newServer(s), false)
	conn := grpcadapter.NewClientConn(h2Client(t), url)
	client := testpb.NewTestServiceClient(conn)
	for _, test := range []struct {
		name   string
		option grpc.CallOption
		code   codes.Code
		want   string // of the response, or in the error
	}{
		{"credentials", grpc.PerRPCCredentials(credentials{}), codes.OK, "[Bearer of " + url + "/grpc.testing.TestService]"},
		{"secure credentials", grpc.PerRPCCredentials(credentials{secure: true}), codes.Unauthenticated, "expected a URL with https"},
		{"failing credentials", grpc.PerRPCCredentials(credentials{err: errors.New("no token")}), codes.Unauthenticated, "get the credentials: no token"},
		{"credentials with a status", grpc.PerRPCCredentials(credentials{err: status.Error(codes.Unavailable, "no token")}), codes.Unavailable, "no token"},
		{"gzip", grpc.UseCompressor("gzip"), codes.OK, "[]"},
		{"identity", grpc.UseCompressor("identity"), codes.OK, "[]"},
		{"unknown compressor", grpc.UseCompressor("lz4"), codes.Unknown, `unknown compression "lz4"`},
		{"static method", grpc.StaticMethod(), codes.OK, "[]"},
		{"retry buffer", grpc.MaxRetryRPCBufferSize(1), codes.OK, "[]"},
		{"empty", grpc.EmptyCallOption{}, codes.OK, "[]"},
		{"subtype", grpc.CallContentSubtype("proto"), codes.OK, "[]"},
		{"other subtype", grpc.CallContentSubtype("json"), codes.Unimplemented, "connect.WithProtoJSON"},
		{"codec", grpc.ForceCodecV2(encoding.GetCodecV2("proto")), codes.Unimplemented, "connect.WithCodec"},
		{"wait for ready", grpc.WaitForReady(true), codes.Unimplemented, "grpc.WaitForReady(true) is not supported"},
		{"authority", grpc.CallAuthority("a"), codes.Unimplemented, "grpc.AuthorityOverrideCallOption is not supported"},
		{"no size", grpc.MaxCallRecvMsgSize(0), codes.Unimplemented, "expected more than 0"},
		{"negative size", grpc.MaxCallSendMsgSize(-1), codes.Unimplemented, "expected more than 0"},
	} {
		res, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}, test.option)
		if status.Code(err) != test.code || err != nil && !strings.Contains(err.Error(), test.want) || err == nil && res.Username != test.want {
			t.Errorf("%s: got %v, %v, want %v, %s", test.name, res, err, test.code, test.want)
		}
		stream, err := client.FullDuplexCall(t.Context(), test.option)
		if err == nil {
			if _, err = stream.Recv(); err == io.EOF {
				err = nil
			}
		}
		if status.Code(err) != test.code {
			t.Errorf("%s: stream: got %v, want %v", test.name, err, test.code)
		}
	}
}

func TestClientMisuse(t *testing.T) {
	ctx, empty := t.Context(), new(emptypb.Empty)
	s := &service{server: func(*request, grpc.ServerStreamingServer[response]) error { return nil }}
	conn := grpcadapter.NewClientConn(h2Client(t), "http://"+serveOurs(t, newServer(s), false))
	for _, test := range []struct {
		name string
		call func() error
		code codes.Code
		want string
	}{
		{"args", func() error { return conn.Invoke(ctx, unaryMethod, "text", empty) }, codes.Internal, "string is not a proto.Message"},
		{"reply", func() error { return conn.Invoke(ctx, unaryMethod, empty, nil) }, codes.Internal, "<nil> is not a proto.Message"},
		{"no URL", func() error {
			return grpcadapter.NewClientConn(h2Client(t), "localhost:1").Invoke(ctx, unaryMethod, empty, empty)
		}, codes.Unavailable, "has no scheme"},
		{"no client", func() error {
			_, err := grpcadapter.NewClientConn(nil, "http://localhost").NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, unaryMethod)
			return err
		}, codes.InvalidArgument, "HTTP client is nil"},
		{"no client for a server stream", func() error {
			stream, err := testpb.NewTestServiceClient(grpcadapter.NewClientConn(nil, "http://localhost")).StreamingOutputCall(ctx, &request{})
			if err != nil {
				return err
			}
			_, err = stream.Recv()
			return err
		}, codes.InvalidArgument, "HTTP client is nil"},
		{"no direction", func() error {
			_, err := conn.NewStream(ctx, &grpc.StreamDesc{}, unaryMethod)
			return err
		}, codes.Unimplemented, "use Invoke"},
		{"two requests", func() error {
			stream, err := testpb.NewTestServiceClient(conn).StreamingOutputCall(ctx, &request{})
			if err != nil {
				return err
			}
			defer func() { _, _ = stream.Recv() }()
			return stream.SendMsg(&request{})
		}, codes.Internal, "takes one message: this is the second"},
		{"message of a stream", func() error {
			stream, err := testpb.NewTestServiceClient(conn).StreamingOutputCall(ctx, &request{})
			if err != nil {
				return err
			}
			return stream.RecvMsg("text")
		}, codes.Internal, "string is not a proto.Message"},
		{"unknown procedure", func() error { return conn.Invoke(ctx, "/a.B/C", empty, empty) }, codes.Unimplemented, "/a.B/C"},
		{"no slash", func() error { return conn.Invoke(ctx, "a", empty, empty, grpc.PerRPCCredentials(credentials{})) }, codes.Unavailable, ""},
	} {
		if err := test.call(); status.Code(err) != test.code || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %v, %s", test.name, err, test.code, test.want)
		}
	}
}

// TestLongName: a name that a peer may have chosen is not looked up if it is long. Otherwise
// this test would take minutes.
func TestLongName(t *testing.T) {
	conn := grpcadapter.NewClientConn(nil, "http://localhost")
	if err := conn.Invoke(t.Context(), "/"+strings.Repeat("a.", 1<<21)+"B/C", new(emptypb.Empty), new(emptypb.Empty)); status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %.200v, want InvalidArgument, as there is no HTTP client", err)
	}
}

// TestSecondResponse: a service sends two messages where there is one.
func TestSecondResponse(t *testing.T) {
	s := &service{client: func(stream grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error {
		if err := stream.SendAndClose(&testpb.StreamingInputCallResponse{}); err != nil {
			return err
		}
		return stream.SendAndClose(&testpb.StreamingInputCallResponse{})
	}}
	conn := grpcadapter.NewClientConn(h2Client(t), "http://"+serveOurs(t, newServer(s), false))
	stream, err := testpb.NewTestServiceClient(conn).StreamingInputCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.CloseAndRecv()
	if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "this is the second") {
		t.Errorf("got %v", err)
	}
	if err := stream.RecvMsg(new(testpb.StreamingInputCallResponse)); status.Code(err) != codes.Internal {
		t.Errorf("got %v, want the same error", err)
	}
}

// TestErrorThroughServer: a service returns the error of its own client.
func TestErrorThroughServer(t *testing.T) {
	inner := &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return nil, status.Error(codes.ResourceExhausted, "full")
	}}
	conn := grpcadapter.NewClientConn(h2Client(t), "http://"+serveOurs(t, newServer(inner), false))
	outer := &service{unary: func(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return testpb.NewTestServiceClient(conn).UnaryCall(ctx, req)
	}}
	each(t, outer, func(t *testing.T, _ way, client testpb.TestServiceClient) {
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		if status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != "full" {
			t.Errorf("got %v, want ResourceExhausted", err)
		}
	})
	_, err := testpb.NewTestServiceClient(conn).UnaryCall(t.Context(), &testpb.SimpleRequest{})
	if !connect.IsWireError(err) {
		t.Errorf("got %v, want an error that leads to the library's", err)
	}
}
