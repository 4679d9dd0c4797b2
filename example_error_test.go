// SPDX-License-Identifier: Apache-2.0

// Example: errors with a code, details and metadata.

package connect

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// A detail is a Protobuf message that tells programs what the text tells people.
func ExampleNewErrorDetail() {
	const procedure = "/queue.v1.QueueService/Take"
	server := httptest.NewServer(NewUnaryHandler(procedure,
		func(context.Context, *Request[emptypb.Empty]) (*Response[emptypb.Empty], error) {
			e := NewError(CodeUnavailable, errors.New("the queue is full"))
			detail, err := NewErrorDetail(durationpb.New(30 * time.Second)) // when to try again
			if err != nil {
				return nil, err
			}
			e.AddDetail(detail)
			e.Meta().Set("Queue-Length", "1000")
			return nil, e
		}))
	defer server.Close()

	client := NewClient[emptypb.Empty, emptypb.Empty](server.Client(), server.URL+procedure, WithGRPCWeb())
	_, err := client.CallUnary(context.Background(), NewRequest(&emptypb.Empty{}))
	fmt.Println(err)
	var e *Error
	if !errors.As(err, &e) {
		return
	}
	fmt.Println("code:", e.Code())
	fmt.Println("from the server:", IsWireError(err))
	fmt.Println("metadata:", e.Meta().Get("Queue-Length"))
	for _, detail := range e.Details() {
		msg, err := detail.Value()
		if err != nil {
			continue // a type that this program does not know
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
