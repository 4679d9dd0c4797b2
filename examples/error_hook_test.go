// SPDX-License-Identifier: Apache-2.0

// Example: errors that do not leak.

package examples_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/seed-b7c59c10/connect"
)

// WithSafeErrors keeps the texts of errors that were not made for clients. A hook sees
// the whole error of each failed call, to log it, and may replace it.
func Example_errorHook() {
	const procedure = "/user.v1.UserService/Get"
	hook := func(ctx context.Context, spec connect.Spec, err error) error {
		fmt.Println("log:", spec.Procedure, err) // the peer and the headers are in connect.CallInfoForHandlerContext(ctx)
		if errors.Is(err, proto.Error) {
			return connect.NewError(connect.CodeInvalidArgument, errors.New("the request is malformed"))
		}
		return nil // err stays as it is
	}
	server := httptest.NewServer(connect.NewUnaryHandler(procedure,
		func(context.Context, *connect.Request[durationpb.Duration]) (*connect.Response[emptypb.Empty], error) {
			return nil, errors.New("dial 10.1.2.3: password rejected")
		}, connect.WithSafeErrors(), connect.WithErrorHook(hook)))
	defer server.Close()

	client := connect.NewClient[durationpb.Duration, emptypb.Empty](server.Client(), server.URL+procedure)
	_, err := client.CallUnary(context.Background(), connect.NewRequest(durationpb.New(time.Second)))
	fmt.Println(err)
	// Output:
	// log: /user.v1.UserService/Get dial 10.1.2.3: password rejected
	// unknown
}

// WithDetails adds messages for programs to an error, and DetailOf reads those of a type.
func ExampleDetailOf() {
	err := error(connect.NewError(connect.CodeUnavailable, errors.New("the queue is full")).WithDetails(durationpb.New(30 * time.Second)))
	if wait, ok := connect.DetailOf[*durationpb.Duration](fmt.Errorf("take: %w", err)); ok {
		fmt.Println("try again after", wait.AsDuration())
	}
	// Output:
	// try again after 30s
}

// The tables of the Connect protocol serve programs that answer other requests, too.
func ExampleCode_HTTPStatus() {
	fmt.Println(connect.CodeNotFound.HTTPStatus(), connect.CodeFromHTTPStatus(503))
	// Output:
	// 404 unavailable
}
