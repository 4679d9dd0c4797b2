// SPDX-License-Identifier: Apache-2.0

// Clients of grpc.health.v1.

package health

import (
	"context"
	"fmt"
	"iter"

	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
)

// A Client calls the health service of a server. It is safe for concurrent use.
type Client struct {
	check, list, watch *connect.Client[dynamic.Message, dynamic.Message]
}

// NewClient returns a client of the server at baseURL, such as "https://api.acme.com". The
// options are those of [connect.NewClient]: servers of other libraries than connect's need
// [connect.WithGRPC].
func NewClient(httpClient connect.HTTPClient, baseURL string, options ...connect.ClientOption) *Client {
	s := healthSchema()
	unary := append([]connect.ClientOption{connect.WithIdempotency(connect.IdempotencyNoSideEffects)}, options...)
	return &Client{
		check: dynamic.NewClient(httpClient, baseURL, s.check, unary...),
		list:  dynamic.NewClient(httpClient, baseURL, s.list, unary...),
		watch: dynamic.NewClient(httpClient, baseURL, s.watch, options...),
	}
}

// Check returns the status of a service, by its full name, or with "" that of the server as
// a whole. If the server does not have the service, the error has CodeNotFound; if it does
// not have the health service, CodeUnimplemented. Give ctx a deadline: no answer in time
// means that the server is not healthy.
func (c *Client) Check(ctx context.Context, service string) (Status, error) {
	s := healthSchema()
	response, err := c.check.CallUnary(ctx, connect.NewRequest(s.request(service)))
	if err != nil {
		return StatusUnknown, err
	}
	return s.statusOf(response.Msg), nil
}

// List returns the statuses of all services, with "" for the server as a whole. Servers
// without the method, which is newer than the others, answer with CodeUnimplemented.
func (c *Client) List(ctx context.Context) (map[string]Status, error) {
	s := healthSchema()
	response, err := c.list.CallUnary(ctx, connect.NewRequest(dynamicpb.NewMessage(s.list.Input())))
	if err != nil {
		return nil, err
	}
	return s.statusesOf(response.Msg), nil
}

// Watch ranges over the status of a service and those that follow. The error that ends the
// call is the last value of the loop; a server that ends the call without an error ends the
// loop. A loop that is left ends the call. A program that watches for ever calls Watch again
// after the loop, with a pause that grows, unless the error has CodeUnimplemented.
// [health.proto, Watch]
//
//	for status, err := range client.Watch(ctx, "acme.foo.v1.FooService") {
//		if err != nil { … }
//	}
func (c *Client) Watch(ctx context.Context, service string) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s := healthSchema()
		stream, err := c.watch.CallServerStream(ctx, connect.NewRequest(s.request(service)))
		if err != nil {
			yield(StatusUnknown, err)
			return
		}
		defer func() { _ = stream.Close() }()
		for stream.Receive() {
			if !yield(s.statusOf(stream.Msg()), nil) {
				return
			}
		}
		if err := stream.Err(); err != nil {
			yield(StatusUnknown, err)
		}
	}
}

// Probe returns a function that returns nil if a service of the server at baseURL is
// serving, and otherwise an error: that of the call, or one with CodeUnavailable that names
// the status. Load balancers call it with a context that has a deadline.
func Probe(service string, options ...connect.ClientOption) func(ctx context.Context, client connect.HTTPClient, baseURL string) error {
	return func(ctx context.Context, client connect.HTTPClient, baseURL string) error {
		status, err := NewClient(client, baseURL, options...).Check(ctx, service)
		if err == nil && status != StatusServing {
			err = connect.NewError(connect.CodeUnavailable, fmt.Errorf("probe: service %q is %v: expected %v", service, status, StatusServing))
		}
		return err
	}
}
