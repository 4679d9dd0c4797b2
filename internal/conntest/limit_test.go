// SPDX-License-Identifier: Apache-2.0

// This file tests the limits on the size of messages, on both sides.

package conntest

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"google.golang.org/protobuf/proto"
)

// sized makes a request of exactly size bytes when encoded as Protobuf. The
// response of echo has the same size.
func sized(t *testing.T, size int) *conntestv1.Request {
	t.Helper()
	r := &conntestv1.Request{Text: strings.Repeat("x", size)}
	r.Text = r.Text[:size-(proto.Size(r)-size)]
	wantEqual(t, "size of the test's message", proto.Size(r), size)
	wantEqual(t, "size of its response", proto.Size(&conntestv1.Response{Text: r.Text}), size)
	return r
}

// binaryCodec reports whether the mode's codec makes messages of the size of Protobuf.
func binaryCodec(m mode) bool { return m.codec != "json" }

// The receiving limit holds for a message on the wire and for the same message
// decompressed; a message of exactly that size passes (checklist item 25).
func TestReadMaxBytes(t *testing.T) {
	const limit = 1000
	run(t, func(t *testing.T, m mode) {
		onHandler := m.serve(t, echo, handlerOptions(connect.WithReadMaxBytes(limit))).client()
		onClient := m.serve(t, echo).client(connect.WithReadMaxBytes(limit))
		forKinds(t, m, func(t *testing.T, k kind) {
			exact := sized(t, limit)
			if k == clientStream {
				// The answer to a client stream holds a count, which takes two bytes.
				exact = sized(t, limit-2)
			}
			wantNil(t, call(testContext(t), onHandler, k, nil, sized(t, limit)).err)
			wantNil(t, call(testContext(t), onClient, k, nil, exact).err)
			for _, size := range []int{limit + 1, 10 * limit} {
				err := call(testContext(t), onHandler, k, nil, sized(t, size)).err
				wantCode(t, err, connect.CodeResourceExhausted)
				wantEqual(t, "handler's limit: is a wire error", connect.IsWireError(err), true)
				err = call(testContext(t), onClient, k, nil, sized(t, size)).err
				wantCode(t, err, connect.CodeResourceExhausted)
				wantEqual(t, "client's limit: is a wire error", connect.IsWireError(err), false)
			}
		})
	}, binaryCodec)
}

// The limit holds for every message: those before arrive (checklist item 26).
func TestReadMaxBytesLater(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		const limit = 1000
		small, large := text("x"), &conntestv1.Request{Data: noise(2 * limit)}
		onHandler := m.serve(t, echo, handlerOptions(connect.WithReadMaxBytes(limit))).client()
		wantCode(t, call(testContext(t), onHandler, clientStream, nil, small, small, large).err, connect.CodeResourceExhausted)
		if duplex(m) {
			o := call(testContext(t), onHandler, bidi, nil, small, small, large)
			wantCode(t, o.err, connect.CodeResourceExhausted)
			wantEqual(t, "messages before", len(o.messages), 2)
			onClient := m.serve(t, echo).client(connect.WithReadMaxBytes(limit))
			o = call(testContext(t), onClient, bidi, nil, small, small, large, small)
			wantCode(t, o.err, connect.CodeResourceExhausted)
			wantEqual(t, "messages before", len(o.messages), 2)
		}
	})
}

// The library does not send a message that is over the sending limit.
func TestSendMaxBytes(t *testing.T) {
	const limit = 1000
	run(t, func(t *testing.T, m mode) {
		onHandler := m.serve(t, echo, handlerOptions(connect.WithSendMaxBytes(limit))).client()
		onClient := m.serve(t, echo).client(connect.WithSendMaxBytes(limit))
		large := &conntestv1.Request{Data: noise(2 * limit)}
		forKinds(t, m, func(t *testing.T, k kind) {
			wantNil(t, call(testContext(t), onHandler, k, nil, sized(t, limit-2)).err)
			wantNil(t, call(testContext(t), onClient, k, nil, sized(t, limit)).err)
			wantCode(t, call(testContext(t), onHandler, k, nil, large).err, connect.CodeResourceExhausted)
			if m.compression == "identity" {
				wantCode(t, call(testContext(t), onHandler, k, nil, sized(t, limit+1)).err, connect.CodeResourceExhausted)
			}
			if !k.sendsMany() {
				wantCode(t, call(testContext(t), onClient, k, nil, large).err, connect.CodeResourceExhausted)
			}
		})
		// Send itself reports the client's limit, and a small message still passes.
		stream := onClient.ClientStream(testContext(t))
		wantNil(t, stream.Send(text("x")))
		wantCode(t, stream.Send(large), connect.CodeResourceExhausted)
		wantNil(t, stream.Send(text("last")))
		answer, err := stream.CloseAndReceive()
		wantNil(t, err)
		wantEqual(t, "text", answer.Msg.GetText(), "last")
		wantEqual(t, "requests received", answer.Msg.GetCount(), 2)
	}, binaryCodec)
}

