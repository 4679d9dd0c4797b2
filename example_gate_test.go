// SPDX-License-Identifier: Apache-2.0

// Example: authentication before a message is read.

package connect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type userKey struct{}

// A gate sees a call's headers before any of its messages, and gives the handler
// a context that says who calls.
func ExampleWithRequestGate() {
	const procedure = "/user.v1.UserService/WhoAmI"
	gate := func(ctx context.Context, _ Spec, _ Peer, header http.Header) (context.Context, error) {
		user, ok := strings.CutPrefix(header.Get("Authorization"), "Bearer ")
		if !ok {
			return nil, NewError(CodeUnauthenticated, errors.New("a bearer token is needed"))
		}
		return context.WithValue(ctx, userKey{}, user), nil
	}
	server := httptest.NewServer(NewUnaryHandler(procedure,
		func(ctx context.Context, _ *Request[emptypb.Empty]) (*Response[wrapperspb.StringValue], error) {
			user, _ := ctx.Value(userKey{}).(string)
			return NewResponse(wrapperspb.String(user)), nil
		}, WithRequestGate(gate)))
	defer server.Close()

	client := NewClient[emptypb.Empty, wrapperspb.StringValue](server.Client(), server.URL+procedure)
	_, err := client.CallUnary(context.Background(), NewRequest(&emptypb.Empty{}))
	fmt.Println(err)
	request := NewRequest(&emptypb.Empty{})
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
