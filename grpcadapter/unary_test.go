// SPDX-License-Identifier: Apache-2.0

// Unary calls: metadata, peers, statuses, deadlines, limits.

package grpcadapter_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-b7c59c10/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const unaryMethod = "/grpc.testing.TestService/UnaryCall"

func payload(text string) *testpb.Payload { return &testpb.Payload{Body: []byte(text)} }

func TestUnaryMetadata(t *testing.T) {
	const binary = "\x00\xff,\x01"
	s := &service{unary: func(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		md, ok := metadata.FromIncomingContext(ctx)
		p, found := peer.FromContext(ctx)
		method, named := grpc.Method(ctx)
		if !ok || !found || !named || method != unaryMethod {
			return nil, fmt.Errorf("got metadata %t, peer %t, method %q", ok, found, method)
		}
		if host, _, err := net.SplitHostPort(p.Addr.String()); err != nil || host != "127.0.0.1" {
			return nil, fmt.Errorf("got peer %q: %v", p.Addr, err)
		}
		for key := range md {
			if key == "grpc-timeout" || key == "connect-timeout-ms" || key == "te" {
				return nil, fmt.Errorf("got metadata %q, want none of the protocol's", key)
			}
		}
		if _, ok := ctx.Deadline(); !ok {
			return nil, errors.New("got no deadline")
		}
		if err := grpc.SetHeader(ctx, metadata.Pairs("first", "1", "data-bin", binary)); err != nil {
			return nil, err
		}
		if err := grpc.SendHeader(ctx, metadata.Pairs("second", "2", "second", "3")); err != nil {
			return nil, err
		}
		if err := grpc.SendHeader(ctx, nil); err == nil {
			return nil, errors.New("got no error of a second SendHeader")
		}
		if err := grpc.SetHeader(ctx, metadata.Pairs("late", "1")); err == nil {
			return nil, errors.New("got no error of a late SetHeader")
		}
		if err := grpc.SetTrailer(ctx, metadata.Pairs("end", "x", "end-bin", binary)); err != nil {
			return nil, err
		}
		res := &testpb.SimpleResponse{Payload: req.Payload}
		res.Username = fmt.Sprintf("%q %q", md.Get("name"), md.Get("data-bin"))
		return res, nil
	}}
	each(t, s, func(t *testing.T, _ way, client testpb.TestServiceClient) {
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "Name", "a", "name", "b", "data-bin", binary), time.Minute)
		defer cancel()
		var header, trailer metadata.MD
		var from peer.Peer
		finished := 0
		res, err := client.UnaryCall(ctx, &testpb.SimpleRequest{Payload: payload("hello")}, grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&from),
			grpc.OnFinish(func(err error) {
				if finished++; err != nil {
					t.Errorf("finished with %v", err)
				}
			}), grpc.WaitForReady(false))
		if err != nil {
			t.Fatal(err)
		}
		want := &testpb.SimpleResponse{Payload: payload("hello"), Username: fmt.Sprintf("%q %q", []string{"a", "b"}, []string{binary})}
		if diff := cmp.Diff(res, want, protocmp.Transform()); diff != "" {
			t.Errorf("got - want +:\n%s", diff)
		}
		for _, key := range []string{"first", "second", "data-bin", "late", "end", "end-bin"} {
			in := map[string][]string{"first": {"1"}, "second": {"2", "3"}, "data-bin": {binary}}[key]
			after := map[string][]string{"end": {"x"}, "end-bin": {binary}}[key]
			if got := header.Get(key); !cmp.Equal(got, in) {
				t.Errorf("header %q: got %q, want %q", key, got, in)
			}
			if got := trailer.Get(key); !cmp.Equal(got, after) {
				t.Errorf("trailer %q: got %q, want %q", key, got, after)
			}
		}
		if from.Addr == nil {
			t.Error("got no peer")
		}
		if finished != 1 {
			t.Errorf("OnFinish ran %d times, want 1", finished)
		}
	})
}