// Compression may make a message fit the sending limit.
func TestSendMaxBytesCountsCompressed(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		const limit = 1000
		client := m.serve(t, echo, handlerOptions(connect.WithSendMaxBytes(limit))).client(connect.WithSendMaxBytes(limit))
		for _, k := range m.kinds() {
			o := call(testContext(t), client, k, nil, &conntestv1.Request{Data: make([]byte, 5*limit)})
			wantNil(t, o.err)
			wantEqual(t, string(k)+": data", len(o.messages[0].GetData()), 5*limit)
		}
	}, func(m mode) bool { return m.compression != "identity" })
}

// An error that is too large for the sending limit loses its details and its
// metadata, not its code (checklist item 27).
func TestSendMaxBytesAndErrors(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			if _, err := x.receiveAll(); err != nil {
				return err
			}
			err := connect.NewError(connect.CodeAborted, errors.New("too much to say"))
			detail, e := connect.NewErrorDetail(&conntestv1.Failure{Message: strings.Repeat("d", 5000)})
			if e != nil {
				return e
			}
			err.AddDetail(detail)
			err.Meta().Set("Kept", "maybe")
			return err
		}), handlerOptions(connect.WithSendMaxBytes(1000))).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			o := call(testContext(t), client, k, nil, text("x"))
			wantCode(t, o.err, connect.CodeAborted)
			var err *connect.Error
			errors.As(o.err, &err)
			if !strings.Contains(err.Message(), "too much to say") {
				t.Fatalf("message: got %q, want it kept", err.Message())
			}
			wantEqual(t, "details", len(err.Details()), 0)
		})
	})
}

// Without an option the receiving limit is 16 MiB, on both sides; zero lifts it.
func TestDefaultReadMaxBytes(t *testing.T) {
	const limit = 16 << 20
	zeros := make([]byte, limit+10)
	exact := &conntestv1.Request{Data: zeros[:limit]}
	exact.Data = exact.Data[:limit-(proto.Size(exact)-limit)]
	wantEqual(t, "size of the test's message", proto.Size(exact), limit)
	over := &conntestv1.Request{Data: zeros[:len(exact.Data)+1]}
	runFew(t, func(t *testing.T, m mode) {
		m.codec, m.compression = "proto", "identity"
		unlimited := m.serve(t, echo, handlerOptions(connect.WithReadMaxBytes(0)))
		limited := m.serve(t, echo)
		ctx := testContext(t)
		wantNil(t, call(ctx, limited.client(), unary, nil, exact).err)
		for _, k := range []kind{unary, clientStream} {
			err := call(ctx, limited.client(connect.WithReadMaxBytes(0)), k, nil, over).err
			wantCode(t, err, connect.CodeResourceExhausted)
			wantEqual(t, "handler's limit: is a wire error", connect.IsWireError(err), true)
		}
		for _, k := range []kind{unary, serverStream} {
			err := call(ctx, unlimited.client(), k, nil, over).err
			wantCode(t, err, connect.CodeResourceExhausted)
			wantEqual(t, "client's limit: is a wire error", connect.IsWireError(err), false)
		}
		wantNil(t, call(ctx, unlimited.client(connect.WithReadMaxBytes(0)), unary, nil, over).err)
	}, func(m mode) bool { return m.engine.name == "h2c" }) // none of them has a part in it
}

// Limits that no message reaches, and negative ones, are none.
func TestExtremeLimits(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		for _, limit := range []int{math.MinInt, -1, 0, math.MaxInt - 1, math.MaxInt} {
			client := m.serve(t, echo, handlerOptions(connect.WithReadMaxBytes(limit), connect.WithSendMaxBytes(limit))).
				client(connect.WithReadMaxBytes(limit), connect.WithSendMaxBytes(limit))
			forKinds(t, m, func(t *testing.T, k kind) {
				wantNil(t, call(testContext(t), client, k, nil, sized(t, 1000)).err)
			})
		}
	})
}
