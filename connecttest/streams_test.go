// SPDX-License-Identifier: Apache-2.0

// Streams and requests that a test makes, joined by NewConns: what either side sends, the
// ends, errors and misuse.

package connecttest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
)

type text = wrapperspb.StringValue

var (
	spec = connect.Spec{StreamType: connect.StreamTypeBidi, Procedure: "/test.v1.Test/Chat", IdempotencyLevel: connect.IdempotencyIdempotent}
	peer = connect.Peer{Addr: "192.0.2.1:4711", Protocol: connect.ProtocolGRPC}
)

func newConns(t *testing.T) (*connecttest.HandlerConn, *connecttest.ClientConn) {
	return connecttest.NewConns(t.Context(), spec, peer)
}

// chat is a handler's method.
func chat(_ context.Context, stream *connect.BidiStream[text, text]) error {
	stream.ResponseHeader().Set("Lang", stream.RequestHeader().Get("Lang"))
	count := 0
	for {
		name, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			stream.ResponseTrailer().Set("Count", fmt.Sprint(count))
			return nil
		}
		if err != nil {
			return err
		}
		if name.Value == "" {
			return connect.NewError(connect.CodeInvalidArgument, errors.New("no name"))
		}
		count++
		if err := stream.Send(wrapperspb.String("Hello, " + name.Value)); err != nil {
			return err
		}
	}
}

