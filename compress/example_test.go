// SPDX-License-Identifier: Apache-2.0

// This file shows the options in use.

package compress_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress/br"
	"github.com/seed-b7c59c10/connect/compress/zstd"
)

// A handler and a client with the same two algorithms. The client sends its request
// in zstd. The handler answers in zstd, too, because the client lists it first.
func Example() {
	const procedure = "/example.v1.GreetService/Greet"
	greet := func(_ context.Context, name *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
		return connect.NewResponse(wrapperspb.String(strings.Repeat("Hello, "+name.Msg.GetValue()+"! ", 1000))), nil
	}
	mux := http.NewServeMux()
	mux.Handle(procedure, connect.NewUnaryHandler(procedure, greet, br.With(), zstd.With()))
	server := httptest.NewServer(mux)
	defer server.Close()

	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](
		server.Client(), server.URL+procedure,
		br.With(), zstd.With(),
		connect.WithSendCompression(zstd.Name),
	)
	response, err := client.CallUnary(context.Background(), connect.NewRequest(wrapperspb.String("Ada")))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.20s…\n", response.Msg.GetValue())
	fmt.Println(response.Header().Get("Content-Encoding"))
	// Output:
	// Hello, Ada! Hello, A…
	// zstd
}
