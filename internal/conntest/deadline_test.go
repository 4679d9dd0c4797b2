// SPDX-License-Identifier: Apache-2.0

// This file tests deadlines and cancellation: they reach handlers, and calls end with
// the right code.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// A client's deadline is the handler's too, in every kind of call (checklist
// item 78).
func TestDeadlineReachesTheHandler(t *testing.T) {
	runTimed(t, func(t *testing.T, m mode) {
		left := make(chan time.Duration, 1)
		client := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			if deadline, ok := ctx.Deadline(); ok {
				left <- time.Until(deadline)
			} else {
				left <- 0
			}
			if _, err := x.receiveAll(); err != nil {
				return err
			}
			return x.send(new(conntestv1.Response))
		})).client()
		for _, k := range m.kinds() {
			ctx, cancel := context.WithTimeout(testContext(t), time.Hour)
			wantNil(t, call(ctx, client, k, nil, text("x")).err)
			cancel()
			if got := <-left; got > time.Hour || got < 59*time.Minute {
				t.Fatalf("%s: got %v left, want an hour", k, got)
			}
			wantNil(t, call(testContext(t), client, k, nil, text("x")).err)
			wantEqual(t, string(k)+" without a deadline: left", <-left, 0)
		}
	})
}

// A context that has ended before the call sends nothing.
func TestEndBeforeTheCall(t *testing.T) {
	runTimed(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo, wrapped(func(http.Handler) http.Handler {
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("got %s", r.URL) })
		}))
		canceled, cancel := context.WithCancel(testContext(t))
		cancel()
		expired, cancel := context.WithDeadline(testContext(t), time.Now().Add(-time.Second))
		defer cancel()
		for _, k := range m.kinds() {
			wantCode(t, call(canceled, site.client(), k, nil, text("x")).err, connect.CodeCanceled)
			wantCode(t, call(expired, site.client(), k, nil, text("x")).err, connect.CodeDeadlineExceeded)
		}
		if m.bubble {
			site.close() // waits for requests on their way
		}
	})
}

// A client stream whose context ends between two of its own messages.
func TestEndBetweenRequests(t *testing.T) {
	for _, ending := range endings {
		t.Run(ending.name, func(t *testing.T) {
			runTimed(t, func(t *testing.T, m mode) {
				received := make(chan struct{}, 1)
				handlerError := make(chan error, 1)
				receiveTwo := func(receive func() error) error {
					if err := receive(); err != nil {
						return err
					}
					received <- struct{}{}
					err := receive()
					handlerError <- err
					return err
				}
				client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
					if x.kind == bidi {
						// Once it has the response's header, the transport leaves
						// it to the request's body to notice the end.
						if err := x.send(text2("welcome")); err != nil {
							return err
						}
					}
					return receiveTwo(func() error { _, err := x.receive(); return err })
				})).client()
				test := func(ctx context.Context, end func(), send func(*conntestv1.Request) error, receive func() error) {
					t.Helper()
					wantNil(t, send(text("one")))
					await(t, "first message", received)
					end()
					<-ctx.Done()
					if err := send(text("two")); err == nil {
						t.Fatal("Send: got no error, want one")
					} else if !errors.Is(err, io.EOF) {
						wantCode(t, err, ending.code)
					}
					wantCode(t, receive(), ending.code)
					err := await(t, "handler", handlerError)
					if err == nil || errors.Is(err, io.EOF) {
						t.Fatalf("handler: got %v, want an error: the client did not finish", err)
					}
					if !duplex(m) {
						return // HTTP/1.1 shows a broken connection
					}
					if code := connect.CodeOf(err); code != connect.CodeCanceled && code != ending.code {
						t.Fatalf("handler: got %v (%v), want canceled or %v", code, err, ending.code)
					}
				}
				ctx, end, cancel := ending.arm(testContext(t), m)
				defer cancel()
				stream := client.ClientStream(ctx)
				test(ctx, end, stream.Send, func() error { _, err := stream.CloseAndReceive(); return err })
				if !duplex(m) {
					return
				}
				ctx, end, cancel = ending.arm(testContext(t), m)
				defer cancel()
				both := client.Bidi(ctx)
				wantNil(t, both.Send(nil))
				_, err := both.Receive()
				wantNil(t, err)
				test(ctx, end, both.Send, func() error { _, err := both.Receive(); return err })
				_ = both.CloseRequest()
				_ = both.CloseResponse()
			}, func(m mode) bool {
				// In real time the deadline may pass before the stream gets here;
				// TestEndInEveryPhase allows for that.
				return m.engine.memory || ending.code == connect.CodeCanceled
			})
		})
	}
}