// TestBidi calls a method in the test's goroutine: first all messages, then the handler,
// then the answers.
func TestBidi(t *testing.T) {
	handler, client := newConns(t)
	caller := connecttest.NewBidiStreamForClient[text, text](client)
	caller.RequestHeader().Set("Lang", "en")
	for _, name := range []string{"Ada", "Grace"} {
		if err := caller.Send(wrapperspb.String(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := caller.CloseRequest(); err != nil {
		t.Fatal(err)
	}
	_ = handler.Close(chat(t.Context(), connecttest.NewBidiStream[text, text](handler)))
	var got []string
	for {
		answer, err := caller.Receive()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, answer.Value)
	}
	if want := []string{"Hello, Ada", "Hello, Grace"}; !cmp.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := caller.ResponseHeader().Get("Lang") + caller.ResponseTrailer().Get("Count"); got != "en2" {
		t.Errorf("got metadata %q, want en2", got)
	}
}

// TestKinds makes every type of stream and looks at what it is.
func TestKinds(t *testing.T) {
	wantClient := spec
	wantClient.IsClient = true
	type stream interface {
		Spec() connect.Spec
		Peer() connect.Peer
	}
	handler, client := newConns(t)
	for _, s := range []stream{
		connecttest.NewClientStream[text](handler), connecttest.NewBidiStream[text, text](handler), connecttest.NewServerStream[text](handler).Conn(),
	} {
		if diff := cmp.Diff(s.Spec(), spec) + cmp.Diff(s.Peer(), peer); diff != "" {
			t.Errorf("%T: %s", s, diff)
		}
	}
	server, _ := connecttest.NewServerStreamForClient[text](client).Conn()
	for _, s := range []stream{
		connecttest.NewClientStreamForClient[text, text](client), connecttest.NewClientStreamForClientSimple[text, text](client),
		connecttest.NewBidiStreamForClient[text, text](client), connecttest.NewBidiStreamForClientSimple[text, text](client), server,
	} {
		if diff := cmp.Diff(s.Spec(), wantClient); diff != "" || s.Peer().Protocol != connect.ProtocolGRPC {
			t.Errorf("%T: %s, peer %v", s, diff, s.Peer())
		}
	}
	// Making a stream sends nothing, closes nothing and receives nothing.
	if err := client.Send(wrapperspb.String("first")); err != nil {
		t.Fatal(err)
	}
	if in := connecttest.NewClientStream[text](handler); !in.Receive() || in.Msg().Value != "first" {
		t.Errorf("got %v and error %v, want the first message", in.Msg(), in.Err())
	}
}

// TestClientStream and TestServerStream use the other two kinds.
func TestClientStream(t *testing.T) {
	for _, fails := range []bool{false, true} {
		handler, client := newConns(t)
		out := connecttest.NewClientStreamForClientSimple[text, text](client)
		go func() {
			in, sum := connecttest.NewClientStream[text](handler), ""
			for in.Receive() {
				sum += in.Msg().Value
			}
			if fails || in.Err() != nil {
				_ = handler.Close(errors.Join(errors.New("some reason"), in.Err()))
				return
			}
			_ = handler.Send(wrapperspb.String(sum))
			_ = handler.Close(nil)
		}()
		for _, s := range []string{"a", "b", "c"} {
			if err := out.Send(wrapperspb.String(s)); err != nil {
				t.Fatal(err)
			}
		}
		sum, err := out.CloseAndReceive()
		if fails {
			if connect.CodeOf(err) != connect.CodeUnknown || !connect.IsWireError(err) || err.Error() != "unknown: some reason" {
				t.Errorf("got %v, want unknown: some reason, from the wire", err)
			}
		} else if err != nil || sum.Value != "abc" {
			t.Errorf("got %v and %v, want abc", sum, err)
		}
	}
}

func TestServerStream(t *testing.T) {
	handler, client := newConns(t)
	out := connecttest.NewServerStream[text](handler)
	msg := wrapperspb.String("one")
	if err := out.Send(msg); err != nil {
		t.Fatal(err)
	}
	msg.Value = "changed after it was sent"
	failure := connect.NewError(connect.CodeNotFound, errors.New("no more"))
	detail, err := connect.NewErrorDetail(durationpb.New(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	failure.AddDetail(detail)
	failure.Meta().Set("Reason", "r")
	_ = handler.Close(fmt.Errorf("wrapped: %w", failure))
	_ = handler.Close(nil) // the first one counts

	in := connecttest.NewServerStreamForClient[text](client)
	if !in.Receive() || in.Msg().Value != "one" {
		t.Errorf("got %v and error %v, want one", in.Msg(), in.Err())
	}
	var got *connect.Error
	if in.Receive() || !errors.As(in.Err(), &got) {
		t.Fatalf("got %v, want the error", in.Err())
	}
	if got.Error() != "not_found: no more" || len(got.Details()) != 1 || got.Meta().Get("Reason") != "r" || !connect.IsWireError(got) {
		t.Errorf("got %v with %d details and %v", got, len(got.Details()), got.Meta())
	}
}

// TestMisuse has each side do what it must not.
func TestMisuse(t *testing.T) {
	var other durationpb.Duration
	for name, test := range map[string]struct {
		do   func(*connecttest.HandlerConn, *connecttest.ClientConn) error
		want string
	}{
		"another type": {func(h *connecttest.HandlerConn, c *connecttest.ClientConn) error {
			_ = c.Send(wrapperspb.String("x"))
			return h.Receive(&other)
		}, "internal: receive: the next message is a *wrapperspb.StringValue: expected a *durationpb.Duration"},
		"another type of no schema": {func(h *connecttest.HandlerConn, c *connecttest.ClientConn) error {
			_ = h.Send(new(int))
			return c.Receive(new(string))
		}, "internal: receive: the next message is a *int: expected a *string"},
		"send after close": {func(h *connecttest.HandlerConn, _ *connecttest.ClientConn) error {
			_ = h.Close(nil)
			return h.Send(&other)
		}, "internal: send: the handler's side is closed: Close was called before"},
		"receive after close": {func(h *connecttest.HandlerConn, _ *connecttest.ClientConn) error {
			_ = h.Close(nil)
			return h.Receive(&other)
		}, "internal: receive: the handler's side is closed: Close was called before"},
		"send after the request is closed": {func(_ *connecttest.HandlerConn, c *connecttest.ClientConn) error {
			_ = c.CloseRequest()
			return c.Send(&other)
		}, "internal: send: the request is closed: CloseRequest or CloseAndReceive was called before"},
		"send after the end": {func(h *connecttest.HandlerConn, c *connecttest.ClientConn) error {
			_ = h.Close(nil)
			return c.Send(&other)
		}, "unknown: EOF"},
		"receive after the response is closed": {func(_ *connecttest.HandlerConn, c *connecttest.ClientConn) error {
			_ = c.CloseResponse()
			return c.Receive(&other)
		}, "canceled: receive: the response is closed: Close or CloseResponse was called before"},
		"send to one who has left": {func(h *connecttest.HandlerConn, c *connecttest.ClientConn) error {
			_ = c.CloseResponse()
			return h.Send(&other)
		}, "canceled: send: the client has closed the response"},
		"receive from one who has left": {func(h *connecttest.HandlerConn, c *connecttest.ClientConn) error {
			_ = c.CloseResponse()
			return h.Receive(&other)
		}, "canceled: receive: the client has closed the response"},
	} {
		handler, client := newConns(t)
		if err := test.do(handler, client); err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
}

// TestContext ends the context while every method waits that can.
func TestContext(t *testing.T) {
	for _, code := range []connect.Code{connect.CodeCanceled, connect.CodeDeadlineExceeded} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			handler, client := connecttest.NewConns(ctx, spec, peer)
			if code == connect.CodeCanceled {
				time.AfterFunc(time.Second, cancel)
			}
			var all sync.WaitGroup
			for name, f := range map[string]func() error{
				"the handler's Receive": func() error { return handler.Receive(new(text)) },
				"the client's Receive":  func() error { return client.Receive(new(text)) },
			} {
				all.Go(func() {
					if err := f(); connect.CodeOf(err) != code {
						t.Errorf("%s: got %v, want %v", name, err, code)
					}
				})
			}
			all.Go(func() {
				if got := client.ResponseHeader(); len(got) > 0 {
					t.Errorf("got header %v, want none", got)
				}
			})
			all.Wait()
			if err := handler.Send(new(text)); connect.CodeOf(err) != code {
				t.Errorf("got %v of a later Send, want %v", err, code)
			}
		})
	}
}

// TestNewRequest looks at a request.
func TestNewRequest(t *testing.T) {
	withQuery := peer
	withQuery.Query = url.Values{"a": {"b"}}
	r := connecttest.NewRequest(wrapperspb.String("x"), spec, withQuery)
	if diff := cmp.Diff(r.Spec(), spec) + cmp.Diff(r.Peer(), withQuery); diff != "" || r.Msg.Value != "x" || r.HTTPMethod() != http.MethodPost {
		t.Errorf("got %s %v %s", diff, r.Msg, r.HTTPMethod())
	}
	r.Header().Set("A", "b")
	if got := r.Header().Get("A"); got != "b" || len(r.Header()) != 1 {
		t.Errorf("got header %v, want the one that was set", r.Header())
	}
	if r := connecttest.NewRequest[text](nil, spec, peer); r.Msg != nil {
		t.Errorf("got %v, want no message", r.Msg)
	}
	// An interceptor sees it as a handler's request.
	limited := func(_ context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		return nil, connect.NewError(connect.CodeUnavailable, errors.New(r.Spec().Procedure+" "+r.Peer().Addr))
	}
	if _, err := limited(t.Context(), r); err.Error() != "unavailable: /test.v1.Test/Chat 192.0.2.1:4711" {
		t.Errorf("got %v", err)
	}
}

// TestConcurrent has both sides run at the same time.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler, client := newConns(t)
		caller := connecttest.NewBidiStreamForClientSimple[text, text](client)
		go func() { _ = handler.Close(chat(t.Context(), connecttest.NewBidiStream[text, text](handler))) }()
		for i := range 100 {
			if err := caller.Send(wrapperspb.String(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
			if got, err := caller.Receive(); err != nil || got.Value != fmt.Sprint("Hello, ", i) {
				t.Fatalf("got %v and %v", got, err)
			}
		}
		if err := caller.Send(new(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := caller.Receive(); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("got %v, want invalid_argument", err)
		}
		if err := caller.Send(new(text)); !errors.Is(err, io.EOF) {
			t.Errorf("got %v of a Send after the end, want io.EOF", err)
		}
	})
}
