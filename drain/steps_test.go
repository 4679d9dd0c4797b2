// SPDX-License-Identifier: Apache-2.0

// The steps of Shutdown, one after the other, in virtual time.

package drain_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/drain"
	"github.com/seed-b7c59c10/connect/inprocess"
	"github.com/seed-b7c59c10/connect/retry"
)

const (
	delay = 3 * time.Second
	grace = 20 * time.Second
)

// A stubborn server has no connections to end, and waits for its context.
type stubborn struct {
	closes atomic.Int64
	failed error
}

func (s *stubborn) Shutdown(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s *stubborn) Close() error {
	s.closes.Add(1)
	return s.failed
}

// shutdown calls Shutdown in a goroutine.
func shutdown(ctx context.Context, d *drain.Drainer, options ...drain.ShutdownOption) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- d.Shutdown(ctx, options...) }()
	synctest.Wait()
	return ended
}

// wantOpen and wantClosed check whether a channel is closed.
func wantClosed(t *testing.T, what string, c <-chan struct{}, want bool) {
	t.Helper()
	got := false
	select {
	case <-c:
		got = true
	default:
	}
	if got != want {
		t.Errorf("%s: got closed %v, want %v", what, got, want)
	}
}

// TestSteps looks at each step from the side of a client.
func TestSteps(t *testing.T) {
	for name, options := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var order []string
				server := new(stubborn)
				d := drain.New(server, drain.OnDrain(func() { order = append(order, "first") }), drain.OnDrain(func() { order = append(order, "second") }))
				var signal <-chan struct{}
				held := newGate(1)
				var s service
				s.unary = func(ctx context.Context) error {
					signal = drain.Signal(ctx)
					if s.runs.Load() == 1 {
						return held.wait(ctx)
					}
					return nil
				}
				c := newClient(inprocess.NewTransport(d.Handler(s.handler())), pathUnary, options...)
				long := make(chan error, 1)
				go func() { long <- unary(t.Context(), c) }()
				held.entered.Wait()
				ended := shutdown(t.Context(), d, drain.Delay(delay), drain.Grace(grace))
				if got := strings.Join(order, " "); got != "first second" {
					t.Errorf("got %q called, want both functions of OnDrain, in their order", got)
				}
				if err := unary(t.Context(), c); err != nil {
					t.Errorf("got %v during the delay, want an answer", err)
				}
				wantClosed(t, "the signal during the delay", signal, false)
				time.Sleep(delay)
				synctest.Wait()
				wantClosed(t, "the signal after the delay", signal, true)
				if err := unary(t.Context(), c); err != nil {
					t.Errorf("got %v from a call on its way when the end begins, want an answer", err)
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				err := unary(t.Context(), c)
				wantCode(t, "a late call", err, connect.CodeUnavailable)
				var e *connect.Error
				if !errors.As(err, &e) || e.Meta().Get("Grpc-Retry-Pushback-Ms") != "0" {
					t.Errorf("got %v, want an error with a pushback of 0", err)
				}
				if s.runs.Load() != 3 || d.Running() != 1 {
					t.Errorf("got %d runs and %d running, want 3 and 1", s.runs.Load(), d.Running())
				}
				close(held.opened)
				if err := <-long; err != nil {
					t.Errorf("got %v from the call that was there before, want an answer", err)
				}
				select { // the stubborn server waits on
				case err := <-ended:
					t.Errorf("got Shutdown returned %v, want it to wait for the server", err)
				default:
				}
				began := time.Now()
				if err := <-ended; !errors.Is(err, drain.ErrCut) || server.closes.Load() != 1 {
					t.Errorf("got %v and %d calls of Close, want %v and 1", err, server.closes.Load(), drain.ErrCut)
				}
				if waited := time.Since(began); waited != grace-5*time.Second {
					t.Errorf("got the cut after %v more, want %v", waited, grace-5*time.Second)
				}
			})
		})
	}
}

// TestPushback has a call that is refused, and a policy that repeats it: the second
// attempt meets another server. The procedure is not idempotent.
func TestPushback(t *testing.T) {
	for name, options := range protocols {
		synctest.Test(t, func(t *testing.T) {
			var old, replacement service
			d := drain.New(new(stubborn))
			handlers := []http.Handler{d.Handler(old.handler()), replacement.handler()}
			attempts := 0
			ended := shutdown(t.Context(), d, drain.Grace(grace))
			time.Sleep(grace / 2)
			c := newClient(inprocess.NewTransport(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				attempts++
				handlers[min(attempts, 2)-1].ServeHTTP(w, r)
			})), pathUnary, append(options, connect.WithInterceptors(retry.New()))...)
			began := time.Now()
			if err := unary(t.Context(), c); err != nil || attempts != 2 || time.Since(began) != 0 {
				t.Errorf("%s: got %v after %d attempts and %v, want an answer at once after 2", name, err, attempts, time.Since(began))
			}
			if old.runs.Load() != 0 || replacement.runs.Load() != 1 {
				t.Errorf("%s: got %d and %d runs, want 0 and 1", name, old.runs.Load(), replacement.runs.Load())
			}
			<-ended
		})
	}
}

