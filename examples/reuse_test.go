// SPDX-License-Identifier: Apache-2.0

// Example: vtprotobuf's methods, and request messages that are used again.

package examples_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A handler that keeps nothing of its requests lets the library use their messages
// again. Messages without vtprotobuf's methods, as here, are encoded as without the
// option.
func ExampleWithRequestReuse() {
	const procedure = "/length.v1.LengthService/Length"
	server := httptest.NewServer(connect.NewUnaryHandler(procedure,
		func(_ context.Context, req *connect.Request[wrapperspb.BytesValue]) (*connect.Response[wrapperspb.Int64Value], error) {
			return connect.NewResponse(wrapperspb.Int64(int64(len(req.Msg.GetValue())))), nil
		}, connect.WithVTProto(), connect.WithRequestReuse()))
	defer server.Close()

	client := connect.NewClient[wrapperspb.BytesValue, wrapperspb.Int64Value](server.Client(), server.URL+procedure, connect.WithVTProto())
	for _, data := range []string{"abc", "", "abcdef"} {
		res, err := client.CallUnary(context.Background(), connect.NewRequest(wrapperspb.Bytes([]byte(data))))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(res.Msg.GetValue())
	}
	// Output:
	// 3
	// 0
	// 6
}
