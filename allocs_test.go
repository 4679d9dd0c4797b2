// SPDX-License-Identifier: Apache-2.0

//go:build !race

// Allocation budgets of calls: client, server and net/http together. Raise a number
// only with a reason; lower it with every improvement.

package connect

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// allocationBudgets are the most allocations of one operation: as many as with Go
// 1.26, and a tenth more for other releases.
var allocationBudgets = []struct {
	name   string
	budget float64
	bench  func(t *testing.T) func() // set up; returns the operation
}{
	{"pack and unpack, proto, framed", 1, packAllocs(protoCodec{}, nil)},
	{"pack and unpack, proto, gzip", 2, packAllocs(protoCodec{}, newGzip())},
	{"grpc end, success", 0, endAllocs(dialectGRPC, nil)},
	{"connect unary, HTTP/1.1", 88, callAllocs(false)},
	{"connect unary, HTTP/1.1, json", 97, callAllocs(false, WithProtoJSON())},
	{"connect unary, HTTP/1.1, gzip", 92, callAllocs(false, WithSendGzip())},
	{"connect unary, HTTP/1.1, an interceptor", 88, callAllocs(false, WithInterceptors(UnaryInterceptorFunc(func(next UnaryFunc) UnaryFunc { return next })))},
	{"connect unary, HTTP/1.1, a call interceptor", 94, callAllocs(false, WithCallInterceptors(func(next CallFunc) CallFunc { return next }))},
	{"connect unary, HTTP/1.1, GET", 112, callAllocs(false, WithHTTPGet(), WithIdempotency(IdempotencyNoSideEffects))},
	{"connect unary, HTTP/1.1, 1 MiB", 91, largeAllocs(false)},
	{"grpc-web unary, HTTP/1.1", 107, callAllocs(false, WithGRPCWeb())},
	{"grpc unary, HTTP/2", 140, callAllocs(true, WithGRPC())},
	{"grpc-web unary, HTTP/2", 134, callAllocs(true, WithGRPCWeb())},
	{"connect unary, HTTP/2", 114, callAllocs(true)},
	{"connect server stream, HTTP/1.1, 1000 messages", 2300, downAllocs(false)},
	{"connect server stream, HTTP/2, 1000 messages", 2350, downAllocs(true)},
	{"grpc server stream, HTTP/2, 1000 messages", 2350, downAllocs(true, WithGRPC())},
	{"connect client stream, HTTP/1.1, 1000 messages", 2320, upAllocs(false)},
	{"connect client stream, HTTP/2, 1000 messages", 2360, upAllocs(true)},
	{"grpc client stream, HTTP/2, 1000 messages", 2380, upAllocs(true, WithGRPC())},
	{"grpc bidi message there and back, HTTP/2", 7, bidiAllocs},
}

func TestAllocations(t *testing.T) {
	for _, b := range allocationBudgets {
		t.Run(b.name, func(t *testing.T) {
			operation := b.bench(t)
			for range 50 {
				operation() // connections, pools, windows
			}
			defer debug.SetGCPercent(debug.SetGCPercent(-1)) // pools stay full
			got := testing.AllocsPerRun(300, operation)
			t.Logf("got %.1f allocations, budget %.0f", got, b.budget)
			if got > b.budget {
				t.Errorf("got %.1f allocations, want at most %.0f", got, b.budget)
			}
		})
	}
}

// TestAllocatedBytes: a call allocates little more memory than the messages that it
// receives, for any size and number of messages. A busy machine adds memory, such as
// buffers for goroutines that wait to run, which differs from one batch of calls to
// the next: the best of several batches counts.
func TestAllocatedBytes(t *testing.T) {
	for name, c := range map[string]struct {
		operation func()
		most      uint64
	}{
		"connect, HTTP/1.1, 1 MiB each way":              {largeAllocs(false)(t), 2<<20 + 1<<18},
		"grpc, HTTP/2, 1 MiB each way":                   {largeAllocs(true, WithGRPC())(t), 2<<20 + 1<<18},
		"connect, HTTP/1.1, JSON, 24 KiB each way":       {echoAllocs(false, 24<<10, []ClientOption{WithProtoJSON(), WithAcceptCompression(compressionGzip, nil, nil)})(t), 110 << 10},
		"connect server stream, HTTP/1.1, 1000 messages": {downAllocs(false)(t), 170 << 10},
		"grpc server stream, HTTP/2, 1000 messages":      {downAllocs(true, WithGRPC())(t), 180 << 10},
		"connect client stream, HTTP/1.1, 1000 messages": {upAllocs(false)(t), 180 << 10},
		"grpc client stream, HTTP/2, 1000 messages":      {upAllocs(true, WithGRPC())(t), 190 << 10},
	} {
		for range 20 {
			c.operation()
		}
		percent := debug.SetGCPercent(-1)
		const calls, batches = 20, 10
		got := uint64(math.MaxUint64)
		for batch := 0; batch < batches && got > c.most; batch++ {
			got = min(got, allocated(func() {
				for range calls {
					c.operation()
				}
			})/calls)
		}
		debug.SetGCPercent(percent)
		t.Logf("%s: got %d bytes, budget %d", name, got, c.most)
		if got > c.most {
			t.Errorf("%s: got %d bytes, want at most %d", name, got, c.most)
		}
	}
}

