// SPDX-License-Identifier: Apache-2.0

// The CallInfo of handlers with connect-go's meaning.

package connect

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/emptypb"
)

// TestCallInfoOfForeignContext: with connect-go's meaning a handler has a CallInfo although
// a gate has passed on a context that is not the call's. What that cannot do is an error.
func TestCallInfoOfForeignContext(t *testing.T) {
	const procedure = "/a.S/M"
	ask := func(ctx context.Context) {
		info, ok := CallInfoForHandlerContext(ctx)
		if !ok {
			t.Error("got no CallInfo")
			return
		}
		if got := CodeOf(info.SetSendCompression("gzip")); got != CodeUnimplemented {
			t.Errorf("compression: got %v, want unimplemented", got)
		}
		if err := info.SendHeader(); err != nil {
			t.Errorf("headers: got %v, want no error", err)
		}
	}
	behavior := WithConnectGoBehavior()
	gate := WithRequestGate(func(context.Context, Spec, Peer, http.Header) (context.Context, error) { return t.Context(), nil })
	for name, h := range map[string]*Handler{
		"unary": NewUnaryHandler(procedure, func(ctx context.Context, _ *Request[emptypb.Empty]) (*Response[emptypb.Empty], error) {
			ask(ctx)
			return NewResponse(new(emptypb.Empty)), nil
		}, behavior, gate),
		"bidi": NewBidiStreamHandler(procedure, func(ctx context.Context, _ *BidiStream[emptypb.Empty, emptypb.Empty]) error {
			ask(ctx)
			return nil
		}, behavior, gate),
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, procedure, strings.NewReader("\x00\x00\x00\x00\x00"))
			r.Header.Set("Content-Type", "application/grpc")
			r.ProtoMajor = 2
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := w.Result().Trailer.Get("Grpc-Status"); got != "0" {
				t.Errorf("got status %q, want 0", got)
			}
		})
	}
}
