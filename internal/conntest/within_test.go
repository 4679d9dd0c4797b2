// SPDX-License-Identifier: Apache-2.0

// This file tests receives and sends within contexts of their own.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// A receiver is the receiving side of a stream of either side.
type receiver[T any] interface {
	ReceiveContext(context.Context) (*T, error)
	Messages() iter.Seq2[*T, error]
}

// textOf is the text of a request or response.
type textOf interface{ GetText() string }

// ended returns a context that has ended with a code.
func ended(t *testing.T, code connect.Code) context.Context {
	var ctx context.Context
	var cancel context.CancelFunc
	if code == connect.CodeDeadlineExceeded {
		ctx, cancel = context.WithDeadline(testContext(t), time.Now().Add(-time.Second))
	} else {
		ctx, cancel = context.WithCancel(testContext(t))
	}
	cancel()
	return ctx
}

// receiveInTurns receives the texts "0" to "5" in all ways: within contexts that end
// before anything arrives, within others, and in loops. proceed lets the other side
// send "0" and the rest. It returns what was wrong.
func receiveInTurns[T any](ctx context.Context, t *testing.T, m mode, s receiver[T], proceed func()) error {
	number := func(msg *T) string { return any(msg).(textOf).GetText() }
	short, cancel := context.WithTimeout(ctx, m.short())
	defer cancel()
	for range 2 { // the second one waits for what the first one has left
		if msg, err := s.ReceiveContext(short); connect.CodeOf(err) != connect.CodeDeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("while nothing is sent: got %v and %v, want deadline_exceeded", msg, err)
		}
	}
	if msg, err := s.ReceiveContext(ended(t, connect.CodeCanceled)); connect.CodeOf(err) != connect.CodeCanceled {
		return fmt.Errorf("canceled before: got %v and %v, want canceled", msg, err)
	}
	proceed()
	alive, stop := context.WithCancel(ctx)
	defer stop()
	for i := range 2 {
		msg, err := s.ReceiveContext(alive)
		if err != nil || number(msg) != strconv.Itoa(i) {
			return fmt.Errorf("message %d: got %v and %v", i, msg, err)
		}
	}
	next := 2
	for range 2 { // the first loop is left early
		for msg, err := range s.Messages() {
			if err != nil || number(msg) != strconv.Itoa(next) {
				return fmt.Errorf("message %d: got %v and %v", next, msg, err)
			}
			if next++; next == 4 {
				break
			}
		}
	}
	if next != 6 {
		return fmt.Errorf("got %d messages, want 6", next)
	}
	if msg, err := s.ReceiveContext(alive); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the end: got %v and %v, want io.EOF", msg, err)
	}
	for msg, err := range s.Messages() {
		return fmt.Errorf("after the end: got %v and %v, want no turn of the loop", msg, err)
	}
	return nil
}

// A receive whose own context ends loses no message and does not end the stream, on
// each receiving side.
func TestReceiveContext(t *testing.T) {
	runTimed(t, func(t *testing.T, m mode) {
		proceed := make(chan struct{}, 1)
		client := m.serve(t, handlers{
			serverStream: func(_ context.Context, _ *request, s *serverStreamOfHandler) error {
				if err := s.Send(nil); err != nil { // the client waits for the headers
					return err
				}
				<-proceed
				for i := range 6 {
					if err := s.Send(text2(strconv.Itoa(i))); err != nil {
						return err
					}
				}
				return nil
			},
			clientStream: func(ctx context.Context, s *clientStreamOfHandler) (*response, error) {
				return connect.NewResponse(text2("done")), receiveInTurns(ctx, t, m, s, func() { proceed <- struct{}{} })
			},
			bidi: func(ctx context.Context, s *bidiStreamOfHandler) error {
				return receiveInTurns(ctx, t, m, s, func() { proceed <- struct{}{} })
			},
		}).client()
		ctx := testContext(t)
		down, err := client.ServerStream(ctx, requestOf("x"))
		wantNil(t, err)
		wantNil(t, receiveInTurns(ctx, t, m, down, func() { proceed <- struct{}{} }))
		wantNil(t, down.Close())

		up := client.ClientStream(ctx)
		wantNil(t, up.Send(nil))
		await(t, "handler", proceed)
		for i := range 6 {
			wantNil(t, up.Send(text(strconv.Itoa(i))))
		}
		_, err = up.CloseAndReceive()
		wantNil(t, err)

		if !duplex(m) {
			return
		}
		both := client.Bidi(ctx)
		wantNil(t, both.Send(nil))
		await(t, "handler", proceed)
		for i := range 6 {
			wantNil(t, both.Send(text(strconv.Itoa(i))))
		}
		wantNil(t, both.CloseRequest())
		_, err = both.Receive()
		wantEOF(t, err)
		wantNil(t, both.CloseResponse())
	})
}

