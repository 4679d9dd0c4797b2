// SPDX-License-Identifier: Apache-2.0

// Messages of streams that cannot be sent.

package retry_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/retry"
)

// TestUnsendableMessage has a program go on after an error of Send: the message that was
// not sent is not sent with the others to the next attempt either.
func TestUnsendableMessage(t *testing.T) {
	for protocol, options := range protocols {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
					if run == 1 {
						_ = echo(in, func(*message) error { return nil })
						return unavailable()
					}
					return echo(in, out)
				})
				stream := s.client(pathClient, idempotent, retry.New(retry.Buffer(1000, 1000)), append(options, connect.WithSendMaxBytes(100))...).CallClientStream(ctx)
				for _, text := range []string{"a", strings.Repeat("x", 200), strings.Repeat("y", 200), "b"} {
					if err := stream.Send(wrapperspb.String(text)); (err != nil) != (len(text) > 100) || err != nil && connect.CodeOf(err) != connect.CodeResourceExhausted {
						t.Errorf("got %v from Send of %d bytes, want resource_exhausted beyond 100 bytes", err, len(text))
					}
				}
				res, err := stream.CloseAndReceive()
				if err != nil || res.Msg.Value != "ab" {
					t.Errorf("got %v and error %v, want the answer to the other messages", res, err)
				}
				s.wantRuns(t, 2)
			})
		})
	}
}

// A gatedConn has its Send wait for a gate.
type gatedConn struct {
	connect.StreamingClientConn
	entered chan<- struct{}
	gate    <-chan struct{}
}

func (c *gatedConn) Send(msg any) error {
	c.entered <- struct{}{}
	<-c.gate
	return c.StreamingClientConn.Send(msg)
}

// TestUnsendableBesideReplay sends a message that cannot be sent while earlier ones are
// sent again, so that Send cannot know it: the call ends with that error.
func TestUnsendableBesideReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
			if run == 1 {
				return unavailable()
			}
			return echo(in, out)
		})
		entered, gate, attempts := make(chan struct{}, 3), make(chan struct{}), 0
		gated := streamInterceptor(func(next connect.StreamingClientFunc) connect.StreamingClientFunc {
			return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
				if attempts++; attempts == 1 {
					return next(ctx, spec)
				}
				return &gatedConn{next(ctx, spec), entered, gate}
			}
		})
		stream := connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+pathBidi, connect.WithIdempotency(idempotent),
			connect.WithSendMaxBytes(100), connect.WithInterceptors(retry.New(), gated)).CallBidiStream(ctx)
		defer stream.CloseResponse()
		if err := stream.Send(wrapperspb.String("a")); err != nil {
			t.Fatal(err)
		}
		received := make(chan error)
		go func() {
			_, err := stream.Receive()
			received <- err
		}()
		<-entered
		for _, text := range []string{strings.Repeat("x", 200), "b"} {
			if err := stream.Send(wrapperspb.String(text)); err != nil {
				t.Errorf("got %v from Send beside a replay, want nil", err)
			}
		}
		_ = stream.CloseRequest()
		close(gate)
		if err := <-received; connect.CodeOf(err) != connect.CodeResourceExhausted || retry.AttemptsOf(err) != 2 {
			t.Errorf("got %v of %d attempts, want resource_exhausted of 2", err, retry.AttemptsOf(err))
		}
	})
}
