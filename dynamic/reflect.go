// SPDX-License-Identifier: Apache-2.0

// Schemas from a server's reflection.

package dynamic

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/reflectcall"
)

// Reflect asks the server at baseURL for the descriptors of services, by their full
// names such as "acme.foo.v1.FooService", and returns their schema with all files
// that they import. Without names it asks for all services that the server lists,
// and leaves out those of reflection itself.
//
// It makes one call to grpc.reflection.v1, or to v1alpha if the server does not have
// that. The call is a stream in both directions: it needs HTTP/2. The options are
// those of a client; without one it uses the Connect protocol, and servers of other
// libraries need [connect.WithGRPC]. The context bounds the whole exchange.
//
// Errors of the call are or wrap a [*connect.Error]. A service that the server does
// not know is CodeNotFound; descriptors of more than 10,000 files or 64 MiB are
// CodeResourceExhausted.
//
// Package reflection has a client that loads what a program looks up, and the service.
func Reflect(ctx context.Context, httpClient connect.HTTPClient, baseURL string, services []string, options ...connect.ClientOption) (*Schema, error) {
	server := reflectcall.Server{HTTPClient: httpClient, BaseURL: baseURL, Options: options}
	var set reflectcall.Set
	err := server.Call(ctx, func(call *reflectcall.Call) error {
		set = reflectcall.Set{}
		names := services
		if len(names) == 0 {
			all, err := call.Services()
			if err != nil {
				return err
			}
			names = slices.DeleteFunc(all, func(name string) bool { return strings.HasPrefix(name, "grpc.reflection.") })
		}
		for _, name := range names {
			if err := set.Symbol(call, name); err != nil {
				return err
			}
		}
		return set.Imports(call)
	})
	if err != nil {
		return nil, err
	}
	return NewSchema(&descriptorpb.FileDescriptorSet{File: set.Files})
}