// The plain ways to receive return the message that ReceiveContext has left behind.
func TestReceiveAfterReceiveContext(t *testing.T) {
	runTimed(t, func(t *testing.T, m mode) {
		proceed := make(chan struct{})
		client := m.serve(t, handlers{serverStream: func(_ context.Context, _ *request, s *serverStreamOfHandler) error {
			if err := s.Send(nil); err != nil {
				return err
			}
			<-proceed
			return errors.Join(s.Send(text2("one")), s.Send(text2("two")))
		}}).client()
		stream, err := client.ServerStream(testContext(t), requestOf("x"))
		wantNil(t, err)
		short, cancel := context.WithTimeout(testContext(t), m.short())
		defer cancel()
		_, err = stream.ReceiveContext(short)
		wantCode(t, err, connect.CodeDeadlineExceeded)
		wantContains(t, "error", err.Error(), "the next receive returns it")
		wantNil(t, stream.Err()) // the stream goes on
		close(proceed)
		for _, want := range []string{"one", "two"} {
			wantEqual(t, "received", stream.Receive(), true)
			wantEqual(t, "text", stream.Msg().GetText(), want)
		}
		wantEqual(t, "received", stream.Receive(), false)
		wantNil(t, stream.Err())
		wantNil(t, stream.Close())
	})
}

// A handler may return, and a caller close, while a goroutine of ReceiveContext still
// waits: the call ends well, and the goroutine with it. In a bubble the test would not
// end otherwise.
func TestReceiveContextLeftBehind(t *testing.T) {
	runTimed(t, func(t *testing.T, m mode) {
		outwait := func(ctx context.Context, receive func(context.Context) error) error {
			short, cancel := context.WithTimeout(ctx, m.short())
			defer cancel()
			if err := receive(short); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
				return fmt.Errorf("got %v, want deadline_exceeded", err)
			}
			return nil
		}
		upload := make(chan struct{}) // closed when the handler has given up
		client := m.serve(t, handlers{
			clientStream: func(ctx context.Context, s *clientStreamOfHandler) (*response, error) {
				defer close(upload)
				err := outwait(ctx, func(ctx context.Context) error { _, err := s.ReceiveContext(ctx); return err })
				return connect.NewResponse(text2("early")), err
			},
			bidi: func(ctx context.Context, s *bidiStreamOfHandler) error {
				if err := outwait(ctx, func(ctx context.Context) error { _, err := s.ReceiveContext(ctx); return err }); err != nil {
					return err
				}
				return s.Send(text2("early"))
			},
			serverStream: func(ctx context.Context, _ *request, s *serverStreamOfHandler) error {
				_ = s.Send(nil)
				<-ctx.Done()
				return ctx.Err()
			},
		}, alone).client()
		ctx := testContext(t)
		down, err := client.ServerStream(ctx, requestOf("x"))
		wantNil(t, err)
		wantNil(t, outwait(ctx, func(ctx context.Context) error { _, err := down.ReceiveContext(ctx); return err }))
		wantNil(t, down.Close())
		_, err = down.ReceiveContext(ctx)
		wantCode(t, err, connect.CodeCanceled)

		if m.engine.name == "h1" {
			return // its client reads no answer before the end of its request
		}
		up := client.ClientStream(ctx)
		wantNil(t, up.Send(nil))
		if !duplex(m) {
			return
		}
		both := client.Bidi(ctx)
		wantNil(t, both.Send(nil))
		msg, err := both.Receive()
		wantNil(t, err)
		wantEqual(t, "text", msg.GetText(), "early")
		_, err = both.Receive()
		wantEOF(t, err)
		wantNil(t, both.CloseResponse())
		<-upload
		res, err := up.CloseAndReceive()
		wantNil(t, err)
		wantEqual(t, "text", res.Msg.GetText(), "early")
	}, func(m mode) bool { return m.engine.memory })
}

