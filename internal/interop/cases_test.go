// SPDX-License-Identifier: Apache-2.0

// This file holds gRPC's standard interoperability cases, each written once for every pair of libraries. The names are
// those of the published list (doc/interop-test-descriptions.md in the gRPC repository).

package interop_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/internal/interop"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
)

// patience bounds every case and every wait. No case comes near it unless something hangs.
const patience = time.Minute

// clients are three views of one service.
type clients struct {
	plain    interop.Client // sends uncompressed, accepts gzip
	gzip     interop.Client // sends gzip, accepts gzip
	identity interop.Client // sends uncompressed, accepts no compression
}

type testCase struct {
	name string
	bidi bool // needs both directions at once, which HTTP/1.1 cannot carry
	run  func(ctx context.Context, t *testing.T, c clients)
}

// runCases runs each case as a subtest under its own deadline.
func runCases(t *testing.T, cases []testCase, bidi bool, c clients) {
	for _, tc := range cases {
		if tc.bidi && !bidi {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			tc.run(ctx, t, c)
		})
	}
}

var standardCases = []testCase{
	{name: "empty_unary", run: emptyUnary},
	{name: "large_unary", run: largeUnary},
	{name: "client_compressed_unary", run: clientCompressedUnary},
	{name: "server_compressed_unary", run: serverCompressedUnary},
	{name: "client_streaming", run: clientStreaming},
	{name: "server_streaming", run: serverStreaming},
	{name: "ping_pong", bidi: true, run: pingPong},
	{name: "empty_stream", bidi: true, run: emptyStream},
	{name: "cancel_after_begin", run: cancelAfterBegin},
	{name: "cancel_after_first_response", bidi: true, run: cancelAfterFirstResponse},
	{name: "timeout_on_sleeping_server", bidi: true, run: timeoutOnSleepingServer},
	{name: "custom_metadata", bidi: true, run: customMetadata},
	{name: "status_code_and_message", bidi: true, run: statusCodeAndMessage},
	{name: "special_status_message", run: specialStatusMessage},
	{name: "unimplemented_method", run: unimplementedMethod},
	{name: "unimplemented_service", run: unimplementedService},

	// Not in the published list, but all three libraries can do it.
	{name: "compressed_streams", bidi: true, run: compressedStreams},
	{name: "error_details", run: errorDetails},
	{name: "all_codes", run: allCodes},
}

// The sizes that the published cases prescribe.
var (
	requestSizes  = []int32{27182, 8, 1828, 45904}
	responseSizes = []int32{31415, 9, 2653, 58979}
)

const (
	largeRequest  = 271828
	largeResponse = 314159
)

// A message without a byte makes the round trip.
func emptyUnary(ctx context.Context, t *testing.T, c clients) {
	response, err := c.plain.Empty(ctx, interop.EmptyCall, new(testpb.Empty))
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(response, new(testpb.Empty)) {
		t.Errorf("got %v, want an empty message", response)
	}
}

// Messages larger than the flow-control windows arrive whole.
func largeUnary(ctx context.Context, t *testing.T, c clients) {
	response, err := c.plain.Unary(ctx, new(interop.Call), largeMessage())
	checkLarge(t, response, err)
}

// The server sees whether the request was compressed, and refuses one that was announced as compressed and is not.
func clientCompressedUnary(ctx context.Context, t *testing.T, c clients) {
	probe := largeMessage()
	probe.ExpectCompressed = &testpb.BoolValue{Value: true}
	_, err := c.plain.Unary(ctx, new(interop.Call), probe)
	checkFailure(t, err, codes.InvalidArgument)

	response, err := c.gzip.Unary(ctx, new(interop.Call), probe)
	checkLarge(t, response, err)

	plain := largeMessage()
	plain.ExpectCompressed = &testpb.BoolValue{Value: false}
	response, err = c.plain.Unary(ctx, new(interop.Call), plain)
	checkLarge(t, response, err)
}

// The server compresses the response when the request asks for it and the client accepts it. To get a plain response,
// the client accepts no compression: a handler has no switch for a single response.
func serverCompressedUnary(ctx context.Context, t *testing.T, c clients) {
	for _, tc := range []struct {
		client            interop.Client
		compressed, plain int64
	}{{c.plain, 1, 0}, {c.identity, 0, 1}} {
		request := largeMessage()
		request.ResponseCompressed = &testpb.BoolValue{Value: tc.compressed > 0}
		ctx, wire := interop.Watch(ctx)
		response, err := tc.client.Unary(ctx, new(interop.Call), request)
		checkLarge(t, response, err)
		checkWire(t, wire, tc.compressed, tc.plain)
	}
}

