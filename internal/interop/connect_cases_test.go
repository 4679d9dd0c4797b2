// SPDX-License-Identifier: Apache-2.0

// This file holds the cases that go beyond gRPC's list, for pairs of libraries which both speak all three protocols.

package interop_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/internal/interop"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
)

var connectCases = []testCase{
	{name: "metadata_unary", run: metadataUnary},
	{name: "metadata_client_stream", run: metadataClientStream},
	{name: "metadata_server_stream", run: metadataServerStream},
	{name: "metadata_bidi_stream", bidi: true, run: metadataBidiStream},
	{name: "metadata_with_error", run: metadataWithError},
	{name: "error_after_messages", run: errorAfterMessages},
	{name: "error_in_bidi_stream", bidi: true, run: errorInBidiStream},
	{name: "compressed_client_stream", run: compressedClientStream},
	{name: "compressed_server_stream", run: compressedServerStream},
	{name: "cancel_server_stream", run: cancelServerStream},
	{name: "deadline_server_stream", run: deadlineServerStream},
}

// Two values of one key stay two, in order; binary values may hold every byte.
func echoMetadata() interop.Metadata {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	return interop.Metadata{
		interop.EchoInitial:  {"one", "two"},
		interop.EchoTrailing: {string(every), "\x00"},
	}
}

func metadataUnary(ctx context.Context, t *testing.T, c clients) {
	call := &interop.Call{Request: echoMetadata()}
	if _, err := c.plain.Unary(ctx, call, new(testpb.SimpleRequest)); err != nil {
		t.Fatal(err)
	}
	checkEcho(t, call, call.Request)
}

func metadataClientStream(ctx context.Context, t *testing.T, c clients) {
	call := &interop.Call{Request: echoMetadata()}
	stream, err := c.plain.Input(ctx, call)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.CloseAndReceive(); err != nil {
		t.Fatal(err)
	}
	checkEcho(t, call, call.Request)
}

func metadataServerStream(ctx context.Context, t *testing.T, c clients) {
	call := &interop.Call{Request: echoMetadata()}
	stream, err := c.plain.Output(ctx, call, output(1))
	if err != nil {
		t.Fatal(err)
	}
	response, err := stream.Receive()
	checkPayload(t, response.GetPayload(), err, 1)
	checkEnd(t, stream)
	checkEcho(t, call, call.Request)
}

func metadataBidiStream(ctx context.Context, t *testing.T, c clients) {
	call := &interop.Call{Request: echoMetadata()}
	stream, err := c.plain.Duplex(ctx, call)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	checkEnd(t, stream)
	checkEcho(t, call, call.Request)
}

// An error carries metadata: the header and the trailer together.
func metadataWithError(ctx context.Context, t *testing.T, c clients) {
	call := &interop.Call{Request: echoMetadata()}
	want := &testpb.EchoStatus{Code: int32(codes.Aborted), Message: "with metadata"}
	_, err := c.plain.Unary(ctx, call, &testpb.SimpleRequest{ResponseStatus: want})
	failure := checkStatus(t, err, want)
	checkValues(t, "error", failure.Meta, interop.EchoInitial, call.Request)
	checkValues(t, "error", failure.Meta, interop.EchoTrailing, call.Request)
}

// A stream that fails delivers its messages first, then the error with details, and the trailer.
func errorAfterMessages(ctx context.Context, t *testing.T, c clients) {
	want, call := detailCall(t)
	call.Request[interop.EchoTrailing] = []string{"\x00\x01"}
	request := output(3, 5)
	request.ResponseStatus = &testpb.EchoStatus{Code: int32(codes.FailedPrecondition), Message: "with details"}
	stream, err := c.plain.Output(ctx, call, request)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int32{3, 5} {
		response, err := stream.Receive()
		checkPayload(t, response.GetPayload(), err, size)
	}
	_, err = stream.Receive()
	checkDetails(t, err, want)
	checkValues(t, "trailer", call.Trailer, interop.EchoTrailing, call.Request)
}

func errorInBidiStream(ctx context.Context, t *testing.T, c clients) {
	want, call := detailCall(t)
	stream, err := c.plain.Duplex(ctx, call)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(output(7)); err != nil {
		t.Fatal(err)
	}
	response, err := stream.Receive()
	checkPayload(t, response.GetPayload(), err, 7)
	last := &testpb.StreamingOutputCallRequest{
		ResponseStatus: &testpb.EchoStatus{Code: int32(codes.FailedPrecondition), Message: "with details"},
	}
	if err := stream.Send(last); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Receive()
	checkDetails(t, err, want)
}