// A codec that panics in a goroutine of ReceiveContext panics in the goroutine that
// receives, where the program can recover.
func TestReceiveContextPanics(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, echo).client(connect.WithResponseInitializer(func(connect.Spec, any) error { panic("broken") }))
		stream, err := client.ServerStream(testContext(t), requestOf("x"))
		wantNil(t, err)
		defer stream.Close()
		ctx, cancel := context.WithCancel(testContext(t))
		defer cancel()
		defer func() { wantEqual[any](t, "panic", recover(), "broken") }()
		_, err = stream.ReceiveContext(ctx)
		t.Fatalf("got %v, want a panic", err)
	})
}

// --- sends ---

// A send whose own context ends while the other side does not read ends the call, with
// and without interceptors around the conn.
func TestSendContext(t *testing.T) {
	wrap := connect.WithInterceptors(opaque{})
	for name, options := range map[string][]connect.Option{"bare": nil, "intercepted": {wrap}} {
		t.Run(name, func(t *testing.T) {
			runTimed(t, func(t *testing.T, m mode) {
				m.compression = "identity"
				stop := make(chan struct{}) // over HTTP/1.1 a handler that does not read does not see that its client is gone
				gaveUp := make(chan struct{})
				site := m.serve(t, handlers{
					serverStream: func(ctx context.Context, _ *request, s *serverStreamOfHandler) error {
						defer close(gaveUp)
						return fillUp(ctx, m, func(ctx context.Context) error {
							return s.SendContext(ctx, &conntestv1.Response{Data: noise(64 << 10)})
						}, func() error { return s.Send(text2("late")) })
					},
					clientStream: func(ctx context.Context, _ *clientStreamOfHandler) (*response, error) {
						select {
						case <-ctx.Done():
						case <-stop:
						}
						return nil, context.Canceled
					},
				}, alone, handlerOptions(handlerOptionsOf(options)...))
				client := site.client(clientOptionsOf(options)...)
				down, err := client.ServerStream(testContext(t), requestOf("x"))
				wantNil(t, err)
				up := client.ClientStream(testContext(t))
				wantNil(t, fillUp(testContext(t), m, func(ctx context.Context) error {
					return up.SendContext(ctx, &conntestv1.Request{Data: noise(64 << 10)})
				}, func() error { return up.Send(text("late")) }))
				if _, err := up.CloseAndReceive(); err == nil {
					t.Fatal("got no error of a call that was cut off, want one")
				}
				close(stop)
				await(t, "handler", gaveUp) // nothing was read before
				for down.Receive() {
				}
				if err := down.Err(); err == nil || connect.CodeOf(err) == connect.CodeUnknown {
					t.Fatalf("got %v of a handler that gave up, want an error", err)
				}
				_ = down.Close()
			}, func(m mode) bool { return m.engine.memory })
		})
	}
}

// Inside of call interceptors the error of a SendContext that ended the call is that of
// the call, also around a conn that can only be closed.
func TestSendContextInCallInterceptors(t *testing.T) {
	for name, inner := range map[string][]connect.ClientOption{"bare": nil, "intercepted": {connect.WithInterceptors(opaque{})}} {
		t.Run(name, func(t *testing.T) {
			runTimed(t, func(t *testing.T, m mode) {
				m.compression = "identity"
				seen := make(chan error, 1)
				around := connect.WithCallInterceptors(func(next connect.CallFunc) connect.CallFunc {
					return func(ctx context.Context, call *connect.Call) error {
						err := next(ctx, call)
						seen <- err
						return err
					}
				})
				stop := make(chan struct{})
				client := m.serve(t, handlers{clientStream: func(context.Context, *clientStreamOfHandler) (*response, error) {
					<-stop
					return nil, context.Canceled
				}}, alone).client(append(inner, around)...)
				up := client.ClientStream(testContext(t))
				wantNil(t, fillUp(testContext(t), m, func(ctx context.Context) error {
					return up.SendContext(ctx, &conntestv1.Request{Data: noise(64 << 10)})
				}, func() error { return up.Send(text("late")) }))
				close(stop)
				_, err := up.CloseAndReceive()
				for side, err := range map[string]error{"interceptor": <-seen, "client": err} {
					wantCode(t, err, connect.CodeDeadlineExceeded)
					wantContains(t, side, err.Error(), "the context of SendContext ended before the message was sent")
				}
			}, func(m mode) bool { return m.engine.memory })
		})
	}
}

