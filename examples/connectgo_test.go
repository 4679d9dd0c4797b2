// SPDX-License-Identifier: Apache-2.0

// Example: the meaning of connect-go where this library has another one.

package examples_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
)

// A handler leaves short answers uncompressed, and lists the compressions that it
// accepts only for clients that compress. With WithConnectGoBehavior it compresses
// answers of any size and always lists them, as connectrpc.com/connect does. An option
// after it takes one part back.
func ExampleWithConnectGoBehavior() {
	const procedure = "/echo.v1.EchoService/Echo"
	echo := func(_ context.Context, req *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
		return connect.NewResponse(req.Msg), nil
	}
	for _, options := range [][]connect.HandlerOption{
		nil,
		{connect.WithConnectGoBehavior()},
		{connect.WithConnectGoBehavior(), connect.WithCompressMinBytes(1024)},
	} {
		handler := connect.NewUnaryHandler(procedure, echo, options...)
		req := httptest.NewRequest(http.MethodPost, procedure, strings.NewReader(`"hello"`))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept-Encoding", "gzip")
		res := httptest.NewRecorder()
		handler.ServeHTTP(res, req)
		fmt.Printf("answer in %q, accepts %q\n", res.Header().Get("Content-Encoding"), res.Header().Get("Accept-Encoding"))
	}
	// Output:
	// answer in "", accepts ""
	// answer in "gzip", accepts "gzip"
	// answer in "", accepts "gzip"
}
