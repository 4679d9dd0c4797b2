// SPDX-License-Identifier: Apache-2.0

// Interceptors that wait or panic between two attempts at a stream.

package retry_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/retry"
)

// between opens a stream whose first attempt fails, and the second answers, with a policy
// and an interceptor after it that makes the conn of each attempt, from 1.
func between(ctx context.Context, t *testing.T, wrap func(ctx context.Context, attempt int, next func() connect.StreamingClientConn) connect.StreamingClientConn) *connect.BidiStreamForClient[message, message] {
	s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
		if run == 1 {
			return unavailable()
		}
		return echo(in, out)
	})
	attempts := 0
	wrapping := streamInterceptor(func(next connect.StreamingClientFunc) connect.StreamingClientFunc {
		return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
			attempts++
			return wrap(ctx, attempts, func() connect.StreamingClientConn { return next(ctx, spec) })
		}
	})
	return connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+pathBidi,
		connect.WithIdempotency(idempotent), connect.WithInterceptors(retry.New(), wrapping)).CallBidiStream(ctx)
}

// TestInterceptorWaits has an interceptor wait for its context when the second attempt
// begins, as for a token. Meanwhile the program sends, and closes the stream: neither waits
// for the interceptor, which is told, and Receive returns.
func TestInterceptorWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		stream := between(ctx, t, func(ctx context.Context, attempt int, next func() connect.StreamingClientConn) connect.StreamingClientConn {
			if attempt == 2 {
				<-ctx.Done()
			}
			return next()
		})
		began := time.Now()
		var receiving sync.WaitGroup
		_ = stream.Send(wrapperspb.String("a"))
		receiving.Go(func() {
			if _, err := stream.Receive(); err == nil {
				t.Error("got a message, want an error")
			}
		})
		time.Sleep(time.Second) // until the second attempt has begun
		if err := stream.Send(wrapperspb.String("b")); err != nil {
			t.Errorf("got %v from Send between two attempts, want nil", err)
		}
		_ = stream.CloseRequest()
		_ = stream.CloseResponse()
		receiving.Wait()
		if took := time.Since(began); took != time.Second {
			t.Errorf("got the end after %v, want it after 1s", took)
		}
	})
}

// A panickingConn panics in one of its methods.
type panickingConn struct {
	connect.StreamingClientConn
	send, close bool
}

func (c *panickingConn) Send(msg any) error {
	if c.send {
		panic("in Send")
	}
	return c.StreamingClientConn.Send(msg)
}

func (c *panickingConn) CloseResponse() error {
	err := c.StreamingClientConn.CloseResponse()
	if c.close {
		c.close = false
		panic("in CloseResponse")
	}
	return err
}

// TestInterceptorPanicsBetween has an interceptor panic between two attempts, or while
// messages are sent again: Receive panics, where the program can recover.
func TestInterceptorPanicsBetween(t *testing.T) {
	for want, wrap := range map[string]func(attempt int, conn connect.StreamingClientConn) connect.StreamingClientConn{
		"in CloseResponse": func(attempt int, conn connect.StreamingClientConn) connect.StreamingClientConn {
			return &panickingConn{conn, false, attempt == 1}
		},
		"in Send": func(attempt int, conn connect.StreamingClientConn) connect.StreamingClientConn {
			return &panickingConn{conn, attempt == 2, false}
		},
		"at the beginning": func(attempt int, conn connect.StreamingClientConn) connect.StreamingClientConn {
			if attempt == 2 {
				_ = conn.CloseResponse()
				panic("at the beginning")
			}
			return conn
		},
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stream := between(t.Context(), t, func(_ context.Context, attempt int, next func() connect.StreamingClientConn) connect.StreamingClientConn {
					return wrap(attempt, next())
				})
				defer func() {
					got := recover()
					_ = stream.CloseResponse()
					if got != want {
						t.Errorf("got %v from recover, want %q", got, want)
					}
				}()
				_ = stream.Send(wrapperspb.String("a"))
				_, err := stream.Receive()
				t.Errorf("got error %v, want a panic", err)
			})
		})
	}
}

// A lateConn panics in Send when its context has ended, and has an error to receive from
// Send's beginning on.
type lateConn struct {
	connect.StreamingClientConn
	ctx  context.Context
	sent chan struct{}
}

func (c *lateConn) Send(any) error {
	close(c.sent)
	<-c.ctx.Done()
	panic("late")
}

func (c *lateConn) Receive(any) error {
	<-c.sent
	return connect.NewWireError(connect.CodeUnavailable, errors.New("restarting"))
}

// TestInterceptorPanicsLate has the second attempt fail while its messages are sent again:
// an interceptor panics when that is ended for the third. Receive panics then, and not later.
func TestInterceptorPanicsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := 0
		stream := between(t.Context(), t, func(ctx context.Context, attempt int, next func() connect.StreamingClientConn) connect.StreamingClientConn {
			if begun = attempt; attempt == 2 {
				return &lateConn{next(), ctx, make(chan struct{})}
			}
			return next()
		})
		defer func() {
			got := recover()
			_ = stream.CloseResponse()
			if got != "late" || begun != 2 {
				t.Errorf("got %v from recover after %d attempts, want the panic after 2", got, begun)
			}
		}()
		_ = stream.Send(wrapperspb.String("a"))
		_, err := stream.Receive()
		t.Errorf("got error %v, want a panic", err)
	})
}
