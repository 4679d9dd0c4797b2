// SPDX-License-Identifier: Apache-2.0

// EndCall, from outside of a handler.

package connect

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/types/known/emptypb"
)

// TestEndCall: a Receive that waits returns the error, and so does the call, also if the
// handler returns none. The first error counts.
func TestEndCall(t *testing.T) {
	const procedure = "/a.S/M"
	for name, returns := range map[string]func(error) error{"the error": func(err error) error { return err }, "nil": func(error) error { return nil }} {
		t.Run(name, func(t *testing.T) {
			var received error
			after := make(chan context.Context, 1)
			h := NewBidiStreamHandler(procedure, func(ctx context.Context, stream *BidiStream[emptypb.Empty, emptypb.Empty]) error {
				go func() {
					if !EndCall(ctx, NewError(CodeAborted, errors.New("first"))) || !EndCall(ctx, NewError(CodeInternal, errors.New("second"))) {
						t.Error("got false for the context of a handler")
					}
				}()
				_, received = stream.Receive()
				after <- ctx
				return returns(received)
			})
			s := httptest.NewUnstartedServer(h)
			s.EnableHTTP2 = true
			s.StartTLS()
			defer s.Close()
			stream := NewClient[emptypb.Empty, emptypb.Empty](s.Client(), s.URL+procedure).CallBidiStream(t.Context())
			if err := stream.Send(nil); err != nil {
				t.Fatal(err)
			}
			_, err := stream.Receive()
			if got, want := err.Error(), "aborted: first"; got != want {
				t.Errorf("got %q at the client, want %q", got, want)
			}
			if got, want := received.Error(), "aborted: first"; got != want {
				t.Errorf("got %q in the handler, want %q", got, want)
			}
			_ = stream.CloseResponse()
			EndCall(<-after, NewError(CodeInternal, errors.New("late"))) // nothing happens
		})
	}
	if EndCall(context.Background(), NewError(CodeAborted, nil)) {
		t.Error("got true for a context that is no call's")
	}
	NewUnaryHandler(procedure, func(ctx context.Context, _ *Request[emptypb.Empty]) (*Response[emptypb.Empty], error) {
		if EndCall(ctx, nil) {
			t.Error("got true without an error")
		}
		return NewResponse(&emptypb.Empty{}), nil
	}).ServeHTTP(httptest.NewRecorder(), func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, procedure, http.NoBody)
		r.Header.Set("Content-Type", "application/proto")
		return r
	}())
}

// TestEndCallWhileSending ends calls whose handlers have declared a length, which
// connect-go's meaning allows, while they send: the race detector looks on.
func TestEndCallWhileSending(t *testing.T) {
	const procedure = "/a.S/M"
	h := NewServerStreamHandler(procedure, func(ctx context.Context, _ *Request[emptypb.Empty], stream *ServerStream[emptypb.Empty]) error {
		stream.ResponseHeader().Set("Content-Length", "5")
		var ends sync.WaitGroup
		defer ends.Wait()
		ends.Go(func() { EndCall(ctx, NewError(CodeAborted, errors.New("of a test"))) })
		runtime.Gosched()
		return stream.Send(new(emptypb.Empty))
	}, WithConnectGoBehavior())
	for range 200 {
		r := httptest.NewRequest(http.MethodPost, procedure, strings.NewReader("\x00\x00\x00\x00\x00"))
		r.Header.Set("Content-Type", "application/grpc")
		r.ProtoMajor = 2
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Type"); got != "application/grpc" {
			t.Fatalf("got a response of the type %q, want application/grpc", got)
		}
	}
}