// Four messages up, their total size back.
func clientStreaming(ctx context.Context, t *testing.T, c clients) {
	stream, err := c.plain.Input(ctx, new(interop.Call))
	if err != nil {
		t.Fatal(err)
	}
	want := int32(0)
	for _, size := range requestSizes {
		want += size
		if err := stream.Send(&testpb.StreamingInputCallRequest{Payload: zeros(size)}); err != nil {
			t.Fatalf("sending %d bytes: %v", size, err)
		}
	}
	response, err := stream.CloseAndReceive()
	if err != nil {
		t.Fatal(err)
	}
	if got := response.GetAggregatedPayloadSize(); got != want {
		t.Errorf("aggregated size: got %d, want %d", got, want)
	}
}

// One message up, four of given sizes back, in order.
func serverStreaming(ctx context.Context, t *testing.T, c clients) {
	stream, err := c.plain.Output(ctx, new(interop.Call), output(responseSizes...))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range responseSizes {
		response, err := stream.Receive()
		checkPayload(t, response.GetPayload(), err, size)
	}
	checkEnd(t, stream)
}

// Each message goes up only after the answer to the one before it is here.
func pingPong(ctx context.Context, t *testing.T, c clients) {
	stream, err := c.plain.Duplex(ctx, new(interop.Call))
	if err != nil {
		t.Fatal(err)
	}
	for i, size := range responseSizes {
		request := output(size)
		request.Payload = zeros(requestSizes[i])
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
		response, err := stream.Receive()
		checkPayload(t, response.GetPayload(), err, size)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	checkEnd(t, stream)
}

// A stream without a message in either direction succeeds.
func emptyStream(ctx context.Context, t *testing.T, c clients) {
	stream, err := c.plain.Duplex(ctx, new(interop.Call))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	checkEnd(t, stream)
}

// A call cancelled after its head and before its first message ends as cancelled.
func cancelAfterBegin(ctx context.Context, t *testing.T, c clients) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.plain.Input(ctx, new(interop.Call))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = stream.CloseAndReceive()
	checkFailure(t, err, codes.Canceled)
}

// A call cancelled in the middle ends as cancelled, though its first exchange was fine.
func cancelAfterFirstResponse(ctx context.Context, t *testing.T, c clients) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.plain.Duplex(ctx, new(interop.Call))
	if err != nil {
		t.Fatal(err)
	}
	request := output(responseSizes[0])
	request.Payload = zeros(requestSizes[0])
	if err := stream.Send(request); err != nil {
		t.Fatal(err)
	}
	response, err := stream.Receive()
	checkPayload(t, response.GetPayload(), err, responseSizes[0])
	cancel()
	_, err = stream.Receive()
	checkFailure(t, err, codes.Canceled)
}

// The client gives up when its deadline passes, whatever phase the call is in by then; the server never answers.
func timeoutOnSleepingServer(ctx context.Context, t *testing.T, c clients) {
	ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	stream, err := c.plain.Duplex(ctx, new(interop.Call))
	if err == nil {
		err = stream.Send(&testpb.StreamingOutputCallRequest{Payload: zeros(requestSizes[0])})
	}
	if err == nil || errors.Is(err, io.EOF) { // the server may have ended the call first
		_, err = stream.Receive()
	}
	checkFailure(t, err, codes.DeadlineExceeded)
}

// Text metadata comes back in the header, binary metadata in the trailer: unary and streaming.
func customMetadata(ctx context.Context, t *testing.T, c clients) {
	sent := interop.Metadata{
		interop.EchoInitial:  {"test_initial_metadata_value"},
		interop.EchoTrailing: {"\xab\xab\xab"},
	}
	unary := &interop.Call{Request: sent}
	response, err := c.plain.Unary(ctx, unary, largeMessage())
	checkLarge(t, response, err)
	checkEcho(t, unary, sent)

	duplex := &interop.Call{Request: sent}
	stream, err := c.plain.Duplex(ctx, duplex)
	if err != nil {
		t.Fatal(err)
	}
	request := output(largeResponse)
	request.Payload = zeros(largeRequest)
	if err := stream.Send(request); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	reply, err := stream.Receive()
	checkPayload(t, reply.GetPayload(), err, largeResponse)
	checkEnd(t, stream)
	checkEcho(t, duplex, sent)
}

