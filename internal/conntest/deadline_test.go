// SPDX-License-Identifier: Apache-2.0

// This file tests deadlines and cancellation: they reach handlers, and calls end with
// the right code in every phase.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
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

// --- every phase ---

// An ending is a way in which the client's context ends.
type ending struct {
	name string
	code connect.Code
	// arm makes the context, and the function that the test calls when the
	// phase is reached.
	arm func(context.Context, mode) (ctx context.Context, reached func(), release context.CancelFunc)
}

var endings = []ending{
	{"canceled", connect.CodeCanceled, func(parent context.Context, _ mode) (context.Context, func(), context.CancelFunc) {
		ctx, cancel := context.WithCancel(parent)
		return ctx, cancel, cancel
	}},
	{"deadline", connect.CodeDeadlineExceeded, func(parent context.Context, m mode) (context.Context, func(), context.CancelFunc) {
		ctx, cancel := context.WithTimeout(parent, m.short())
		return ctx, func() {}, cancel // the deadline passes by itself
	}},
}

// A phase is a point of a call at which the server stops moving.
type phase struct {
	name  string
	kinds []kind // nil means all
	large bool   // whether the request is too large for any buffer on the way
	// serve makes the site's handler and middleware. It calls reached when the
	// phase is, and waits for stop where nothing else ends it.
	serve func(reached func(), stop <-chan struct{}) (handlers, func(http.Handler) http.Handler)
}

var phases = []phase{
	{name: "sending", large: true, serve: stallBeforeHandler},
	{name: "waiting for the head", serve: stallInHandler(0)},
	{name: "between messages", kinds: []kind{serverStream, bidi}, serve: stallInHandler(2)},
	{name: "inside a message", serve: stallInMessage},
}

// stallBeforeHandler reads nothing of the request.
func stallBeforeHandler(reached func(), stop <-chan struct{}) (handlers, func(http.Handler) http.Handler) {
	return echo, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			reached()
			<-stop
			next.ServeHTTP(w, r)
		})
	}
}

// stallInHandler receives everything, sends some messages, and waits for the
// context that the client has ended.
func stallInHandler(messages int) func(func(), <-chan struct{}) (handlers, func(http.Handler) http.Handler) {
	return func(reached func(), _ <-chan struct{}) (handlers, func(http.Handler) http.Handler) {
		return everyKind(func(ctx context.Context, x *exchange) error {
			if x.kind != bidi { // whose client may go on sending while the handler waits
				if _, err := x.receiveAll(); err != nil {
					return err
				}
			}
			for range messages {
				if err := x.send(text2("hello")); err != nil {
					return err
				}
			}
			reached()
			<-ctx.Done()
			return ctx.Err()
		}), nil
	}
}

// stallInMessage lets the first bytes of the first message pass.
func stallInMessage(reached func(), stop <-chan struct{}) (handlers, func(http.Handler) http.Handler) {
	return echo, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&stallingWriter{ResponseWriter: w, left: 3, stall: func() {
				reached()
				select {
				case <-r.Context().Done():
				case <-stop:
				}
			}}, r)
		})
	}
}

// A stallingWriter passes some bytes on and then no more.
type stallingWriter struct {
	http.ResponseWriter
	left  int
	stall func()
}

func (w *stallingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *stallingWriter) Write(p []byte) (int, error) {
	if len(p) <= w.left {
		w.left -= len(p)
		return w.ResponseWriter.Write(p)
	}
	n, err := w.ResponseWriter.Write(p[:w.left])
	w.left = 0
	if err == nil {
		err = http.NewResponseController(w.ResponseWriter).Flush()
	}
	if err != nil {
		return n, err
	}
	w.stall()
	return n, errors.New("no more bytes pass")
}

// Calls end when their context does, with its code, whatever they wait for
// (checklist items 79 and 82).
func TestEndInEveryPhase(t *testing.T) {
	for _, phase := range phases {
		for _, ending := range endings {
			t.Run(phase.name+"/"+ending.name, func(t *testing.T) {
				runTimed(t, func(t *testing.T, m mode) {
					kinds := phase.kinds
					if kinds == nil {
						kinds = allKinds
					}
					for _, k := range kinds {
						if k == bidi && !duplex(m) {
							continue
						}
						endInPhase(t, m, phase, ending, k)
					}
				})
			})
		}
	}
}

func endInPhase(t *testing.T, m mode, phase phase, ending ending, k kind) {
	t.Helper()
	reached := make(chan struct{})
	stop := make(chan struct{})
	release := sync.OnceFunc(func() { close(stop) })
	defer release()
	service, middleware := phase.serve(sync.OnceFunc(func() { close(reached) }), stop)
	served := make(chan struct{}, 1)
	options := []siteOption{wrapped(func(next http.Handler) http.Handler {
		if middleware != nil {
			next = middleware(next)
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			served <- struct{}{}
		})
	})}
	if phase.large {
		options = append(options, alone) // it fills the connection's window
		m.codec, m.compression = "proto", "identity"
	}
	site := m.serve(t, service, options...)
	ctx, end, cancel := ending.arm(testContext(t), m)
	defer cancel()
	message := text("hello")
	if phase.large {
		message.Data = make([]byte, 0, 2<<20)
		for range 2 {
			message.Data = append(message.Data, noise(1<<20)...)
		}
	}
	ended := make(chan outcome, 1)
	go func() { ended <- call(ctx, site.client(), k, nil, message) }()
	select {
	case <-reached:
		end()
	case o := <-ended:
		// In real time a deadline may pass before the call gets that far.
		wantCode(t, o.err, ending.code)
		return
	}
	o := await(t, string(k), ended)
	if code := connect.CodeOf(o.err); o.err == nil || code != ending.code {
		t.Fatalf("%s: got %v (%v), want %v", k, code, o.err, ending.code)
	}
	if k.receivesMany() && phase.name == "between messages" && ending.code == connect.CodeDeadlineExceeded && m.bubble {
		wantEqual(t, string(k)+": messages before the end", len(o.messages), 2)
	}
	// The handler ends because of its context, if it waits for that.
	release()
	await(t, string(k)+": handler", served)
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
func TestTimeoutDoesNotLiftDeadlines(t *testing.T) {
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
