// SPDX-License-Identifier: Apache-2.0

// Tests that handlers and clients find the option of this package in a schema.

package methodoption_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/methodoption"
)

const procedure = "/s.S/Do"

// method returns the descriptor of a method with the option.
func method(t *testing.T, timeouts *methodoption.Timeouts) protoreflect.MethodDescriptor {
	t.Helper()
	options := new(descriptorpb.MethodOptions)
	proto.SetExtension(options, methodoption.E_Timeouts, timeouts)
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("s.proto"), Package: proto.String("s"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("M")}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("S"), Method: []*descriptorpb.MethodDescriptorProto{{
			Name: proto.String("Do"), InputType: proto.String(".s.M"), OutputType: proto.String(".s.M"), Options: options,
		}}}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Services().Get(0).Methods().Get(0)
}

// TestTimeouts: a call whose caller sets no deadline has that of the schema, and none
// has more than the schema's longest time, whichever side has the schema.
func TestTimeouts(t *testing.T) {
	schema := connect.WithSchema(method(t, &methodoption.Timeouts{
		Default: durationpb.New(time.Hour), Max: durationpb.New(2 * time.Hour),
	}))
	for name, side := range map[string]struct {
		handler []connect.HandlerOption
		client  []connect.ClientOption
	}{
		"handler": {handler: []connect.HandlerOption{schema}},
		"client":  {client: []connect.ClientOption{schema}},
	} {
		left := make(chan time.Duration, 1)
		server := httptest.NewServer(connect.NewUnaryHandler(procedure, func(ctx context.Context, _ *connect.Request[emptypb.Empty]) (*connect.Response[emptypb.Empty], error) {
			deadline, _ := ctx.Deadline()
			left <- time.Until(deadline)
			return connect.NewResponse(new(emptypb.Empty)), nil
		}, side.handler...))
		client := connect.NewClient[emptypb.Empty, emptypb.Empty](server.Client(), server.URL+procedure, side.client...)
		for _, c := range []struct{ asked, want time.Duration }{
			{0, time.Hour},
			{90 * time.Minute, 90 * time.Minute},
			{3 * time.Hour, 2 * time.Hour},
		} {
			ctx, cancel := t.Context(), context.CancelFunc(func() {})
			if c.asked > 0 {
				ctx, cancel = context.WithTimeout(ctx, c.asked)
			}
			if _, err := client.CallUnary(ctx, connect.NewRequest(new(emptypb.Empty))); err != nil {
				t.Fatal(err)
			}
			cancel()
			if got := <-left; got > c.want || got < c.want-10*time.Minute {
				t.Errorf("%s: asked for %v: got %v left, want %v", name, c.asked, got, c.want)
			}
		}
		server.Close()
	}
}
