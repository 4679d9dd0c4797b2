// SPDX-License-Identifier: Apache-2.0

// Example: authentication before a message is read.

package examples_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
)

type userKey struct{}

// A gate checks a call's headers before any of its messages is read. The context
// that it returns holds the caller's name, for the handler.
func Example_requestGate() {
	const procedure = "/user.v1.UserService/WhoAmI"
	gate := func(ctx context.Context, _ connect.Spec, _ connect.Peer, header http.Header) (context.Context, error) {
		user, ok := strings.CutPrefix(header.Get("Authorization"), "Bearer ")
		if !ok {
			return nil, connect.NewError(connect.CodeUnauthenticated, errors.New("a bearer token is needed"))
		}
		return context.WithValue(ctx, userKey{}, user), nil
	}
	server := httptest.NewServer(connect.NewUnaryHandler(procedure,
		func(ctx context.Context, _ *connect.Request[emptypb.Empty]) (*connect.Response[wrapperspb.StringValue], error) {
			user, _ := ctx.Value(userKey{}).(string)
			return connect.NewResponse(wrapperspb.String(user)), nil
		}, connect.WithRequestGate(gate)))
	defer server.Close()

	client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](server.Client(), server.URL+procedure)
	_, err := client.CallUnary(context.Background(), connect.NewRequest(&emptypb.Empty{}))
	fmt.Println(err)
	request := connect.NewRequest(&emptypb.Empty{})
	request.Header().Set("Authorization", "Bearer ada")
	res, err := client.CallUnary(context.Background(), request)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Msg.Value)
	// Output:
	// unauthenticated: a bearer token is needed
	// ada
}
