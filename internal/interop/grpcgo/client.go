// SPDX-License-Identifier: Apache-2.0

// Package grpcgo is the test service's client and server over grpc-go.
package grpcgo

import (
	"context"
	"errors"
	"io"

	"github.com/seed-b7c59c10/connect/internal/interop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/experimental"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type client struct {
	conn    grpc.ClientConnInterface
	service testpb.TestServiceClient
	options []grpc.CallOption
}

// NewClient calls the test service over the connection, each call with the options.
func NewClient(conn grpc.ClientConnInterface, options ...grpc.CallOption) interop.Client {
	return &client{conn: conn, service: testpb.NewTestServiceClient(conn), options: options}
}

func (c *client) Empty(ctx context.Context, procedure string, request *testpb.Empty) (*testpb.Empty, error) {
	response := new(testpb.Empty)
	if err := c.conn.Invoke(ctx, procedure, request, response, c.options...); err != nil {
		return nil, failure(err)
	}
	return response, nil
}

func (c *client) Unary(
	ctx context.Context, call *interop.Call, request *testpb.SimpleRequest,
) (*testpb.SimpleResponse, error) {
	procedure := call.Procedure
	if procedure == "" {
		procedure = interop.UnaryCall
	}
	var header, trailer metadata.MD
	options := append([]grpc.CallOption{grpc.Header(&header), grpc.Trailer(&trailer)}, c.options...)
	response := new(testpb.SimpleResponse)
	if err := c.conn.Invoke(outgoing(ctx, call), procedure, request, response, options...); err != nil {
		return nil, failure(err)
	}
	call.Header, call.Trailer = interop.Metadata(header), interop.Metadata(trailer)
	return response, nil
}

func (c *client) Input(ctx context.Context, call *interop.Call) (interop.InputStream, error) {
	stream, err := c.service.StreamingInputCall(outgoing(ctx, call), c.options...)
	if err != nil {
		return nil, failure(err)
	}
	return &inputStream{call: call, stream: stream}, nil
}

func (c *client) Output(
	ctx context.Context, call *interop.Call, request *testpb.StreamingOutputCallRequest,
) (interop.OutputStream, error) {
	stream, err := c.service.StreamingOutputCall(outgoing(ctx, call), request, c.options...)
	if err != nil {
		return nil, failure(err)
	}
	return &outputStream{call: call, stream: stream}, nil
}

func (c *client) Duplex(ctx context.Context, call *interop.Call) (interop.DuplexStream, error) {
	stream, err := c.service.FullDuplexCall(outgoing(ctx, call), c.options...)
	if err != nil {
		return nil, failure(err)
	}
	return &duplexStream{outputStream: outputStream{call: call, stream: stream}, stream: stream}, nil
}

// AcceptNoCompression makes a call accept only a compression that no server here offers. grpc-go v1.85.0 has no option to
// accept none: experimental.AcceptCompressors without a name restricts nothing, and the client would offer gzip.
func AcceptNoCompression() grpc.CallOption {
	return experimental.AcceptCompressors(unusable{}.Name())
}

func init() { encoding.RegisterCompressor(unusable{}) }

// unusable is a compression by name alone.
type unusable struct{}

func (unusable) Name() string                               { return "x-interop-unusable" }
func (unusable) Compress(io.Writer) (io.WriteCloser, error) { return nil, errors.ErrUnsupported }
func (unusable) Decompress(io.Reader) (io.Reader, error)    { return nil, errors.ErrUnsupported }

type inputStream struct {
	call   *interop.Call
	stream testpb.TestService_StreamingInputCallClient
}

func (s *inputStream) Send(message *testpb.StreamingInputCallRequest) error {
	return failure(s.stream.Send(message))
}

func (s *inputStream) CloseAndReceive() (*testpb.StreamingInputCallResponse, error) {
	response, err := s.stream.CloseAndRecv()
	finish(s.call, s.stream)
	return response, failure(err)
}

type outputStream struct {
	call   *interop.Call
	stream interface {
		grpc.ClientStream
		Recv() (*testpb.StreamingOutputCallResponse, error)
	}
}

func (s *outputStream) Receive() (*testpb.StreamingOutputCallResponse, error) {
	message, err := s.stream.Recv()
	if err != nil {
		finish(s.call, s.stream)
	}
	return message, failure(err)
}

type duplexStream struct {
	outputStream
	stream testpb.TestService_FullDuplexCallClient
}

func (s *duplexStream) Send(message *testpb.StreamingOutputCallRequest) error {
	return failure(s.stream.Send(message))
}

func (s *duplexStream) CloseSend() error {
	return failure(s.stream.CloseSend())
}

// finish takes the metadata of a stream that has ended, when neither call blocks.
func finish(call *interop.Call, stream grpc.ClientStream) {
	if header, err := stream.Header(); err == nil {
		call.Header = interop.Metadata(header)
	}
	call.Trailer = interop.Metadata(stream.Trailer())
}

func outgoing(ctx context.Context, call *interop.Call) context.Context {
	return metadata.NewOutgoingContext(ctx, metadata.MD(call.Request))
}

// failure translates an error, leaving nil and io.EOF as they are.
func failure(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	s := status.Convert(err)
	return &interop.Failure{Code: s.Code(), Message: s.Message(), Details: s.Proto().GetDetails()}
}
