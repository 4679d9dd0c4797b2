// SPDX-License-Identifier: Apache-2.0

// Example: calls to a handler of the same process.

package examples_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/inprocess"
)

// A client calls a handler of its own process as it would over a network: in bytes, with
// headers, a deadline, and errors with their codes.
func Example_inProcess() {
	const procedure = "/greet.v1.GreetService/Greet"
	service := connect.NewServiceHandler([]*connect.Handler{connect.NewUnaryHandlerSimple(procedure,
		func(ctx context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			if name.Value == "" {
				return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("no name"))
			}
			_, limited := ctx.Deadline()
			return wrapperspb.String(fmt.Sprintf("Hello, %s! Deadline: %t.", name.Value, limited)), nil
		})})

	client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](
		&http.Client{Transport: inprocess.NewTransport(service)}, "http://in.process"+procedure)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, name := range []string{"Ada", ""} {
		res, err := client.CallUnary(ctx, connect.NewRequest(wrapperspb.String(name)))
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(res.Msg.Value)
	}
	// Output:
	// Hello, Ada! Deadline: true.
	// invalid_argument: no name
}
