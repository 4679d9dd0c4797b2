// SPDX-License-Identifier: Apache-2.0

// This file tests the options about time: default and longest deadlines, on both sides
// and by procedure, and the limits of streams.

package conntest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// The deadline of a handler is the shortest of what the caller, the client's options
// and the handler's options give; a default counts where there is no other.
func TestTimeoutOptions(t *testing.T) {
	const none = time.Duration(0)
	d := connect.WithDefaultTimeout
	most := connect.WithMaxTimeout
	tests := []struct {
		name    string
		client  []connect.ClientOption
		handler []connect.HandlerOption
		asked   time.Duration // by the caller's context
		want    time.Duration
	}{
		{"nothing", nil, nil, none, none},
		{"handler's default", nil, []connect.HandlerOption{d(time.Minute)}, none, time.Minute},
		{"handler's default, asked", nil, []connect.HandlerOption{d(time.Minute)}, time.Hour, time.Hour},
		{"handler's longest", nil, []connect.HandlerOption{most(time.Minute)}, none, time.Minute},
		{"handler's longest, asked for more", nil, []connect.HandlerOption{most(time.Minute)}, time.Hour, time.Minute},
		{"handler's longest, asked for less", nil, []connect.HandlerOption{most(time.Hour)}, time.Minute, time.Minute},
		{"handler's longest below its default", nil, []connect.HandlerOption{d(time.Hour), most(time.Minute)}, none, time.Minute},
		{"the last option counts", nil, []connect.HandlerOption{d(time.Hour), d(time.Minute)}, none, time.Minute},
		{"zero is none", nil, []connect.HandlerOption{d(time.Hour), most(time.Hour), d(0), most(-1)}, none, none},
		{"client's default", []connect.ClientOption{d(time.Minute)}, nil, none, time.Minute},
		{"client's default, asked", []connect.ClientOption{d(time.Minute)}, nil, time.Hour, time.Hour},
		{"client's longest", []connect.ClientOption{most(time.Minute)}, nil, time.Hour, time.Minute},
		{"client's longest, asked for less", []connect.ClientOption{most(time.Hour)}, nil, time.Minute, time.Minute},
		{"both sides", []connect.ClientOption{d(time.Hour)}, []connect.HandlerOption{d(time.Second), most(time.Minute)}, none, time.Minute},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			runTimed(t, func(t *testing.T, m mode) {
				left := make(chan time.Duration, 1)
				client := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
					if deadline, ok := ctx.Deadline(); ok {
						left <- time.Until(deadline)
					} else {
						left <- none
					}
					_, err := x.receiveAll()
					return errors.Join(err, x.send(new(conntestv1.Response)))
				}), handlerOptions(test.handler...)).client(test.client...)
				for _, k := range m.kinds() {
					ctx, cancel := t.Context(), context.CancelFunc(func() {})
					if test.asked > 0 {
						ctx, cancel = context.WithTimeout(ctx, test.asked)
					}
					wantNil(t, call(ctx, client, k, nil, text("x")).err)
					cancel()
					if got := <-left; got > test.want || got < test.want-test.want/10 {
						t.Fatalf("%s: got %v left, want %v", k, got, test.want)
					}
				}
			}, func(m mode) bool { return m.engine.memory })
		})
	}
}

// Calls end when the time of an option is over, with deadline_exceeded on both sides.
func TestTimeoutOptionsEndCalls(t *testing.T) {
	for name, side := range map[string]struct {
		client  []connect.ClientOption
		handler []connect.HandlerOption
	}{
		"handler's default": {nil, []connect.HandlerOption{connect.WithDefaultTimeout(time.Minute)}},
		"handler's longest": {nil, []connect.HandlerOption{connect.WithMaxTimeout(time.Minute)}},
		"client's default":  {[]connect.ClientOption{connect.WithDefaultTimeout(time.Minute)}, nil},
		"client's longest":  {[]connect.ClientOption{connect.WithMaxTimeout(time.Minute)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			runTimed(t, func(t *testing.T, m mode) {
				handlerEnded := make(chan error, 1)
				client := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
					if x.kind != bidi {
						if _, err := x.receiveAll(); err != nil {
							return err
						}
					}
					<-ctx.Done()
					handlerEnded <- ctx.Err()
					return ctx.Err()
				}), handlerOptions(side.handler...)).client(side.client...)
				for _, k := range m.kinds() {
					begun := time.Now()
					wantCode(t, call(t.Context(), client, k, nil, text("x")).err, connect.CodeDeadlineExceeded)
					if took := time.Since(begun); took < time.Minute || took > time.Minute+time.Second {
						t.Fatalf("%s: got an end after %v, want a minute", k, took)
					}
					if err := <-handlerEnded; !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
						t.Fatalf("%s: handler: got %v, want the context's error", k, err)
					}
				}
			}, func(m mode) bool { return m.engine.memory })
		})
	}
}