// fillUp sends until a send's own context ends, and one message more.
func fillUp(ctx context.Context, m mode, send func(context.Context) error, after func() error) error {
	if err := send(func() context.Context { ctx, cancel := context.WithCancel(ctx); cancel(); return ctx }()); connect.CodeOf(err) != connect.CodeCanceled {
		return connect.NewError(connect.CodeUnknown, fmt.Errorf("canceled before: got %w, want canceled", err))
	}
	for range 1000 {
		short, cancel := context.WithTimeout(ctx, m.short())
		err := send(short)
		cancel()
		if err == nil {
			continue
		}
		if connect.CodeOf(err) != connect.CodeDeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
			return connect.NewError(connect.CodeUnknown, fmt.Errorf("got %w, want deadline_exceeded", err))
		}
		if err := after(); err == nil {
			return connect.NewError(connect.CodeUnknown, errors.New("got no error of a send after that"))
		}
		return nil
	}
	return connect.NewError(connect.CodeUnknown, errors.New("sent 64 MiB to a peer that reads nothing"))
}

// opaque wraps the conns of streams in types without methods of their own.
type opaque struct{}

type (
	opaqueClientConn  struct{ connect.StreamingClientConn }
	opaqueHandlerConn struct{ connect.StreamingHandlerConn }
)

func (opaque) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc { return next }

func (opaque) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		return opaqueClientConn{next(ctx, spec)}
	}
}

func (opaque) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return next(ctx, opaqueHandlerConn{conn})
	}
}

func handlerOptionsOf(options []connect.Option) (all []connect.HandlerOption) {
	for _, o := range options {
		all = append(all, o)
	}
	return all
}

func clientOptionsOf(options []connect.Option) (all []connect.ClientOption) {
	for _, o := range options {
		all = append(all, o)
	}
	return all
}

// --- all of it at once ---

// Many streams whose receives are outwaited at random, and which are cancelled, closed
// or left early in part: the messages of each arrive in order and none is lost, and no
// goroutine is left.
func TestReceiveContextSoak(t *testing.T) {
	runTimed(t, func(t *testing.T, m mode) {
		client := m.serve(t, handlers{bidi: func(ctx context.Context, s *bidiStreamOfHandler) error {
			r := rand.New(rand.NewPCG(1, 2))
			for {
				short, cancel := context.WithTimeout(ctx, time.Duration(1+r.IntN(3))*time.Millisecond)
				msg, err := s.ReceiveContext(short)
				outwaited := err != nil && short.Err() != nil && ctx.Err() == nil
				cancel()
				switch {
				case errors.Is(err, io.EOF), err == nil && msg.GetText() == "stop":
					return nil
				case outwaited:
					continue
				case err != nil:
					return err
				}
				if err := s.SendContext(ctx, text2(msg.GetText())); err != nil {
					return err
				}
			}
		}}, alone).client()
		var calls sync.WaitGroup
		for i := range soakStreams {
			calls.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 7))
				ctx, cancel := context.WithCancel(testContext(t))
				defer cancel()
				stream := client.Bidi(ctx)
				defer stream.CloseResponse()
				last := r.IntN(20)
				var sender sync.WaitGroup
				sender.Go(func() {
					for n := range 20 {
						if stream.Send(text(strconv.Itoa(n))) != nil {
							return
						}
						if m.bubble {
							time.Sleep(time.Duration(r.IntN(4)) * time.Millisecond)
						}
					}
					_ = stream.CloseRequest()
				})
				defer sender.Wait()
				for n := 0; n < 20; {
					short, stop := context.WithTimeout(ctx, time.Duration(1+i%5)*time.Millisecond)
					msg, err := stream.ReceiveContext(short)
					outwaited := err != nil && short.Err() != nil
					stop()
					if outwaited {
						continue
					}
					if err != nil || msg.GetText() != strconv.Itoa(n) {
						t.Errorf("message %d: got %v and %v", n, msg, err)
						break
					}
					if n++; i%3 == 0 && n == last {
						cancel()
						return
					}
					if i%3 == 1 && n == last {
						return // closes with a message under way
					}
				}
				if msg, err := stream.Receive(); !errors.Is(err, io.EOF) {
					t.Errorf("after the last message: got %v and %v, want io.EOF", msg, err)
				}
			})
		}
		calls.Wait()
	}, duplex)
}
