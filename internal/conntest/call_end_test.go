// SPDX-License-Identifier: Apache-2.0

// This file tests how calls end inside of call interceptors: by panics, by the caller,
// by time, and many at once.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// WithRecover covers gates, initializers and call interceptors; the interceptors
// outside of the panic see the error.
func TestRecoverCoversTheWholeCall(t *testing.T) {
	gate := connect.WithRequestGate(func(context.Context, connect.Spec, connect.Peer, http.Header) (context.Context, error) { panic("gate") })
	initializer := connect.WithRequestInitializer(func(connect.Spec, any) error { panic("initializer") })
	around := connect.WithCallInterceptors(func(connect.CallFunc) connect.CallFunc {
		return func(context.Context, *connect.Call) error { panic("call interceptor") }
	})
	for name, option := range map[string]connect.HandlerOption{"gate": gate, "initializer": initializer, "call interceptor": around} {
		t.Run(name, func(t *testing.T) {
			runFew(t, func(t *testing.T, m mode) {
				log := newCallLog()
				recovers := connect.WithRecover(func(_ context.Context, spec connect.Spec, header http.Header, value any) error {
					return connect.NewError(connect.CodeAborted, fmt.Errorf("%v %v %v", value, spec.Procedure, header.Get("Asked")))
				})
				plain := m.serve(t, echo, handlerOptions(option, recovers)).client()
				watched := m.serve(t, echo, handlerOptions(connect.WithCallInterceptors(log.wrap), option, recovers)).client()
				forKinds(t, m, func(t *testing.T, k kind) {
					header := http.Header{"Asked": {"yes"}}
					want := []string{name, k.procedure(), "yes"}
					wantMistake(t, call(testContext(t), plain, k, header, text("x")).err, []connect.Code{connect.CodeAborted}, want...)
					wantMistake(t, call(testContext(t), watched, k, header, text("x")).err, []connect.Code{connect.CodeAborted}, want...)
					if name != "call interceptor" {
						wantCode(t, await(t, "interceptor", log.done).err, connect.CodeAborted)
					}
				})
				log.wait(t)
			})
		})
	}
}

// RecoverCalls recovers on both sides, whatever panics.
func TestRecoverCalls(t *testing.T) {
	recovers := connect.RecoverCalls(func(_ context.Context, call *connect.Call, value any) error {
		return connect.NewError(connect.CodeDataLoss, fmt.Errorf("%v %v", value, call.Peer().Protocol))
	})
	everywhere := interceptor{
		unary: func(connect.UnaryFunc) connect.UnaryFunc {
			return func(context.Context, connect.AnyRequest) (connect.AnyResponse, error) { panic("unary") }
		},
		handler: func(connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
			return func(context.Context, connect.StreamingHandlerConn) error { panic("stream") }
		},
		client: func(connect.StreamingClientFunc) connect.StreamingClientFunc {
			return func(context.Context, connect.Spec) connect.StreamingClientConn { panic("stream") }
		},
	}
	runFew(t, func(t *testing.T, m mode) {
		log := newCallLog()
		around := connect.WithCallInterceptors(log.wrap, recovers)
		handler := m.serve(t, echo, handlerOptions(around, connect.WithInterceptors(everywhere))).client()
		site := m.serve(t, echo)
		for name, option := range map[string]connect.ClientOption{
			"interceptor": connect.WithInterceptors(everywhere),
			"initializer": connect.WithResponseInitializer(func(connect.Spec, any) error { panic("initializer") }),
			"codec":       connect.WithCodec(panickingCodec{}),
			"conn": connect.WithInterceptors(interceptor{client: func(next connect.StreamingClientFunc) connect.StreamingClientFunc {
				return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
					return panickingConn{next(ctx, spec)}
				}
			}}),
		} {
			client := site.client(around, option)
			for _, k := range m.kinds() {
				if name == "conn" && (k == unary || k == get) {
					continue
				}
				o := call(testContext(t), client, k, nil, text("x"))
				wantMistake(t, o.err, []connect.Code{connect.CodeDataLoss}, m.peerProtocol())
				wantCode(t, await(t, name, log.done).err, connect.CodeDataLoss)
			}
		}
		for _, k := range m.kinds() {
			wantMistake(t, call(testContext(t), handler, k, nil, text("x")).err, []connect.Code{connect.CodeDataLoss}, m.peerProtocol())
			wantCode(t, await(t, "handler", log.done).err, connect.CodeDataLoss)
		}
	})
}

// panickingConn panics when a message is received.
type panickingConn struct{ connect.StreamingClientConn }

func (panickingConn) Receive(any) error { panic("conn") }

// panickingCodec panics when a message is sent.
type panickingCodec struct{ flipCodec }

func (panickingCodec) Marshal(any) ([]byte, error)               { panic("codec") }
func (panickingCodec) MarshalAppend([]byte, any) ([]byte, error) { panic("codec") }