// Options by procedure, on both sides. A unary call's time covers its interceptors.
func TestTimeoutsByProcedure(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		left := make(chan time.Duration, 1)
		isUnary := func(spec connect.Spec) bool { return strings.HasSuffix(spec.Procedure, "/Unary") }
		site := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			deadline, _ := ctx.Deadline()
			left <- time.Until(deadline)
			_, err := x.receiveAll()
			return err
		}), handlerOptions(connect.WithConditionalHandlerOptions(func(spec connect.Spec) []connect.HandlerOption {
			if isUnary(spec) {
				return []connect.HandlerOption{connect.WithMaxTimeout(2 * time.Hour)}
			}
			return []connect.HandlerOption{connect.WithMaxTimeout(3 * time.Hour)}
		})))
		seen := make(chan time.Duration, 1)
		intercept := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
				deadline, _ := ctx.Deadline()
				seen <- time.Until(deadline)
				return next(ctx, request)
			}
		})
		client := site.client(connect.WithConditionalClientOptions(func(spec connect.Spec) []connect.ClientOption {
			if !spec.IsClient || spec.Schema == nil {
				t.Errorf("got spec %+v, want a client's with a schema", spec)
			}
			if isUnary(spec) {
				return []connect.ClientOption{connect.WithDefaultTimeout(time.Hour), connect.WithInterceptors(intercept)}
			}
			return nil
		}))
		within := func(what string, got, want time.Duration) {
			t.Helper()
			if got > want || got < want-10*time.Minute {
				t.Fatalf("%s: got %v left, want %v", what, got, want)
			}
		}
		wantNil(t, call(t.Context(), client, unary, nil, text("x")).err)
		within("interceptor", <-seen, time.Hour)
		within("unary", <-left, time.Hour)
		wantNil(t, call(t.Context(), client, serverStream, nil, text("x")).err)
		within("server stream", <-left, 3*time.Hour)
	})
}

// --- streams ---

// A stream without messages ends, whichever side has the limit; messages in either
// direction keep it open.
func TestStreamIdleTimeout(t *testing.T) {
	const limit = time.Minute
	for _, side := range []string{"client", "server"} {
		t.Run(side, func(t *testing.T) {
			runTimed(t, func(t *testing.T, m mode) {
				reasons := make(chan error, 1)
				var onHandler []connect.HandlerOption
				var onClient []connect.ClientOption
				if side == "client" {
					onClient = append(onClient, connect.WithStreamIdleTimeout(limit))
				} else {
					onHandler = append(onHandler, connect.WithStreamIdleTimeout(limit))
				}
				client := m.serve(t, handlers{
					serverStream: func(ctx context.Context, r *request, s *serverStreamOfHandler) error {
						for range r.Msg.GetCount() {
							time.Sleep(limit - time.Second)
							if err := s.Send(text2("on")); err != nil {
								return err
							}
						}
						if r.Msg.GetSize() == 0 {
							<-ctx.Done()
							reasons <- context.Cause(ctx)
							return ctx.Err()
						}
						return nil
					},
					bidi: func(_ context.Context, s *bidiStreamOfHandler) error {
						for _, err := range s.Messages() { // answers nothing
							if err != nil {
								reasons <- err
								return err
							}
						}
						return nil
					},
				}, handlerOptions(onHandler...)).client(onClient...)

				// Messages every 59 seconds keep the stream open for 5 minutes.
				stream, err := client.ServerStream(t.Context(), connect.NewRequest(&conntestv1.Request{Count: 5, Size: 1}))
				wantNil(t, err)
				got := 0
				for _, err := range stream.Messages() {
					wantNil(t, err)
					got++
				}
				wantEqual(t, "messages", got, 5)

				// Then there are none.
				begun := time.Now()
				stream, err = client.ServerStream(t.Context(), connect.NewRequest(&conntestv1.Request{Count: 2}))
				if err == nil {
					for stream.Receive() {
					}
					err = stream.Err()
					_ = stream.Close()
				}
				wantIdle(t, err, side)
				if took := time.Since(begun); took < 2*(limit-time.Second)+limit || took > 2*limit+limit+time.Second {
					t.Fatalf("got an end after %v, want about 3 minutes", took)
				}
				if reason := <-reasons; side == "server" {
					wantIdle(t, reason, side)
				}

				if !duplex(m) {
					return
				}
				both := client.Bidi(t.Context())
				for range 5 {
					wantNil(t, both.Send(text("on")))
					time.Sleep(limit - time.Second)
				}
				_, err = both.Receive()
				wantIdle(t, err, side)
				if reason := <-reasons; side == "server" {
					wantIdle(t, reason, side)
				} else {
					wantCode(t, reason, connect.CodeCanceled)
				}
				_ = both.CloseRequest()
				_ = both.CloseResponse()
			}, func(m mode) bool { return m.engine.memory })
		})
	}
}

