// SPDX-License-Identifier: Apache-2.0

// The headers of the attempts at a stream.

package retry_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/retry"
)

// TestStreamAttemptsHaveTheirOwnHeaders has an interceptor after the policy set and add
// headers for each attempt, as one that signs or traces does, and a program that changes
// one, adds one and removes one: each attempt has its interceptor's, with the program's
// changes.
func TestStreamAttemptsHaveTheirOwnHeaders(t *testing.T) {
	for protocol, options := range protocols {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen []http.Header
				s := serve(t, func(_ context.Context, run int, header http.Header, in func() (*message, error), out func(*message) error) error {
					seen = append(seen, header.Clone())
					if run < 3 {
						return unavailable()
					}
					return echo(in, out)
				})
				attempt := 0
				numbers := streamInterceptor(func(next connect.StreamingClientFunc) connect.StreamingClientFunc {
					return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
						conn := next(ctx, spec)
						attempt++
						for _, key := range []string{"Own", "Changed", "Removed"} {
							conn.RequestHeader().Set(key, strconv.Itoa(attempt))
						}
						return conn
					}
				})
				stream := connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+pathClient,
					append(options, connect.WithIdempotency(idempotent), connect.WithInterceptors(retry.New(), numbers))...).CallClientStream(t.Context())
				stream.RequestHeader().Set("Changed", "by the program")
				stream.RequestHeader().Set("Added", "by the program")
				stream.RequestHeader().Del("Removed")
				_ = stream.Send(wrapperspb.String("a"))
				if _, err := stream.CloseAndReceive(); err != nil {
					t.Fatal(err)
				}
				for i, header := range seen {
					before := ""
					if i > 0 {
						before = strconv.Itoa(i)
					}
					for key, want := range map[string]string{
						"Own": strconv.Itoa(i + 1), "Changed": "by the program", "Added": "by the program", "Removed": "", "Grpc-Previous-Rpc-Attempts": before,
					} {
						if got := header.Get(key); got != want {
							t.Errorf("attempt %d: got %s: %q, want %q", i+1, key, got, want)
						}
					}
				}
				s.wantRuns(t, 3)
			})
		})
	}
}

// TestStreamAttemptsHaveTheTimeLeft has a server refuse the first attempt and ask for a
// pause: the header of the second has the time that is left then.
func TestStreamAttemptsHaveTheTimeLeft(t *testing.T) {
	for name, options := range map[string][]connect.ClientOption{"": nil, "as connect-go": {connect.WithConnectGoBehavior()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var left []time.Duration
				s := serve(t, func(ctx context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
					deadline, _ := ctx.Deadline()
					left = append(left, time.Until(deadline))
					if run == 1 {
						return withMeta(connect.CodeUnavailable, "Grpc-Retry-Pushback-Ms", "6000")
					}
					return echo(in, out)
				})
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				stream := s.client(pathClient, idempotent, retry.New(), options...).CallClientStream(ctx)
				_ = stream.Send(wrapperspb.String("a"))
				if _, err := stream.CloseAndReceive(); err != nil {
					t.Fatal(err)
				}
				if len(left) != 2 || left[0] != 10*time.Second || left[1] != 4*time.Second {
					t.Errorf("got attempts with %v left, want 10s and 4s", left)
				}
			})
		})
	}
}

// A firstRefused is a breaker that refuses the first attempt.
type firstRefused struct{ once sync.Once }

func (b *firstRefused) Allow() (done func(error), err error) {
	b.once.Do(func() { err = errors.New("open") })
	return func(error) {}, err
}

// TestStreamHeaderAfterReceive has the first attempt fail before the program has sent
// anything: the second has the headers that the program sets before it sends.
func TestStreamHeaderAfterReceive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen string
		s := serve(t, func(_ context.Context, _ int, header http.Header, in func() (*message, error), out func(*message) error) error {
			seen = header.Get("Early") + header.Get("Late")
			return echo(in, out)
		})
		breaker := new(firstRefused)
		policy := retry.New(retry.WithBreaker(func(connect.Spec) retry.Breaker { return breaker }))
		stream := s.client(pathBidi, idempotent, policy).CallBidiStream(t.Context())
		defer stream.CloseResponse()
		stream.RequestHeader().Set("Early", "a")
		received := make(chan error, 1)
		go func() {
			_, err := stream.Receive()
			received <- err
		}()
		synctest.Wait()
		stream.RequestHeader().Set("Late", "b")
		_ = stream.Send(wrapperspb.String("a"))
		_ = stream.CloseRequest()
		if err := <-received; err != nil || seen != "ab" {
			t.Errorf("got headers %q and error %v, want ab and an answer", seen, err)
		}
	})
}
