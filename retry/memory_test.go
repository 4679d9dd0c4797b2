// SPDX-License-Identifier: Apache-2.0

// What streams keep of their messages: within its bounds, and no longer than they live.

package retry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/retry"
)

const exceeded = "the messages exceed the bytes of Buffer"

// TestAbandonedStreams has a program leave streams whose contexts have ended, without
// another method: they give back what they have kept.
func TestAbandonedStreams(t *testing.T) {
	for name, c := range map[string]struct {
		options []retry.Option
		limit   func(context.Context) (context.Context, context.CancelFunc)
		fails   bool // the first attempt does, so that messages are sent again
	}{
		"canceled": {limit: context.WithCancel},
		"deadline": {limit: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}},
		"canceled, after another attempt has begun": {limit: context.WithCancel, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				leaving := true
				s := serve(t, func(ctx context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
					switch {
					case run%2 == 1 && (c.fails || !leaving):
						return unavailable()
					case leaving:
						<-ctx.Done()
						return ctx.Err()
					}
					return echo(in, out)
				})
				client := s.client(pathBidi, idempotent, retry.New(retry.Buffer(900, 1000), retry.Ratio(1, 1000)))
				open := func(ctx context.Context) *connect.BidiStreamForClient[message, message] {
					stream := client.CallBidiStream(ctx)
					_ = stream.Send(wrapperspb.String(strings.Repeat("x", 200)))
					return stream
				}
				for range 20 {
					ctx, cancel := c.limit(t.Context())
					stream := open(ctx)
					if c.fails {
						go func() { _, _ = stream.Receive() }()
						time.Sleep(time.Second) // until the second attempt hangs
					}
					synctest.Wait()
					if _, bounded := ctx.Deadline(); bounded {
						<-ctx.Done()
					}
					cancel()
					synctest.Wait()
					_ = stream.Send(wrapperspb.String("late")) // is not kept
				}
				leaving = false
				s.runs.Store(0)
				stream := open(t.Context())
				defer stream.CloseResponse()
				_ = stream.CloseRequest()
				if _, err := stream.Receive(); err != nil {
					t.Errorf("got %v, want an answer: no other stream is open", err)
				}
				s.wantRuns(t, 2)
			})
		})
	}
}

// A watchedContext does not end. It counts the functions that wait for that.
type watchedContext struct {
	context.Context
	done    chan struct{}
	waiting atomic.Int64
}

func (c *watchedContext) Done() <-chan struct{} { return c.done }

// AfterFunc is what [context.AfterFunc] and contexts derived from this one call.
func (c *watchedContext) AfterFunc(func()) (stop func() bool) {
	c.waiting.Add(1)
	var once sync.Once
	return func() (first bool) {
		once.Do(func() {
			c.waiting.Add(-1)
			first = true
		})
		return first
	}
}

// TestContextOutlivesStreams makes streams with a context that does not end: a stream that
// is over leaves nothing in it, and one that is committed nothing but its attempt.
func TestContextOutlivesStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ context.Context, _ int, _ http.Header, in func() (*message, error), out func(*message) error) error {
			return echo(in, out)
		})
		ctx := &watchedContext{Context: t.Context(), done: make(chan struct{})}
		passed := streamInterceptor(func(next connect.StreamingClientFunc) connect.StreamingClientFunc {
			return func(_ context.Context, spec connect.Spec) connect.StreamingClientConn { return next(ctx, spec) }
		})
		client := connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+pathBidi,
			connect.WithIdempotency(idempotent), connect.WithInterceptors(passed, retry.New()))
		for range 3 {
			stream := client.CallBidiStream(t.Context())
			_ = stream.Send(wrapperspb.String("a"))
			_ = stream.CloseRequest()
			if got := ctx.waiting.Load(); got != 2 {
				t.Errorf("got %d functions that wait for the context of an open stream, want 2: of its attempt and of what it keeps", got)
			}
			if _, err := stream.Receive(); err != nil {
				t.Fatal(err)
			}
			if got := ctx.waiting.Load(); got != 1 {
				t.Errorf("got %d functions that wait for the context of a stream that is committed, want 1: of its attempt", got)
			}
			_ = stream.CloseResponse()
			if got := ctx.waiting.Load(); got != 0 {
				t.Errorf("got %d functions that wait for the context of a stream that is over, want none", got)
			}
		}
	})
}

