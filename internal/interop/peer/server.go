// SPDX-License-Identifier: Apache-2.0

// Code generated from package ours by peer_test.go. DO NOT EDIT.

// This file holds the handlers of gRPC's test service.

package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/seed-b7c59c10/connect/internal/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// NewHandler returns a handler for the procedures of the test service that the cases
// call. An ErrorWriter answers calls of other procedures with "unimplemented", in the
// caller's protocol.
func NewHandler(options ...connect.HandlerOption) http.Handler {
	cacheable := append([]connect.HandlerOption{connect.WithIdempotency(connect.IdempotencyNoSideEffects)}, options...)
	mux := http.NewServeMux()
	for procedure, handler := range map[string]*connect.Handler{
		interop.EmptyCall:           connect.NewUnaryHandler(interop.EmptyCall, emptyCall, options...),
		interop.UnaryCall:           connect.NewUnaryHandler(interop.UnaryCall, unaryCall, options...),
		interop.CacheableUnaryCall:  connect.NewUnaryHandler(interop.CacheableUnaryCall, cacheableCall, cacheable...),
		interop.StreamingInputCall:  connect.NewClientStreamHandler(interop.StreamingInputCall, inputCall, options...),
		interop.StreamingOutputCall: connect.NewServerStreamHandler(interop.StreamingOutputCall, outputCall, options...),
		interop.FullDuplexCall:      connect.NewBidiStreamHandler(interop.FullDuplexCall, duplexCall, options...),
	} {
		mux.Handle(procedure, handler)
	}
	writer := connect.NewErrorWriter(options...)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if !writer.IsSupported(r) {
			http.NotFound(w, r)
			return
		}
		_, _ = io.CopyN(io.Discard, r.Body, 256<<10) // an answer before the end of the request is lost in some proxies
		_ = writer.Write(w, r, connect.NewError(connect.CodeUnimplemented, fmt.Errorf("unknown procedure %q", r.URL.Path)))
	})
	return interop.WatchHandler(mux)
}

func emptyCall(context.Context, *connect.Request[testpb.Empty]) (*connect.Response[testpb.Empty], error) {
	return connect.NewResponse(new(testpb.Empty)), nil
}

func unaryCall(
	ctx context.Context, request *connect.Request[testpb.SimpleRequest],
) (*connect.Response[testpb.SimpleResponse], error) {
	if err := checkCompressed(ctx, request.Msg.GetExpectCompressed()); err != nil {
		return nil, err
	}
	if err := askedError(request.Msg.GetResponseStatus(), request.Header()); err != nil {
		echo(request.Header(), err.Meta(), err.Meta())
		return nil, err
	}
	payload, err := newPayload(request.Msg.GetResponseType(), request.Msg.GetResponseSize())
	if err != nil {
		return nil, err
	}
	response := connect.NewResponse(&testpb.SimpleResponse{Payload: payload})
	echo(request.Header(), response.Header(), response.Trailer())
	return response, nil
}

// cacheableCall answers with headers that let a cache keep the response. A header of the
// response has the HTTP method of the request.
func cacheableCall(
	_ context.Context, request *connect.Request[testpb.SimpleRequest],
) (*connect.Response[testpb.SimpleResponse], error) {
	if request.Header().Get("If-None-Match") == interop.ETag {
		return nil, connect.NewNotModifiedError(http.Header{"Etag": []string{interop.ETag}})
	}
	response := connect.NewResponse(&testpb.SimpleResponse{Payload: request.Msg.GetPayload()})
	response.Header().Set("Cache-Control", "max-age=60")
	response.Header().Set("ETag", interop.ETag)
	response.Header().Set(interop.HTTPMethod, request.HTTPMethod())
	return response, nil
}

