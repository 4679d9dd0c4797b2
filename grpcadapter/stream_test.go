// SPDX-License-Identifier: Apache-2.0

// Streams of all kinds: their ends, headers, errors and concurrency.

package grpcadapter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/grpcadapter"
)

type (
	request  = testpb.StreamingOutputCallRequest
	response = testpb.StreamingOutputCallResponse
)

func TestServerStream(t *testing.T) {
	s := &service{server: func(req *request, stream grpc.ServerStreamingServer[response]) error {
		if err := stream.RecvMsg(new(request)); err != io.EOF {
			return fmt.Errorf("got %v after the request, want io.EOF", err)
		}
		if err := stream.SetHeader(metadata.Pairs("first", "1")); err != nil {
			return err
		}
		stream.SetTrailer(metadata.Pairs("end", "1"))
		for range 3 {
			if err := stream.Send(&response{Payload: req.Payload}); err != nil {
				return err
			}
		}
		if err := stream.SetHeader(metadata.Pairs("late", "1")); err == nil {
			return errors.New("got no error of a late SetHeader")
		}
		stream.SetTrailer(metadata.Pairs("end", "2"))
		return status.Error(codes.OutOfRange, "no more")
	}}
	each(t, s, func(t *testing.T, _ way, client testpb.TestServiceClient) {
		finished := make(chan error, 1)
		req := &request{Payload: payload("x")}
		stream, err := client.StreamingOutputCall(t.Context(), req, grpc.OnFinish(func(err error) { finished <- err }))
		if err != nil {
			t.Fatal(err)
		}
		req.Payload = payload("changed") // the request is sent as it was
		if header, err := stream.Header(); err != nil || !cmp.Equal(header.Get("first"), []string{"1"}) {
			t.Errorf("got header %v, %v", header, err)
		}
		for range 3 {
			if res, err := stream.Recv(); err != nil || string(res.Payload.Body) != "x" {
				t.Fatalf("got %v, %v", res, err)
			}
		}
		if _, err := stream.Recv(); status.Code(err) != codes.OutOfRange || status.Convert(err).Message() != "no more" {
			t.Errorf("got %v, want OutOfRange", err)
		}
		if got := stream.Trailer().Get("end"); !cmp.Equal(got, []string{"1", "2"}) {
			t.Errorf("got trailer %q", got)
		}
		if err := <-finished; status.Code(err) != codes.OutOfRange {
			t.Errorf("finished with %v", err)
		}
	})
}

func TestClientStream(t *testing.T) {
	s := &service{client: func(stream grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		size := int32(0)
		for {
			req, err := stream.Recv()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			size += int32(len(req.Payload.GetBody()))
		}
		if err := stream.SendHeader(metadata.Pairs("names", strings.Join(md.Get("name"), " "))); err != nil {
			return err
		}
		stream.SetTrailer(metadata.Pairs("end", "1"))
		return stream.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: size})
	}}
	each(t, s, func(t *testing.T, _ way, client testpb.TestServiceClient) {
		var header, trailer metadata.MD
		stream, err := client.StreamingInputCall(metadata.AppendToOutgoingContext(t.Context(), "name", "a"), grpc.Header(&header), grpc.Trailer(&trailer))
		if err != nil {
			t.Fatal(err)
		}
		for n := range 4 {
			if err := stream.Send(&testpb.StreamingInputCallRequest{Payload: &testpb.Payload{Body: make([]byte, n)}}); err != nil {
				t.Fatal(err)
			}
		}
		res, err := stream.CloseAndRecv()
		if err != nil || res.AggregatedPayloadSize != 6 {
			t.Fatalf("got %v, %v", res, err)
		}
		if got := header.Get("names"); !cmp.Equal(got, []string{"a"}) {
			t.Errorf("got header %v", header)
		}
		if got := trailer.Get("end"); !cmp.Equal(got, []string{"1"}) {
			t.Errorf("got trailer %v", trailer)
		}
		if got := stream.Trailer().Get("end"); !cmp.Equal(got, []string{"1"}) {
			t.Errorf("got trailer %v of the stream", got)
		}
	})
}

