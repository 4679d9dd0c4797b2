// SPDX-License-Identifier: Apache-2.0

// Example: an interceptor that makes a call more than once.

package examples_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"sync/atomic"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
)

// A retrier makes up to three attempts. Each has its own copy of the headers.
func ExampleNewAttempt() {
	const procedure, attempts = "/greet.v1.GreetService/Greet", 3
	retrier := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			for n := 1; ; n++ {
				ctx, attempt, commit := connect.NewAttempt(ctx, req)
				res, err := next(ctx, attempt)
				if n == attempts || connect.CodeOf(err) != connect.CodeUnavailable {
					commit()
					return res, err
				}
				fmt.Println("attempt", n, "failed:", err)
			}
		}
	})
	var calls atomic.Int32
	server := httptest.NewServer(connect.NewUnaryHandler(procedure,
		func(_ context.Context, req *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
			if calls.Add(1) < attempts {
				return nil, connect.NewError(connect.CodeUnavailable, errors.New("restarting"))
			}
			return connect.NewResponse(wrapperspb.String("Hello, " + req.Msg.Value + "!")), nil
		}))
	defer server.Close()

	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure, connect.WithInterceptors(retrier))
	res, err := client.CallUnary(context.Background(), connect.NewRequest(wrapperspb.String("Ada")))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Msg.Value)
	// Output:
	// attempt 1 failed: unavailable: restarting
	// attempt 2 failed: unavailable: restarting
	// Hello, Ada!
}