// TestShutdownAgain calls Shutdown several times, at the same time and later.
func TestShutdownAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		server := &stubborn{failed: errors.New("the socket is gone")}
		d := drain.New(server, drain.OnDrain(func() { calls++ }))
		first := shutdown(t.Context(), d, drain.Grace(grace))
		second := shutdown(t.Context(), d, drain.Grace(time.Hour))
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := d.Shutdown(short); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v, want the end of the context after 1s", err, time.Since(began))
		}
		want := <-first
		if got := <-second; got != want || !errors.Is(got, drain.ErrCut) || !errors.Is(got, server.failed) {
			t.Errorf("got %v from the second, want that of the first: %v", got, want)
		}
		if time.Since(began) != grace {
			t.Errorf("got the end after %v, want %v", time.Since(began), grace)
		}
		if got := d.Shutdown(t.Context()); got != want {
			t.Errorf("got %v from the last, want that of the first: %v", got, want)
		}
		if got := d.Close(); got != server.failed || server.closes.Load() != 1 || calls != 1 {
			t.Errorf("got %v, %d calls of Close and %d of OnDrain, want %v, 1 and 1", got, server.closes.Load(), calls, server.failed)
		}
	})
}

// TestContext has the context of Shutdown end: during the delay, and during the grace.
func TestContext(t *testing.T) {
	for _, limit := range []time.Duration{delay / 2, delay + grace/2} {
		synctest.Test(t, func(t *testing.T) {
			server := new(stubborn)
			d := drain.New(server)
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			began := time.Now()
			err := d.Shutdown(ctx, drain.Delay(delay), drain.Grace(grace))
			if !errors.Is(err, drain.ErrCut) || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != limit || server.closes.Load() != 1 {
				t.Errorf("got %v after %v, %d calls of Close, want both errors after %v, and 1", err, time.Since(began), server.closes.Load(), limit)
			}
		})
	}
}

// TestCut has calls that go on at the end of the grace: one heeds its context, the other
// does not.
func TestCut(t *testing.T) {
	for name, options := range engines {
		for _, heeds := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				var s service
				release := make(chan struct{})
				s.unary = func(ctx context.Context) error {
					if heeds {
						<-ctx.Done()
						return ctx.Err()
					}
					<-release
					return nil
				}
				r := newReplica(&s, options)
				defer r.server.Close()
				defer close(release)
				failed := make(chan error, 1)
				go func() {
					failed <- unary(t.Context(), newClient(r.server.Client().Transport, pathUnary))
				}()
				synctest.Wait()
				began := time.Now()
				want := grace
				if !heeds {
					want += time.Second
				}
				if err := r.Shutdown(t.Context(), drain.Grace(grace)); !errors.Is(err, drain.ErrCut) || !strings.Contains(err.Error(), "1 were left after 20s") || time.Since(began) != want {
					t.Errorf("%s, heeds %v: got %v after %v, want one call cut after %v", name, heeds, err, time.Since(began), want)
				}
				wantCode(t, "the call", <-failed, connect.CodeUnavailable)
				if got := r.Running(); heeds == (got != 0) {
					t.Errorf("heeds %v: got %d running", heeds, got)
				}
			})
		}
	}
}

// TestClose closes the server before, during and after Shutdown.
func TestClose(t *testing.T) {
	for name, options := range engines {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s service
				s.unary = func(ctx context.Context) error {
					<-ctx.Done()
					return ctx.Err()
				}
				r := newReplica(&s, options)
				defer r.server.Close()
				failed := make(chan error, 1)
				go func() {
					failed <- unary(t.Context(), newClient(r.server.Client().Transport, pathUnary))
				}()
				synctest.Wait()
				ended := shutdown(t.Context(), r.Drainer, drain.Delay(time.Hour), drain.Grace(time.Hour))
				began := time.Now()
				if err := r.Close(); err != nil {
					t.Errorf("got %v from Close, want nil", err)
				}
				wantCode(t, "the call", <-failed, connect.CodeUnavailable)
				if err := <-ended; !errors.Is(err, drain.ErrCut) {
					t.Errorf("got %v from Shutdown, want %v", err, drain.ErrCut)
				}
				if err := r.Close(); err != nil || time.Since(began) > time.Second {
					t.Errorf("got %v from a second Close, the end after %v, want nil, and no wait", err, time.Since(began))
				}
				synctest.Wait()
			})
			synctest.Test(t, func(t *testing.T) {
				r := newReplica(new(service), options)
				defer r.server.Close()
				err := errors.Join(r.Close(), r.Shutdown(t.Context()), r.Close())
				if err != nil {
					t.Errorf("got %v from Close, Shutdown, Close, want nil", err)
				}
			})
		})
	}
}