// A handler that goes on sending gets an error once the client is gone (checklist
// item 83).
func TestSendToVanishedClient(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		handlerError := make(chan error, 1)
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			for {
				if err := x.send(&conntestv1.Response{Data: noise(10 << 10)}); err != nil {
					handlerError <- err
					return err
				}
			}
		}), alone).client()
		for _, k := range []kind{serverStream, bidi} {
			if k == bidi && !duplex(m) {
				continue
			}
			ctx, cancel := context.WithCancel(testContext(t))
			if k == bidi {
				stream := client.Bidi(ctx)
				wantNil(t, stream.Send(nil))
				_, err := stream.Receive()
				wantNil(t, err)
			} else {
				stream, err := client.ServerStream(ctx, requestOf("x"))
				wantNil(t, err)
				wantEqual(t, "received", stream.Receive(), true)
			}
			cancel()
			wantCode(t, await(t, "handler", handlerError), connect.CodeCanceled)
		}
	})
}

// The same when the client closes the response without cancelling.
func TestCloseBeforeTheEnd(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		handlerError := make(chan error, 1)
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			for {
				if err := x.send(&conntestv1.Response{Data: noise(10 << 10)}); err != nil {
					handlerError <- err
					return err
				}
			}
		}), alone).client()
		stream, err := client.ServerStream(testContext(t), requestOf("x"))
		wantNil(t, err)
		wantEqual(t, "received", stream.Receive(), true)
		closed := make(chan error, 1)
		go func() { closed <- stream.Close() }()
		// Close may report that the rest was not read; it may not wait for it.
		_ = await(t, "Close", closed)
		wantCode(t, await(t, "handler", handlerError), connect.CodeCanceled)
		wantEqual(t, "received after Close", stream.Receive(), false)
	})
}

// No call waits longer than its context, even if the HTTP client does for ever.
func TestTransportThatHangs(t *testing.T) {
	for _, ending := range endings {
		t.Run(ending.name, func(t *testing.T) {
			runFew(t, func(t *testing.T, m mode) {
				stuck := make(chan struct{}, len(allKinds))
				release := make(chan struct{})
				site := &site{mode: m, url: "http://nobody.test"}
				client := site.clientOn(doerFunc(func(*http.Request) (*http.Response, error) {
					stuck <- struct{}{}
					<-release
					return nil, errors.New("released")
				}))
				defer close(release)
				for _, k := range allKinds {
					ctx, end, cancel := ending.arm(testContext(t), m)
					ended := make(chan outcome, 1)
					go func() { ended <- call(ctx, client, k, nil, text("x")) }()
					select {
					case <-stuck:
						end()
					case o := <-ended:
						wantCode(t, o.err, ending.code)
						cancel()
						continue
					}
					select {
					case o := <-ended:
						if code := connect.CodeOf(o.err); o.err == nil || code != ending.code {
							t.Errorf("%s: got %v (%v), want %v", k, code, o.err, ending.code)
						}
					case <-time.After(10 * time.Second):
						t.Errorf("%s: still waiting 10s after the context ended", k)
					}
					cancel()
				}
			}, func(m mode) bool { return m.engine.name == "h1" }) // no engine runs
		})
	}
}