// The reason of a stream that the handler's side has cut is its error for interceptors,
// hooks and the client, whatever the handler returns. What a hook makes of it is sent.
func TestStreamCutHasOneReason(t *testing.T) {
	gone := connect.NewError(connect.CodeCanceled, errors.New("replaced"))
	for name, test := range map[string]struct {
		returns  func(context.Context) error
		waits    bool  // the interceptor does, and does not call next
		replaced error // by the hook
	}{
		"context's error": {returns: context.Context.Err},
		"cause":           {returns: context.Cause},
		"no error":        {returns: func(context.Context) error { return nil }},
		"interceptor":     {waits: true},
		"replaced":        {returns: context.Context.Err, replaced: gone},
	} {
		t.Run(name, func(t *testing.T) {
			runTimed(t, func(t *testing.T, m mode) {
				seen, hooked := make(chan error, 1), make(chan error, 1)
				watch := connect.WithCallInterceptors(func(next connect.CallFunc) connect.CallFunc {
					return func(ctx context.Context, call *connect.Call) error {
						if test.waits {
							<-ctx.Done()
							return ctx.Err()
						}
						err := next(ctx, call)
						seen <- err
						return err
					}
				})
				hook := connect.WithErrorHook(func(_ context.Context, _ connect.Spec, err error) error {
					hooked <- err
					return test.replaced
				})
				service := handlers{serverStream: func(ctx context.Context, _ *request, s *serverStreamOfHandler) error {
					if err := s.Send(text2("first")); err != nil {
						return err
					}
					<-ctx.Done()
					return test.returns(ctx)
				}}
				limit := connect.WithStreamIdleTimeout(time.Minute)
				for _, options := range [][]connect.HandlerOption{{limit, hook, watch}, {limit, hook}} {
					watched := len(options) == 3
					if test.waits && !watched {
						continue
					}
					client := m.serve(t, service, handlerOptions(options...)).client()
					stream, err := client.ServerStream(t.Context(), requestOf("x"))
					if err == nil {
						for stream.Receive() {
						}
						err = stream.Err()
						_ = stream.Close()
					}
					if test.replaced != nil {
						wantCode(t, err, connect.CodeCanceled)
						wantContains(t, "error", err.Error(), "replaced")
					} else {
						wantIdle(t, err, "server")
					}
					wantIdle(t, <-hooked, "server")
					if watched && !test.waits {
						wantIdle(t, <-seen, "server")
					}
				}
			}, func(m mode) bool { return m.engine.memory })
		})
	}
}

func wantIdle(t *testing.T, err error, side string) {
	t.Helper()
	wantCode(t, err, connect.CodeDeadlineExceeded)
	wantContains(t, "error", err.Error(), "the stream was idle: no message in either direction for 1m0s, the "+side+"'s limit, which WithStreamIdleTimeout sets")
}

