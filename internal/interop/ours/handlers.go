// SPDX-License-Identifier: Apache-2.0

// This file holds the handlers of gRPC's test service with their schema.

package ours

import (
	"strings"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// NewHandlers returns the handlers of NewHandler as a registry needs them.
func NewHandlers() []*connect.Handler {
	with := func(procedure string) connect.HandlerOption {
		name := protoreflect.Name(procedure[strings.LastIndexByte(procedure, '/')+1:])
		return connect.WithSchema(testpb.File_grpc_testing_test_proto.Services().ByName("TestService").Methods().ByName(name))
	}
	return []*connect.Handler{
		connect.NewUnaryHandler(interop.EmptyCall, emptyCall, with(interop.EmptyCall)),
		connect.NewUnaryHandler(interop.UnaryCall, unaryCall, with(interop.UnaryCall)),
		connect.NewUnaryHandler(interop.CacheableUnaryCall, cacheableCall, with(interop.CacheableUnaryCall), connect.WithIdempotency(connect.IdempotencyNoSideEffects)),
		connect.NewClientStreamHandler(interop.StreamingInputCall, inputCall, with(interop.StreamingInputCall)),
		connect.NewServerStreamHandler(interop.StreamingOutputCall, outputCall, with(interop.StreamingOutputCall)),
		connect.NewBidiStreamHandler(interop.FullDuplexCall, duplexCall, with(interop.FullDuplexCall)),
	}
}
