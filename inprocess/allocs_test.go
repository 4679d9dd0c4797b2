// SPDX-License-Identifier: Apache-2.0

// The allocations of a unary call, those of the program included. It needs a build without
// the race detector, which allocates itself.

//go:build !race

package inprocess_test

import (
	"context"
	"net/http"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/inprocess"
)

// TestAllocs makes unary calls: with a context that never ends, with one that may, and
// through an http.ServeMux, which makes three allocations more.
func TestAllocs(t *testing.T) {
	const procedure = "/test.v1.Test/Echo"
	service := connect.NewServiceHandler([]*connect.Handler{connect.NewUnaryHandlerSimple(procedure,
		func(_ context.Context, in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			return &wrapperspb.StringValue{Value: in.Value}, nil
		})})
	mux := http.NewServeMux()
	mux.Handle("/test.v1.Test/", service)
	canceled, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, test := range []struct {
		name    string
		handler http.Handler
		ctx     context.Context
		options []connect.ClientOption
		budget  float64
	}{
		{"connect", service, context.Background(), nil, 18},
		{"connect, may be canceled", service, canceled, nil, 18},
		{"grpc", service, canceled, []connect.ClientOption{connect.WithGRPC()}, 18},
		{"grpc, mux", mux, canceled, []connect.ClientOption{connect.WithGRPC()}, 21},
	} {
		client := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](
			&http.Client{Transport: inprocess.NewTransport(test.handler)}, "http://in.process"+procedure, test.options...)
		got := testing.AllocsPerRun(500, func() {
			if _, err := client.CallUnary(test.ctx, connect.NewRequest(wrapperspb.String("a text of a few words"))); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%s: %v allocations", test.name, got)
		if got > test.budget {
			t.Errorf("%s: got %v allocations for a call, want at most %v", test.name, got, test.budget)
		}
	}
}
