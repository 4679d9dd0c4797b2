// SPDX-License-Identifier: Apache-2.0

// This file tests the list of procedures.

package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"github.com/seed-b7c59c10/connect/registry"
)

func handlerWithoutSchema() *connect.Handler {
	return connect.NewUnaryHandlerSimple("/a.S/M", func(context.Context, *emptypb.Empty) (*emptypb.Empty, error) { return nil, nil })
}

func TestProcedures(t *testing.T) {
	var r registry.Registry
	for range r.Procedures() {
		t.Error("got a procedure of an empty registry")
	}
	mux := http.NewServeMux()
	mux.Handle(r.Add(conntestv1connect.NewTestServiceHandler(conntestv1connect.UnimplementedTestServiceHandler{})))
	mux.Handle(r.Add("/a.S/M", handlerWithoutSchema()))
	var got []string
	for p := range r.Procedures() {
		method, ok := p.Method()
		options, err := p.Options(nil)
		if err != nil {
			t.Error(err)
		}
		got = append(got, fmt.Sprintf("%s %v %v %s %v", p.Procedure, p.StreamType, ok && string(method.Name()) == p.Procedure[strings.LastIndexByte(p.Procedure, '/')+1:], p.Pattern, options.GetIdempotencyLevel()))
	}
	want := []string{
		"/a.S/M unary false /a.S/M IDEMPOTENCY_UNKNOWN",
		"/conntest.v1.TestService/Bidi bidi true /conntest.v1.TestService/ IDEMPOTENCY_UNKNOWN",
		"/conntest.v1.TestService/ClientStream client true /conntest.v1.TestService/ IDEMPOTENCY_UNKNOWN",
		"/conntest.v1.TestService/Get unary true /conntest.v1.TestService/ NO_SIDE_EFFECTS",
		"/conntest.v1.TestService/ServerStream server true /conntest.v1.TestService/ IDEMPOTENCY_UNKNOWN",
		"/conntest.v1.TestService/Unary unary true /conntest.v1.TestService/ IDEMPOTENCY_UNKNOWN",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if p, ok := r.Find("/a.S/M"); !ok || p.Procedure != "/a.S/M" {
		t.Errorf("got %v and %v, want the procedure", p, ok)
	}
	if p, ok := r.Find("/a.S/Missing"); ok {
		t.Errorf("got %v, want none", p)
	}
}

// An option that is in the schema of a handler and in no generated code.
func TestUnknownOption(t *testing.T) {
	file := protodesc.ToFileDescriptorProto(conntestv1.File_conntest_v1_conntest_proto)
	file.Dependency = append(file.Dependency, "google/protobuf/descriptor.proto")
	file.Extension = append(file.Extension, &descriptorpb.FieldDescriptorProto{
		Name: proto.String("scope"), Number: proto.Int32(50001), Extendee: proto.String(".google.protobuf.MethodOptions"),
		Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
	})
	options := new(descriptorpb.MethodOptions)
	options.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 50001, protowire.BytesType), "admin"))
	file.Service[0].Method[0].Options = options
	schema, err := dynamic.NewSchema(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}})
	if err != nil {
		t.Fatal(err)
	}
	method, err := schema.Method("/conntest.v1.TestService/Unary")
	if err != nil {
		t.Fatal(err)
	}
	var r registry.Registry
	r.Add("/", dynamic.NewHandler(method, func(context.Context, *dynamic.Stream) error { return nil }))
	p, _ := r.Find("/conntest.v1.TestService/Unary")
	read, err := p.Options(schema.Types())
	if err != nil {
		t.Fatal(err)
	}
	scope, err := schema.Types().FindExtensionByName("conntest.v1.scope")
	if err != nil {
		t.Fatal(err)
	}
	if got := proto.GetExtension(read, scope); got != "admin" {
		t.Errorf("got scope %q, want %q", got, "admin")
	}
}

// Middleware hides procedures: that is a mistake of the program.
func TestAddOfMiddleware(t *testing.T) {
	defer func() {
		if got, want := fmt.Sprint(recover()), "registry: Add of \"/a/\": a http.HandlerFunc lists no procedures"; !strings.HasPrefix(got, want) {
			t.Errorf("got panic %q, want %q", got, want)
		}
	}()
	new(registry.Registry).Add("/a/", http.HandlerFunc(http.NotFound))
}

func TestConcurrentUse(t *testing.T) {
	var r registry.Registry
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				r.Add("/", handlerWithoutSchema())
				for p := range r.Procedures() {
					r.Find(p.Procedure)
				}
			}
		})
	}
	group.Wait()
}