// TestClientStreamWithoutResponse: a service that returns no response and no error
// has a fault, and the client learns of it.
func TestClientStreamWithoutResponse(t *testing.T) {
	s := &service{client: func(grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error {
		return nil
	}}
	each(t, s, func(t *testing.T, _ way, client testpb.TestServiceClient) {
		stream, err := client.StreamingInputCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if res, err := stream.CloseAndRecv(); err == nil {
			t.Errorf("got %v, want an error", res)
		}
	})
}

func TestBidiStream(t *testing.T) {
	s := &service{bidi: func(stream grpc.BidiStreamingServer[request, response]) error {
		if err := stream.SendHeader(metadata.Pairs("early", "1")); err != nil { // before any message of either side
			return err
		}
		if err := stream.SendHeader(nil); err == nil {
			return errors.New("got no error of a second SendHeader")
		}
		for {
			req, err := stream.Recv()
			if err == io.EOF {
				stream.SetTrailer(metadata.Pairs("end", "1"))
				return nil
			}
			if err != nil {
				return err
			}
			if err := stream.Send(&response{Payload: req.Payload}); err != nil {
				return err
			}
		}
	}}
	each(t, s, func(t *testing.T, _ way, client testpb.TestServiceClient) {
		stream, err := client.FullDuplexCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if header, err := stream.Header(); err != nil || !cmp.Equal(header.Get("early"), []string{"1"}) {
			t.Errorf("got header %v, %v", header, err)
		}
		const messages = 50
		sent := make(chan error, 1)
		go func() { // while the other goroutine receives
			for n := range messages {
				if err := stream.Send(&request{Payload: payload(fmt.Sprint(n))}); err != nil {
					sent <- err
					return
				}
			}
			sent <- stream.CloseSend()
		}()
		for n := range messages {
			if res, err := stream.Recv(); err != nil || string(res.Payload.GetBody()) != fmt.Sprint(n) {
				t.Fatalf("got %v, %v for message %d", res, err, n)
			}
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if _, err := stream.Recv(); err != io.EOF {
			t.Errorf("got %v, want io.EOF", err)
		}
		if got := stream.Trailer().Get("end"); !cmp.Equal(got, []string{"1"}) {
			t.Errorf("got trailer %v", got)
		}
	})
}

// TestReusedMessage: RecvMsg into a message that holds another one's fields.
func TestReusedMessage(t *testing.T) {
	s := &service{bidi: func(stream grpc.BidiStreamingServer[request, response]) error {
		req := new(request)
		for {
			if err := stream.RecvMsg(req); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := stream.SendMsg(&response{Payload: req.Payload}); err != nil {
				return err
			}
		}
	}}
	each(t, s, func(t *testing.T, _ way, client testpb.TestServiceClient) {
		stream, err := client.FullDuplexCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		res := new(response)
		for _, text := range []string{"long", "", "x"} {
			req := new(request)
			if text != "" {
				req.Payload = payload(text)
			}
			if err := stream.SendMsg(req); err != nil {
				t.Fatal(err)
			}
			if err := stream.RecvMsg(res); err != nil || string(res.GetPayload().GetBody()) != text {
				t.Fatalf("got %v, %v, want %q", res, err, text)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Error(err)
		}
		if err := stream.RecvMsg(res); err != io.EOF {
			t.Errorf("got %v, want io.EOF", err)
		}
	})
}

// TestEarlyEnd: the service ends a stream that the client still sends. Send returns
// io.EOF sooner or later, and Recv the status.
func TestEarlyEnd(t *testing.T) {
	s := &service{bidi: func(stream grpc.BidiStreamingServer[request, response]) error {
		stream.SetTrailer(metadata.Pairs("end", "1"))
		return status.Error(codes.PermissionDenied, "not you")
	}}
	each(t, s, func(t *testing.T, _ way, client testpb.TestServiceClient) {
		stream, err := client.FullDuplexCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			err = stream.Send(&request{Payload: payload("x")})
		}
		if err != io.EOF {
			t.Errorf("sent: got %v, want io.EOF", err)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.PermissionDenied || status.Convert(err).Message() != "not you" {
			t.Errorf("received: got %v, want PermissionDenied", err)
		}
		if got := stream.Trailer().Get("end"); !cmp.Equal(got, []string{"1"}) {
			t.Errorf("got trailer %v", got)
		}
	})
}

// TestSendAfterEnd: once the client's context has ended, Send returns io.EOF, and Recv
// the reason.
func TestSendAfterEnd(t *testing.T) {
	s := &service{bidi: func(stream grpc.BidiStreamingServer[request, response]) error {
		<-stream.Context().Done()
		return nil
	}}
	each(t, s, func(t *testing.T, _ way, client testpb.TestServiceClient) {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := client.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		for err == nil { // grpc-go may need a moment
			err = stream.Send(&request{Payload: payload("x")})
		}
		if err != io.EOF {
			t.Errorf("sent: got %v, want io.EOF", err)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
			t.Errorf("received: got %v, want Canceled", err)
		}
	})
}

// TestCanceledStreams: each side sees the end of the client's context.
func TestCanceledStreams(t *testing.T) {
	ended := make(chan error, 1)
	begun := make(chan struct{}, 1)
	s := &service{
		server: func(_ *request, stream grpc.ServerStreamingServer[response]) error {
			begun <- struct{}{}
			<-stream.Context().Done()
			ended <- stream.Context().Err()
			return stream.Context().Err()
		},
		bidi: func(stream grpc.BidiStreamingServer[request, response]) error {
			begun <- struct{}{}
			_, err := stream.Recv()
			ended <- err
			return err
		},
	}
	each(t, s, func(t *testing.T, _ way, client testpb.TestServiceClient) {
		for name, begin := range map[string]func(context.Context, ...grpc.CallOption) (interface{ Recv() (*response, error) }, error){
			"server": func(ctx context.Context, o ...grpc.CallOption) (interface{ Recv() (*response, error) }, error) {
				return client.StreamingOutputCall(ctx, &request{}, o...)
			},
			"bidi": func(ctx context.Context, o ...grpc.CallOption) (interface{ Recv() (*response, error) }, error) {
				return client.FullDuplexCall(ctx, o...)
			},
		} {
			for _, receives := range []bool{true, false} { // OnFinish runs without a Recv, too
				ctx, cancel := context.WithCancel(t.Context())
				finished := make(chan error, 1)
				stream, err := begin(ctx, grpc.OnFinish(func(err error) { finished <- err }))
				if err != nil {
					t.Fatal(err)
				}
				<-begun
				cancel()
				if err := <-ended; err == nil || err == io.EOF {
					t.Errorf("%s: the service got %v", name, err)
				}
				if receives {
					if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
						t.Errorf("%s: got %v, want Canceled", name, err)
					}
				}
				if err := <-finished; status.Code(err) != codes.Canceled {
					t.Errorf("%s: finished with %v, want Canceled", name, err)
				}
			}
		}
	})
}

// TestSoak makes mixed calls that end in all ways. TestMain looks for goroutines.
func TestSoak(t *testing.T) {
	s := &service{
		unary: func(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			if req.ResponseSize > 0 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return &testpb.SimpleResponse{Payload: req.Payload}, nil
		},
		server: func(req *request, stream grpc.ServerStreamingServer[response]) error {
			for {
				if err := stream.Send(&response{Payload: req.Payload}); err != nil {
					return err
				}
			}
		},
		bidi: func(stream grpc.BidiStreamingServer[request, response]) error {
			for {
				req, err := stream.Recv()
				if err != nil {
					return err
				}
				if string(req.Payload.Body) == "end" {
					return status.Error(codes.Aborted, "end")
				}
				if err := stream.Send(&response{Payload: req.Payload}); err != nil {
					return err
				}
			}
		},
	}
	calls := func(t *testing.T, client testpb.TestServiceClient, n int) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		switch n % 4 {
		case 0:
			if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{Payload: payload("x")}); err != nil {
				t.Error(err)
			}
		case 1:
			go cancel()
			if _, err := client.UnaryCall(ctx, &testpb.SimpleRequest{ResponseSize: 1}); status.Code(err) != codes.Canceled {
				t.Errorf("got %v, want Canceled", err)
			}
		case 2:
			stream, err := client.StreamingOutputCall(ctx, &request{Payload: payload("x")})
			if err != nil {
				t.Error(err)
				return
			}
			for range n % 7 {
				if _, err := stream.Recv(); err != nil {
					t.Error(err)
				}
			}
		case 3:
			stream, err := client.FullDuplexCall(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			for _, text := range []string{"a", "end"} {
				if err := stream.Send(&request{Payload: payload(text)}); err != nil {
					t.Error(err)
				}
			}
			for err == nil {
				_, err = stream.Recv()
			}
			if status.Code(err) != codes.Aborted {
				t.Errorf("got %v, want Aborted", err)
			}
		}
	}
	each(t, s, func(t *testing.T, _ way, client testpb.TestServiceClient) {
		done := make(chan struct{})
		const workers = 4
		for w := range workers {
			go func() {
				defer func() { done <- struct{}{} }()
				for n := range 20 {
					calls(t, client, w+n)
				}
			}()
		}
		for range workers {
			<-done
		}
	})
}

// boom is an interceptor of a client that panics, or ends its goroutine, when a stream begins.
type boom func()

func (boom) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc { return next }

func (b boom) WrapStreamingClient(connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(context.Context, connect.Spec) connect.StreamingClientConn {
		b()
		return nil
	}
}

func (boom) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// The stream of responses begins in a goroutine of its own. A panic there comes up where the
// program receives, so that it can recover.
func TestServerStreamPanics(t *testing.T) {
	begin := func(f func()) grpc.ServerStreamingClient[response] {
		conn := grpcadapter.NewClientConn(http.DefaultClient, "http://localhost", connect.WithInterceptors(boom(f)))
		stream, err := testpb.NewTestServiceClient(conn).StreamingOutputCall(t.Context(), new(request))
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	func() {
		defer func() {
			if value := recover(); value != "boom" {
				t.Errorf("got panic %v, want that of the interceptor", value)
			}
		}()
		_, err := begin(func() { panic("boom") }).Recv()
		t.Errorf("got error %v, want a panic", err)
	}()
	if _, err := begin(runtime.Goexit).Recv(); status.Code(err) != codes.Internal {
		t.Errorf("got %v, want Internal", err)
	}
}
