// SPDX-License-Identifier: Apache-2.0

// This file tests headers and trailers, in both directions.

package conntest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// binaryValues are bytes that no header can carry as they are. Their base64
// forms need padding of every length.
var binaryValues = [][]byte{{0, 1, 2, 0xff}, {0xfb, 0xef}, []byte("a,b\r\nc"), {}}

// metadata makes a header with a single value, several values of one key, and
// binary values.
func metadata(prefix string) http.Header {
	h := http.Header{}
	h.Set(prefix+"-Single", "one value; with=punctuation, and a comma")
	for _, v := range []string{"first", "second", "first"} {
		h.Add(prefix+"-Many", v)
	}
	for _, v := range binaryValues {
		h.Add(prefix+"-Bytes-Bin", connect.EncodeBinaryHeader(v))
	}
	return h
}

// wantMetadata fails the test unless a header has what metadata made, with all
// values in their order (checklist item 72).
func wantMetadata(t *testing.T, where string, got http.Header, prefix string) {
	t.Helper()
	want := metadata(prefix)
	for _, key := range []string{prefix + "-Single", prefix + "-Many"} {
		wantValues(t, where, got, key, want.Values(key)...)
	}
	var decoded [][]byte
	for _, v := range got.Values(prefix + "-Bytes-Bin") {
		b, err := connect.DecodeBinaryHeader(v)
		if err != nil {
			t.Fatalf("%s: %s-Bytes-Bin: %v", where, prefix, err)
		}
		decoded = append(decoded, b)
	}
	if !slices.EqualFunc(decoded, binaryValues, slices.Equal) {
		t.Fatalf("%s: %s-Bytes-Bin: got %q, want %q", where, prefix, decoded, binaryValues)
	}
}

func TestMetadata(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		received := make(chan http.Header, 1)
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			received <- x.header.Clone()
			merge(x.answer, metadata("Answer"))
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			if err := x.send(&conntestv1.Response{Count: int32(len(requests))}); err != nil {
				return err
			}
			merge(x.trailer, metadata("Trailing"))
			return nil
		})).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			requests := []*conntestv1.Request{text("one")}
			if k.sendsMany() {
				requests = append(requests, text("two"))
			}
			o := call(testContext(t), client, k, metadata("Asked"), requests...)
			wantNil(t, o.err)
			wantMetadata(t, "request header", <-received, "Asked")
			wantMetadata(t, "response header", o.header, "Answer")
			wantMetadata(t, "response trailer", o.trailer, "Trailing")
			wantValues(t, "response header", o.header, "Trailing-Single")
			wantValues(t, "response header", o.header, "Trailer-Trailing-Single")
			wantValues(t, "response trailer", o.trailer, "Answer-Single")
		})
	})
}

// Metadata arrives although no message does.
func TestMetadataWithoutMessages(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			if x.header.Get("Asked-Single") == "" {
				x.answer.Set("Missing", "request header")
			}
			merge(x.answer, metadata("Answer"))
			merge(x.trailer, metadata("Trailing"))
			return nil
		})).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			var requests []*conntestv1.Request
			if !k.sendsMany() {
				requests = append(requests, new(conntestv1.Request))
			}
			o := call(testContext(t), client, k, metadata("Asked"), requests...)
			wantNil(t, o.err)
			wantValues(t, "response header", o.header, "Missing")
			wantMetadata(t, "response header", o.header, "Answer")
			wantMetadata(t, "response trailer", o.trailer, "Trailing")
		})
	})
}

// A request's header belongs to its caller: a call adds nothing to it that a
// second call would send twice, and the same request may be sent again.
func TestRequestHeaderIsReusable(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		received := make(chan http.Header, 1)
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			received <- x.header.Clone()
			return x.send(new(conntestv1.Response))
		})).client()
		r := requestOf("again")
		r.Header().Add("Asked", "once")
		for range 2 {
			_, err := client.Unary(testContext(t), r)
			wantNil(t, err)
			wantValues(t, "request header", <-received, "Asked", "once")
		}
	})
}

// Metadata set after the first message of a response is too late for the
// header, and harmless.
func TestLateResponseHeader(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, handlers{
			serverStream: func(_ context.Context, _ *request, s *connect.ServerStream[conntestv1.Response]) error {
				s.ResponseHeader().Set("Early", "yes")
				if err := s.Send(new(conntestv1.Response)); err != nil {
					return err
				}
				s.ResponseHeader().Set("Late", "yes")
				s.ResponseTrailer().Set("Trailing", "yes")
				return nil
			},
		}).client()
		o := call(testContext(t), client, serverStream, nil, text("go"))
		wantNil(t, o.err)
		wantValues(t, "response header", o.header, "Early", "yes")
		wantValues(t, "response header", o.header, "Late")
		wantValues(t, "response trailer", o.trailer, "Trailing", "yes")
	})
}

// Only the names that the protocols write themselves are theirs: metadata whose name
// merely begins like them arrives, in both directions and in errors.
func TestMetadataNamedLikeTheProtocols(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		received := make(chan http.Header, 1)
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			received <- x.header.Clone()
			merge(x.answer, metadata("Grpc-Answer"))
			merge(x.answer, metadata("Connect-Answer"))
			merge(x.trailer, metadata("Grpc-Trailing"))
			merge(x.trailer, metadata("Connect-Trailing"))
			if x.header.Get("Fail") == "" {
				return x.send(new(conntestv1.Response))
			}
			err := connect.NewError(connect.CodeAborted, nil)
			merge(err.Meta(), metadata("Grpc-Failed"))
			merge(err.Meta(), metadata("Connect-Failed"))
			return err
		})).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			asked := metadata("Grpc-Asked")
			merge(asked, metadata("Connect-Asked"))
			asked.Set("Date", "tomorrow")
			o := call(testContext(t), client, k, asked, text("one"))
			wantNil(t, o.err)
			header := <-received
			wantValues(t, "request header", header, "Date", "tomorrow")
			for _, prefix := range []string{"Grpc-", "Connect-"} {
				wantMetadata(t, "request header", header, prefix+"Asked")
				wantMetadata(t, "response header", o.header, prefix+"Answer")
				wantMetadata(t, "response trailer", o.trailer, prefix+"Trailing")
			}
			asked.Set("Fail", "yes")
			o = call(testContext(t), client, k, asked, text("one"))
			<-received
			wantCode(t, o.err, connect.CodeAborted)
			var failed *connect.Error
			errors.As(o.err, &failed)
			for _, prefix := range []string{"Grpc-", "Connect-"} {
				wantMetadata(t, "error metadata", failed.Meta(), prefix+"Failed")
			}
		})
	})
}

// An application may end its connection, on either side.
func TestConnectionClose(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		received := make(chan http.Header, 1)
		s := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			received <- x.header.Clone()
			if x.header.Get("Connection") == "" {
				x.answer.Set("Connection", "close")
			}
			return x.send(new(conntestv1.Response))
		}), alone)
		for _, k := range []kind{unary, serverStream} {
			closes := false
			client := s.clientOn(doerFunc(func(r *http.Request) (*http.Response, error) {
				response, err := s.httpClient().Do(r)
				closes = err == nil && response.Close
				return response, err
			}))
			for _, asked := range []http.Header{nil, {"Connection": {"close"}}} {
				o := call(testContext(t), client, k, asked, text("one"))
				wantNil(t, o.err)
				wantValues(t, "request header", <-received, "Connection", asked["Connection"]...)
				wantEqual(t, "the response's connection closes", closes, true)
			}
		}
	}, func(m mode) bool { return m.engine.name == "h1" })
}