func inputCall(
	ctx context.Context, stream *connect.ClientStream[inputRequest],
) (*connect.Response[inputResponse], error) {
	sum := 0
	for stream.Receive() {
		if err := checkCompressed(ctx, stream.Msg().GetExpectCompressed()); err != nil {
			return nil, err
		}
		sum += len(stream.Msg().GetPayload().GetBody())
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	response := connect.NewResponse(&inputResponse{AggregatedPayloadSize: int32(sum)})
	echo(stream.RequestHeader(), response.Header(), response.Trailer())
	return response, nil
}

func outputCall(
	ctx context.Context, request *connect.Request[outputRequest], stream *connect.ServerStream[outputResponse],
) error {
	echo(request.Header(), stream.ResponseHeader(), stream.ResponseTrailer())
	if err := reply(ctx, request.Msg, stream.Send); err != nil {
		return err
	}
	if err := askedError(request.Msg.GetResponseStatus(), request.Header()); err != nil {
		return err
	}
	return nil
}

func duplexCall(ctx context.Context, stream *connect.BidiStream[outputRequest, outputResponse]) error {
	echo(stream.RequestHeader(), stream.ResponseHeader(), stream.ResponseTrailer())
	if stream.RequestHeader().Get(interop.EchoInitial) != "" {
		if err := stream.Send(nil); err != nil { // sends the headers ahead of the first message
			return err
		}
	}
	for {
		request, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := askedError(request.GetResponseStatus(), stream.RequestHeader()); err != nil {
			return err
		}
		if err := reply(ctx, request, stream.Send); err != nil {
			return err
		}
	}
}

// reply sends one message for each of the response parameters, after the interval in it.
func reply(ctx context.Context, request *outputRequest, send func(*outputResponse) error) error {
	for _, parameters := range request.GetResponseParameters() {
		if interval := parameters.GetIntervalUs(); interval > 0 {
			timer := time.NewTimer(time.Duration(interval) * time.Microsecond)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			}
		}
		payload, err := newPayload(request.GetResponseType(), parameters.GetSize())
		if err != nil {
			return err
		}
		if err := send(&outputResponse{Payload: payload}); err != nil {
			return err
		}
	}
	return nil
}

func newPayload(kind testpb.PayloadType, size int32) (*testpb.Payload, error) {
	if kind != testpb.PayloadType_COMPRESSABLE || size < 0 {
		return nil, connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("building a payload of type %v and %d bytes: want type COMPRESSABLE and a size of at least 0", kind, size))
	}
	return &testpb.Payload{Type: kind, Body: make([]byte, size)}, nil
}

// askedError returns the error that a request asks for, with the details in its header;
// nil if it asks for none.
func askedError(status *testpb.EchoStatus, header http.Header) *connect.Error {
	if status.GetCode() == 0 {
		return nil
	}
	err := connect.NewError(connect.Code(status.GetCode()), errors.New(status.GetMessage()))
	for _, raw := range fromHTTP(header)[interop.EchoDetail] {
		message, bad := decodeDetail(raw)
		if bad != nil {
			return connect.NewError(connect.CodeInvalidArgument, bad)
		}
		detail, bad := connect.NewErrorDetail(message)
		if bad != nil {
			return connect.NewError(connect.CodeInvalidArgument, bad)
		}
		err.AddDetail(detail)
	}
	return err
}

func decodeDetail(raw string) (proto.Message, error) {
	var box anypb.Any
	if err := proto.Unmarshal([]byte(raw), &box); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", interop.EchoDetail, err)
	}
	return box.UnmarshalNew()
}

// checkCompressed returns an error if a request was compressed and want is false, or the
// other way round. A nil want matches any request.
func checkCompressed(ctx context.Context, want *testpb.BoolValue) error {
	if want == nil {
		return nil
	}
	wire := interop.WireFrom(ctx)
	if got := wire.Compressed.Load() > 0 && wire.Plain.Load() == 0; got != want.GetValue() {
		return connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("request compressed: got %t, want %t", got, want.GetValue()))
	}
	return nil
}

// echo copies the metadata that the cases expect in the response, in the order of its
// values.
func echo(request, header, trailer http.Header) {
	for _, value := range request.Values(interop.EchoInitial) {
		header.Add(interop.EchoInitial, value)
	}
	for _, value := range request.Values(interop.EchoTrailing) {
		trailer.Add(interop.EchoTrailing, value)
	}
}