var engines = map[string][]connecttest.Option{
	"h2":       {connecttest.WithEngine()},
	"net/http": nil,
}

// TestInvalid has arguments that make no sense.
func TestInvalid(t *testing.T) {
	for name, f := range map[string]func(){
		"New":     func() { drain.New(nil) },
		"New: an": func() { drain.New(new(http.Server), nil) },
		"OnDrain": func() { drain.OnDrain(nil) },
		"Handler": func() { drain.New(new(http.Server)).Handler(nil) },
		"Delay":   func() { drain.Delay(-1) },
		"Grace":   func() { drain.Grace(-1) },
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.HasPrefix(text, "drain: "+name) {
					t.Errorf("%s: got a panic with %q, want one that names it", name, text)
				}
			}()
			f()
		}()
	}
	synctest.Test(t, func(t *testing.T) { // in which a Shutdown that waits for ever fails
		d := drain.New(new(http.Server))
		func() {
			defer func() {
				if text, _ := recover().(string); text != "drain: Shutdown: an option is nil" {
					t.Errorf("got a panic with %q, want one that names Shutdown", text)
				}
			}()
			_ = d.Shutdown(t.Context(), nil)
		}()
		if err := d.Shutdown(t.Context()); err != nil {
			t.Errorf("got %v from the Shutdown after it, want nil", err)
		}
	})
	if drain.Signal(t.Context()) != nil {
		t.Error("got a signal without a Drainer, want none")
	}
}

// TestPanic has a function of OnDrain that panics, or ends its goroutine: Shutdown panics,
// later calls of Shutdown do not hang, and no function is left out unnoticed.
func TestPanic(t *testing.T) {
	for want, f := range map[string]func(){
		"test": func() { panic("test") },
		"drain: a function of OnDrain ended its goroutine, and did not return": runtime.Goexit,
	} {
		d := drain.New(new(stubborn), drain.OnDrain(f))
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("got the panic %v, want %q", got, want)
				}
			}()
			_ = d.Shutdown(t.Context(), drain.Grace(0))
		}()
		if err := d.Shutdown(t.Context()); err == nil {
			t.Error("got nil from Shutdown after a panic, want an error")
		}
	}
}

// A broken server panics in Shutdown, or ends the goroutine.
type broken func()

func (b broken) Shutdown(context.Context) error {
	b()
	return nil
}

// TestBrokenServer has a Shutdown of the server that does not return.
func TestBrokenServer(t *testing.T) {
	for want, f := range map[string]func(){
		"drain: the server's Shutdown panicked: test": func() { panic("test") },
		"drain: the server's Shutdown ended its":      runtime.Goexit,
	} {
		synctest.Test(t, func(t *testing.T) {
			if err := drain.New(broken(f)).Shutdown(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

// TestOnDrainHangs has a function of OnDrain that does not return: the context of Shutdown,
// or Close, ends the wait for it, and the calls are cut.
func TestOnDrainHangs(t *testing.T) {
	for name, end := range map[string]func(context.CancelFunc, *drain.Drainer){
		"context": func(cancel context.CancelFunc, _ *drain.Drainer) { cancel() },
		"Close":   func(_ context.CancelFunc, d *drain.Drainer) { _ = d.Close() },
	} {
		synctest.Test(t, func(t *testing.T) {
			server, release := new(stubborn), make(chan struct{})
			later := false
			d := drain.New(server, drain.OnDrain(func() { <-release }), drain.OnDrain(func() { later = true }))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := shutdown(ctx, d, drain.Delay(delay), drain.Grace(grace))
			end(cancel, d)
			synctest.Wait()
			select {
			case err := <-ended:
				if !errors.Is(err, drain.ErrCut) || server.closes.Load() != 1 {
					t.Errorf("%s: got %v and %d calls of Close, want %v and 1", name, err, server.closes.Load(), drain.ErrCut)
				}
			default:
				t.Errorf("%s: got a Shutdown that waits for OnDrain, want its end", name)
			}
			close(release)
			synctest.Wait()
			if !later {
				t.Errorf("%s: got the second function of OnDrain left out, want it called after the first", name)
			}
		})
	}
}

// TestCause has a context with a cause: the error wraps that and the context's own.
func TestCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the second signal")
		ctx, cancel := context.WithCancelCause(t.Context())
		d := drain.New(new(stubborn))
		ended := shutdown(ctx, d)
		cancel(why)
		if err := <-ended; !errors.Is(err, drain.ErrCut) || !errors.Is(err, why) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want an error that wraps %v, %v and %v", err, drain.ErrCut, why, context.Canceled)
		}
	})
}
