// SPDX-License-Identifier: Apache-2.0

// What attempts after the first have in their contexts for package balance.

package retry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/tried"
	"github.com/seed-b7c59c10/connect/retry"
)

// endpoints marks the error of attempt n with the name "e<n>", and notes which names each
// attempt has to avoid, as package balance does.
type endpoints struct {
	mu      sync.Mutex
	n       int
	noted   []string
	timeout int // attempts whose context has ended with tried.AttemptTimeout
}

func (e *endpoints) begin(ctx context.Context) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	set, avoids := tried.From(ctx), ""
	for i := range e.n {
		if name := fmt.Sprint("e", i); set.Has(name) {
			avoids += name
		}
	}
	e.noted = append(e.noted, fmt.Sprintf("%v:%s", set != nil, avoids))
	name := fmt.Sprint("e", e.n)
	e.n++
	return name
}

func (e *endpoints) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		name := e.begin(ctx)
		res, err := next(ctx, r)
		if connect.CodeOf(err) == connect.CodeDeadlineExceeded {
			<-ctx.Done() // a server may find the end a moment before
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if context.Cause(ctx) == tried.AttemptTimeout {
			e.timeout++
		}
		return res, tried.Mark(err, name)
	}
}

type markedConn struct {
	connect.StreamingClientConn
	name string
}

func (c *markedConn) Receive(m any) error {
	return tried.Mark(c.StreamingClientConn.Receive(m), c.name)
}

func (e *endpoints) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		return &markedConn{next(ctx, spec), e.begin(ctx)}
	}
}

func (e *endpoints) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func TestTried(t *testing.T) {
	for _, path := range []string{pathUnary, pathServer, pathClient, pathBidi} {
		t.Run(path, func(t *testing.T) {
			s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
				if run < 3 {
					return unavailable()
				}
				return echo(in, out)
			})
			e := new(endpoints)
			c := connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+path, connect.WithIdempotency(idempotent),
				connect.WithInterceptors(retry.New(retry.Attempts(4), retry.Backoff(time.Millisecond, time.Millisecond, 1)), e))
			if _, err := call(t.Context(), c, path); err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprint(e.noted), "[false: true:e0 true:e0e1]"; got != want {
				t.Errorf("got %s, want %s: no set for the first attempt, then the endpoints that failed", got, want)
			}
		})
	}
}

// TestTriedErrors checks that callers see the same error as without endpoints.
func TestTriedErrors(t *testing.T) {
	s := serve(t, func(context.Context, int, http.Header, func() (*message, error), func(*message) error) error {
		return unavailable()
	})
	texts := make(map[bool]string)
	for _, marks := range []bool{false, true} {
		interceptors := []connect.Interceptor{retry.New(retry.Attempts(2), retry.Backoff(time.Millisecond, time.Millisecond, 1))}
		if marks {
			interceptors = append(interceptors, new(endpoints))
		}
		c := connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+pathUnary,
			connect.WithIdempotency(idempotent), connect.WithInterceptors(interceptors...))
		_, err := c.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("a")))
		var coded *connect.Error
		if !errors.As(err, &coded) || coded.Code() != connect.CodeUnavailable || !connect.IsWireError(err) || retry.AttemptsOf(err) != 2 {
			t.Errorf("got %v, want the server's error after 2 attempts", err)
		}
		texts[marks] = fmt.Sprint(err)
	}
	if texts[true] != texts[false] {
		t.Errorf("got %q, want %q as without endpoints", texts[true], texts[false])
	}
}

// TestTriedTimeout checks that the end of AttemptTimeout can be told from other ends.
func TestTriedTimeout(t *testing.T) {
	s := serve(t, func(ctx context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
		if run < 3 {
			<-ctx.Done()
			return ctx.Err()
		}
		return echo(in, out)
	})
	e := new(endpoints)
	c := connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+pathUnary, connect.WithIdempotency(idempotent),
		connect.WithInterceptors(retry.New(retry.AttemptTimeout(20*time.Millisecond), retry.Backoff(time.Millisecond, time.Millisecond, 1)), e))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := call(ctx, c, pathUnary); err != nil && connect.CodeOf(err) != connect.CodeDeadlineExceeded {
		t.Fatal(err) // the third attempt may be slow, too
	}
	if e.timeout < 2 {
		t.Errorf("got %d attempts that ended by the time limit of attempts, want at least 2", e.timeout)
	}
}

// TestTriedHedge checks that hedged attempts share a set from the start.
func TestTriedHedge(t *testing.T) {
	s := serve(t, func(_ context.Context, _ int, _ http.Header, in func() (*message, error), out func(*message) error) error {
		return echo(in, out)
	})
	e := new(endpoints)
	c := connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+pathUnary, connect.WithIdempotency(idempotent),
		connect.WithInterceptors(retry.New(retry.Hedge(time.Minute, 2)), e))
	if _, err := call(t.Context(), c, pathUnary); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(e.noted); got != "[true:]" {
		t.Errorf("got %s, want [true:]: an empty set", got)
	}
}
