// SPDX-License-Identifier: Apache-2.0

// This file tests that calls of all kinds carry messages of all sizes.

package conntest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"testing"

	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

func TestOneMessage(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		proto := make(chan string, 1)
		site := m.serve(t, echo, wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				proto <- r.Proto
				next.ServeHTTP(w, r)
			})
		}))
		client := site.client()
		forKinds(t, m, func(t *testing.T, k kind) {
			o := call(testContext(t), client, k, nil, text("hello, "+string(k)))
			wantNil(t, o.err)
			wantEqual(t, "messages", len(o.messages), 1)
			wantEqual(t, "text", o.messages[0].GetText(), "hello, "+string(k))
			wantEqual(t, "HTTP version", <-proto, m.engine.proto)
		})
	})
}

// An empty message is a message (checklist item 34).
func TestEmptyMessages(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			for _, r := range requests {
				if r.GetText() != "" {
					return fmt.Errorf("got text %q, want an empty message", r.GetText())
				}
				if err := x.send(new(conntestv1.Response)); err != nil {
					return err
				}
			}
			x.trailer.Set("Requests", fmt.Sprint(len(requests)))
			return nil
		})).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			requests := []*conntestv1.Request{{}}
			if k.sendsMany() {
				requests = []*conntestv1.Request{{}, {}, {}}
			}
			o := call(testContext(t), client, k, nil, requests...)
			wantNil(t, o.err)
			wantValues(t, "trailer", o.trailer, "Requests", fmt.Sprint(len(requests)))
			want := 1
			if k == bidi {
				want = 3
			}
			wantEqual(t, "responses", len(o.messages), want)
		})
	})
}

// A stream may carry no message at all.
func TestNoMessages(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			x.answer.Set("Requests", fmt.Sprint(len(requests)))
			x.trailer.Set("Done", "yes")
			return nil
		})).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			var requests []*conntestv1.Request
			if !k.sendsMany() {
				requests = append(requests, new(conntestv1.Request))
			}
			o := call(testContext(t), client, k, nil, requests...)
			wantNil(t, o.err)
			wantValues(t, "header", o.header, "Requests", fmt.Sprint(len(requests)))
			wantValues(t, "trailer", o.trailer, "Done", "yes")
			if k.receivesMany() {
				wantEqual(t, "responses", len(o.messages), 0)
			}
		})
	})
}

// Many messages arrive complete and in order.
func TestManyMessages(t *testing.T) {
	const many = manyMessages
	run(t, func(t *testing.T, m mode) {
		client := m.serve(t, echo).client()
		t.Run("ServerStream", func(t *testing.T) {
			o := call(testContext(t), client, serverStream, nil, &conntestv1.Request{Text: "x", Count: many})
			wantNil(t, o.err)
			wantEqual(t, "responses", len(o.messages), many)
			for i, r := range o.messages {
				wantEqual(t, "index", int(r.GetCount()), i)
			}
		})
		var requests []*conntestv1.Request
		for i := range many {
			requests = append(requests, text(fmt.Sprint(i)))
		}
		t.Run("ClientStream", func(t *testing.T) {
			o := call(testContext(t), client, clientStream, nil, requests...)
			wantNil(t, o.err)
			wantEqual(t, "requests received", o.messages[0].GetCount(), many)
			wantEqual(t, "last text", o.messages[0].GetText(), fmt.Sprint(many-1))
		})
		if !duplex(m) {
			return
		}
		t.Run("Bidi", func(t *testing.T) {
			o := call(testContext(t), client, bidi, nil, requests...)
			wantNil(t, o.err)
			wantEqual(t, "responses", len(o.messages), many)
			for i, r := range o.messages {
				wantEqual(t, "text", r.GetText(), fmt.Sprint(i))
			}
		})
	})
}

// Large messages pass both ways, whether they compress well or not at all.
func TestLargeMessages(t *testing.T) {
	random := noise(1 << 20)
	zeros := make([]byte, 1<<20+1)
	test := func(data []byte, compressed bool) func(*testing.T, mode) {
		return func(t *testing.T, m mode) {
			if !compressed {
				m.compression = "identity"
			}
			client := m.serve(t, echo).client()
			forKinds(t, m, func(t *testing.T, k kind) {
				requests := []*conntestv1.Request{{Data: data}}
				if k.sendsMany() {
					requests = append(requests, &conntestv1.Request{Data: data})
				}
				o := call(testContext(t), client, k, nil, requests...)
				wantNil(t, o.err)
				if k == bidi {
					wantEqual(t, "responses", len(o.messages), 2)
				}
				if got := o.messages[len(o.messages)-1].GetData(); !bytes.Equal(got, data) {
					t.Fatalf("got %d bytes that differ from the %d sent", len(got), len(data))
				}
			})
		}
	}
	t.Run("noise", func(t *testing.T) { runFew(t, test(random, false)) })
	t.Run("zeros", func(t *testing.T) { runFew(t, test(zeros, true)) })
}

// Each response reaches the client before the handler sends the next: nothing
// waits in a buffer.
func TestFlushedMessages(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		next := make(chan struct{})
		client := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			for i := range int32(3) {
				if err := x.send(&conntestv1.Response{Count: i}); err != nil {
					return err
				}
				select {
				case <-next:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})).client()
		stream, err := client.ServerStream(testContext(t), requestOf("go"))
		wantNil(t, err)
		defer stream.Close()
		for i := range int32(3) {
			if !stream.Receive() {
				t.Fatalf("response %d: %v", i, stream.Err())
			}
			wantEqual(t, "index", stream.Msg().GetCount(), i)
			next <- struct{}{}
		}
		if stream.Receive() {
			t.Fatal("got a fourth response, want the end")
		}
		wantNil(t, stream.Err())
	})
}

// Ping-pong: each side answers the other before the next message.
func TestPingPong(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		client := m.serve(t, echo).client()
		stream := client.Bidi(testContext(t))
		for i := range 5 {
			want := fmt.Sprintf("ping %d", i)
			wantNil(t, stream.Send(text(want)))
			got, err := stream.Receive()
			wantNil(t, err)
			wantEqual(t, "text", got.GetText(), want)
		}
		wantNil(t, stream.CloseRequest())
		_, err := stream.Receive()
		wantEOF(t, err)
		wantNil(t, stream.CloseResponse())
	}, duplex)
}
