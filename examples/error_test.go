// SPDX-License-Identifier: Apache-2.0

// Example: errors with a code, details and metadata.

package examples_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/seed-b7c59c10/connect"
)

// An error has a code and a text. Details are Protobuf messages, for programs.
func Example_errorDetails() {
	const procedure = "/queue.v1.QueueService/Take"
	server := httptest.NewServer(connect.NewUnaryHandler(procedure,
		func(context.Context, *connect.Request[emptypb.Empty]) (*connect.Response[emptypb.Empty], error) {
			e := connect.NewError(connect.CodeUnavailable, errors.New("the queue is full"))
			detail, err := connect.NewErrorDetail(durationpb.New(30 * time.Second)) // when to try again
			if err != nil {
				return nil, err
			}
			e.AddDetail(detail)
			e.Meta().Set("Queue-Length", "1000")
			return nil, e
		}))
	defer server.Close()

	client := connect.NewClient[emptypb.Empty, emptypb.Empty](server.Client(), server.URL+procedure, connect.WithGRPCWeb())
	_, err := client.CallUnary(context.Background(), connect.NewRequest(&emptypb.Empty{}))
	fmt.Println(err)
	var e *connect.Error
	if !errors.As(err, &e) {
		return
	}
	fmt.Println("code:", e.Code())
	fmt.Println("from the server:", connect.IsWireError(err))
	fmt.Println("metadata:", e.Meta().Get("Queue-Length"))
	for _, detail := range e.Details() {
		msg, err := detail.Value()
		if err != nil {
			continue // this program does not have the type
		}
		if wait, ok := msg.(*durationpb.Duration); ok {
			fmt.Println("try again after", wait.AsDuration())
		}
	}
	// Output:
	// unavailable: the queue is full
	// code: unavailable
	// from the server: true
	// metadata: 1000
	// try again after 30s
}
