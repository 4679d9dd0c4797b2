// SPDX-License-Identifier: Apache-2.0

// Example: middleware that refuses calls in the caller's protocol.

package examples_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/seed-b7c59c10/connect"
)

// An ErrorWriter writes errors before a request gets to a handler, in the
// protocol of the request.
func Example_middleware() {
	const procedure = "/vault.v1.VaultService/Open"
	handler := connect.NewUnaryHandler(procedure, func(context.Context, *connect.Request[emptypb.Empty]) (*connect.Response[emptypb.Empty], error) {
		return connect.NewResponse(&emptypb.Empty{}), nil
	})
	errorWriter := connect.NewErrorWriter()
	authenticated := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			if !errorWriter.IsSupported(r) {
				http.Error(w, "no valid credentials", http.StatusUnauthorized)
				return
			}
			if err := errorWriter.Write(w, r, connect.NewError(connect.CodeUnauthenticated, errors.New("no valid credentials"))); err != nil {
				fmt.Println(err)
			}
			return
		}
		handler.ServeHTTP(w, r)
	})
	server := httptest.NewServer(authenticated)
	defer server.Close()

	for _, option := range []connect.ClientOption{connect.WithClientOptions(), connect.WithGRPC(), connect.WithGRPCWeb()} {
		client := connect.NewClient[emptypb.Empty, emptypb.Empty](server.Client(), server.URL+procedure, option)
		request := connect.NewRequest(&emptypb.Empty{})
		_, err := client.CallUnary(context.Background(), request)
		fmt.Println(request.Peer().Protocol, err)
	}
	// Output:
	// connect unauthenticated: no valid credentials
	// grpc unauthenticated: no valid credentials
	// grpcweb unauthenticated: no valid credentials
}