// Without a recovery a panic of a client's interceptor reaches the program, also from
// the goroutine of a stream's interceptors: before the call, and after it.
func TestPanicsReachTheCaller(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo)
		for name, wrap := range map[string]connect.CallInterceptorFunc{
			"before": func(connect.CallFunc) connect.CallFunc {
				return func(context.Context, *connect.Call) error { panic("interceptor") }
			},
			"after": func(next connect.CallFunc) connect.CallFunc {
				return func(ctx context.Context, call *connect.Call) error { _ = next(ctx, call); panic("interceptor") }
			},
			"message": func(next connect.CallFunc) connect.CallFunc {
				return func(ctx context.Context, call *connect.Call) error {
					call.OnMessage(func(connect.CallMessage) { panic("interceptor") })
					return next(ctx, call)
				}
			},
		} {
			client := site.client(connect.WithCallInterceptors(wrap))
			for _, k := range m.kinds() {
				func() {
					defer func() { wantEqual(t, name+" "+string(k)+": panic", recover(), any("interceptor")) }()
					o := call(testContext(t), client, k, nil, text("x"))
					t.Errorf("%s, %s: got %v, want a panic", name, k, o.err)
				}()
			}
		}
	})
}

// A call that its caller gives up ends once, with its error.
func TestCallsGivenUp(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		log := newCallLog()
		site := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			if x.kind == serverStream || x.kind == bidi {
				if err := x.send(text2("first")); err != nil {
					return err
				}
			}
			<-ctx.Done()
			return ctx.Err()
		}))
		client := site.client(connect.WithCallInterceptors(log.wrap))
		forKinds(t, m, func(t *testing.T, k kind) {
			ctx, cancel := context.WithCancel(testContext(t))
			defer cancel()
			switch k {
			case serverStream:
				s, err := client.ServerStream(ctx, requestOf("x"))
				wantNil(t, err)
				wantEqual(t, "received", s.Receive(), true)
				wantNil(t, s.Close()) // before the end
				wantNil(t, s.Close())
			case bidi:
				s := client.Bidi(ctx)
				wantNil(t, s.Send(text("x")))
				_, err := s.Receive()
				wantNil(t, err)
				wantNil(t, s.CloseResponse())
			case clientStream:
				s := client.ClientStream(ctx)
				wantNil(t, s.Send(text("x")))
				cancel() // and the program forgets the stream
			default:
				cancel()
				wantCode(t, call(ctx, client, k, nil, text("x")).err, connect.CodeCanceled)
			}
			wantCode(t, await(t, "interceptor", log.done).err, connect.CodeCanceled)
			wantEqual(t, "records left", len(log.done), 0)
		})
		log.wait(t)
	})
}

// A deadline that an interceptor sets is the call's, and after the end of a stream the
// end of that context hides nothing.
func TestCallsWithADeadline(t *testing.T) {
	runTimed(t, func(t *testing.T, m mode) {
		log := newCallLog()
		limit := func(next connect.CallFunc) connect.CallFunc {
			return func(ctx context.Context, call *connect.Call) error {
				ctx, cancel := context.WithTimeout(ctx, m.short())
				defer cancel()
				return next(ctx, call)
			}
		}
		waits := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		ends := m.serve(t, everyKind(func(context.Context, *exchange) error {
			return connect.NewError(connect.CodeNotFound, errors.New("no file"))
		}))
		late := waits.client(connect.WithCallInterceptors(log.wrap, limit))
		early := ends.client(connect.WithCallInterceptors(log.wrap, func(next connect.CallFunc) connect.CallFunc {
			return func(ctx context.Context, call *connect.Call) error {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				return next(ctx, call)
			}
		}))
		for _, k := range m.kinds() {
			wantCode(t, call(testContext(t), late, k, nil, text("x")).err, connect.CodeDeadlineExceeded)
			wantCode(t, await(t, "interceptor", log.done).err, connect.CodeDeadlineExceeded)
		}
		if !m.engine.duplex {
			return
		}
		s := early.Bidi(testContext(t))
		wantNil(t, s.Send(text("x")))
		_, err := s.Receive()
		for err == nil {
			_, err = s.Receive()
		}
		wantNil(t, s.CloseRequest())
		_, err = s.Receive()
		wantCode(t, err, connect.CodeNotFound)
		wantEOF(t, s.Send(text("x"))) // and not CodeCanceled
		wantNil(t, s.CloseResponse())
		wantCode(t, await(t, "interceptor", log.done).err, connect.CodeNotFound)
	})
}

