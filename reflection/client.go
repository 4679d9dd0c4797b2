// SPDX-License-Identifier: Apache-2.0

// Clients of reflection.

package reflection

import (
	"context"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
	"github.com/seed-b7c59c10/connect/internal/reflectcall"
)

// A Client calls the reflection of a server. It is safe for concurrent use, and has nothing
// to close: each method makes a call and ends it.
//
// Errors of calls are or wrap a [*connect.Error]. Names that the server does
// not have are CodeNotFound, and a server without reflection is CodeUnimplemented.
type Client struct {
	server  reflectcall.Server
	options []connect.ClientOption
}

// NewClient returns a client of the server at baseURL, such as "https://api.acme.com". It
// calls grpc.reflection.v1, or v1alpha if the server does not have that. Both are streams in
// both directions, and need HTTP/2. The options are those of [connect.NewClient]: servers of
// other libraries than connect's need [connect.WithGRPC].
func NewClient(httpClient connect.HTTPClient, baseURL string, options ...connect.ClientOption) *Client {
	return &Client{server: reflectcall.Server{HTTPClient: httpClient, BaseURL: baseURL, Options: options}, options: options}
}

// Services returns the full names of the server's services in their order, each once, those
// of reflection included.
func (c *Client) Services(ctx context.Context) ([]protoreflect.FullName, error) {
	var names []protoreflect.FullName
	err := c.server.Call(ctx, func(call *reflectcall.Call) error {
		all, err := call.Services()
		names = make([]protoreflect.FullName, 0, len(all))
		for _, name := range all {
			names = append(names, protoreflect.FullName(name))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Schema returns the schema of services, with all that they import: see [dynamic.Reflect].
// Without names it is that of all services but reflection.
func (c *Client) Schema(ctx context.Context, services ...string) (*dynamic.Schema, error) {
	return dynamic.Reflect(ctx, c.server.HTTPClient, c.server.BaseURL, services, c.options...)
}

// ExtensionNumbers returns the numbers of the extensions of a message that the server has,
// in their order.
func (c *Client) ExtensionNumbers(ctx context.Context, message protoreflect.FullName) ([]protoreflect.FieldNumber, error) {
	var numbers []protoreflect.FieldNumber
	err := c.server.Call(ctx, func(call *reflectcall.Call) error {
		all, err := call.ExtensionNumbers(string(message))
		numbers = make([]protoreflect.FieldNumber, 0, len(all))
		for _, number := range all {
			numbers = append(numbers, protoreflect.FieldNumber(number))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(numbers)
	return slices.Compact(numbers), nil
}