// The server counts compressed envelopes. It refuses a plain message that was announced as compressed.
func compressedClientStream(ctx context.Context, t *testing.T, c clients) {
	for _, tc := range []struct {
		client   interop.Client
		announce bool
		want     codes.Code
	}{
		{c.gzip, true, codes.OK},
		{c.plain, false, codes.OK},
		{c.plain, true, codes.InvalidArgument},
	} {
		stream, err := tc.client.Input(ctx, new(interop.Call))
		if err != nil {
			t.Fatal(err)
		}
		message := &testpb.StreamingInputCallRequest{
			Payload:          zeros(requestSizes[0]),
			ExpectCompressed: &testpb.BoolValue{Value: tc.announce},
		}
		if err := stream.Send(message); err != nil {
			t.Fatal(err)
		}
		response, err := stream.CloseAndReceive()
		if tc.want != codes.OK {
			checkFailure(t, err, tc.want)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := response.GetAggregatedPayloadSize(); got != requestSizes[0] {
			t.Errorf("aggregated size: got %d, want %d", got, requestSizes[0])
		}
	}
}

// The server compresses a stream if the client accepts that. It decides for each message: the one of 9 bytes is too
// small.
func compressedServerStream(ctx context.Context, t *testing.T, c clients) {
	for _, tc := range []struct {
		client            interop.Client
		compressed, plain int64
	}{{c.gzip, 3, 1}, {c.plain, 3, 1}, {c.identity, 0, 4}} {
		ctx, wire := interop.Watch(ctx)
		stream, err := tc.client.Output(ctx, new(interop.Call), output(responseSizes...))
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range responseSizes {
			response, err := stream.Receive()
			checkPayload(t, response.GetPayload(), err, size)
		}
		checkEnd(t, stream)
		checkWire(t, wire, tc.compressed, tc.plain)
	}
}

// sleepy asks for a message at once and for another in an hour.
func sleepy() *testpb.StreamingOutputCallRequest {
	request := output(1, 1)
	request.ResponseParameters[1].IntervalUs = int32((time.Hour / 2).Microseconds())
	return request
}

// A client that cancels between two messages ends the call on both sides: otherwise the server could not stop.
func cancelServerStream(ctx context.Context, t *testing.T, c clients) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.plain.Output(ctx, new(interop.Call), sleepy())
	if err != nil {
		t.Fatal(err)
	}
	response, err := stream.Receive()
	checkPayload(t, response.GetPayload(), err, 1)
	cancel()
	_, err = stream.Receive()
	checkFailure(t, err, codes.Canceled)
}

// A deadline ends the call, too. It may pass in any phase of the call.
func deadlineServerStream(ctx context.Context, t *testing.T, c clients) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	stream, err := c.plain.Output(ctx, new(interop.Call), sleepy())
	for err == nil {
		_, err = stream.Receive()
	}
	checkFailure(t, err, codes.DeadlineExceeded)
}

// HTTP/1.1 cannot carry both directions at once. The server refuses with HTTP status 505, which stands for no code, and
// the client waits for nothing more.
func bidiRefused(ctx context.Context, t *testing.T, c clients) {
	stream, err := c.plain.Duplex(ctx, new(interop.Call))
	if err == nil {
		_, err = stream.Receive()
	}
	failure := checkFailure(t, err, codes.Unknown)
	if !strings.Contains(failure.Message, "505") {
		t.Errorf("message: got %q, want it to name HTTP status 505", failure.Message)
	}
}

// ---- Connect GET ----

var getCases = []testCase{
	{name: "get", run: getUnary},
	{name: "get_not_modified", run: getNotModified},
	{name: "get_falls_back_to_post", run: getFallsBack},
}

func getUnary(ctx context.Context, t *testing.T, c clients) {
	for name, client := range map[string]interop.Client{"plain": c.plain, "gzip": c.gzip} {
		call := &interop.Call{Procedure: interop.CacheableUnaryCall}
		request := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: []byte("?&=+/ and \xff\x00")}}
		response, err := client.Unary(ctx, call, request)
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(response.GetPayload(), request.GetPayload()) {
			t.Errorf("%s payload: got %v, want %v", name, response.GetPayload(), request.GetPayload())
		}
		if got := call.Header[interop.HTTPMethod]; !slices.Equal(got, []string{"GET"}) {
			t.Errorf("%s method: got %q, want GET", name, got)
		}
		if got := call.Header["vary"]; !slices.Contains(got, "Accept-Encoding") {
			t.Errorf("%s vary: got %q, want Accept-Encoding", name, got)
		}
	}
}

func getNotModified(ctx context.Context, t *testing.T, c clients) {
	call := &interop.Call{
		Procedure: interop.CacheableUnaryCall,
		Request:   interop.Metadata{"if-none-match": {interop.ETag}},
	}
	_, err := c.plain.Unary(ctx, call, new(testpb.SimpleRequest))
	failure := checkFailure(t, err, codes.Unknown)
	if !failure.NotModified {
		t.Errorf("got %v, want \"not modified\"", failure)
	}
	if got := failure.Meta["etag"]; !slices.Equal(got, []string{interop.ETag}) {
		t.Errorf("entity tag: got %q, want %q", got, interop.ETag)
	}
}

// The client sends a message as a POST if it makes the URL too long.
func getFallsBack(ctx context.Context, t *testing.T, c clients) {
	call := &interop.Call{Procedure: interop.CacheableUnaryCall}
	response, err := c.plain.Unary(ctx, call, &testpb.SimpleRequest{Payload: zeros(maxURL)})
	checkPayload(t, response.GetPayload(), err, maxURL)
	if got := call.Header[interop.HTTPMethod]; !slices.Equal(got, []string{"POST"}) {
		t.Errorf("method: got %q, want POST", got)
	}
}