func TestUnaryStatus(t *testing.T) {
	withDetails, err := status.New(codes.FailedPrecondition, "not now: ä").WithDetails(wrapperspb.String("a"), wrapperspb.Int64(7))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		err  error
		want *status.Status
	}{
		{"details", withDetails.Err(), withDetails},
		{"code", status.Error(codes.DataLoss, ""), status.New(codes.DataLoss, "")},
		{"wrapped", fmt.Errorf("outside: %w", status.Error(codes.NotFound, "inside")), status.New(codes.NotFound, "outside: rpc error: code = NotFound desc = inside")},
		{"plain", errors.New("plain"), status.New(codes.Unknown, "plain")},
		{"canceled", context.Canceled, status.New(codes.Canceled, "context canceled")},
		{"deadline", context.DeadlineExceeded, status.New(codes.DeadlineExceeded, "context deadline exceeded")},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
				if err := grpc.SetHeader(ctx, metadata.Pairs("head", "1")); err != nil {
					return nil, err
				}
				if err := grpc.SetTrailer(ctx, metadata.Pairs("end", "2")); err != nil {
					return nil, err
				}
				return nil, test.err
			}}
			each(t, s, func(t *testing.T, w way, client testpb.TestServiceClient) {
				var header, trailer metadata.MD
				var finished error
				_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer), grpc.OnFinish(func(err error) { finished = err }))
				if diff := cmp.Diff(status.Convert(err).Proto(), test.want.Proto(), protocmp.Transform()); diff != "" {
					t.Errorf("got - want +:\n%s", diff)
				}
				if !errors.Is(err, test.want.Err()) {
					t.Errorf("got %v, which is not %v", err, test.want.Err())
				}
				if finished == nil {
					t.Error("OnFinish got no error")
				}
				if got := trailer.Get("end"); !cmp.Equal(got, []string{"2"}) {
					t.Errorf("got trailer %q", got)
				}
				if got := header.Get("head"); !cmp.Equal(got, []string{"1"}) {
					t.Errorf("got header %q", got)
				}
			})
		})
	}
}

// TestUnaryReply: a reply that the caller used before is overwritten, and a request
// arrives with its unknown fields.
func TestUnaryReply(t *testing.T) {
	s := &service{unary: func(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		res := &testpb.SimpleResponse{}
		res.ProtoReflect().SetUnknown(req.ProtoReflect().GetUnknown())
		return res, nil
	}}
	each(t, s, func(t *testing.T, w way, _ testpb.TestServiceClient) {
		unknown := []byte{0xf8, 0x3f, 0x01} // field 1023
		req := &testpb.SimpleRequest{}
		req.ProtoReflect().SetUnknown(unknown)
		reply := &testpb.SimpleResponse{Username: "old"}
		if err := w.connect(t, s).Invoke(t.Context(), unaryMethod, req, reply); err != nil {
			t.Fatal(err)
		}
		want := &testpb.SimpleResponse{}
		if w.name != "ours to ours by Connect with JSON on net/http" && w.name != "ours to ours by Connect with JSON on the engine" {
			want.ProtoReflect().SetUnknown(unknown)
		}
		if !proto.Equal(reply, want) {
			t.Errorf("got %v, want %v", reply, want)
		}
	})
}

func TestUnaryDeadline(t *testing.T) {
	s := &service{unary: func(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	each(t, s, func(t *testing.T, _ way, client testpb.TestServiceClient) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{}); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("got %v, want DeadlineExceeded", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		go cancel()
		if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{}); status.Code(err) != codes.Canceled {
			t.Errorf("got %v, want Canceled", err)
		}
	})
}

func TestUnaryLimits(t *testing.T) {
	s := &service{unary: func(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{Payload: req.Payload}, nil
	}}
	each(t, s, func(t *testing.T, _ way, client testpb.TestServiceClient) {
		req := &testpb.SimpleRequest{Payload: &testpb.Payload{Body: make([]byte, 1000)}}
		for name, test := range map[string]struct {
			option grpc.CallOption
			want   codes.Code
		}{
			"receive enough":   {grpc.MaxCallRecvMsgSize(5000), codes.OK},
			"receive too much": {grpc.MaxCallRecvMsgSize(100), codes.ResourceExhausted},
			"send enough":      {grpc.MaxCallSendMsgSize(5000), codes.OK},
			"send too much":    {grpc.MaxCallSendMsgSize(20), codes.ResourceExhausted},
		} {
			if _, err := client.UnaryCall(t.Context(), req, test.option); status.Code(err) != test.want {
				t.Errorf("%s: got %v, want %v", name, err, test.want)
			}
		}
	})
}

// TestErrorOfBoth: an error of this package's client is a status and a connect.Error.
func TestErrorOfBoth(t *testing.T) {
	s := &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return nil, connect.NewError(connect.CodeAborted, errors.New("again"))
	}}
	each(t, s, func(t *testing.T, w way, client testpb.TestServiceClient) {
		_, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{})
		want := codes.Aborted
		if w.foreign {
			want = codes.Unknown // grpc-go does not know connect.Error
		}
		if status.Code(err) != want {
			t.Errorf("got %v, want %v", err, want)
		}
		if e, ok := errors.AsType[*connect.Error](err); ok && e.Code() != connect.Code(want) {
			t.Errorf("got %v, want %v", e, want)
		}
	})
}
