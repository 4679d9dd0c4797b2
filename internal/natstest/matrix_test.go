// SPDX-License-Identifier: Apache-2.0

// Every protocol and every kind of call, with bodies of several sizes.

package natstest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

// sizes are those of a message's data: none, a frame, more than a frame, more than the
// payload limit of the NATS server and more than a window.
var sizes = []int{0, 100, 100_000, 3 << 20}

func TestMatrix(t *testing.T) {
	s := startServer(t, nil)
	for range 2 { // a queue group
		serve(t, dial(t, s), new(service).handler())
	}
	nc := dial(t, s)
	for name, options := range protocols {
		for _, compressed := range []bool{false, true} {
			options := options
			if !compressed {
				options = append([]connect.ClientOption{connect.WithAcceptCompression("gzip", nil, nil)}, options...)
			}
			for _, size := range sizes {
				t.Run(fmt.Sprintf("%s/compressed=%v/%d", name, compressed, size), func(t *testing.T) {
					callAll(t, newClient(nc, options...), size)
				})
			}
		}
	}
}

// A message of 64 MiB passes in pieces.
func TestLargest(t *testing.T) {
	s := startServer(t, nil)
	serve(t, dial(t, s), new(service).handler(connect.WithReadMaxBytes(largest+100)))
	nc := dial(t, s)
	for name, options := range protocols {
		t.Run(name, func(t *testing.T) {
			client := newClient(nc, append([]connect.ClientOption{connect.WithReadMaxBytes(largest + 100), connect.WithAcceptCompression("gzip", nil, nil)}, options...)...)
			response, err := client.Unary(testContext(t), connect.NewRequest(&conntestv1.Request{Data: make([]byte, largest)}))
			if err != nil || len(response.Msg.Data) != largest {
				t.Errorf("got error %v, want %d bytes", err, largest)
			}
		})
	}
}

const largest = 64 << 20

// callAll makes calls of all kinds.
func callAll(t *testing.T, client conntestv1connect.TestServiceClient, size int) {
	ctx := testContext(t)
	data := bytes.Repeat([]byte{7}, size)
	q := func() *conntestv1.Request { return &conntestv1.Request{Text: "a", Data: data} }
	t.Run("unary", func(t *testing.T) {
		response, err := client.Unary(ctx, connect.NewRequest(q()))
		if err != nil {
			t.Fatal(err)
		}
		if got := response.Msg; got.Text != "a" || !bytes.Equal(got.Data, data) {
			t.Errorf("got %q and %d bytes, want a and %d", got.Text, len(got.Data), size)
		}
		if h, tr := response.Header().Get("X-Header"), response.Trailer().Get("X-Trailer"); h != "head" || tr != "tail" {
			t.Errorf("got header %q and trailer %q, want head and tail", h, tr)
		}
	})
	t.Run("error", func(t *testing.T) {
		q := q()
		q.Failure = &conntestv1.Failure{Code: uint32(connect.CodeAborted), Message: "no luck", Metadata: map[string]string{"X-Why": "because"}}
		_, err := client.Unary(ctx, connect.NewRequest(q))
		wantError(t, "unary", err, connect.CodeAborted, "no luck")
		var e *connect.Error
		if !errors.As(err, &e) || e.Meta().Get("X-Why") != "because" {
			t.Errorf("got %v, want its metadata", err)
		}
	})
	t.Run("server stream", func(t *testing.T) {
		q := q()
		q.Count = 5
		stream, err := client.ServerStream(ctx, connect.NewRequest(q))
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		n := int32(0)
		for ; stream.Receive(); n++ {
			if got := stream.Msg(); got.Count != n || !bytes.Equal(got.Data, data) {
				t.Errorf("got message %d with %d bytes, want %d with %d", got.Count, len(got.Data), n, size)
			}
		}
		if err := stream.Err(); err != nil || n != 5 {
			t.Errorf("got %d messages and error %v, want 5", n, err)
		}
		if h, tr := stream.ResponseHeader().Get("X-Header"), stream.ResponseTrailer().Get("X-Trailer"); h != "head" || tr != "tail" {
			t.Errorf("got header %q and trailer %q, want head and tail", h, tr)
		}
	})
	t.Run("client stream", func(t *testing.T) {
		stream := client.ClientStream(ctx)
		for range 5 {
			if err := stream.Send(q()); err != nil {
				t.Fatal(err)
			}
		}
		response, err := stream.CloseAndReceive()
		if err != nil || response.Msg.Count != 5 || response.Msg.Text != "aaaaa" {
			t.Errorf("got %v and error %v, want 5 messages", response, err)
		}
	})
	t.Run("bidi", func(t *testing.T) {
		stream := client.Bidi(ctx)
		for n := range int32(5) { // full duplex: each message is answered before the next
			if err := stream.Send(q()); err != nil {
				t.Fatal(err)
			}
			got, err := stream.Receive()
			if err != nil || got.Count != n || !bytes.Equal(got.Data, data) {
				t.Fatalf("got %d bytes and error %v, want message %d", len(got.GetData()), err, n)
			}
		}
		if err := stream.CloseRequest(); err != nil {
			t.Error(err)
		}
		if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end", err)
		}
		if tr := stream.ResponseTrailer().Get("X-Trailer"); tr != "tail" {
			t.Errorf("got trailer %q, want tail", tr)
		}
		_ = stream.CloseResponse()
	})
	t.Run("early error", func(t *testing.T) {
		stream := client.Bidi(ctx)
		defer stream.CloseResponse()
		q := q()
		q.Failure = &conntestv1.Failure{Code: uint32(connect.CodeAborted), Message: "enough"}
		if err := stream.Send(q); err != nil {
			t.Fatal(err)
		}
		_, err := stream.Receive()
		wantError(t, "bidi", err, connect.CodeAborted, "enough")
		_ = stream.CloseRequest()
	})
}

// A GET has its message in the query.
func TestGet(t *testing.T) {
	s := startServer(t, nil)
	serve(t, dial(t, s), new(service).handler())
	client := newClient(dial(t, s), connect.WithHTTPGet())
	response, err := client.Get(testContext(t), connect.NewRequest(&conntestv1.Request{Text: "a b&c"}))
	if err != nil || response.Msg.Text != "a b&c" {
		t.Errorf("got %v and error %v, want the text", response, err)
	}
}