// Closing both sides does not wait for an HTTP client that hangs.
func TestCloseWhileTransportHangs(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		release := make(chan struct{})
		site := &site{mode: m, url: "http://nobody.test"}
		client := site.clientOn(doerFunc(func(*http.Request) (*http.Response, error) {
			<-release
			return nil, errors.New("released")
		}))
		defer close(release)
		ctx, cancel := context.WithCancel(testContext(t))
		stream := client.Bidi(ctx)
		wantNil(t, stream.Send(nil))
		cancel()
		closed := make(chan error, 1)
		go func() {
			closed <- errors.Join(stream.CloseRequest(), stream.CloseResponse())
		}()
		_ = await(t, "CloseRequest and CloseResponse", closed)
		_, err := stream.Receive()
		wantCode(t, err, connect.CodeCanceled)
	}, func(m mode) bool { return m.engine.name == "h1" }) // no engine runs
}

// A cancelled context may have a cause: the code and errors.Is are the same as
// without one.
func TestCancelCause(t *testing.T) {
	runTimed(t, func(t *testing.T, m mode) {
		reached := make(chan struct{}, 1)
		client := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			reached <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		})).client()
		ctx, cancel := context.WithCancelCause(testContext(t))
		go func() {
			<-reached
			cancel(fmt.Errorf("no longer needed"))
		}()
		_, err := client.Unary(ctx, requestOf("x"))
		wantCode(t, err, connect.CodeCanceled)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want an error that wraps context.Canceled", err)
		}
	})
}

// A handler that passes its own deadline reports it itself.
func TestHandlerAnswersAfterItsDeadline(t *testing.T) {
	runTimed(t, func(t *testing.T, m mode) {
		client := m.serve(t, everyKind(func(ctx context.Context, _ *exchange) error {
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			<-ctx.Done()
			return fmt.Errorf("asking the database: %w", ctx.Err())
		})).client()
		for _, k := range m.kinds() {
			o := call(testContext(t), client, k, nil, text("x"))
			wantCode(t, o.err, connect.CodeDeadlineExceeded)
			wantEqual(t, string(k)+": is a wire error", connect.IsWireError(o.err), true)
		}
	})
}

// A client's timeout only shortens: deadlines that middleware has set stay in force.
func TestTimeoutDoesNotLiftReadDeadline(t *testing.T) {
	runTimed(t, func(t *testing.T, m mode) {
		ended := make(chan error, 1)
		s := m.serve(t, handlers{clientStream: func(_ context.Context, stream *connect.ClientStream[conntestv1.Request]) (*response, error) {
			for stream.Receive() {
			}
			ended <- stream.Err()
			return nil, stream.Err()
		}}, alone, wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(m.short())); err != nil {
					t.Errorf("set a deadline: %v", err)
				}
				next.ServeHTTP(w, r)
			})
		}))
		ctx, cancel := context.WithTimeout(testContext(t), time.Hour)
		defer cancel()
		stream := s.client().ClientStream(ctx)
		wantNil(t, stream.Send(text("and no more")))
		wantCode(t, await(t, "the end of the request", ended), connect.CodeDeadlineExceeded)
		cancel()
		_, _ = stream.CloseAndReceive()
	}, func(m mode) bool { return m.engine.name != "h3" })
}

// The same for a deadline for writing: the client has time, and does not read.
func TestTimeoutDoesNotLiftWriteDeadline(t *testing.T) {
	runTimed(t, func(t *testing.T, m mode) {
		ended := make(chan error, 1)
		s := m.serve(t, handlers{serverStream: func(_ context.Context, _ *request, stream *connect.ServerStream[conntestv1.Response]) error {
			for {
				if err := stream.Send(&conntestv1.Response{Data: noise(100_000)}); err != nil {
					ended <- err
					return err
				}
			}
		}}, alone, wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(m.short())); err != nil {
					t.Errorf("set a deadline: %v", err)
				}
				next.ServeHTTP(w, r)
			})
		}))
		ctx, cancel := context.WithTimeout(testContext(t), time.Hour)
		defer cancel()
		stream, err := s.client().ServerStream(ctx, requestOf("more than a client reads"))
		wantNil(t, err)
		wantCode(t, await(t, "the end of the response", ended), connect.CodeDeadlineExceeded)
		cancel()
		_ = stream.Close()
	}, func(m mode) bool { return m.engine.name != "h3" })
}