// The code and the text that the request asks for come back: unary and streaming.
func statusCodeAndMessage(ctx context.Context, t *testing.T, c clients) {
	want := &testpb.EchoStatus{Code: int32(codes.Unknown), Message: "test status message"}
	_, err := c.plain.Unary(ctx, new(interop.Call), &testpb.SimpleRequest{ResponseStatus: want})
	checkStatus(t, err, want)

	stream, err := c.plain.Duplex(ctx, new(interop.Call))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&testpb.StreamingOutputCallRequest{ResponseStatus: want}); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Receive()
	checkStatus(t, err, want)
}

// White space at both ends, line breaks and characters beyond ASCII and beyond the basic plane survive in the text.
func specialStatusMessage(ctx context.Context, t *testing.T, c clients) {
	want := &testpb.EchoStatus{
		Code:    int32(codes.Unknown),
		Message: "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n",
	}
	_, err := c.plain.Unary(ctx, new(interop.Call), &testpb.SimpleRequest{ResponseStatus: want})
	checkStatus(t, err, want)
}

// The client calls a method that the schema has and the server does not.
func unimplementedMethod(ctx context.Context, t *testing.T, c clients) {
	_, err := c.plain.Empty(ctx, interop.UnimplementedMethod, new(testpb.Empty))
	checkFailure(t, err, codes.Unimplemented)
}

// The client calls a service that the server does not have.
func unimplementedService(ctx context.Context, t *testing.T, c clients) {
	_, err := c.plain.Empty(ctx, interop.UnimplementedService, new(testpb.Empty))
	checkFailure(t, err, codes.Unimplemented)
}

// Every message of a stream is compressed, in both directions, when both sides agree.
func compressedStreams(ctx context.Context, t *testing.T, c clients) {
	input, err := c.gzip.Input(ctx, new(interop.Call))
	if err != nil {
		t.Fatal(err)
	}
	want := int32(0)
	for _, size := range requestSizes {
		want += size
		message := &testpb.StreamingInputCallRequest{Payload: zeros(size), ExpectCompressed: &testpb.BoolValue{Value: true}}
		if err := input.Send(message); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := input.CloseAndReceive()
	if err != nil {
		t.Fatal(err)
	}
	if got := sum.GetAggregatedPayloadSize(); got != want {
		t.Errorf("aggregated size: got %d, want %d", got, want)
	}

	outputCtx, wire := interop.Watch(ctx)
	stream, err := c.gzip.Output(outputCtx, new(interop.Call), output(largeResponse, responseSizes[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int32{largeResponse, responseSizes[0]} {
		response, err := stream.Receive()
		checkPayload(t, response.GetPayload(), err, size)
	}
	checkEnd(t, stream)
	checkWire(t, wire, 2, 0)

	duplexCtx, wire := interop.Watch(ctx)
	duplex, err := c.gzip.Duplex(duplexCtx, new(interop.Call))
	if err != nil {
		t.Fatal(err)
	}
	if err := duplex.Send(output(largeResponse)); err != nil {
		t.Fatal(err)
	}
	response, err := duplex.Receive()
	checkPayload(t, response.GetPayload(), err, largeResponse)
	if err := duplex.CloseSend(); err != nil {
		t.Fatal(err)
	}
	checkEnd(t, duplex)
	checkWire(t, wire, 1, 0)
}

// Details of an error arrive complete and in order.
func errorDetails(ctx context.Context, t *testing.T, c clients) {
	want, call := detailCall(t)
	_, err := c.plain.Unary(ctx, call, &testpb.SimpleRequest{
		ResponseStatus: &testpb.EchoStatus{Code: int32(codes.FailedPrecondition), Message: "with details"},
	})
	checkDetails(t, err, want)
}

// Each of the sixteen codes keeps its number and its text.
func allCodes(ctx context.Context, t *testing.T, c clients) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		want := &testpb.EchoStatus{Code: int32(code), Message: "asked for " + code.String()}
		_, err := c.plain.Unary(ctx, new(interop.Call), &testpb.SimpleRequest{ResponseStatus: want})
		checkStatus(t, err, want)
	}
}
