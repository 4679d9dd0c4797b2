// SPDX-License-Identifier: Apache-2.0

// This file shows the option on both sides of a call.

package snappy_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress/snappy"
)

func ExampleWith() {
	const procedure = "/example.v1.TimeService/Say"
	say := func(context.Context, *connect.Request[emptypb.Empty]) (*connect.Response[wrapperspb.StringValue], error) {
		return connect.NewResponse(wrapperspb.String(strings.Repeat("half past nine, ", 1000))), nil
	}
	server := httptest.NewServer(connect.NewUnaryHandler(procedure, say, snappy.With()))
	defer server.Close()

	client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](
		server.Client(), server.URL+procedure, snappy.With())
	response, err := client.CallUnary(context.Background(), connect.NewRequest(&emptypb.Empty{}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(response.Msg.GetValue()), "bytes, sent in", response.Header().Get("Content-Encoding"))
	// Output: 16000 bytes, sent in snappy
}