// Mixed calls at once, which end in many ways: on both sides each begins and ends once,
// and none leaves a goroutine, which the check for leaks after all tests would find.
func TestCallSoak(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		const callers, callsOfEach = 8, 30
		atHandler, atClient := newCallLog(), newCallLog()
		atHandler.done, atClient.done = nil, nil
		var observed atomic.Int64
		observe := func(next connect.CallFunc) connect.CallFunc {
			return func(ctx context.Context, call *connect.Call) error {
				call.OnMessage(func(connect.CallMessage) { observed.Add(1) })
				err := next(ctx, call)
				if stats := call.Stats(); stats.End.IsZero() && call.RequestHeader().Get("Refused") == "" {
					return fmt.Errorf("got %+v, want an end", stats)
				}
				return err
			}
		}
		refuse := func(next connect.CallFunc) connect.CallFunc {
			return func(ctx context.Context, call *connect.Call) error {
				if call.RequestHeader().Get("Refused") != "" {
					return connect.NewError(connect.CodeResourceExhausted, errors.New("refused"))
				}
				return next(ctx, call)
			}
		}
		site := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			requests, err := x.receiveAll() // net/http sees the end of an HTTP/1.1 call only after its body
			if err != nil {
				return err
			}
			switch {
			case x.header.Get("Waits") != "":
				<-ctx.Done()
				return ctx.Err()
			case x.header.Get("Panics") != "":
				panic("asked for")
			case x.header.Get("Aborts") != "":
				panic(http.ErrAbortHandler)
			}
			for _, r := range requests {
				if err := x.send(&conntestv1.Response{Text: r.GetText()}); err != nil {
					return err
				}
			}
			return nil
		}), alone, handlerOptions(connect.WithCallInterceptors(atHandler.wrap, observe, refuse),
			connect.WithRecover(func(context.Context, connect.Spec, http.Header, any) error {
				return connect.NewError(connect.CodeAborted, errors.New("recovered"))
			})))
		client := site.client(connect.WithCallInterceptors(atClient.wrap, observe, refuse))
		kinds := m.kinds()
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range callsOfEach {
					ctx, cancel := context.WithCancel(testContext(t))
					header := http.Header{}
					want := connect.Code(0)
					var choice int
					switch choice = rand.IntN(7); choice {
					case 0:
						header.Set("Refused", "yes")
						want = connect.CodeResourceExhausted
					case 1:
						header.Set("Panics", "yes")
						want = connect.CodeAborted
					case 2:
						header.Set("Waits", "yes")
						ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(3))*time.Millisecond)
						want = connect.CodeDeadlineExceeded
					case 3:
						header.Set("Waits", "yes")
						time.AfterFunc(time.Duration(rand.IntN(3))*time.Millisecond, cancel)
						want = connect.CodeCanceled
					case 4:
						header.Set("Aborts", "yes")
					}
					k := kinds[rand.IntN(len(kinds))]
					err := call(ctx, client, k, header, text("x")).err
					switch {
					case want != 0 && connect.CodeOf(err) != want:
						t.Errorf("%s %v: got %v, want %v", k, header, err, want)
					case want == 0 && choice != 4 && err != nil:
						t.Errorf("%s: got %v, want no error", k, err)
					case choice == 4 && err == nil:
						t.Errorf("%s: got no error from an aborted response", k)
					}
					cancel()
				}
			})
		}
		wg.Wait()
		site.close()
		atHandler.wait(t)
		wantEqual(t, "client: calls begun", atClient.begun.Load(), callers*callsOfEach)
		wantEqual(t, "client: calls ended", atClient.ended.Load(), callers*callsOfEach)
		if observed.Load() == 0 {
			t.Error("got no messages")
		}
	})
}

// Attempts at once, of an interceptor inside, are one call: all of their messages are
// counted, and the response is that of the one that has succeeded.
func TestCallWithAttempts(t *testing.T) {
	hedge := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
			type result struct {
				response connect.AnyResponse
				err      error
				commit   func()
			}
			results := make(chan result, 3)
			for i := range 3 {
				go func() {
					ctx, attempt, commit := connect.NewAttempt(ctx, request)
					attempt.Header().Set("Attempt", fmt.Sprint(i))
					response, err := next(ctx, attempt)
					results <- result{response, err, commit}
				}()
			}
			var won result
			for range 3 {
				if r := <-results; r.err == nil {
					won = r
				}
			}
			won.commit()
			return won.response, nil
		}
	})
	runFew(t, func(t *testing.T, m mode) {
		log := newCallLog()
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			if x.header.Get("Attempt") != "1" {
				return connect.NewError(connect.CodeUnavailable, errors.New("not this one"))
			}
			x.answer.Set("Own-Header", "h")
			return x.send(text2(requests[0].GetText()))
		})).client(connect.WithCallInterceptors(log.wrap), connect.WithInterceptors(hedge))
		for _, k := range []kind{unary, get} {
			wantNil(t, call(testContext(t), client, k, nil, text("x")).err)
			r := await(t, "interceptor", log.done)
			wantValues(t, "response", r.header, "Own-Header", "h")
			wantEqual(t, "messages sent", r.stats.Sent.Messages, 3)
			wantEqual(t, "messages received", r.stats.Received.Messages, 1)
		}
	})
}