// A streamInterceptor wraps the streams of clients.
type streamInterceptor func(connect.StreamingClientFunc) connect.StreamingClientFunc

func (f streamInterceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc { return next }

func (f streamInterceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return f(next)
}

func (f streamInterceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// TestBufferOfAStream sends as many messages as Buffer has room for, and one more. Each
// counts, also those without a byte.
func TestBufferOfAStream(t *testing.T) {
	const cost = 128 // of a message, beside its bytes
	for name, c := range map[string]struct {
		messages []*message
		bytes    int
	}{
		"empty messages": {make10(func() *message { return new(message) }), 10 * cost},
		"heads alone":    {make10(func() *message { return nil }), 10 * cost},
		"texts":          {make10(func() *message { return wrapperspb.String("eight") }), 10 * (cost + 7)},
	} {
		for _, room := range []int{c.bytes, c.bytes - 1} {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
					if run == 1 {
						_ = echo(in, func(*message) error { return nil })
						return unavailable()
					}
					return echo(in, out)
				})
				stream := s.client(pathClient, idempotent, retry.New(retry.Buffer(room, 1<<20))).CallClientStream(t.Context())
				for _, msg := range c.messages {
					if err := stream.Send(msg); err != nil {
						t.Fatal(err)
					}
				}
				_, err := stream.CloseAndReceive()
				switch {
				case room == c.bytes && err != nil:
					t.Errorf("%s: got %v with a buffer of %d bytes, want an answer", name, err, room)
				case room < c.bytes && (err == nil || !strings.Contains(err.Error(), exceeded)):
					t.Errorf("%s: got %v with a buffer of %d bytes, want an error with %q", name, err, room, exceeded)
				}
			})
		}
	}
}

func make10(f func() *message) (all []*message) {
	for range 10 {
		all = append(all, f())
	}
	return all
}

// TestBufferOfAllStreams has two streams open of which each is within its own bound: the
// bound for all of them leaves room for one.
func TestBufferOfAllStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ context.Context, _ int, header http.Header, in func() (*message, error), out func(*message) error) error {
			if header.Get("Grpc-Previous-Rpc-Attempts") != "" {
				return echo(in, out)
			}
			_ = echo(in, func(*message) error { return nil })
			return unavailable()
		})
		client := s.client(pathBidi, idempotent, retry.New(retry.Buffer(1200, 2000)))
		open := func() *connect.BidiStreamForClient[message, message] {
			stream := client.CallBidiStream(t.Context())
			if err := stream.Send(wrapperspb.String(strings.Repeat("x", 1000))); err != nil {
				t.Error(err)
			}
			_ = stream.CloseRequest()
			return stream
		}
		first, second := open(), open()
		if _, err := second.Receive(); err == nil || !strings.Contains(err.Error(), exceeded) {
			t.Errorf("got %v from the second stream, want an error with %q", err, exceeded)
		}
		_ = second.CloseResponse()
		if _, err := first.Receive(); err != nil {
			t.Errorf("got %v from the first stream, want an answer", err)
		}
		if _, err := first.Receive(); !errors.Is(err, io.EOF) {
			t.Errorf("got %v from the first stream, want its end", err)
		}
		_ = first.CloseResponse()
		third := open() // there is room again
		if _, err := third.Receive(); err != nil {
			t.Errorf("got %v from a stream after the others, want an answer", err)
		}
		_ = third.CloseResponse()
	})
}
