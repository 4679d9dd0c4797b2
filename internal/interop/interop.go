// SPDX-License-Identifier: Apache-2.0

// Package interop calls gRPC's public test service (grpc.testing.TestService) across libraries: this one, grpc-go and
// connect-go, each as client and as server.
//
// The package itself uses no library. It defines the interface of the test service's client, so that each case is
// written once. The packages ours, peer and grpcgo implement it, and serve the same service. peer is ours compiled
// against connect-go: the same source with another import path.
package interop

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/types/known/anypb"
)

// The procedures of the test service, and two that no server offers.
const (
	EmptyCall            = "/grpc.testing.TestService/EmptyCall"
	UnaryCall            = "/grpc.testing.TestService/UnaryCall"
	CacheableUnaryCall   = "/grpc.testing.TestService/CacheableUnaryCall"
	StreamingInputCall   = "/grpc.testing.TestService/StreamingInputCall"
	StreamingOutputCall  = "/grpc.testing.TestService/StreamingOutputCall"
	FullDuplexCall       = "/grpc.testing.TestService/FullDuplexCall"
	UnimplementedMethod  = "/grpc.testing.TestService/UnimplementedCall"
	UnimplementedService = "/grpc.testing.UnimplementedService/UnimplementedCall"
)

// Metadata keys that a server acts on. The first two belong to the published cases, the others are this project's.
const (
	// EchoInitial comes back in the response header.
	EchoInitial = "x-grpc-test-echo-initial"
	// EchoTrailing comes back in the response trailer.
	EchoTrailing = "x-grpc-test-echo-trailing-bin"
	// EchoDetail holds serialized google.protobuf.Any messages, which become the details of an error that the request
	// asks for.
	EchoDetail = "x-interop-detail-bin"
	// HTTPMethod is a response header: the HTTP method by which CacheableUnaryCall was called.
	HTTPMethod = "x-interop-method"
	// ETag is the entity tag of every CacheableUnaryCall response; a request that has it gets "not modified".
	ETag = `"interop"`
)

// Metadata travels beside the messages: lower-case keys, raw values (also for keys that end in "-bin").
type Metadata map[string][]string

// Call holds what a caller sends and receives beside the messages of one call.
type Call struct {
	Procedure string   // for Unary only; empty means UnaryCall
	Request   Metadata // sent; may be nil
	Header    Metadata // filled by the client once the call has ended
	Trailer   Metadata // likewise
}

// Client calls the test service. Every error of it and of its streams is io.EOF or a *Failure.
type Client interface {
	// Empty calls any procedure that takes and returns Empty.
	Empty(ctx context.Context, procedure string, request *testpb.Empty) (*testpb.Empty, error)
	// Unary calls UnaryCall, or the procedure that the call names.
	Unary(ctx context.Context, call *Call, request *testpb.SimpleRequest) (*testpb.SimpleResponse, error)
	// Input starts StreamingInputCall: when it returns, the request's head is on its way.
	Input(ctx context.Context, call *Call) (InputStream, error)
	// Output starts StreamingOutputCall and sends its only request.
	Output(ctx context.Context, call *Call, request *testpb.StreamingOutputCallRequest) (OutputStream, error)
	// Duplex starts FullDuplexCall.
	Duplex(ctx context.Context, call *Call) (DuplexStream, error)
}

// InputStream sends many messages and receives one.
type InputStream interface {
	Send(message *testpb.StreamingInputCallRequest) error
	CloseAndReceive() (*testpb.StreamingInputCallResponse, error)
}

// OutputStream receives until io.EOF. A caller that stops earlier cancels the context of the call.
type OutputStream interface {
	Receive() (*testpb.StreamingOutputCallResponse, error)
}

// DuplexStream sends and receives independently. Send returns io.EOF when the server has ended the call; Receive then
// returns the reason.
type DuplexStream interface {
	Send(message *testpb.StreamingOutputCallRequest) error
	CloseSend() error
	Receive() (*testpb.StreamingOutputCallResponse, error)
}

// Failure is an RPC error in terms that all libraries share.
type Failure struct {
	Code        codes.Code
	Message     string
	Details     []*anypb.Any
	Meta        Metadata // header and trailer together, where the library gives them with the error
	NotModified bool     // the answer to a conditional GET was 304
}

// Error returns the code and the message.
func (f *Failure) Error() string {
	return fmt.Sprintf("%v: %s", f.Code, f.Message)
}
