// SPDX-License-Identifier: Apache-2.0

package overload

import (
	"context"
	"net/http"
	"testing"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/seed-b7c59c10/connect"
)

// overtaken is a handler around a service of which another call learns just now.
type overtaken struct {
	http.Handler
	kinds *kinds
}

func (o overtaken) Unwrap() http.Handler {
	o.kinds.learn(o.Handler)
	return o.Handler
}

// TestKindsOfFirstCalls has two calls of a procedure that are both the first.
func TestKindsOfFirstCalls(t *testing.T) {
	const path = "/test.v1.S/Stream"
	service := connect.NewServiceHandler([]*connect.Handler{connect.NewServerStreamHandler(path,
		func(context.Context, *connect.Request[emptypb.Empty], *connect.ServerStream[emptypb.Empty]) error {
			return nil
		})})
	var k kinds
	if !k.isStream(path, overtaken{service, &k}, "", "application/grpc") {
		t.Error("got a unary call, want a stream")
	}
}
