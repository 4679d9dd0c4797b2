// SPDX-License-Identifier: Apache-2.0

// Example: middleware that refuses calls in the caller's protocol.

package connect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"google.golang.org/protobuf/types/known/emptypb"
)

func ExampleErrorWriter() {
	const procedure = "/vault.v1.VaultService/Open"
	handler := NewUnaryHandler(procedure, func(context.Context, *Request[emptypb.Empty]) (*Response[emptypb.Empty], error) {
		return NewResponse(&emptypb.Empty{}), nil
	})
	errorWriter := NewErrorWriter()
	authenticated := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			if !errorWriter.IsSupported(r) {
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			if err := errorWriter.Write(w, r, NewError(CodeUnauthenticated, errors.New("who are you?"))); err != nil {
				fmt.Println(err)
			}
			return
		}
		handler.ServeHTTP(w, r)
	})
	server := httptest.NewServer(authenticated)
	defer server.Close()

	for _, option := range []ClientOption{WithClientOptions(), WithGRPC(), WithGRPCWeb()} {
		client := NewClient[emptypb.Empty, emptypb.Empty](server.Client(), server.URL+procedure, option)
		request := NewRequest(&emptypb.Empty{})
		_, err := client.CallUnary(context.Background(), request)
		fmt.Println(request.Peer().Protocol, err)
	}
	// Output:
	// connect unauthenticated: who are you?
	// grpc unauthenticated: who are you?
	// grpcweb unauthenticated: who are you?
}