// A Receive that waits too long ends the call on both sides, with a text that names
// the option.
func TestStreamMessageTimeoutOfReceive(t *testing.T) {
	const limit = time.Minute
	runTimed(t, func(t *testing.T, m mode) {
		reasons := make(chan error, 1)
		service := handlers{
			serverStream: func(ctx context.Context, _ *request, s *serverStreamOfHandler) error {
				if err := s.Send(text2("first")); err != nil {
					return err
				}
				<-ctx.Done()
				reasons <- ctx.Err()
				return ctx.Err()
			},
			clientStream: func(_ context.Context, s *clientStreamOfHandler) (*response, error) {
				for s.Receive() {
				}
				reasons <- s.Err()
				return nil, s.Err()
			},
		}
		client := m.serve(t, service).client(connect.WithStreamMessageTimeout(limit))
		down, err := client.ServerStream(t.Context(), requestOf("x"))
		wantNil(t, err)
		wantEqual(t, "received", down.Receive(), true)
		time.Sleep(10 * limit) // between two receives there is no limit
		wantEqual(t, "received", down.Receive(), false)
		wantCode(t, down.Err(), connect.CodeDeadlineExceeded)
		wantContains(t, "error", down.Err().Error(), "receive: one message took more than 1m0s, the client's limit, which WithStreamMessageTimeout sets")
		if reason := <-reasons; !errors.Is(reason, context.Canceled) {
			t.Fatalf("handler: got %v, want canceled", reason)
		}

		client = m.serve(t, service, handlerOptions(connect.WithStreamMessageTimeout(limit))).client()
		up := client.ClientStream(t.Context())
		for range 3 {
			wantNil(t, up.Send(text("on")))
			time.Sleep(limit - time.Second)
		}
		reason := <-reasons
		wantCode(t, reason, connect.CodeDeadlineExceeded)
		wantContains(t, "handler's error", reason.Error(), "receive: one message took more than 1m0s, the server's limit, which WithStreamMessageTimeout sets")
		_, err = up.CloseAndReceive()
		if duplex(m) { // otherwise the response may be lost with the connection
			wantCode(t, err, connect.CodeDeadlineExceeded)
		} else if err == nil {
			t.Fatal("got no error, want one")
		}
	}, func(m mode) bool { return m.engine.memory })
}

// A Send to a peer that does not read fails after the limit.
func TestStreamMessageTimeoutOfSend(t *testing.T) {
	const limit = time.Minute
	runTimed(t, func(t *testing.T, m mode) {
		m.compression = "identity"
		failed := make(chan error, 1)
		proceed := make(chan struct{})
		service := handlers{
			serverStream: func(_ context.Context, _ *request, s *serverStreamOfHandler) error {
				var err error
				for range 1000 {
					if err = s.Send(&conntestv1.Response{Data: noise(64 << 10)}); err != nil {
						break
					}
				}
				failed <- err
				return err
			},
			clientStream: func(context.Context, *clientStreamOfHandler) (*response, error) {
				<-proceed
				return nil, errors.New("read nothing")
			},
		}
		site := m.serve(t, service, alone, handlerOptions(connect.WithStreamMessageTimeout(limit)))
		down, err := site.client().ServerStream(t.Context(), requestOf("x"))
		wantNil(t, err)
		err = <-failed
		wantCode(t, err, connect.CodeDeadlineExceeded)
		wantContains(t, "handler's error", err.Error(), "send: one message took more than 1m0s, the server's limit, which WithStreamMessageTimeout sets")
		_ = down.Close()

		site = m.serve(t, service, alone)
		up := site.client(connect.WithStreamMessageTimeout(limit)).ClientStream(t.Context())
		for range 1000 {
			if err = up.Send(&conntestv1.Request{Data: noise(64 << 10)}); err != nil {
				break
			}
		}
		wantCode(t, err, connect.CodeDeadlineExceeded)
		wantContains(t, "client's error", err.Error(), "send: one message took more than 1m0s, the client's limit, which WithStreamMessageTimeout sets")
		_, err = up.CloseAndReceive()
		wantCode(t, err, connect.CodeDeadlineExceeded)
		close(proceed)
	}, func(m mode) bool { return m.engine.memory })
}

// Limits of streams do not touch unary calls.
func TestStreamLimitsSpareUnaryCalls(t *testing.T) {
	runTimed(t, func(t *testing.T, m mode) {
		client := m.serve(t, handlers{unary: func(context.Context, *request) (*response, error) {
			time.Sleep(time.Hour)
			return connect.NewResponse(text2("slow")), nil
		}}, handlerOptions(connect.WithStreamIdleTimeout(time.Second), connect.WithStreamMessageTimeout(time.Second))).
			client(connect.WithStreamIdleTimeout(time.Second), connect.WithStreamMessageTimeout(time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		res, err := client.Unary(ctx, requestOf("x"))
		wantNil(t, err)
		wantEqual(t, "text", res.Msg.GetText(), "slow")
	}, func(m mode) bool { return m.engine.memory })
}
