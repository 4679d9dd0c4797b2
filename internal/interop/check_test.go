// SPDX-License-Identifier: Apache-2.0

// This file holds the messages that the cases send, and the checks of the answers.

package interop_test

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/seed-b7c59c10/connect/internal/interop"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// ---- what the cases send ----

func zeros(size int32) *testpb.Payload {
	return &testpb.Payload{Body: make([]byte, size)}
}

func largeMessage() *testpb.SimpleRequest {
	return &testpb.SimpleRequest{ResponseSize: largeResponse, Payload: zeros(largeRequest)}
}

// output asks for one response of each size.
func output(sizes ...int32) *testpb.StreamingOutputCallRequest {
	request := new(testpb.StreamingOutputCallRequest)
	for _, size := range sizes {
		request.ResponseParameters = append(request.ResponseParameters, &testpb.ResponseParameters{Size: size})
	}
	return request
}

// detailCall is a call that asks for two error details, and these details.
func detailCall(t *testing.T) ([]*anypb.Any, *interop.Call) {
	t.Helper()
	var details []*anypb.Any
	call := &interop.Call{Request: interop.Metadata{}}
	for _, message := range []proto.Message{
		&testpb.EchoStatus{Code: 7, Message: "first"},
		&testpb.Payload{Body: []byte{0, 255, 1}},
	} {
		detail, err := anypb.New(message)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := proto.Marshal(detail)
		if err != nil {
			t.Fatal(err)
		}
		details = append(details, detail)
		call.Request[interop.EchoDetail] = append(call.Request[interop.EchoDetail], string(raw))
	}
	return details, call
}

// ---- what the cases expect ----

func checkLarge(t *testing.T, response *testpb.SimpleResponse, err error) {
	t.Helper()
	checkPayload(t, response.GetPayload(), err, largeResponse)
}

func checkPayload(t *testing.T, payload *testpb.Payload, err error, size int32) {
	t.Helper()
	if err != nil {
		t.Fatalf("got error %v, want a payload of %d bytes", err, size)
	}
	if want := zeros(size); !proto.Equal(payload, want) {
		t.Fatalf("payload: got type %v and %d bytes, want %d zeros", payload.GetType(), len(payload.GetBody()), size)
	}
}

// checkEnd expects that a stream has no further message and has succeeded.
func checkEnd(t *testing.T, stream interop.OutputStream) {
	t.Helper()
	if message, err := stream.Receive(); !errors.Is(err, io.EOF) {
		t.Fatalf("after the last message: got %d bytes and error %v, want io.EOF", len(message.GetPayload().GetBody()), err)
	}
}

func checkFailure(t *testing.T, err error, want codes.Code) *interop.Failure {
	t.Helper()
	var failure *interop.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("got error %v, want one with code %v", err, want)
	}
	if failure.Code != want {
		t.Fatalf("got code %v (%q), want %v", failure.Code, failure.Message, want)
	}
	return failure
}

func checkStatus(t *testing.T, err error, want *testpb.EchoStatus) *interop.Failure {
	t.Helper()
	failure := checkFailure(t, err, codes.Code(want.GetCode()))
	if failure.Message != want.GetMessage() {
		t.Fatalf("message: got %q, want %q", failure.Message, want.GetMessage())
	}
	return failure
}

func checkDetails(t *testing.T, err error, want []*anypb.Any) {
	t.Helper()
	failure := checkStatus(t, err, &testpb.EchoStatus{Code: int32(codes.FailedPrecondition), Message: "with details"})
	if len(failure.Details) != len(want) {
		t.Fatalf("details: got %v, want %v", failure.Details, want)
	}
	for i, got := range failure.Details {
		if !proto.Equal(got, want[i]) {
			t.Errorf("detail %d: got %v, want %v", i, got, want[i])
		}
	}
}

// checkEcho expects the metadata of a finished call.
func checkEcho(t *testing.T, call *interop.Call, sent interop.Metadata) {
	t.Helper()
	checkValues(t, "header", call.Header, interop.EchoInitial, sent)
	checkValues(t, "trailer", call.Trailer, interop.EchoTrailing, sent)
	if got := call.Header[interop.EchoTrailing]; len(got) > 0 {
		t.Errorf("header has %q of the trailer: %q", interop.EchoTrailing, got)
	}
}

func checkValues(t *testing.T, where string, got interop.Metadata, key string, want interop.Metadata) {
	t.Helper()
	if !slices.Equal(got[key], want[key]) {
		t.Errorf("%s %s: got %q, want %q", where, key, got[key], want[key])
	}
}

// checkWire expects how many messages of a response were compressed and how many were not.
func checkWire(t *testing.T, wire *interop.Wire, compressed, plain int64) {
	t.Helper()
	if got := wire.Compressed.Load(); got != compressed {
		t.Errorf("compressed messages: got %d, want %d", got, compressed)
	}
	if got := wire.Plain.Load(); got != plain {
		t.Errorf("plain messages: got %d, want %d", got, plain)
	}
}
