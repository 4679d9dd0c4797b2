// SPDX-License-Identifier: Apache-2.0

// This file serves the test service as grpc-go publishes it, and adds compression on demand and error details.

package grpcgo

import (
	"context"
	"fmt"

	"github.com/seed-b7c59c10/connect/internal/interop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // registers gzip with grpc-go
	published "google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// NewServer returns a server that offers the test service and nothing else.
func NewServer(options ...grpc.ServerOption) *grpc.Server {
	s := grpc.NewServer(append([]grpc.ServerOption{grpc.StatsHandler(Stats{})}, options...)...)
	testpb.RegisterTestServiceServer(s, &server{TestServiceServer: published.NewTestServer()})
	return s
}

type server struct {
	testpb.TestServiceServer
}

func (s *server) UnaryCall(ctx context.Context, request *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if err := checkCompressed(ctx, request.GetExpectCompressed()); err != nil {
		return nil, err
	}
	if want := request.GetResponseCompressed(); want != nil {
		name := "identity"
		if want.GetValue() {
			name = "gzip"
		}
		if err := grpc.SetSendCompressor(ctx, name); err != nil {
			return nil, err
		}
	}
	response, err := s.TestServiceServer.UnaryCall(ctx, request)
	if incoming, _ := metadata.FromIncomingContext(ctx); err != nil && len(incoming[interop.EchoDetail]) > 0 {
		return nil, detailed(err, incoming[interop.EchoDetail])
	}
	return response, err
}

// detailed adds serialized details to an error.
func detailed(err error, details []string) error {
	s := status.Convert(err).Proto()
	for _, raw := range details {
		box := new(anypb.Any)
		if err := proto.Unmarshal([]byte(raw), box); err != nil {
			return status.Errorf(codes.InvalidArgument, "decoding %s: %v", interop.EchoDetail, err)
		}
		s.Details = append(s.Details, box)
	}
	return status.ErrorProto(s)
}

func checkCompressed(ctx context.Context, want *testpb.BoolValue) error {
	if want == nil {
		return nil
	}
	wire := interop.WireFrom(ctx)
	if got := wire.Compressed.Load() > 0 && wire.Plain.Load() == 0; got != want.GetValue() {
		return status.Error(codes.InvalidArgument, fmt.Sprintf("request compressed: got %t, want %t", got, want.GetValue()))
	}
	return nil
}

// Stats counts received messages as interop.WatchHandler and interop.WatchTransport do. grpc-go does not show the
// flag of a message; its payloads are runs of zeros, which always shrink when they are compressed.
type Stats struct{}

// TagRPC gives every call of a server its counts; a client's come with the context.
func (Stats) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	if interop.WireFrom(ctx) == nil {
		ctx, _ = interop.Watch(ctx)
	}
	return ctx
}

// HandleRPC counts each received message.
func (Stats) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if in, ok := event.(*stats.InPayload); ok {
		interop.WireFrom(ctx).Count(in.CompressedLength != in.Length)
	}
}

// TagConn does nothing.
func (Stats) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn does nothing.
func (Stats) HandleConn(context.Context, stats.ConnStats) {}