func packAllocs(codec Codec, used *compression) func(*testing.T) func() {
	return func(t *testing.T) func() {
		p := packer{codec: codec, framed: true, compression: used}
		msg, got := wrapperspb.String(strings.Repeat("abc", 100)), new(wrapperspb.StringValue)
		src := new(bytes.Reader)
		return func() {
			b, _, _, err := p.pack(msg)
			if err != nil {
				t.Fatal(err)
			}
			defer b.free()
			src.Reset(b.data)
			u := unpacker{codec: codec, framed: true, compression: used}
			u.frames.src = src
			defer u.free()
			piece, err := u.next()
			if err == nil {
				err = u.unmarshal(piece.data, got, false)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func endAllocs(d *dialect, e *Error) func(*testing.T) func() {
	return func(t *testing.T) func() {
		return func() {
			w := d.encodeEnd(end{err: e}, true)
			if got := d.decodeEnd(w); got.err != nil {
				t.Fatal(got.err)
			}
		}
	}
}

// streamed is how many messages a stream of the budgets has.
const streamed = 1000

// allocServer serves calls of every kind, over cleartext HTTP/2 or HTTP/1.1.
func allocServer(t *testing.T, http2 bool) (*http.Client, string) {
	mux := http.NewServeMux()
	mux.Handle("/test.v1.Echo/Unary", NewUnaryHandler("/test.v1.Echo/Unary",
		func(_ context.Context, r *Request[wrapperspb.StringValue]) (*Response[wrapperspb.StringValue], error) {
			return NewResponse(r.Msg), nil
		}, WithIdempotency(IdempotencyNoSideEffects)))
	mux.Handle("/test.v1.Echo/Bidi", NewBidiStreamHandler("/test.v1.Echo/Bidi",
		func(_ context.Context, s *BidiStream[wrapperspb.StringValue, wrapperspb.StringValue]) error {
			for {
				msg, err := s.Receive()
				if err != nil {
					return unlessEOF(err)
				}
				if err := s.Send(msg); err != nil {
					return err
				}
			}
		}))
	mux.Handle("/test.v1.Echo/Down", NewServerStreamHandler("/test.v1.Echo/Down",
		func(_ context.Context, r *Request[wrapperspb.StringValue], s *ServerStream[wrapperspb.StringValue]) error {
			for range streamed {
				if err := s.Send(r.Msg); err != nil {
					return err
				}
			}
			return nil
		}))
	mux.Handle("/test.v1.Echo/Up", NewClientStreamHandler("/test.v1.Echo/Up",
		func(_ context.Context, s *ClientStream[wrapperspb.StringValue]) (*Response[wrapperspb.StringValue], error) {
			for s.Receive() {
			}
			return NewResponse(s.Msg()), s.Err()
		}))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = protocols
	server.Start()
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	return &http.Client{Transport: transport}, server.URL
}

func callAllocs(http2 bool, options ...ClientOption) func(*testing.T) func() {
	return echoAllocs(http2, 300, options)
}

func largeAllocs(http2 bool, options ...ClientOption) func(*testing.T) func() {
	return echoAllocs(http2, 1<<20, append(options, WithAcceptCompression(compressionGzip, nil, nil)))
}

func echoAllocs(http2 bool, size int, options []ClientOption) func(*testing.T) func() {
	return func(t *testing.T) func() {
		httpClient, url := allocServer(t, http2)
		client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](httpClient, url+"/test.v1.Echo/Unary", options...)
		msg := wrapperspb.String(strings.Repeat("abc", size/3))
		ctx := context.Background()
		return func() {
			if _, err := client.CallUnary(ctx, NewRequest(msg)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func downAllocs(http2 bool, options ...ClientOption) func(*testing.T) func() {
	return func(t *testing.T) func() {
		httpClient, url := allocServer(t, http2)
		client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](httpClient, url+"/test.v1.Echo/Down", options...)
		msg := wrapperspb.String(strings.Repeat("abc", 20))
		return func() {
			stream, err := client.CallServerStream(context.Background(), NewRequest(msg))
			if err != nil {
				t.Fatal(err)
			}
			count := 0
			for stream.Receive() {
				count++
			}
			if err := stream.Err(); err != nil || count != streamed {
				t.Fatalf("got %d messages, %v, want %d", count, err, streamed)
			}
			_ = stream.Close()
		}
	}
}

func upAllocs(http2 bool, options ...ClientOption) func(*testing.T) func() {
	return func(t *testing.T) func() {
		httpClient, url := allocServer(t, http2)
		client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](httpClient, url+"/test.v1.Echo/Up", options...)
		msg := wrapperspb.String(strings.Repeat("abc", 20))
		return func() {
			stream := client.CallClientStream(context.Background())
			for range streamed {
				if err := stream.Send(msg); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := stream.CloseAndReceive(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func bidiAllocs(t *testing.T) func() {
	httpClient, url := allocServer(t, true)
	client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](httpClient, url+"/test.v1.Echo/Bidi", WithGRPC())
	stream := client.CallBidiStream(context.Background())
	t.Cleanup(func() {
		if err := stream.CloseRequest(); err != nil {
			t.Error(err)
		}
		if _, err := stream.Receive(); !isEOF(err) {
			t.Errorf("got %v, want %v", err, io.EOF)
		}
		_ = stream.CloseResponse()
	})
	msg := wrapperspb.String(strings.Repeat("abc", 100))
	return func() {
		if err := stream.Send(msg); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Receive(); err != nil {
			t.Fatal(err)
		}
	}
}
