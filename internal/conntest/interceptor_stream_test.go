// SPDX-License-Identifier: Apache-2.0

// This file tests interceptors that wrap the conns of streams.

package conntest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// wrappedClientConn changes every text that passes and counts.
type wrappedClientConn struct {
	connect.StreamingClientConn
	journal *journal
}

func (c *wrappedClientConn) Send(message any) error {
	if r, ok := message.(*conntestv1.Request); ok && r != nil {
		c.journal.note("send")
		message = text(r.GetText() + " client")
	}
	return c.StreamingClientConn.Send(message)
}

func (c *wrappedClientConn) Receive(message any) error {
	err := c.StreamingClientConn.Receive(message)
	if err == nil {
		c.journal.note("receive")
		message.(*conntestv1.Response).Text += " client"
	} else if errors.Is(err, io.EOF) {
		c.journal.note("end")
	}
	return err
}

func (c *wrappedClientConn) CloseRequest() error {
	c.journal.note("close request")
	return c.StreamingClientConn.CloseRequest()
}

func (c *wrappedClientConn) CloseResponse() error {
	c.journal.note("close response")
	return c.StreamingClientConn.CloseResponse()
}

// wrappedHandlerConn does the same on the other side.
type wrappedHandlerConn struct{ connect.StreamingHandlerConn }

func (c *wrappedHandlerConn) Send(message any) error {
	if r, ok := message.(*conntestv1.Response); ok && r != nil {
		message = text2(r.GetText() + " handler")
	}
	return c.StreamingHandlerConn.Send(message)
}

func (c *wrappedHandlerConn) Receive(message any) error {
	err := c.StreamingHandlerConn.Receive(message)
	if err == nil {
		message.(*conntestv1.Request).Text += " handler"
	}
	return err
}

// An interceptor of streams wraps the conn, and everything goes through it.
func TestStreamInterceptorsWrapConns(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		var events journal
		site := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			x.answer.Set("Echoed", x.header.Get("From-Client")+" "+x.header.Get("From-Handler"))
			return x.send(text2(requests[0].GetText()))
		}), handlerOptions(connect.WithInterceptors(interceptor{
			handler: func(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
				return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
					conn.RequestHeader().Set("From-Handler", "handler")
					conn.ResponseTrailer().Set("Passed", conn.Spec().Procedure)
					return next(ctx, &wrappedHandlerConn{conn})
				}
			},
		})))
		client := site.client(connect.WithInterceptors(interceptor{
			client: func(next connect.StreamingClientFunc) connect.StreamingClientFunc {
				return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
					conn := next(ctx, spec)
					conn.RequestHeader().Set("From-Client", "client")
					return &wrappedClientConn{conn, &events}
				}
			},
		}))
		forKinds(t, m, func(t *testing.T, k kind) {
			o := call(testContext(t), client, k, nil, text("x"))
			wantNil(t, o.err)
			got := events.take()
			if k == unary || k == get {
				wantEvents(t, "client", got)
				return
			}
			wantEqual(t, "text", o.messages[0].GetText(), "x client handler handler client")
			wantValues(t, "header", o.header, "Echoed", "client handler")
			wantValues(t, "trailer", o.trailer, "Passed", k.procedure())
			for _, event := range []string{"send", "close request", "receive", "close response"} {
				if !slices.Contains(got, event) {
					t.Fatalf("client: got %q, want %q among them", got, event)
				}
			}
		})
	})
}

// errClientConn is a conn that an interceptor made itself.
type errClientConn struct {
	spec connect.Spec
	err  error
}

func (c errClientConn) Spec() connect.Spec           { return c.spec }
func (c errClientConn) Peer() connect.Peer           { return connect.Peer{} }
func (c errClientConn) Send(any) error               { return c.err }
func (c errClientConn) RequestHeader() http.Header   { return make(http.Header) }
func (c errClientConn) CloseRequest() error          { return nil }
func (c errClientConn) Receive(any) error            { return c.err }
func (c errClientConn) ResponseHeader() http.Header  { return make(http.Header) }
func (c errClientConn) ResponseTrailer() http.Header { return make(http.Header) }
func (c errClientConn) CloseResponse() error         { return nil }

// A stream interceptor may refuse, on either side.
func TestStreamInterceptorRefuses(t *testing.T) {
	refusal := connect.NewError(connect.CodeUnauthenticated, errors.New("no token"))
	runFew(t, func(t *testing.T, m mode) {
		never := everyKind(func(_ context.Context, x *exchange) error {
			t.Errorf("the handler of %s ran", x.kind)
			return nil
		})
		onHandler := m.serve(t, never, handlerOptions(connect.WithInterceptors(interceptor{
			handler: func(connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
				return func(context.Context, connect.StreamingHandlerConn) error { return refusal }
			},
		}))).client()
		onClient := m.serve(t, never).client(connect.WithInterceptors(interceptor{
			client: func(connect.StreamingClientFunc) connect.StreamingClientFunc {
				return func(_ context.Context, spec connect.Spec) connect.StreamingClientConn {
					return errClientConn{spec, refusal}
				}
			},
		}))
		for _, k := range m.kinds()[2:] {
			wantCode(t, call(testContext(t), onHandler, k, nil, text("x")).err, connect.CodeUnauthenticated)
			wantCode(t, call(testContext(t), onClient, k, nil, text("x")).err, connect.CodeUnauthenticated)
		}
	})
}

// streamCounter counts how often a client's stream is wrapped and begun.
type streamCounter struct {
	connect.UnaryInterceptorFunc
	wrapped, begun *atomic.Int64
	change         func(context.Context) context.Context
}

func (i streamCounter) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	i.wrapped.Add(1)
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		i.begun.Add(1)
		return next(i.change(ctx), spec)
	}
}

// An interceptor is wrapped around each stream of a client anew, and one that replaces
// the call information ends the call before the interceptors behind it.
func TestStreamingClientInterceptorsPerCall(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		var wrapped, begun, unaryCalls atomic.Int64
		replace := false
		counter := func(change func(context.Context) context.Context) streamCounter {
			return streamCounter{func(next connect.UnaryFunc) connect.UnaryFunc {
				return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
					unaryCalls.Add(1)
					return next(change(ctx), r)
				}
			}, &wrapped, &begun, change}
		}
		client := m.serve(t, echo).client(connect.WithInterceptors(
			counter(func(ctx context.Context) context.Context {
				if replace {
					ctx, _ = connect.NewClientContext(ctx)
				}
				return ctx
			}),
			counter(func(ctx context.Context) context.Context { return ctx }),
		))
		for range 3 {
			wantNil(t, call(testContext(t), client, serverStream, nil, text("x")).err)
		}
		wantEqual(t, "wrapped", wrapped.Load(), 6)
		wantEqual(t, "begun", begun.Load(), 6)
		replace = true
		begun.Store(0)
		stream := client.ClientStream(testContext(t))
		stream.RequestHeader().Set("Mine", "kept")
		wantValues(t, "request header", stream.RequestHeader(), "Mine", "kept")
		_, err := stream.CloseAndReceive()
		wantCode(t, err, connect.CodeUnknown)
		wantEqual(t, "begun", begun.Load(), 1)
		_, err = client.Unary(testContext(t), requestOf("x"))
		wantCode(t, err, connect.CodeUnknown)
		wantEqual(t, "unary calls seen", unaryCalls.Load(), 1)
	})
}
