// SPDX-License-Identifier: Apache-2.0

// Code generated from package ours by peer_test.go. DO NOT EDIT.

// Package peer is a client and a server of gRPC's test service on connect-go: package ours with another import path.
package peer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"github.com/seed-b7c59c10/connect/internal/interop"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/types/known/anypb"
)

// Short names of messages.
type (
	inputRequest   = testpb.StreamingInputCallRequest
	inputResponse  = testpb.StreamingInputCallResponse
	outputRequest  = testpb.StreamingOutputCallRequest
	outputResponse = testpb.StreamingOutputCallResponse
)

type client struct {
	http    connect.HTTPClient
	url     string
	options []connect.ClientOption
}

// NewClient returns a client of the test service below a URL, such as
// "http://127.0.0.1:8080".
func NewClient(httpClient connect.HTTPClient, url string, options ...connect.ClientOption) interop.Client {
	return &client{http: httpClient, url: url, options: options}
}

func dial[Req, Res any](c *client, procedure string) *connect.Client[Req, Res] {
	options := c.options
	if procedure == interop.CacheableUnaryCall {
		options = append([]connect.ClientOption{connect.WithIdempotency(connect.IdempotencyNoSideEffects)}, options...)
	}
	return connect.NewClient[Req, Res](c.http, c.url+procedure, options...)
}

func (c *client) Empty(ctx context.Context, procedure string, request *testpb.Empty) (*testpb.Empty, error) {
	response, err := dial[testpb.Empty, testpb.Empty](c, procedure).CallUnary(ctx, connect.NewRequest(request))
	if err != nil {
		return nil, failure(err)
	}
	return response.Msg, nil
}

func (c *client) Unary(
	ctx context.Context, call *interop.Call, message *testpb.SimpleRequest,
) (*testpb.SimpleResponse, error) {
	procedure := call.Procedure
	if procedure == "" {
		procedure = interop.UnaryCall
	}
	request := connect.NewRequest(message)
	toHTTP(request.Header(), call.Request)
	response, err := dial[testpb.SimpleRequest, testpb.SimpleResponse](c, procedure).CallUnary(ctx, request)
	if err != nil {
		return nil, failure(err)
	}
	call.Header, call.Trailer = fromHTTP(response.Header()), fromHTTP(response.Trailer())
	return response.Msg, nil
}

func (c *client) Input(ctx context.Context, call *interop.Call) (interop.InputStream, error) {
	stream := dial[inputRequest, inputResponse](c, interop.StreamingInputCall).CallClientStream(ctx)
	toHTTP(stream.RequestHeader(), call.Request)
	if err := stream.Send(nil); err != nil { // the headers alone
		return nil, failure(err)
	}
	return &inputStream{call: call, stream: stream}, nil
}

func (c *client) Output(ctx context.Context, call *interop.Call, message *outputRequest) (interop.OutputStream, error) {
	request := connect.NewRequest(message)
	toHTTP(request.Header(), call.Request)
	stream, err := dial[outputRequest, outputResponse](c, interop.StreamingOutputCall).CallServerStream(ctx, request)
	if err != nil {
		return nil, failure(err)
	}
	return &outputStream{call: call, stream: stream}, nil
}

func (c *client) Duplex(ctx context.Context, call *interop.Call) (interop.DuplexStream, error) {
	stream := dial[outputRequest, outputResponse](c, interop.FullDuplexCall).CallBidiStream(ctx)
	toHTTP(stream.RequestHeader(), call.Request)
	if err := stream.Send(nil); err != nil {
		return nil, failure(err)
	}
	return &duplexStream{call: call, stream: stream}, nil
}

type inputStream struct {
	call   *interop.Call
	stream *connect.ClientStreamForClient[inputRequest, inputResponse]
}

func (s *inputStream) Send(message *inputRequest) error {
	return failure(s.stream.Send(message))
}

func (s *inputStream) CloseAndReceive() (*inputResponse, error) {
	response, err := s.stream.CloseAndReceive()
	if err != nil {
		return nil, failure(err)
	}
	s.call.Header, s.call.Trailer = fromHTTP(response.Header()), fromHTTP(response.Trailer())
	return response.Msg, nil
}

type outputStream struct {
	call   *interop.Call
	stream *connect.ServerStreamForClient[outputResponse]
}

func (s *outputStream) Receive() (*outputResponse, error) {
	if s.stream.Receive() {
		return s.stream.Msg(), nil
	}
	s.call.Header, s.call.Trailer = fromHTTP(s.stream.ResponseHeader()), fromHTTP(s.stream.ResponseTrailer())
	err := s.stream.Err()
	if closed := s.stream.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = io.EOF
	}
	return nil, failure(err)
}

type duplexStream struct {
	call   *interop.Call
	stream *connect.BidiStreamForClient[outputRequest, outputResponse]
}

func (s *duplexStream) Send(message *outputRequest) error {
	return failure(s.stream.Send(message))
}

func (s *duplexStream) CloseSend() error {
	return failure(s.stream.CloseRequest())
}

func (s *duplexStream) Receive() (*outputResponse, error) {
	message, err := s.stream.Receive()
	if err == nil {
		return message, nil
	}
	s.call.Header, s.call.Trailer = fromHTTP(s.stream.ResponseHeader()), fromHTTP(s.stream.ResponseTrailer())
	// After the end of the stream the error of CloseResponse counts. After a failure the
	// error of Receive does: that of CloseResponse has the same cause.
	if closed := s.stream.CloseResponse(); errors.Is(err, io.EOF) && closed != nil {
		err = closed
	}
	return nil, failure(err)
}

// failure returns an error as an *interop.Failure, and nil for nil. It returns io.EOF for
// the end of a stream: an error that wraps io.EOF and has no code of its own. If such an
// error has a code, for example "unavailable", io.EOF is the cause of a failure.
func failure(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) && connect.CodeOf(err) == connect.CodeUnknown {
		return io.EOF
	}
	var e *connect.Error
	if !errors.As(err, &e) {
		return &interop.Failure{Code: codes.Unknown, Message: "not an RPC error: " + err.Error()}
	}
	f := &interop.Failure{
		Code:        codes.Code(e.Code()),
		Message:     e.Message(),
		Meta:        fromHTTP(e.Meta()),
		NotModified: connect.IsNotModifiedError(err),
	}
	for _, detail := range e.Details() {
		f.Details = append(f.Details, &anypb.Any{TypeUrl: "type.googleapis.com/" + detail.Type(), Value: detail.Bytes()})
	}
	return f
}

// toHTTP adds metadata to a header. Values whose key ends in "-bin" become base64.
func toHTTP(header http.Header, metadata interop.Metadata) {
	for key, values := range metadata {
		for _, value := range values {
			if strings.HasSuffix(key, "-bin") {
				value = connect.EncodeBinaryHeader([]byte(value))
			}
			header.Add(key, value)
		}
	}
}

// fromHTTP is the inverse of toHTTP. A value that is not valid base64 stays as it is.
func fromHTTP(header http.Header) interop.Metadata {
	metadata := make(interop.Metadata, len(header))
	for key, values := range header {
		key = strings.ToLower(key)
		for _, value := range values {
			if strings.HasSuffix(key, "-bin") {
				if raw, err := connect.DecodeBinaryHeader(value); err == nil {
					value = string(raw)
				}
			}
			metadata[key] = append(metadata[key], value)
		}
	}
	return metadata
}
