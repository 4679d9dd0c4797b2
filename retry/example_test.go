// SPDX-License-Identifier: Apache-2.0

// Example: a client whose calls survive a server that restarts.

package retry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/retry"
)

func Example() {
	const procedure = "/greet.v1.GreetService/Greet"
	var runs atomic.Int32
	server := httptest.NewServer(connect.NewUnaryHandler(procedure,
		func(_ context.Context, req *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
			if runs.Add(1) < 3 {
				return nil, connect.NewError(connect.CodeUnavailable, errors.New("restarting"))
			}
			return connect.NewResponse(wrapperspb.String("Hello, " + req.Msg.Value + "!")), nil
		}))
	defer server.Close()

	policy := retry.New(
		retry.Attempts(5),
		retry.Backoff(10*time.Millisecond, time.Second, 2),
		retry.Observe(func(_ context.Context, a retry.Attempt) {
			fmt.Println("attempt", a.Number, "failed:", a.Err != nil)
		}),
	)
	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure,
		connect.WithIdempotency(connect.IdempotencyIdempotent), // generated clients have it from the schema
		connect.WithInterceptors(policy))
	res, err := client.CallUnary(context.Background(), connect.NewRequest(wrapperspb.String("Ada")))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Msg.Value)
	// Output:
	// attempt 1 failed: true
	// attempt 2 failed: true
	// attempt 3 failed: false
	// Hello, Ada!
}
